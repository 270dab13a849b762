// Every kernel's entry point: raw pointers, no PyTorch. An op's binding (csrc/<op>/binding.cpp) checks, allocates and
// runs them; cpu.cpp and cuda.cu next to it hold them.
#pragma once

#include <cstdint>

namespace lssl {

enum class Dtype { kFloat32, kFloat64, kBFloat16, kFloat16 };

// How landmark_heatmap reduces its maps. kOwner, for its gradient: the index of the first landmark that reaches the
// maximum, -1 where all are 0.
enum class Reduction : int64_t { kNone = 0, kSum = 1, kMax = 2, kOwner = 3 };

// One pixel_shuffle_instance_norm call, forward or backward. Tensors of `dtype`: input and grad_input (N, C r^2, H, W),
// output and grad_output (N, C, H r, W r), all four contiguous or all four channels-last. Of the accumulation type
// (double for kFloat64, else float): weight and bias, which may be null, (C,) or, if affine_step is not 0, (N, C); and
// mean, rstd and the two sums, (N, C).
struct ShuffleNorm {
  int64_t batch, channels, height, width;  // N, C, H, W above
  int64_t factor;                          // r
  bool channels_last;
  int64_t affine_step;         // from a sample's weight and bias to the next one's; 0: all share them
  double eps, negative_slope;  // slope 1: no activation, 0: ReLU
  const void *input, *weight, *bias;
  void *output, *mean, *rstd;  // backward reads mean and rstd
  const void* grad_output;
  void *grad_input, *sum_grad, *sum_grad_normalized;
};

}  // namespace lssl

namespace lssl::cpu {

// rasterize (float, double). Vertices are snapped to fixed point once (snapped: x, y pairs; rasterize/geometry.h), then
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
// input rows [begin, end) of sample n; *_rows_sums gives 2 x C r^2 (backward: 2 x C) doubles per band of rows,
// *_statistics turns the sums of a sample's bands into its planes' statistics, *_rows writes the output. Bands depend
// on the shape alone, so no bit of the result depends on the number of threads.
struct ShuffleNormKernels {
  void (*forward_planes)(const ShuffleNorm&, int64_t begin, int64_t end);
  void (*backward_planes)(const ShuffleNorm&, int64_t begin, int64_t end);
  void (*forward_rows_sums)(const ShuffleNorm&, int64_t n, int64_t begin, int64_t end, double* sums);
  void (*forward_statistics)(const ShuffleNorm&, int64_t n, int64_t bands, const double* sums);
  void (*forward_rows)(const ShuffleNorm&, int64_t n, int64_t begin, int64_t end);
  void (*backward_rows_sums)(const ShuffleNorm&, int64_t n, int64_t begin, int64_t end, double* sums);
  void (*backward_statistics)(const ShuffleNorm&, int64_t n, int64_t bands, const double* sums);
  void (*backward_rows)(const ShuffleNorm&, int64_t n, int64_t begin, int64_t end);
};
const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype);

// landmark_heatmap (T: float, double). A Gaussian is the product of a profile along x and one along y: for landmark i,
// profiles[i * size] holds gx (x_stride), gy (y_stride), tx, ty with t = (x - lx) / sigma and g = exp(-t^2 / 2), padded
// with zeros; support[4 i] is where gx and gy are not zero: x begin, x end, y begin, y end.
struct HeatmapShape {
  int64_t landmarks, height, width;
  int64_t x_stride, y_stride;  // width and height rounded up to kHeatmapPadding
  int64_t profile_size() const { return 2 * (x_stride + y_stride); }
};
constexpr int64_t kHeatmapPadding = 16;

// Landmarks [begin, end) of the batch; sigmas (K) or null: `sigma` for all; visible (N, K) or null.
template <typename T>
void heatmap_profiles(const T* landmarks, const T* sigmas, T sigma, const bool* visible, const HeatmapShape& shape,
                      int64_t begin, int64_t end, T* profiles, int32_t* support);
// Writes the maps of landmarks [begin, end) of the batch, as bfloat16 or float16 where `dtype` says so, else as T.
template <typename T>
void heatmap_planes(const T* profiles, const HeatmapShape& shape, int64_t begin, int64_t end, Dtype dtype, void* out);
// Rows [begin, end) of one image, all its landmarks: their sum, maximum or owner. begin is a multiple of kHeatmapRows.
constexpr int64_t kHeatmapRows = 8;
template <typename T>
void heatmap_reduce(const T* profiles, const int32_t* support, const HeatmapShape& shape, int64_t begin, int64_t end,
                    Reduction reduction, Dtype dtype, void* out);
// Gradients of landmarks [begin, end) of the batch, in landmarks (N, K, 2) and in each map's sigma (N, K). grad is
// (N, K, H, W), or (N, 1, H, W) where `shared`; owners (N, H, W) restricts a landmark to the pixels it owns, or is
// null.
template <typename T>
void heatmap_gradients(const T* grad, bool shared, const T* owners, const T* profiles, const int32_t* support,
                       const T* sigmas, T sigma, const HeatmapShape& shape, int64_t begin, int64_t end,
                       T* grad_landmarks, T* grad_sigmas);

// gradient_penalty. Tensors of `dtype`, elements [begin, end) in memory order; a sample is one block of memory.
// alpha: float, or double for float64.
void penalty_interpolate(Dtype dtype, const void* real, const void* fake, const void* alpha, int64_t sample_size,
                         int64_t begin, int64_t end, void* output);
// The cotangent in three steps: sums of squares over blocks [begin, end) of the batch, penalty_blocks(sample_size) per
// sample; then the penalty (one element of `dtype`) and each sample's factor; then the factors times the gradient.
int64_t penalty_blocks(int64_t sample_size);
void penalty_square_sums(Dtype dtype, const void* gradient, int64_t sample_size, int64_t begin, int64_t end,
                         double* sums);
void penalty_and_scales(Dtype dtype, const double* sums, int64_t batch, int64_t sample_size, double target,
                        double* scales, void* penalty);
void penalty_scale(Dtype dtype, const void* gradient, const double* scales, int64_t sample_size, int64_t begin,
                   int64_t end, void* output);
// begin is a multiple of 8; bit i % 8 of bits[i / 8] says whether element i has slope 1.
void penalty_rectify(Dtype dtype, void* x, double slope, int64_t begin, int64_t end, uint8_t* bits);
void penalty_slope(Dtype dtype, void* tangent, const uint8_t* bits, double slope, int64_t begin, int64_t end);

// moved_pixels: one face of a photograph, edited. The crop is S x S pixels, S = size.
struct MovedPixels {
  const uint8_t* photograph;  // (height, width, 3)
  uint8_t* output;            // a copy of it
  int64_t height, width;
  const float* smooth;  // (grid, grid, 8) over the crop: shift x, y in the photograph's pixels, log of the light's
                        // change for red, green and blue, three unused
  int64_t grid;
  const float* paint;      // (S, S, 4): opacity, and colours in [-1, 1]
  const float* mask;       // (S, S) in [0, 1]
  const uint8_t* reached;  // (S, S): whether a pixel of the photograph there may be painted
  int64_t size;
  const double* similarity;          // (2, 3), from the photograph's pixels to the crop's
  int64_t left, top, right, bottom;  // the pixels that the mask can reach
  int64_t step;                      // pixels between samples of shift and light along a row
};
void find_reached(const float* paint, int64_t size, uint8_t* reached);
// Rows [begin, end) without paint. Per row: the sums of its colours times the mask and of the mask (4), and where the
// painted pixels begin and end (2).
void move_rows(const MovedPixels& call, int64_t begin, int64_t end, double* sums, int64_t* painted);
// Paints them. held (3): channels that are not to exceed red.
void paint_rows(const MovedPixels& call, int64_t begin, int64_t end, const int64_t* painted, const bool* held);

}  // namespace lssl::cpu

struct CUstream_st;  // CUDA's stream, without CUDA's headers

// Each call queues its kernels on `stream` of the current device, allocates nothing, waits for nothing, and returns
// null or, if it failed, the reason.
namespace lssl::cuda {

using Stream = CUstream_st*;

// pixel_shuffle_instance_norm. `workspace` has the bytes that shuffle_norm_workspace asks for (often none).
int64_t shuffle_norm_workspace(Dtype dtype, const ShuffleNorm& call);
const char* shuffle_norm_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);
const char* shuffle_norm_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);

// rasterize (float, double), a whole batch. A face with an index outside [0, vertex_count) is skipped.
int64_t rasterize_workspace(int64_t batch, int64_t face_count);
template <typename T>
const char* rasterize(const T* vertices, const int32_t* faces, int64_t batch, int64_t vertex_count, int64_t face_count,
                      int64_t height, int64_t width, void* workspace, int32_t* triangle, T* barycentric, T* depth,
                      Stream stream);

// interpolate (float, double), a whole batch with `pixels` per image.
struct Interpolation {
  int64_t batch, pixels, face_count, vertex_count, channels;
  const int32_t *triangle, *faces;
};
template <typename T>
const char* interpolate(const Interpolation& call, const T* barycentric, const T* attributes, T* output, Stream stream);
int64_t interpolate_workspace(const Interpolation& call);
template <typename T>
const char* interpolate_attributes_backward(const Interpolation& call, const T* grad, const T* barycentric,
                                            void* workspace, T* grad_attributes, Stream stream);
template <typename T>
const char* interpolate_barycentric_backward(const Interpolation& call, const T* grad, const T* attributes,
                                             T* grad_barycentric, Stream stream);

// gradient_penalty: tensors of `dtype`, each sample one block of memory; alpha is float, or double for kFloat64.
const char* penalty_interpolate(Dtype dtype, const void* real, const void* fake, const void* alpha, int64_t batch,
                                int64_t sample_size, void* output, Stream stream);
int64_t penalty_workspace(int64_t batch, int64_t sample_size);
const char* penalty_cotangent(Dtype dtype, const void* gradient, int64_t batch, int64_t sample_size, double target,
                              void* workspace, void* penalty, void* output, Stream stream);
const char* penalty_rectify(Dtype dtype, void* x, double slope, int64_t count, uint8_t* bits, Stream stream);
const char* penalty_slope(Dtype dtype, void* tangent, const uint8_t* bits, double slope, int64_t count, Stream stream);

// landmark_heatmap (T: float, double): landmarks (N, K, 2), sigmas (K) or null: `sigma` for all, visible (N, K) or
// null.
template <typename T>
struct Heatmap {
  int64_t batch, landmarks, height, width;
  const T *points, *sigmas;
  const bool* visible;
  T sigma;
};
// Writes maps of `dtype`: (N, K, H, W), or (N, 1, H, W) where reduced; kOwner: int32.
template <typename T>
const char* heatmap(const Heatmap<T>& call, Reduction reduction, Dtype dtype, void* output, Stream stream);
// Gradients in landmarks (N, K, 2) and in each map's sigma (N, K). grad is (N, K, H, W), or (N, 1, H, W) where
// `shared`; owners (N, H, W) restricts a landmark to the pixels it owns, or is null.
template <typename T>
const char* heatmap_backward(const Heatmap<T>& call, const T* grad, bool shared, const int32_t* owners,
                             T* grad_landmarks, T* grad_sigmas, Stream stream);

}  // namespace lssl::cuda
