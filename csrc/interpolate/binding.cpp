// lssl::interpolate and its gradients: schemas, checks, and the CPU's parallel loops.
#include "support/binding.h"

#include <algorithm>

namespace lssl {

namespace {

constexpr int64_t kPixels = 4096;  // least number of pixels per thread

// The inputs that all three ops have, contiguous; `image` is (N, H, W, ...) in the type of the call.
struct Inputs {
  const char* op;
  Place place;
  Tensor triangle, faces;
  ScalarType type;
  int64_t height, width;
  cuda::Interpolation call;

  Inputs(const char* name, const Tensor& triangle_in, const Tensor& faces_in, const Tensor& image,
         const char* image_name, int64_t vertices, int64_t channels)
      : op(name), place(image), triangle(packed(triangle_in)), faces(packed(faces_in)), type(image.scalar_type()) {
    check_device(op, "triangle", triangle, image);
    check_device(op, "faces", faces, image);
    STD_TORCH_CHECK(triangle.dim() == 3 && triangle.scalar_type() == ScalarType::Int, op,
                    ": triangle must be (N, H, W) int32");
    STD_TORCH_CHECK(faces.dim() == 2 && faces.size(1) == 3 && faces.scalar_type() == ScalarType::Int, op,
                    ": faces must be (F, 3) int32");
    STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, op, ": ", image_name,
                    " must be float32 or float64");
    check_image(image_name, image);
    height = triangle.size(1);
    width = triangle.size(2);
    call = {triangle.size(0),
            height * width,
            faces.size(0),
            vertices,
            channels,
            triangle.const_data_ptr<int32_t>(),
            faces.const_data_ptr<int32_t>()};
    if (!place.is_cuda()) {  // checking would wait for the GPU, where such a corner counts as 0
      STD_TORCH_CHECK(cpu::faces_in_range(call.faces, faces.numel(), vertices), op, ": faces has an index outside [0, ",
                      vertices, "), the number of vertices");
    }
  }

  void check_image(const char* name, const Tensor& t) const {
    STD_TORCH_CHECK(
        t.dim() == 4 && t.size(0) == triangle.size(0) && t.size(1) == triangle.size(1) && t.size(2) == triangle.size(2),
        op, ": ", name, " must be (N, H, W, ...) like triangle");
  }
  Tensor attributes(const Tensor& t, const Tensor& image) const {
    check_device(op, "attributes", t, image);
    STD_TORCH_CHECK(t.dim() == 3 && t.size(0) == call.batch, op,
                    ": attributes must be (N, V, C) with triangle's batch size");
    STD_TORCH_CHECK(t.scalar_type() == type, op, ": attributes must have the other inputs' dtype");
    return packed(t);
  }
  Tensor barycentric(const Tensor& t, const Tensor& image) const {
    check_device(op, "barycentric", t, image);
    check_image("barycentric", t);
    STD_TORCH_CHECK(t.size(3) == 3, op, ": barycentric must be (N, H, W, 3)");
    STD_TORCH_CHECK(t.scalar_type() == type, op, ": barycentric must have the other inputs' dtype");
    return packed(t);
  }
};

int64_t last_size(const Tensor& t) { return t.dim() > 0 ? t.size(t.dim() - 1) : 0; }
int64_t vertices_of(const Tensor& attributes) { return attributes.dim() == 3 ? attributes.size(1) : 0; }

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

Tensor forward(const Tensor& triangle_in, const Tensor& barycentric_in, const Tensor& faces_in,
               const Tensor& attributes_in) {
  const Inputs in("interpolate", triangle_in, faces_in, barycentric_in, "barycentric", vertices_of(attributes_in),
                  last_size(attributes_in));
  const Tensor barycentric = in.barycentric(barycentric_in, barycentric_in);
  const Tensor attributes = in.attributes(attributes_in, barycentric_in);
  Tensor output = torch::stable::new_empty(attributes, {in.call.batch, in.height, in.width, in.call.channels});
  by_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const cuda::Interpolation call = in.call;
    const T *b = barycentric.const_data_ptr<T>(), *a = attributes.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    if constexpr (kWithCuda) {
      if (in.place.is_cuda()) return check_launch(in.op, cuda::interpolate(call, b, a, out, in.place.stream()));
    }
    over_pixels(call.batch, call.pixels, [=](int64_t n, int64_t begin, int64_t end) {
      cpu::interpolate(call.triangle + n * call.pixels, b + 3 * n * call.pixels, call.faces, call.face_count,
                       a + n * call.vertex_count * call.channels, call.channels, begin, end,
                       out + n * call.pixels * call.channels);
    });
  });
  return output;
}

// One thread sums a vertex's pixels, in order; where the batch is small, threads divide the vertices among themselves.
template <typename T>
void attributes_backward_on_cpu(const cuda::Interpolation& call, const T* g, const T* b, T* out) {
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t shares = std::clamp<int64_t>((threads + call.batch - 1) / std::max<int64_t>(call.batch, 1), 1, 8);
  torch::stable::parallel_for(0, call.batch * shares, 1, [=](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t n = job / shares, share = job % shares, vertices = call.vertex_count;
      cpu::interpolate_attributes_backward(g + n * call.pixels * call.channels, call.triangle + n * call.pixels,
                                           b + 3 * n * call.pixels, call.faces, call.face_count, call.pixels,
                                           call.channels, share * vertices / shares, (share + 1) * vertices / shares,
                                           out + n * vertices * call.channels);
    }
  });
}

Tensor attributes_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& barycentric_in,
                           const Tensor& faces_in, int64_t vertices) {
  const Inputs in("interpolate_attributes_backward", triangle_in, faces_in, grad_in, "grad", vertices,
                  last_size(grad_in));
  const Tensor grad = packed(grad_in), barycentric = in.barycentric(barycentric_in, grad_in);
  Tensor output = torch::stable::new_empty(grad, {in.call.batch, vertices, in.call.channels});
  by_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const T *g = grad.const_data_ptr<T>(), *b = barycentric.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    if constexpr (kWithCuda) {
      if (in.place.is_cuda()) {
        Workspace workspace(grad, cuda::interpolate_workspace(in.call));
        return check_launch(
            in.op, cuda::interpolate_attributes_backward(in.call, g, b, workspace.data(), out, in.place.stream()));
      }
    }
    attributes_backward_on_cpu(in.call, g, b, out);
  });
  return output;
}

Tensor barycentric_backward(const Tensor& grad_in, const Tensor& triangle_in, const Tensor& faces_in,
                            const Tensor& attributes_in) {
  const Inputs in("interpolate_barycentric_backward", triangle_in, faces_in, grad_in, "grad",
                  vertices_of(attributes_in), last_size(attributes_in));
  const Tensor grad = packed(grad_in), attributes = in.attributes(attributes_in, grad_in);
  STD_TORCH_CHECK(grad.size(3) == in.call.channels, in.op, ": grad must have the channels of attributes");
  Tensor output = torch::stable::new_empty(grad, {in.call.batch, in.height, in.width, 3});
  by_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const cuda::Interpolation call = in.call;
    const T *g = grad.const_data_ptr<T>(), *a = attributes.const_data_ptr<T>();
    T* out = output.mutable_data_ptr<T>();
    if constexpr (kWithCuda) {
      if (in.place.is_cuda()) {
        return check_launch(in.op, cuda::interpolate_barycentric_backward(call, g, a, out, in.place.stream()));
      }
    }
    over_pixels(call.batch, call.pixels, [=](int64_t n, int64_t begin, int64_t end) {
      cpu::interpolate_barycentric_backward(g + n * call.pixels * call.channels, call.triangle + n * call.pixels,
                                            call.faces, call.face_count, a + n * call.vertex_count * call.channels,
                                            call.channels, begin, end, out + 3 * n * call.pixels);
    });
  });
  return output;
}

}  // namespace

}  // namespace lssl

// Multilinear in the floating-point inputs, so each one's gradients are the other two (lssl/ops/interpolate.py).
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("interpolate(Tensor triangle, Tensor barycentric, Tensor faces, Tensor attributes) -> Tensor");
  m.def(
      "interpolate_attributes_backward(Tensor grad, Tensor triangle, Tensor barycentric, Tensor faces, "
      "SymInt vertices) -> Tensor");
  m.def("interpolate_barycentric_backward(Tensor grad, Tensor triangle, Tensor faces, Tensor attributes) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("interpolate", TORCH_BOX(&lssl::forward));
  m.impl("interpolate_attributes_backward", TORCH_BOX(&lssl::attributes_backward));
  m.impl("interpolate_barycentric_backward", TORCH_BOX(&lssl::barycentric_backward));
}

#if defined(LSSL_WITH_CUDA)
STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("interpolate", TORCH_BOX(&lssl::forward));
  m.impl("interpolate_attributes_backward", TORCH_BOX(&lssl::attributes_backward));
  m.impl("interpolate_barycentric_backward", TORCH_BOX(&lssl::barycentric_backward));
}
#endif
