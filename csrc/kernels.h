// Every kernel's entry point: raw pointers, no PyTorch. Bindings (csrc/*.cpp) check, allocate and run them in parallel.
#pragma once

#include <cstdint>

namespace lssl {

enum class Dtype { kFloat32, kFloat64, kBFloat16, kFloat16 };

// One pixel_shuffle_instance_norm call, forward or backward. Tensors of `dtype`: input and grad_input (N, C r^2, H, W),
// output and grad_output (N, C, H r, W r), all four contiguous or all four channels-last. Of the accumulation type
// (double for kFloat64, else float): weight and bias (C,), which may be null, and the (N, C) ones.
struct ShuffleNorm {
  int64_t batch, channels, height, width;  // N, C, H, W above
  int64_t factor;                          // r
  bool channels_last;
  double eps, negative_slope;  // slope 1: no activation, 0: ReLU
  const void *input, *weight, *bias;
  void *output, *mean, *rstd;  // backward reads mean and rstd
  const void* grad_output;
  void *grad_input, *sum_grad, *sum_grad_normalized;
};

}  // namespace lssl

namespace lssl::cpu {

// rasterize (float, double). Vertices are snapped to fixed point once (snapped: x, y pairs; raster_geometry.h), then
// rows are drawn. Pointers are one image's, except in rasterize_snap: vertices [begin, end) of the whole batch.
bool faces_in_range(const int32_t* faces, int64_t count, int64_t vertex_count);
template <typename T>
void rasterize_snap(const T* vertices, int64_t begin, int64_t end, int32_t* snapped);
template <typename T>
void rasterize(const T* vertices, const int32_t* snapped, const int32_t* faces, int64_t face_count, int64_t width,
               int64_t row_begin, int64_t row_end, int32_t* triangle, T* barycentric, T* depth);

// interpolate (float, double). Pointers are one image's; pixels [begin, end), or vertices [vertex_begin, vertex_end).
template <typename T>
void interpolate(const int32_t* triangle, const T* barycentric, const int32_t* faces, int64_t face_count,
                 const T* attributes, int64_t channels, int64_t begin, int64_t end, T* output);
template <typename T>
void interpolate_attributes_backward(const T* grad, const int32_t* triangle, const T* barycentric, const int32_t* faces,
                                     int64_t face_count, int64_t pixels, int64_t channels, int64_t vertex_begin,
                                     int64_t vertex_end, T* grad_attributes);
template <typename T>
void interpolate_barycentric_backward(const T* grad, const int32_t* triangle, const int32_t* faces, int64_t face_count,
                                      const T* attributes, int64_t channels, int64_t begin, int64_t end,
                                      T* grad_barycentric);

// pixel_shuffle_instance_norm. Contiguous: planes [begin, end) of batch * channels, each on its own. Channels-last:
// tiles, that is bands of rows; sums over tiles first (tile_sums: tiles x 2 x C r^2 doubles), then the planes'
// statistics from them, then the tiles' output. Tiles depend on the shape alone, so results do not depend on the number
// of threads.
struct ShuffleNormKernels {
  void (*forward_planes)(const ShuffleNorm&, int64_t begin, int64_t end);
  void (*backward_planes)(const ShuffleNorm&, int64_t begin, int64_t end);
  void (*forward_tile_sums)(const ShuffleNorm&, int64_t rows_a_tile, int64_t tile, double* sums);
  void (*forward_statistics)(const ShuffleNorm&, int64_t tiles, int64_t n, const double* sums);
  void (*forward_tile)(const ShuffleNorm&, int64_t rows_a_tile, int64_t tile);
  void (*backward_tile_sums)(const ShuffleNorm&, int64_t rows_a_tile, int64_t tile, double* sums);
  void (*backward_sums)(const ShuffleNorm&, int64_t tiles, int64_t n, const double* sums);
  void (*backward_tile)(const ShuffleNorm&, int64_t rows_a_tile, int64_t tile);
};
const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype);

}  // namespace lssl::cpu
