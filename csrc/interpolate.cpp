// lssl::interpolate and its gradients: schemas, checks, and the CPU implementations' parallel loops.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>

#include "kernels.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kPixels = 4096;  // pixels that are worth a thread

// `image` is (N, H, W, C) and the others agree with it; `vertices` is V.
void check(const char* op, const Tensor& triangle, const Tensor& faces, const Tensor& image, const char* image_name,
           int64_t vertices) {
  STD_TORCH_CHECK(triangle.dim() == 3 && triangle.scalar_type() == ScalarType::Int, op,
                  ": triangle must be (N, H, W) int32");
  STD_TORCH_CHECK(faces.dim() == 2 && faces.size(1) == 3 && faces.scalar_type() == ScalarType::Int, op,
                  ": faces must be (F, 3) int32");
  const ScalarType dtype = image.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, op, ": ", image_name,
                  " must be float32 or float64");
  STD_TORCH_CHECK(image.dim() == 4 && image.size(0) == triangle.size(0) && image.size(1) == triangle.size(1) &&
                      image.size(2) == triangle.size(2),
                  op, ": ", image_name, " must be (N, H, W, ...) like triangle");
  STD_TORCH_CHECK(triangle.is_cpu() && faces.is_cpu() && image.is_cpu(), op, ": all inputs must be on one device");
  STD_TORCH_CHECK(lssl::cpu::faces_in_range(faces.const_data_ptr<int32_t>(), faces.numel(), vertices), op,
                  ": faces has an index outside [0, ", vertices, "), the vertices");
}

void check_attributes(const char* op, const Tensor& attributes, const Tensor& triangle, ScalarType dtype) {
  STD_TORCH_CHECK(attributes.dim() == 3 && attributes.size(0) == triangle.size(0) && attributes.is_cpu(), op,
                  ": attributes must be (N, V, C) with the batch of triangle");
  STD_TORCH_CHECK(attributes.scalar_type() == dtype, op, ": attributes must have the other inputs' dtype");
}

void check_barycentric(const char* op, const Tensor& barycentric, ScalarType dtype) {
  STD_TORCH_CHECK(barycentric.dim() == 4 && barycentric.size(3) == 3, op, ": barycentric must be (N, H, W, 3)");
  STD_TORCH_CHECK(barycentric.scalar_type() == dtype, op, ": barycentric must have the other inputs' dtype");
}

template <typename F>
void by_dtype(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) {
    f(float());
  } else {
    f(double());
  }
}

// Calls f(n, begin, end) on runs of pixels of image n.
template <typename F>
void over_pixels(int64_t batch, int64_t pixels, const F& f) {
  if (batch * pixels == 0) return;
  torch::stable::parallel_for(0, batch * pixels, kPixels, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t n = at / pixels, stop = std::min(end, (n + 1) * pixels);
      f(n, at - n * pixels, stop - n * pixels);
      at = stop;
    }
  });
}

Tensor interpolate(const Tensor& triangle_in, const Tensor& barycentric_in, const Tensor& faces_in,
                   const Tensor& attributes_in) {
  const Tensor triangle = torch::stable::contiguous(triangle_in), faces = torch::stable::contiguous(faces_in);
  const Tensor barycentric = torch::stable::contiguous(barycentric_in);
  const Tensor attributes = torch::stable::contiguous(attributes_in);
  const ScalarType dtype = barycentric.scalar_type();
  check_attributes("interpolate", attributes, triangle, dtype);
  check("interpolate", triangle, faces, barycentric, "barycentric", attributes.size(1));
  check_barycentric("interpolate", barycentric, dtype);
  const int64_t batch = triangle.size(0), height = triangle.size(1), width = triangle.size(2);
  const int64_t vertices = attributes.size(1), channels = attributes.size(2), pixels = height * width;
  Tensor output = torch::stable::new_empty(attributes, {batch, height, width, channels});
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int32_t* t = triangle.const_data_ptr<int32_t>();
    const int32_t* f = faces.const_data_ptr<int32_t>();
    const T* b = barycentric.const_data_ptr<T>();
    const T* a = attributes.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    const int64_t face_count = faces.size(0);
    over_pixels(batch, pixels, [=](int64_t n, int64_t begin, int64_t end) {
      lssl::cpu::interpolate(t + n * pixels, b + 3 * n * pixels, f, face_count, a + n * vertices * channels, channels,
                             begin, end, out + n * pixels * channels);
    });
  });
  return output;
}

Tensor interpolate_attributes_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& barycentric_in,
                                       const Tensor& faces_in, int64_t vertices) {
  constexpr const char* op = "interpolate_attributes_backward";
  const Tensor triangle = torch::stable::contiguous(triangle_in), faces = torch::stable::contiguous(faces_in);
  const Tensor barycentric = torch::stable::contiguous(barycentric_in), grad = torch::stable::contiguous(grad_in);
  const ScalarType dtype = grad.scalar_type();
  check(op, triangle, faces, grad, "grad", vertices);
  check(op, triangle, faces, barycentric, "barycentric", vertices);
  check_barycentric(op, barycentric, dtype);
  const int64_t batch = triangle.size(0), pixels = triangle.size(1) * triangle.size(2), channels = grad.size(3);
  Tensor output = torch::stable::new_empty(grad, {batch, vertices, channels});
  // A vertex sums its pixels in their order, in one thread; where the batch is small, threads share out the vertices.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t shares = std::clamp<int64_t>((threads + batch - 1) / std::max<int64_t>(batch, 1), 1, 8);
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int32_t* t = triangle.const_data_ptr<int32_t>();
    const int32_t* f = faces.const_data_ptr<int32_t>();
    const T* b = barycentric.const_data_ptr<T>();
    const T* g = grad.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    const int64_t face_count = faces.size(0);
    torch::stable::parallel_for(0, batch * shares, 1, [=](int64_t begin, int64_t end) {
      for (int64_t job = begin; job < end; ++job) {
        const int64_t n = job / shares, share = job % shares;
        lssl::cpu::interpolate_attributes_backward(g + n * pixels * channels, t + n * pixels, b + 3 * n * pixels, f,
                                                   face_count, pixels, channels, share * vertices / shares,
                                                   (share + 1) * vertices / shares, out + n * vertices * channels);
      }
    });
  });
  return output;
}

Tensor interpolate_barycentric_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& faces_in,
                                        const Tensor& attributes_in) {
  constexpr const char* op = "interpolate_barycentric_backward";
  const Tensor triangle = torch::stable::contiguous(triangle_in), faces = torch::stable::contiguous(faces_in);
  const Tensor attributes = torch::stable::contiguous(attributes_in), grad = torch::stable::contiguous(grad_in);
  const ScalarType dtype = grad.scalar_type();
  check_attributes(op, attributes, triangle, dtype);
  check(op, triangle, faces, grad, "grad", attributes.size(1));
  STD_TORCH_CHECK(grad.size(3) == attributes.size(2), op, ": grad must have the channels of attributes");
  const int64_t batch = triangle.size(0), height = triangle.size(1), width = triangle.size(2);
  const int64_t vertices = attributes.size(1), channels = attributes.size(2), pixels = height * width;
  Tensor output = torch::stable::new_empty(grad, {batch, height, width, 3});
  by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int32_t* t = triangle.const_data_ptr<int32_t>();
    const int32_t* f = faces.const_data_ptr<int32_t>();
    const T* a = attributes.const_data_ptr<T>();
    const T* g = grad.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    const int64_t face_count = faces.size(0);
    over_pixels(batch, pixels, [=](int64_t n, int64_t begin, int64_t end) {
      lssl::cpu::interpolate_barycentric_backward(g + n * pixels * channels, t + n * pixels, f, face_count,
                                                  a + n * vertices * channels, channels, begin, end,
                                                  out + 3 * n * pixels);
    });
  });
  return output;
}

}  // namespace

// Multilinear in the floating-point inputs, so each one's gradients are the other two (lssl/ops/raster.py).
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("interpolate(Tensor triangle, Tensor barycentric, Tensor faces, Tensor attributes) -> Tensor");
  m.def(
      "interpolate_attributes_backward(Tensor grad, Tensor triangle, Tensor barycentric, Tensor faces, "
      "SymInt vertices) -> Tensor");
  m.def("interpolate_barycentric_backward(Tensor grad, Tensor triangle, Tensor faces, Tensor attributes) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_attributes_backward", TORCH_BOX(&interpolate_attributes_backward));
  m.impl("interpolate_barycentric_backward", TORCH_BOX(&interpolate_barycentric_backward));
}
