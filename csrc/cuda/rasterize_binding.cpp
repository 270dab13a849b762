// lssl::rasterize on CUDA. Schema: csrc/rasterize.cpp.
#include <climits>
#include <tuple>

#include "binding.h"
#include "raster_geometry.h"

namespace lssl::cuda {

namespace {

constexpr char kOp[] = "rasterize";

std::tuple<Tensor, Tensor, Tensor> run(const Tensor& vertices_in, const Tensor& faces_in, int64_t height,
                                       int64_t width) {
  const Queue queue(vertices_in);
  STD_TORCH_CHECK(vertices_in.dim() == 3 && vertices_in.size(2) == 3, kOp, ": vertices must be (N, V, 3)");
  STD_TORCH_CHECK(faces_in.dim() == 2 && faces_in.size(1) == 3 && faces_in.scalar_type() == ScalarType::Int, kOp,
                  ": faces must be (F, 3) int32");
  check_device(kOp, "faces", faces_in, vertices_in);
  STD_TORCH_CHECK(height >= 1 && height <= raster::kMaxImageSize, kOp, ": height must be 1 to ", raster::kMaxImageSize,
                  ", got ", height);
  STD_TORCH_CHECK(width >= 1 && width <= raster::kMaxImageSize, kOp, ": width must be 1 to ", raster::kMaxImageSize,
                  ", got ", width);
  const ScalarType dtype = vertices_in.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, kOp,
                  ": vertices must be float32 or float64");
  STD_TORCH_CHECK(vertices_in.size(1) <= INT_MAX && faces_in.size(0) <= INT_MAX / 2, kOp, ": the mesh is too large");
  const Tensor vertices = torch::stable::contiguous(vertices_in), faces = torch::stable::contiguous(faces_in);
  const int64_t batch = vertices.size(0), vertex_count = vertices.size(1), face_count = faces.size(0);
  Tensor triangle = torch::stable::new_empty(vertices, {batch, height, width}, ScalarType::Int);
  Tensor barycentric = torch::stable::new_empty(vertices, {batch, height, width, 3});
  Tensor depth = torch::stable::new_empty(vertices, {batch, height, width});
  Tensor scratch = workspace(vertices, rasterize_workspace(batch, face_count));
  const auto launch = [&](auto zero) {
    using T = decltype(zero);
    return rasterize(vertices.const_data_ptr<T>(), faces.const_data_ptr<int32_t>(), batch, vertex_count, face_count,
                     height, width, scratch.mutable_data_ptr(), triangle.mutable_data_ptr<int32_t>(),
                     barycentric.mutable_data_ptr<T>(), depth.mutable_data_ptr<T>(), queue.stream());
  };
  check_launch(kOp, dtype == ScalarType::Float ? launch(float()) : launch(double()));
  return {triangle, barycentric, depth};
}

}  // namespace

}  // namespace lssl::cuda

STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) { m.impl("rasterize", TORCH_BOX(&lssl::cuda::run)); }
