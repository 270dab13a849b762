// The gradient penalty's kernels, all memory-bound: interpolation reads two tensors and writes one; the cotangent
// reads the gradient twice (the second time from L2 where it fits) and writes one; slopes work in place.
#include "support/vector.cuh"

namespace lssl::cuda {

namespace penalty {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;        // independent accesses per thread
constexpr int64_t kBlock = 4096;  // values of a sample whose squares one block sums

template <typename T>
bool whole_vectors(int64_t values, const void* a, const void* b, const void* c) {
  const auto bits = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) | reinterpret_cast<uintptr_t>(c);
  return values % kValues<T> == 0 && bits % sizeof(Vector) == 0;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A block takes `per_block` values of one sample, which has `blocks` blocks; V values at a time: a vector's, or one.
struct Span {
  int64_t sample_size, blocks, per_block;

  // Sets the block's sample, and the first value and the end of its part, counted from the start of the batch.
  __device__ __forceinline__ void locate(int64_t& sample, int64_t& begin, int64_t& end) const {
    sample = blockIdx.x / blocks;
    const int64_t first = blockIdx.x % blocks * per_block;
    begin = sample * sample_size + first;
    end = sample * sample_size + min(first + per_block, sample_size);
    LSSL_ASSERT(begin < end);
  }
};

template <typename T, bool kVectors>
__device__ __forceinline__ void interpolate_values(const T* real, const T* fake, Accumulator<T> a, int64_t begin,
                                                   int64_t end, T* output) {
  using A = Accumulator<T>;
  const A b = A(1) - a;
  if constexpr (kVectors) {
    constexpr int V = kValues<T>;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * V; i < end; i += kUnroll * kThreads * V) {
      Vector r[kUnroll], f[kUnroll];
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        const int64_t at = i + k * kThreads * V;
        if (at >= end) break;
        r[k] = load(reinterpret_cast<const Vector*>(real + at));
        f[k] = load(reinterpret_cast<const Vector*>(fake + at));
      }
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        const int64_t at = i + k * kThreads * V;
        if (at >= end) break;
        A x[V], y[V];
        unpack<T>(r[k], x);
        unpack<T>(f[k], y);
#pragma unroll
        for (int e = 0; e < V; ++e) x[e] = a * x[e] + b * y[e];
        store(reinterpret_cast<Vector*>(output + at), pack<T>(x));
      }
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
      output[i] = narrow<T>(a * widen(real[i]) + b * widen(fake[i]));
    }
  }
}

template <typename T, bool kVectors>
__global__ void __launch_bounds__(kThreads)
    interpolate(const T* real, const T* fake, const Accumulator<T>* alpha, Span span, T* output) {
  int64_t sample, begin, end;
  span.locate(sample, begin, end);
  interpolate_values<T, kVectors>(real, fake, alpha[sample], begin, end, output);
}

// The sum of squares of a block's part of its sample.
template <typename T, bool kVectors>
__global__ void __launch_bounds__(kThreads) square_sums(const T* gradient, Span span, double* sums) {
  using A = Accumulator<T>;
  LSSL_SHARED(scratch, double[32][1]);
  int64_t sample, begin, end;
  span.locate(sample, begin, end);
  A part[kUnroll] = {};
  if constexpr (kVectors) {
    constexpr int V = kValues<T>;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * V; i < end; i += kUnroll * kThreads * V) {
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        const int64_t at = i + k * kThreads * V;
        if (at >= end) break;
        A x[V];
        unpack<T>(load(reinterpret_cast<const Vector*>(gradient + at)), x);
#pragma unroll
        for (int e = 0; e < V; ++e) part[k] += x[e] * x[e];
      }
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
      const A x = widen(gradient[i]);
      part[0] += x * x;
    }
  }
  double sum[1] = {0};
#pragma unroll
  for (int k = 0; k < kUnroll; ++k) sum[0] += static_cast<double>(part[k]);
  block_sum(sum, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum[0];
}

// One sample's norm from its blocks' sums, computed by a warp; every warp gets the same bits.
__device__ __forceinline__ double norm_of(const double* sums, int64_t blocks) {
  double square = 0;
  for (int64_t i = threadIdx.x % 32; i < blocks; i += 32) square += sums[i];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) square += __shfl_xor_sync(kWarp, square, offset);
  return sqrt(square);
}

// cotangent = gradient 2 (norm - target) / (batch norm); block 0 also writes the penalty.
template <typename T, bool kVectors>
__global__ void __launch_bounds__(kThreads) cotangent(const T* gradient, const double* sums, Span sum_span, Span span,
                                                      int64_t batch, double target, T* penalty, T* output) {
  using A = Accumulator<T>;
  LSSL_SHARED(scratch, double[32][1]);
  int64_t sample, begin, end;
  span.locate(sample, begin, end);
  const double norm = norm_of(sums + sample * sum_span.blocks, sum_span.blocks);
  const A scale = static_cast<A>(norm == 0 ? 0 : 2 * (norm - target) / (static_cast<double>(batch) * norm));
  if constexpr (kVectors) {
    constexpr int V = kValues<T>;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * V; i < end; i += kUnroll * kThreads * V) {
      Vector g[kUnroll];
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        if (i + k * kThreads * V < end) g[k] = load(reinterpret_cast<const Vector*>(gradient + i + k * kThreads * V));
      }
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        if (i + k * kThreads * V >= end) break;
        A x[V];
        unpack<T>(g[k], x);
#pragma unroll
        for (int e = 0; e < V; ++e) x[e] *= scale;
        store(reinterpret_cast<Vector*>(output + i + k * kThreads * V), pack<T>(x));
      }
    }
  } else {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) output[i] = narrow<T>(scale * widen(gradient[i]));
  }
  if (blockIdx.x != 0) return;
  double total[1] = {0};
  for (int64_t n = threadIdx.x / 32; n < batch; n += kThreads / 32) {
    const double excess = norm_of(sums + n * sum_span.blocks, sum_span.blocks) - target;
    if (threadIdx.x % 32 == 0) total[0] += excess * excess;
  }
  block_sum(total, scratch);
  if (threadIdx.x == 0) *penalty = narrow<T>(static_cast<A>(total[0] / static_cast<double>(batch)));
}

template <typename T>
__global__ void constant_penalty(T* penalty, Accumulator<T> value) {
  *penalty = narrow<T>(value);
}

template <typename A>
__device__ __forceinline__ bool is_positive(A x, A slope) {
  return slope == A(0) ? !(x <= A(0)) : x > A(0);  // NaN passes a ReLU
}
template <typename A>
__device__ __forceinline__ A sloped(A x, bool positive, A slope) {
  return positive ? x : slope == A(0) ? A(0) : slope * x;  // 0 even from infinity
}

// 32 values, the vectors of this many neighbouring lanes, give one word of bits.
template <typename T>
constexpr int kLanesPerWord = 32 / kValues<T>;

// `words` words of 32 values; kRectify writes the bits, otherwise they are read.
template <typename T, bool kRectify>
__global__ void __launch_bounds__(kThreads) slope_words(T* x, Accumulator<T> slope, int64_t words, uint32_t* bits) {
  using A = Accumulator<T>;
  constexpr int V = kValues<T>, L = kLanesPerWord<T>;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kUnroll + threadIdx.x;
  Vector* const vectors = reinterpret_cast<Vector*>(x);
  Vector in[kUnroll];
#pragma unroll
  for (int k = 0; k < kUnroll; ++k) {
    const int64_t i = first + k * kThreads;
    in[k] = i < words * L ? load_mutable(vectors + i) : Vector{};
  }
#pragma unroll
  for (int k = 0; k < kUnroll; ++k) {
    const int64_t i = first + k * kThreads;
    const bool active = i < words * L;
    const int shift = static_cast<int>(i % L) * V;
    A v[V];
    unpack<T>(in[k], v);
    uint32_t word = 0;
    if constexpr (!kRectify) word = active ? bits[i / L] >> shift : 0;
#pragma unroll
    for (int e = 0; e < V; ++e) {
      bool positive;
      if constexpr (kRectify) {
        positive = is_positive(v[e], slope);
        word |= static_cast<uint32_t>(positive) << (shift + e);
      } else {
        positive = (word >> e & 1) != 0;
      }
      v[e] = sloped(v[e], positive, slope);
    }
    if (active) store(vectors + i, pack<T>(v));
    if constexpr (kRectify) {
#pragma unroll
      for (int offset = 1; offset < L; offset *= 2) word |= __shfl_xor_sync(kWarp, word, offset);
      LSSL_ASSERT(!active || within(i / L, words));
      if (active && shift == 0) bits[i / L] = word;
    }
  }
}

// Values [begin, count), begin a multiple of 8: one byte of bits per thread.
template <typename T, bool kRectify>
__global__ void __launch_bounds__(kThreads)
    slope_bytes(T* x, Accumulator<T> slope, int64_t begin, int64_t count, uint8_t* bits) {
  using A = Accumulator<T>;
  const int64_t first = begin + (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
  if (first >= count) return;
  uint32_t byte = kRectify ? 0 : bits[first / 8];
  for (int e = 0; e < 8 && first + e < count; ++e) {
    const A v = widen(x[first + e]);
    const bool positive = kRectify ? is_positive(v, slope) : (byte >> e & 1) != 0;
    if (kRectify) byte |= static_cast<uint32_t>(positive) << e;
    x[first + e] = narrow<T>(sloped(v, positive, slope));
  }
  if (kRectify) bits[first / 8] = static_cast<uint8_t>(byte);
}

template <typename T, bool kRectify>
const char* run_slopes(void* x, double slope, int64_t count, uint8_t* bits, Stream stream) {
  T* const values = static_cast<T*>(x);
  const auto s = static_cast<Accumulator<T>>(slope);
  const bool fast = whole_vectors<T>(0, x, nullptr, nullptr) && reinterpret_cast<uintptr_t>(bits) % 4 == 0;
  const int64_t words = fast ? count / 32 : 0;
  const char* error = launch(slope_words<T, kRectify>, ceil_div(words * kLanesPerWord<T>, kThreads * kUnroll), kThreads,
                             0, 1, stream, values, s, words, reinterpret_cast<uint32_t*>(bits));
  if (error != nullptr) return error;
  return launch(slope_bytes<T, kRectify>, ceil_div(ceil_div(count - words * 32, 8), kThreads), kThreads, 0, 1, stream,
                values, s, words * 32, count, bits);
}

// Calls f with a value of the dtype's type.
template <typename F>
const char* by_dtype(Dtype dtype, const F& f) {
  switch (dtype) {
    case Dtype::kFloat32:
      return f(float{});
    case Dtype::kFloat64:
      return f(double{});
    case Dtype::kBFloat16:
      return f(__nv_bfloat16{});
    default:
      return f(__half{});
  }
}

// Splits a sample into blocks of whole vectors, kUnroll per thread.
template <typename T>
Span span_of(int64_t sample_size) {
  const int64_t per_block = int64_t{kThreads} * kUnroll * kValues<T>;
  return {sample_size, ceil_div(sample_size, per_block), per_block};
}
Span sum_span_of(int64_t sample_size) { return {sample_size, ceil_div(sample_size, kBlock), kBlock}; }

}  // namespace penalty

const char* penalty_interpolate(Dtype dtype, const void* real, const void* fake, const void* alpha, int64_t batch,
                                int64_t sample_size, void* output, Stream stream) {
  using namespace penalty;
  return by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Span span = span_of<T>(sample_size);
    const auto kernel = whole_vectors<T>(sample_size, real, fake, output) ? penalty::interpolate<T, true>
                                                                          : penalty::interpolate<T, false>;
    return launch(kernel, batch * span.blocks, kThreads, 0, 1, stream, static_cast<const T*>(real),
                  static_cast<const T*>(fake), static_cast<const Accumulator<T>*>(alpha), span,
                  static_cast<T*>(output));
  });
}

int64_t penalty_workspace(int64_t batch, int64_t sample_size) {
  return batch * penalty::sum_span_of(sample_size).blocks * static_cast<int64_t>(sizeof(double));
}

const char* penalty_cotangent(Dtype dtype, const void* gradient, int64_t batch, int64_t sample_size, double target,
                              void* workspace, void* result, void* output, Stream stream) {
  using namespace penalty;
  return by_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    if (batch * sample_size == 0) {  // every norm is 0
      const auto value = static_cast<Accumulator<T>>(batch == 0 ? 0 : target * target);
      return launch(constant_penalty<T>, 1, 1, 0, 1, stream, static_cast<T*>(result), value);
    }
    const T* g = static_cast<const T*>(gradient);
    const bool vectors = whole_vectors<T>(sample_size, gradient, output, nullptr);
    const Span sum_span = sum_span_of(sample_size), span = span_of<T>(sample_size);
    double* const sums = static_cast<double*>(workspace);
    const char* error = launch(vectors ? square_sums<T, true> : square_sums<T, false>, batch * sum_span.blocks,
                               kThreads, 0, 1, stream, g, sum_span, sums);
    if (error != nullptr) return error;
    return launch(vectors ? cotangent<T, true> : cotangent<T, false>, batch * span.blocks, kThreads, 0, 1, stream, g,
                  sums, sum_span, span, batch, target, static_cast<T*>(result), static_cast<T*>(output));
  });
}

const char* penalty_rectify(Dtype dtype, void* x, double slope, int64_t count, uint8_t* bits, Stream stream) {
  return penalty::by_dtype(
      dtype, [&](auto zero) { return penalty::run_slopes<decltype(zero), true>(x, slope, count, bits, stream); });
}

const char* penalty_slope(Dtype dtype, void* tangent, const uint8_t* bits, double slope, int64_t count, Stream stream) {
  return penalty::by_dtype(dtype, [&](auto zero) {
    return penalty::run_slopes<decltype(zero), false>(tangent, slope, count, const_cast<uint8_t*>(bits), stream);
  });
}

}  // namespace lssl::cuda
