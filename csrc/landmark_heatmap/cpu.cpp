// Gaussian heatmaps from separable profiles: W + H exponentials per landmark. Vectors are GCC/Clang vector extensions;
// the same source is compiled for AVX-512, AVX2 and the base instruction set, among which it chooses at run time.
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "support/simd_level.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#if defined(__x86_64__) && defined(__GLIBC__)
// The version of exp that every glibc has, not the one of 2.29: it gives the same values, and the library loads on
// older systems.
__asm__(".symver exp, exp@GLIBC_2.2.5");
#endif

#define LSSL_INLINE inline __attribute__((always_inline))

namespace lssl::cpu {

namespace {

// Products of small Gaussians can be subnormal, which is slow on some processors and of no use: they become zero.
class FlushSubnormals {
 public:
#if defined(__x86_64__)
  FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | _MM_FLUSH_ZERO_ON); }
  ~FlushSubnormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

// exp(x) for x <= 0, zero where it would be subnormal. 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Taylor to
// degree 7, error under 1 ulp); written for the vectoriser: no call, no branch.
LSSL_INLINE float exponential(float x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(magic) + 127;
  const float result = p * std::bit_cast<float>(static_cast<uint32_t>(exponent) << 23);
  return x < -87.3f ? 0.0f : result;
}
LSSL_INLINE double exponential(double x) { return x < -708.0 ? 0.0 : std::exp(x); }

// One axis: positions 0 .. size - 1 around `centre`.
template <typename T>
LSSL_INLINE void profile(T centre, T sigma, int64_t size, int64_t stride, T* g, T* t) {
  for (int64_t i = 0; i < size; ++i) {
    T u = (static_cast<T>(i) - centre) / sigma;
    u = u < T(-100) ? T(-100) : u;  // exp(-5000) is zero, and a coordinate of 1e38 does not overflow
    u = u > T(100) ? T(100) : u;
    t[i] = u;
    g[i] = exponential(T(-0.5) * u * u);
  }
  for (int64_t i = size; i < stride; ++i) g[i] = t[i] = T(0);
}

template <typename T>
LSSL_INLINE void find_support(const T* g, int64_t size, int32_t* range) {
  int64_t begin = 0, end = size;
  while (begin < end && g[begin] == T(0)) ++begin;
  while (begin < end && g[end - 1] == T(0)) --end;
  range[0] = static_cast<int32_t>(begin);
  range[1] = static_cast<int32_t>(end);
}

template <typename T>
LSSL_INLINE void profiles_body(const T* landmarks, const T* sigmas, T sigma, const bool* visible,
                               const HeatmapShape& shape, int64_t begin, int64_t end, T* profiles, int32_t* support) {
  for (int64_t i = begin; i < end; ++i) {
    T* gx = profiles + i * shape.profile_size();
    T* gy = gx + shape.x_stride;
    T* tx = gy + shape.y_stride;
    T* ty = tx + shape.x_stride;
    int32_t* range = support + 4 * i;
    if (visible != nullptr && !visible[i]) {
      std::memset(gx, 0, shape.profile_size() * sizeof(T));
      range[0] = range[1] = range[2] = range[3] = 0;
      continue;
    }
    const T s = sigmas != nullptr ? sigmas[i % shape.landmarks] : sigma;
    profile(landmarks[2 * i], s, shape.width, shape.x_stride, gx, tx);
    profile(landmarks[2 * i + 1], s, shape.height, shape.y_stride, gy, ty);
    find_support(gx, shape.width, range);
    find_support(gy, shape.height, range + 2);
  }
}

// Values are finite and not negative, which keeps rounding to 16 bits (to nearest, ties to even) short.
LSSL_INLINE uint16_t to_bfloat16(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
LSSL_INLINE uint16_t to_half(float value) {
  const int32_t bits = std::bit_cast<int32_t>(value);
  const int32_t normal = (bits - (112 << 23) + 0xfff + ((bits >> 13) & 1)) >> 13;
  // Below 2^-14 halves are multiples of 2^-24, the spacing of floats at 0.5.
  const int32_t subnormal = std::bit_cast<int32_t>(value + 0.5f) - std::bit_cast<int32_t>(0.5f);
  // A mask: a conditional would not vectorise for AVX2.
  const int32_t is_small = -static_cast<int32_t>(bits < (113 << 23));
  const int32_t half = (subnormal & is_small) | (normal & ~is_small);
  return static_cast<uint16_t>(half < 0x7c00 ? half : 0x7c00);
}

// out[offset + i] = scale * values[i].
template <typename T>
LSSL_INLINE void store_row(T scale, const T* values, int64_t count, Dtype dtype, void* out, int64_t offset) {
  if constexpr (sizeof(T) == sizeof(float)) {
    uint16_t* narrow = static_cast<uint16_t*>(out) + offset;
    if (dtype == Dtype::kBFloat16) {
      for (int64_t i = 0; i < count; ++i) narrow[i] = to_bfloat16(scale * values[i]);
      return;
    }
    if (dtype == Dtype::kFloat16) {
      for (int64_t i = 0; i < count; ++i) narrow[i] = to_half(scale * values[i]);
      return;
    }
  }
  T* same = static_cast<T*>(out) + offset;
  for (int64_t i = 0; i < count; ++i) same[i] = scale * values[i];
}

template <typename T>
LSSL_INLINE void planes_body(const T* profiles, const HeatmapShape& shape, int64_t begin, int64_t end, Dtype dtype,
                             void* out) {
  const bool is_short = dtype == Dtype::kBFloat16 || dtype == Dtype::kFloat16;
  const int64_t element = is_short ? sizeof(uint16_t) : sizeof(T);
  for (int64_t i = begin; i < end; ++i) {
    const T* gx = profiles + i * shape.profile_size();
    const T* gy = gx + shape.x_stride;
    for (int64_t y = 0; y < shape.height; ++y) {
      const int64_t row = (i * shape.height + y) * shape.width;
      if (gy[y] == T(0)) {
        std::memset(static_cast<char*>(out) + row * element, 0, shape.width * element);
      } else {
        store_row(gy[y], gx, shape.width, dtype, out, row);
      }
    }
  }
}

template <typename T, int Bytes>
struct Vector {
  typedef T type __attribute__((vector_size(Bytes)));
  typedef T loaded __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
  static constexpr int lanes = Bytes / sizeof(T);
};

// A tile of Rows x lanes pixels in registers, over the landmarks in `active`.
template <typename T, int Bytes, int Rows, Reduction reduction>
LSSL_INLINE void reduce_tile(const T* profiles, const HeatmapShape& shape, const int64_t* active, int64_t count,
                             int64_t y, int64_t x, T* values) {
  using V = typename Vector<T, Bytes>::type;
  using Loaded = typename Vector<T, Bytes>::loaded;
  V result[Rows], owner[Rows];
  for (int r = 0; r < Rows; ++r) {
    result[r] = V{};
    owner[r] = V{} - T(1);
  }
  for (int64_t a = 0; a < count; ++a) {
    const T* gx = profiles + active[a] * shape.profile_size();
    const T* gy = gx + shape.x_stride + y;
    const V g = *reinterpret_cast<const Loaded*>(gx + x);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      if constexpr (reduction == Reduction::kSum) {
        result[r] += gy[r] * g;
      } else {
        const V value = gy[r] * g;
        if constexpr (reduction == Reduction::kOwner) owner[r] = value > result[r] ? V{} + T(active[a]) : owner[r];
        result[r] = value > result[r] ? value : result[r];
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    *reinterpret_cast<Loaded*>(values + r * Vector<T, Bytes>::lanes) =
        reduction == Reduction::kOwner ? owner[r] : result[r];
  }
}

template <typename T, int Bytes, int Rows, Reduction reduction>
LSSL_INLINE void reduce_rows(const T* profiles, const int32_t* support, const HeatmapShape& shape, int64_t begin,
                             int64_t end, Dtype dtype, void* out, int64_t* active) {
  constexpr int lanes = Vector<T, Bytes>::lanes;
  constexpr int64_t block = 64;  // columns that share a list of active landmarks
  T values[Rows * lanes];
  for (int64_t y = begin; y < end; y += Rows) {
    for (int64_t x_block = 0; x_block < shape.width; x_block += block) {
      int64_t count = 0;
      for (int64_t k = 0; k < shape.landmarks; ++k) {
        const int32_t* range = support + 4 * k;
        active[count] = k;
        count += (range[0] < x_block + block) & (range[1] > x_block) & (range[2] < y + Rows) & (range[3] > y);
      }
      for (int64_t x = x_block; x < shape.width && x < x_block + block; x += lanes) {
        reduce_tile<T, Bytes, Rows, reduction>(profiles, shape, active, count, y, x, values);
        const int64_t columns = shape.width - x < lanes ? shape.width - x : lanes;
        for (int64_t r = 0; r < Rows && y + r < end; ++r) {
          store_row(T(1), values + r * lanes, columns, dtype, out, (y + r) * shape.width + x);
        }
      }
    }
  }
}

template <typename T, int Bytes, int Rows>
LSSL_INLINE void reduce_body(const T* profiles, const int32_t* support, const HeatmapShape& shape, int64_t begin,
                             int64_t end, Reduction reduction, Dtype dtype, void* out, int64_t* active) {
  if (reduction == Reduction::kSum) {
    reduce_rows<T, Bytes, Rows, Reduction::kSum>(profiles, support, shape, begin, end, dtype, out, active);
  } else if (reduction == Reduction::kMax) {
    reduce_rows<T, Bytes, Rows, Reduction::kMax>(profiles, support, shape, begin, end, dtype, out, active);
  } else {
    // Half the rows: an owner for each value takes twice the registers.
    reduce_rows<T, Bytes, Rows / 2, Reduction::kOwner>(profiles, support, shape, begin, end, dtype, out, active);
  }
}

template <typename T, int Bytes>
LSSL_INLINE double lane_sum(typename Vector<T, Bytes>::type v) {
  double sum = 0;
  for (int i = 0; i < Vector<T, Bytes>::lanes; ++i) sum += static_cast<double>(v[i]);
  return sum;
}

// With p = grad gx gy, summed over the pixels: d/dlx = sum p tx / sigma, d/dly = sum p ty / sigma,
// d/dsigma = sum p (tx^2 + ty^2) / sigma. Only pixels of the landmark's support are read.
template <typename T, int Bytes>
LSSL_INLINE void gradients_body(const T* grad, bool shared, const T* owners, const T* profiles, const int32_t* support,
                                const T* sigmas, T sigma, const HeatmapShape& shape, int64_t begin, int64_t end,
                                T* grad_landmarks, T* grad_sigmas) {
  using V = typename Vector<T, Bytes>::type;
  using Loaded = typename Vector<T, Bytes>::loaded;
  constexpr int64_t lanes = Vector<T, Bytes>::lanes;
  const int64_t pixels = shape.height * shape.width;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t n = i / shape.landmarks, k = i % shape.landmarks;
    const T* plane = grad + (shared ? n : i) * pixels;
    const T* owner = owners != nullptr ? owners + n * pixels : nullptr;
    const T* gx = profiles + i * shape.profile_size();
    const T* gy = gx + shape.x_stride;
    const T* tx = gy + shape.y_stride;
    const T* ty = tx + shape.x_stride;
    const int32_t* range = support + 4 * i;
    const int64_t x_begin = range[0] / lanes * lanes, x_end = range[1];
    V sum_x{}, sum_y{}, sum_sigma{};
    for (int64_t y = range[2]; y < range[3]; ++y) {
      V p0{}, p1{}, p2{};  // sums along the row of grad gx, grad gx tx, grad gx tx^2
      for (int64_t x = x_begin; x < x_end; x += lanes) {
        const int64_t at = y * shape.width + x;
        V g, o{};
        if (x + lanes <= shape.width) {
          g = *reinterpret_cast<const Loaded*>(plane + at);
          if (owner != nullptr) o = *reinterpret_cast<const Loaded*>(owner + at);
        } else {
          g = V{};
          const int64_t bytes = (shape.width - x) * sizeof(T);
          std::memcpy(&g, plane + at, bytes);
          if (owner != nullptr) std::memcpy(&o, owner + at, bytes);
        }
        if (owner != nullptr) g = o == T(k) ? g : V{};
        const V t = *reinterpret_cast<const Loaded*>(tx + x);
        const V p = g * *reinterpret_cast<const Loaded*>(gx + x);
        p0 += p;
        p1 += p * t;
        p2 += p * t * t;
      }
      sum_x += p1 * gy[y];
      sum_y += p0 * (gy[y] * ty[y]);
      sum_sigma += (p2 + p0 * (ty[y] * ty[y])) * gy[y];
    }
    const double s = static_cast<double>(sigmas != nullptr ? sigmas[k] : sigma);
    grad_landmarks[2 * i] = static_cast<T>(lane_sum<T, Bytes>(sum_x) / s);
    grad_landmarks[2 * i + 1] = static_cast<T>(lane_sum<T, Bytes>(sum_y) / s);
    grad_sigmas[i] = static_cast<T>(lane_sum<T, Bytes>(sum_sigma) / s);
  }
}

// One set of functions per instruction set; the bodies above are inlined into them and compiled for their target.
#define LSSL_DEFINE(T, name, target, bytes, rows)                                                                      \
  target void profiles_##name(const T* landmarks, const T* sigmas, T sigma, const bool* visible,                       \
                              const HeatmapShape& shape, int64_t begin, int64_t end, T* profiles, int32_t* support) {  \
    profiles_body(landmarks, sigmas, sigma, visible, shape, begin, end, profiles, support);                            \
  }                                                                                                                    \
  target void planes_##name(const T* profiles, const HeatmapShape& shape, int64_t begin, int64_t end, Dtype dtype,     \
                            void* out) {                                                                               \
    planes_body(profiles, shape, begin, end, dtype, out);                                                              \
  }                                                                                                                    \
  target void reduce_##name(const T* profiles, const int32_t* support, const HeatmapShape& shape, int64_t begin,       \
                            int64_t end, Reduction reduction, Dtype dtype, void* out, int64_t* active) {               \
    reduce_body<T, bytes, rows>(profiles, support, shape, begin, end, reduction, dtype, out, active);                  \
  }                                                                                                                    \
  target void gradients_##name(const T* grad, bool shared, const T* owners, const T* profiles, const int32_t* support, \
                               const T* sigmas, T sigma, const HeatmapShape& shape, int64_t begin, int64_t end,        \
                               T* grad_landmarks, T* grad_sigmas) {                                                    \
    gradients_body<T, bytes>(grad, shared, owners, profiles, support, sigmas, sigma, shape, begin, end,                \
                             grad_landmarks, grad_sigmas);                                                             \
  }

#if defined(__x86_64__)
#define LSSL_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define LSSL_AVX2 __attribute__((target("avx2,fma")))
LSSL_DEFINE(float, avx512, LSSL_AVX512, 64, 8)
LSSL_DEFINE(double, avx512, LSSL_AVX512, 64, 8)
LSSL_DEFINE(float, avx2, LSSL_AVX2, 32, 8)
LSSL_DEFINE(double, avx2, LSSL_AVX2, 32, 8)

const int level = simd_level();
#define LSSL_DISPATCH(function, ...)                     \
  if (level == 2) return function##_avx512(__VA_ARGS__); \
  if (level == 1) return function##_avx2(__VA_ARGS__);   \
  return function##_base(__VA_ARGS__)
#else
#define LSSL_DISPATCH(function, ...) return function##_base(__VA_ARGS__)
#endif
LSSL_DEFINE(float, base, , 16, 8)
LSSL_DEFINE(double, base, , 16, 8)

}  // namespace

template <typename T>
void heatmap_profiles(const T* landmarks, const T* sigmas, T sigma, const bool* visible, const HeatmapShape& shape,
                      int64_t begin, int64_t end, T* profiles, int32_t* support) {
  LSSL_DISPATCH(profiles, landmarks, sigmas, sigma, visible, shape, begin, end, profiles, support);
}

template <typename T>
void heatmap_planes(const T* profiles, const HeatmapShape& shape, int64_t begin, int64_t end, Dtype dtype, void* out) {
  const FlushSubnormals flush;
  LSSL_DISPATCH(planes, profiles, shape, begin, end, dtype, out);
}

template <typename T>
void heatmap_reduce(const T* profiles, const int32_t* support, const HeatmapShape& shape, int64_t begin, int64_t end,
                    Reduction reduction, Dtype dtype, void* out) {
  const FlushSubnormals flush;
  std::vector<int64_t> active(shape.landmarks + 1);
  LSSL_DISPATCH(reduce, profiles, support, shape, begin, end, reduction, dtype, out, active.data());
}

template <typename T>
void heatmap_gradients(const T* grad, bool shared, const T* owners, const T* profiles, const int32_t* support,
                       const T* sigmas, T sigma, const HeatmapShape& shape, int64_t begin, int64_t end,
                       T* grad_landmarks, T* grad_sigmas) {
  LSSL_DISPATCH(gradients, grad, shared, owners, profiles, support, sigmas, sigma, shape, begin, end, grad_landmarks,
                grad_sigmas);
}

#define LSSL_INSTANTIATE(T)                                                                                          \
  template void heatmap_profiles<T>(const T*, const T*, T, const bool*, const HeatmapShape&, int64_t, int64_t, T*,   \
                                    int32_t*);                                                                       \
  template void heatmap_planes<T>(const T*, const HeatmapShape&, int64_t, int64_t, Dtype, void*);                    \
  template void heatmap_reduce<T>(const T*, const int32_t*, const HeatmapShape&, int64_t, int64_t, Reduction, Dtype, \
                                  void*);                                                                            \
  template void heatmap_gradients<T>(const T*, bool, const T*, const T*, const int32_t*, const T*, T,                \
                                     const HeatmapShape&, int64_t, int64_t, T*, T*);
LSSL_INSTANTIATE(float)
LSSL_INSTANTIATE(double)

}  // namespace lssl::cpu
