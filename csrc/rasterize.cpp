// lssl::rasterize: schema, checks and the CPU implementation's parallel loop. The CUDA one is csrc/cuda/.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>

#include "kernels.h"
#include "raster_geometry.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
void run(const Tensor& vertices, const Tensor& faces, int64_t height, int64_t width, Tensor& snapped, Tensor& triangle,
         Tensor& barycentric, Tensor& depth) {
  const int64_t batch = vertices.size(0), vertex_count = vertices.size(1), face_count = faces.size(0);
  const T* v = vertices.const_data_ptr<T>();
  const int32_t* f = faces.const_data_ptr<int32_t>();
  int32_t* s = snapped.mutable_data_ptr<int32_t>();
  int32_t* t = triangle.mutable_data_ptr<int32_t>();
  T* b = barycentric.mutable_data_ptr<T>();
  T* d = depth.mutable_data_ptr<T>();

  torch::stable::parallel_for(0, batch * vertex_count, 16384,
                              [=](int64_t begin, int64_t end) { lssl::cpu::rasterize_snap(v, begin, end, s); });
  // Whole images where they feed every thread, bands of rows where they do not. A pixel does not depend on its band.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t bands = std::clamp<int64_t>((threads + batch - 1) / std::max<int64_t>(batch, 1), 1, height);
  torch::stable::parallel_for(0, batch * bands, 1, [=](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t n = job / bands, band = job % bands, pixels = n * height * width;
      lssl::cpu::rasterize(v + n * vertex_count * 3, s + n * vertex_count * 2, f, face_count, width,
                           band * height / bands, (band + 1) * height / bands, t + pixels, b + 3 * pixels, d + pixels);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> rasterize(const Tensor& vertices_in, const Tensor& faces_in, int64_t height,
                                             int64_t width) {
  STD_TORCH_CHECK(vertices_in.dim() == 3 && vertices_in.size(2) == 3, "rasterize: vertices must be (N, V, 3)");
  STD_TORCH_CHECK(faces_in.dim() == 2 && faces_in.size(1) == 3, "rasterize: faces must be (F, 3)");
  STD_TORCH_CHECK(faces_in.scalar_type() == ScalarType::Int, "rasterize: faces must be int32");
  STD_TORCH_CHECK(faces_in.is_cpu(), "rasterize: faces must be on the device of vertices");
  STD_TORCH_CHECK(height >= 1 && height <= lssl::raster::kMaxImageSize, "rasterize: height must be 1 to ",
                  lssl::raster::kMaxImageSize, ", got ", height);
  STD_TORCH_CHECK(width >= 1 && width <= lssl::raster::kMaxImageSize, "rasterize: width must be 1 to ",
                  lssl::raster::kMaxImageSize, ", got ", width);
  const ScalarType dtype = vertices_in.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double,
                  "rasterize: vertices must be float32 or float64");
  const Tensor vertices = torch::stable::contiguous(vertices_in);
  const Tensor faces = torch::stable::contiguous(faces_in);
  const int64_t batch = vertices.size(0);
  STD_TORCH_CHECK(lssl::cpu::faces_in_range(faces.const_data_ptr<int32_t>(), faces.numel(), vertices.size(1)),
                  "rasterize: faces has an index outside [0, ", vertices.size(1), "), the vertices");

  Tensor triangle = torch::stable::new_empty(vertices, {batch, height, width}, ScalarType::Int);
  Tensor barycentric = torch::stable::new_empty(vertices, {batch, height, width, 3});
  Tensor depth = torch::stable::new_empty(vertices, {batch, height, width});
  Tensor snapped = torch::stable::new_empty(vertices, {batch, vertices.size(1), 2}, ScalarType::Int);
  if (dtype == ScalarType::Float) {
    run<float>(vertices, faces, height, width, snapped, triangle, barycentric, depth);
  } else {
    run<double>(vertices, faces, height, width, snapped, triangle, barycentric, depth);
  }
  return {triangle, barycentric, depth};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("rasterize(Tensor vertices, Tensor faces, SymInt height, SymInt width) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) { m.impl("rasterize", TORCH_BOX(&rasterize)); }
