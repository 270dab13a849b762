// landmark_heatmap: a Gaussian is the product of a profile along x and one along y, so a block of 128 x 32 pixels takes
// 160 exponentials per landmark, and the rest is writing the map once (`none`) or a small matrix product (`sum`).
#include "support/vector.cuh"

namespace lssl::cuda {

namespace heatmap_kernels {

constexpr int kThreads = 256;
constexpr int kColumns = 128;                               // per block: a warp's 32 x 4 pixels
constexpr int kRowsAtOnce = kThreads / 32;                  // one row per warp
constexpr int kPlaneRows = 32, kReducedRows = kRowsAtOnce;  // per block
constexpr int kLandmarks = 32;                              // profiles held at a time when maps are reduced

// exp(-t^2 / 2), zero where it would be subnormal, as on the CPU.
__device__ __forceinline__ float gaussian(float t) {
  const float x = -0.5f * t * t;
  return x < -87.3f ? 0.0f : expf(x);
}
__device__ __forceinline__ double gaussian(double t) {
  const double x = -0.5 * t * t;
  return x < -708.0 ? 0.0 : exp(x);
}

// One landmark as the profiles see it. One that is not finite, or whose sigma is not positive, gives NaN: reading it
// back to raise would wait for the device.
template <typename T>
struct Peak {
  T x, y, sigma;
  bool shown;

  __device__ __forceinline__ Peak(const Heatmap<T>& call, int64_t i) {
    x = finite_or_nan(call.points[2 * i]);
    y = finite_or_nan(call.points[2 * i + 1]);
    sigma = call.sigmas == nullptr ? call.sigma : call.sigmas[i % call.landmarks];
    if (!(sigma > T(0))) sigma = T(NAN);
    shown = call.visible == nullptr || call.visible[i];
  }
  static __device__ __forceinline__ T finite_or_nan(T v) { return v + (v - v); }
  // Position `at` along an axis in deviations. exp(-5000) is zero, and a coordinate of 1e38 does not overflow.
  __device__ __forceinline__ T deviations(int64_t at, T centre) const {
    T t = (static_cast<T>(at) - centre) / sigma;
    t = t < T(-100) ? T(-100) : t;
    return t > T(100) ? T(100) : t;
  }
  __device__ __forceinline__ T along_x(int64_t at) const { return shown ? gaussian(deviations(at, x)) : T(0); }
  __device__ __forceinline__ T along_y(int64_t at) const { return shown ? gaussian(deviations(at, y)) : T(0); }
};

// Four neighbouring pixels of a row, in one access where they are aligned.
template <typename O, typename T>
__device__ __forceinline__ void write_four(O* to, const T (&v)[4], int count, bool whole) {
  if (whole && count == 4) {
    // Plain stores would be merged with those of the other branch, value by value.
    if constexpr (sizeof(O) == 2) {
      __stwb(reinterpret_cast<uint2*>(to),
             make_uint2(pack_word(narrow<O>(v[0]), narrow<O>(v[1])), pack_word(narrow<O>(v[2]), narrow<O>(v[3]))));
    } else {
      constexpr int kEach = kValues<O>;
#pragma unroll
      for (int first = 0; first < 4; first += kEach) {
        Accumulator<O> part[kEach];
#pragma unroll
        for (int i = 0; i < kEach; ++i) part[i] = v[first + i];
        const Vector packed = pack<O>(part);
        __stwb(reinterpret_cast<uint4*>(to + first),
               make_uint4(packed.word[0], packed.word[1], packed.word[2], packed.word[3]));
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) to[i] = narrow<O>(v[i]);
    }
  }
}

// Where a block's pixels lie: blocks are numbered along a band of rows, then band by band, then map by map.
struct Grid {
  int columns, bands;

  Grid(int64_t height, int64_t width, int rows)
      : columns(static_cast<int>((width + kColumns - 1) / kColumns)),
        bands(static_cast<int>((height + rows - 1) / rows)) {}
  int64_t blocks(int64_t maps) const { return maps * bands * columns; }
  __device__ __forceinline__ int64_t map() const { return blockIdx.x / (columns * bands); }
  __device__ __forceinline__ int64_t left() const { return static_cast<int64_t>(blockIdx.x) % columns * kColumns; }
  __device__ __forceinline__ int64_t top(int rows) const {
    return static_cast<int64_t>(blockIdx.x) / columns % bands * rows;
  }
};

template <typename T, typename O>
__global__ void __launch_bounds__(kThreads) planes(const Heatmap<T> call, const Grid grid, bool whole, O* output) {
  LSSL_SHARED(gx, T[kColumns]);
  LSSL_SHARED(gy, T[kPlaneRows]);
  const int64_t map = grid.map(), left = grid.left(), top = grid.top(kPlaneRows);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kColumns + kPlaneRows) {
    const Peak<T> peak(call, map);
    if (thread < kColumns) {
      gx[thread] = peak.along_x(left + thread);
    } else {
      gy[thread - kColumns] = peak.along_y(top + thread - kColumns);
    }
  }
  __syncthreads();
  const int x = thread % 32 * 4;
  const int count = static_cast<int>(min(call.width - left - x, int64_t{4}));
  if (count <= 0) return;
  LSSL_ASSERT(within(x + 3, kColumns));
  T along[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) along[i] = gx[x + i];
  const int rows = static_cast<int>(min(call.height - top, static_cast<int64_t>(kPlaneRows)));
  for (int y = thread / 32; y < rows; y += kRowsAtOnce) {
    T v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = gy[y] * along[i];
    write_four(output + (map * call.height + top + y) * call.width + left + x, v, count, whole);
  }
}

template <typename T, Reduction R>
__device__ __forceinline__ void take(T& best, int32_t& owner, T v, int32_t landmark) {
  if constexpr (R == Reduction::kSum) {
    best += v;
  } else if (v > best || (v != v && best == best)) {  // the first of equal values, and the first NaN
    best = v;
    owner = landmark;
  }
}

template <typename T, typename O, Reduction R>
__global__ void __launch_bounds__(kThreads) reduced(const Heatmap<T> call, const Grid grid, bool whole, O* output) {
  LSSL_SHARED(gx, T[kLandmarks][kColumns]);
  LSSL_SHARED(gy, T[kLandmarks][kReducedRows]);
  const int64_t n = grid.map(), left = grid.left(), top = grid.top(kReducedRows);
  const int thread = static_cast<int>(threadIdx.x), x = thread % 32 * 4, y = thread / 32;
  T best[4] = {};
  int32_t owner[4] = {-1, -1, -1, -1};  // of a pixel that no landmark reaches
  for (int64_t first = 0; first < call.landmarks; first += kLandmarks) {
    const int held = static_cast<int>(min(call.landmarks - first, static_cast<int64_t>(kLandmarks)));
    constexpr int kWide = kColumns + kReducedRows;
    for (int i = thread; i < held * kWide; i += kThreads) {
      const int k = i / kWide, at = i % kWide;
      LSSL_ASSERT(within(k, kLandmarks));
      const Peak<T> peak(call, n * call.landmarks + first + k);
      if (at < kColumns) {
        gx[k][at] = peak.along_x(left + at);
      } else {
        gy[k][at - kColumns] = peak.along_y(top + at - kColumns);
      }
    }
    __syncthreads();
    for (int k = 0; k < held; ++k) {
      const T along_y = gy[k][y];
      if (along_y == T(0)) continue;  // the whole warp
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        take<T, R>(best[i], owner[i], along_y * gx[k][x + i], static_cast<int32_t>(first) + k);
      }
    }
    __syncthreads();
  }
  const int count = static_cast<int>(min(call.width - left - x, int64_t{4}));
  if (count <= 0 || top + y >= call.height) return;
  O* const to = output + (n * call.height + top + y) * call.width + left + x;
  if constexpr (R == Reduction::kOwner) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) to[i] = owner[i];
    }
  } else {
    write_four(to, best, count, whole);
  }
}

// One block per landmark, over the box where its map is not zero; with p = grad gx gy and t in deviations, the
// gradients are the sums of p tx, p ty and p (tx^2 + ty^2), each over sigma.
template <typename T>
__global__ void __launch_bounds__(kThreads) backward(const Heatmap<T> call, const T* grad, bool shared,
                                                     const int32_t* owners, T* grad_landmarks, T* grad_sigmas) {
  LSSL_SHARED(scratch, T[32][3]);
  const int64_t i = blockIdx.x, n = i / call.landmarks;
  const int32_t landmark = static_cast<int32_t>(i % call.landmarks);
  const Peak<T> peak(call, i);
  const T reach = (sizeof(T) == 4 ? T(13.25) : T(37.7)) * peak.sigma;  // beyond, gaussian() is zero
  // Rows and columns that may not be zero; comparisons with NaN keep the whole map, which becomes NaN.
  const auto first_within = [&](T centre, int64_t size) {
    const T low = ceil(centre - reach);
    return low > T(0) ? (low < static_cast<T>(size) ? static_cast<int64_t>(low) : size) : int64_t{0};
  };
  const auto past_within = [&](T centre, int64_t size) {
    const T high = floor(centre + reach) + T(1);
    return high < static_cast<T>(size) ? (high > T(0) ? static_cast<int64_t>(high) : int64_t{0}) : size;
  };
  const int64_t x_begin = first_within(peak.x, call.width), x_end = past_within(peak.x, call.width);
  const int64_t y_begin = first_within(peak.y, call.height), y_end = past_within(peak.y, call.height);
  const T* const plane = grad + (shared ? n : i) * call.height * call.width;
  const int32_t* const owner = owners == nullptr ? nullptr : owners + n * call.height * call.width;
  T sum[3] = {};
  if (peak.shown) {
    // A warp takes 32 columns of every eighth row, so that a column's profile is computed once.
    for (int64_t x = x_begin + threadIdx.x % 32; x < x_end; x += 32) {
      const T tx = peak.deviations(x, peak.x), gx = gaussian(tx);
      for (int64_t y = y_begin + threadIdx.x / 32; y < y_end; y += kThreads / 32) {
        LSSL_ASSERT(within(x, call.width) && within(y, call.height));
        if (owner != nullptr && owner[y * call.width + x] != landmark) continue;
        const T ty = peak.deviations(y, peak.y), p = plane[y * call.width + x] * gx * gaussian(ty);
        sum[0] += p * tx;
        sum[1] += p * ty;
        sum[2] += p * (tx * tx + ty * ty);
      }
    }
  }
  block_sum(sum, scratch);
  if (threadIdx.x != 0) return;
  grad_landmarks[2 * i] = peak.shown ? sum[0] / peak.sigma : T(0);
  grad_landmarks[2 * i + 1] = peak.shown ? sum[1] / peak.sigma : T(0);
  grad_sigmas[i] = peak.shown ? sum[2] / peak.sigma : T(0);
}

template <typename T, typename O>
const char* write_maps(const Heatmap<T>& call, Reduction reduction, void* output, Stream stream) {
  const bool whole = call.width % 4 == 0 && reinterpret_cast<uintptr_t>(output) % sizeof(Vector) == 0;
  O* const to = static_cast<O*>(output);
  if (reduction == Reduction::kNone) {
    const Grid grid(call.height, call.width, kPlaneRows);
    return launch(planes<T, O>, grid.blocks(call.batch * call.landmarks), kThreads, 0, 1, stream, call, grid, whole,
                  to);
  }
  const Grid grid(call.height, call.width, kReducedRows);
  const auto kernel = reduction == Reduction::kSum ? reduced<T, O, Reduction::kSum> : reduced<T, O, Reduction::kMax>;
  return launch(kernel, grid.blocks(call.batch), kThreads, 0, 1, stream, call, grid, whole, to);
}

}  // namespace heatmap_kernels

template <typename T>
const char* heatmap(const Heatmap<T>& call, Reduction reduction, Dtype dtype, void* output, Stream stream) {
  using namespace heatmap_kernels;
  if (reduction == Reduction::kOwner) {
    const Grid grid(call.height, call.width, kReducedRows);
    return launch(reduced<T, int32_t, Reduction::kOwner>, grid.blocks(call.batch), kThreads, 0, 1, stream, call, grid,
                  false, static_cast<int32_t*>(output));
  }
  if constexpr (sizeof(T) == 8) {
    return write_maps<T, double>(call, reduction, output, stream);
  } else {
    switch (dtype) {
      case Dtype::kBFloat16:
        return write_maps<T, __nv_bfloat16>(call, reduction, output, stream);
      case Dtype::kFloat16:
        return write_maps<T, __half>(call, reduction, output, stream);
      default:
        return write_maps<T, float>(call, reduction, output, stream);
    }
  }
}

template <typename T>
const char* heatmap_backward(const Heatmap<T>& call, const T* grad, bool shared, const int32_t* owners,
                             T* grad_landmarks, T* grad_sigmas, Stream stream) {
  using namespace heatmap_kernels;
  return launch(backward<T>, call.batch * call.landmarks, kThreads, 0, 1, stream, call, grad, shared, owners,
                grad_landmarks, grad_sigmas);
}

#define LSSL_INSTANTIATE(T)                                                            \
  template const char* heatmap<T>(const Heatmap<T>&, Reduction, Dtype, void*, Stream); \
  template const char* heatmap_backward<T>(const Heatmap<T>&, const T*, bool, const int32_t*, T*, T*, Stream);
LSSL_INSTANTIATE(float)
LSSL_INSTANTIATE(double)

}  // namespace lssl::cuda
