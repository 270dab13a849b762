// lssl::rasterize: schema, checks, and the CPU's parallel loop.
#include "support/binding.h"

#include <algorithm>
#include <climits>
#include <tuple>

#include "rasterize/geometry.h"

namespace lssl {

namespace {

constexpr char kOp[] = "rasterize";

template <typename T>
void run_cpu(const Tensor& vertices, const Tensor& faces, int64_t height, int64_t width, Tensor& triangle,
             Tensor& barycentric, Tensor& depth) {
  const int64_t batch = vertices.size(0), vertex_count = vertices.size(1), face_count = faces.size(0);
  const T* v = vertices.const_data_ptr<T>();
  const int32_t* f = faces.const_data_ptr<int32_t>();
  Tensor snapped = torch::stable::new_empty(vertices, {batch, vertex_count, 2}, ScalarType::Int);
  int32_t* s = snapped.mutable_data_ptr<int32_t>();
  int32_t* t = triangle.mutable_data_ptr<int32_t>();
  T* b = barycentric.mutable_data_ptr<T>();
  T* d = depth.mutable_data_ptr<T>();

  torch::stable::parallel_for(0, batch * vertex_count, 16384,
                              [=](int64_t begin, int64_t end) { cpu::rasterize_snap(v, begin, end, s); });
  // Whole images where there are enough for every thread, else bands of rows. A pixel does not depend on its band.
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t bands = std::clamp<int64_t>((threads + batch - 1) / std::max<int64_t>(batch, 1), 1, height);
  torch::stable::parallel_for(0, batch * bands, 1, [=](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t n = job / bands, band = job % bands, pixels = n * height * width;
      cpu::rasterize(v + n * vertex_count * 3, s + n * vertex_count * 2, f, face_count, width, band * height / bands,
                     (band + 1) * height / bands, t + pixels, b + 3 * pixels, d + pixels);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> draw(const Tensor& vertices_in, const Tensor& faces_in, int64_t height,
                                        int64_t width) {
  const Place place(vertices_in);
  STD_TORCH_CHECK(vertices_in.dim() == 3 && vertices_in.size(2) == 3, kOp, ": vertices must be (N, V, 3)");
  STD_TORCH_CHECK(faces_in.dim() == 2 && faces_in.size(1) == 3, kOp, ": faces must be (F, 3)");
  STD_TORCH_CHECK(faces_in.scalar_type() == ScalarType::Int, kOp, ": faces must be int32");
  check_device(kOp, "faces", faces_in, vertices_in);
  for (const auto& [name, size] : {std::pair("height", height), std::pair("width", width)}) {
    STD_TORCH_CHECK(size >= 1 && size <= raster::kMaxImageSize, kOp, ": ", name, " must be 1 to ",
                    raster::kMaxImageSize, ", got ", size);
  }
  const ScalarType type = vertices_in.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Float || type == ScalarType::Double, kOp,
                  ": vertices must be float32 or float64");
  STD_TORCH_CHECK(vertices_in.size(1) <= INT_MAX && faces_in.size(0) <= INT_MAX / 2, kOp, ": the mesh is too large");
  const Tensor vertices = packed(vertices_in), faces = packed(faces_in);
  const int64_t batch = vertices.size(0), vertex_count = vertices.size(1), face_count = faces.size(0);
  const int32_t* f = faces.const_data_ptr<int32_t>();
  if (!place.is_cuda()) {  // checking would wait for the GPU, where such a face is skipped
    STD_TORCH_CHECK(cpu::faces_in_range(f, faces.numel(), vertex_count), kOp, ": faces has an index outside [0, ",
                    vertex_count, "), the number of vertices");
  }
  Tensor triangle = torch::stable::new_empty(vertices, {batch, height, width}, ScalarType::Int);
  Tensor barycentric = torch::stable::new_empty(vertices, {batch, height, width, 3});
  Tensor depth = torch::stable::new_empty(vertices, {batch, height, width});
  by_type(type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (kWithCuda) {
      if (place.is_cuda()) {
        Workspace workspace(vertices, cuda::rasterize_workspace(batch, face_count));
        return check_launch(
            kOp, cuda::rasterize(vertices.const_data_ptr<T>(), f, batch, vertex_count, face_count, height, width,
                                 workspace.data(), triangle.mutable_data_ptr<int32_t>(),
                                 barycentric.mutable_data_ptr<T>(), depth.mutable_data_ptr<T>(), place.stream()));
      }
    }
    run_cpu<T>(vertices, faces, height, width, triangle, barycentric, depth);
  });
  return {triangle, barycentric, depth};
}

}  // namespace

}  // namespace lssl

STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("rasterize(Tensor vertices, Tensor faces, SymInt height, SymInt width) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) { m.impl("rasterize", TORCH_BOX(&lssl::draw)); }

#if defined(LSSL_WITH_CUDA)
STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) { m.impl("rasterize", TORCH_BOX(&lssl::draw)); }
#endif
