// What the pixel_shuffle_instance_norm kernels share: moments, the activation, and which kernels can take a call.
#pragma once

#include "support/vector.cuh"

namespace lssl::cuda {

// A kernel that holds a whole plane on chip is `kFused`: one pass over memory. Larger planes take two: `kPartial`
// writes each chunk's sums to the workspace, `kApply` combines them, in order, and writes the result.
enum class Pass { kFused, kPartial, kApply };

// Blocks of 512 threads that share a multiprocessor, one loading while the other stores: two, hence 64 registers per
// thread. For sm_100 the compiler pairs registers for packed arithmetic and would spill at 64, so it gets 128.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kFusedBlocks = 1;
#else
constexpr int kFusedBlocks = 2;
#endif

// Mean and sum of squared deviations of `count` values; merged as in Chan, Golub and LeVeque 1983, which stays
// precise where the mean is much larger than the deviation.
template <typename A>
struct Moments {
  A count, mean, squares;

  __device__ __forceinline__ void merge(A other_count, A other_mean, A other_squares) {
    if (other_count == A(0)) return;
    if (count == A(0)) {
      count = other_count;
      mean = other_mean;
      squares = other_squares;
      return;
    }
    const A total = count + other_count, delta = other_mean - mean, share = other_count / total;
    mean += delta * share;
    squares += other_squares + delta * delta * count * share;
    count = total;
  }
  __device__ __forceinline__ A rstd(A eps) const { return A(1) / sqrt(squares / count + eps); }
};

// From two sums around any centre: of the deviations, and of their squares. The first removes the centre's rounding
// error.
template <typename A>
__device__ __forceinline__ void recentre(A count, A centre, A deviations, A squares, A& mean, A& central_squares) {
  const A shift = deviations / count, rest = squares - deviations * shift;
  mean = centre + shift;
  central_squares = rest < A(0) ? A(0) : rest;  // NaN stays
}

// Slope 1: no activation, 0: ReLU, else leaky ReLU.
template <typename A>
__device__ __forceinline__ A activate(A z, A slope) {
  return z > A(0) ? z : slope * z;
}

template <typename A>
__device__ __forceinline__ A affine_weight(const A* weight, int64_t c) {
  return weight == nullptr ? A(1) : weight[c];
}
template <typename A>
__device__ __forceinline__ A affine_bias(const A* bias, int64_t c) {
  return bias == nullptr ? A(0) : bias[c];
}

inline bool aligned(const ShuffleNorm& call) {
  const void* const pointers[] = {call.input, call.output, call.grad_output, call.grad_input};
  uintptr_t bits = 0;
  for (const void* p : pointers) bits |= reinterpret_cast<uintptr_t>(p);
  return bits % sizeof(Vector) == 0;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Contiguous planes in 16-byte vectors (cuda_planes.cu).
bool planes_serve(Dtype dtype, const ShuffleNorm& call);
int64_t planes_workspace(Dtype dtype, const ShuffleNorm& call);
const char* planes_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);
const char* planes_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);

// Channels-last in 16-byte vectors (cuda_channels_last.cu).
bool channels_last_serves(Dtype dtype, const ShuffleNorm& call);
int64_t channels_last_workspace(Dtype dtype, const ShuffleNorm& call);
const char* channels_last_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);
const char* channels_last_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream);

}  // namespace lssl::cuda
