// SIMD of one level, in compiler vector types: lanes of the accumulation type, loaded from and stored to each dtype.
//
// Included by files that are each compiled for one level, after they define LSSL_SIMD_LEVEL (0: what every CPU of the
// architecture has, 1: AVX2, 2: AVX-512) and LSSL_SIMD (the level's namespace). Neither this file nor what it includes
// may instantiate a template of the standard library: the linker keeps one copy of each, which could be the AVX-512
// one.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LSSL_INLINE inline __attribute__((always_inline))

namespace lssl::cpu::LSSL_SIMD {

constexpr int kVectorBytes = LSSL_SIMD_LEVEL == 2 ? 64 : LSSL_SIMD_LEVEL == 1 ? 32 : 16;

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <typename T>
struct AccumulationOf {
  using type = float;
};
template <>
struct AccumulationOf<double> {
  using type = double;
};
template <typename T>
using Accumulation = typename AccumulationOf<T>::type;

template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Accumulation<T>));

template <typename E, int L>
struct VectorOf {
  typedef E type __attribute__((vector_size(sizeof(E) * L)));
};
template <typename E>
struct VectorOf<E, 1> {
  typedef E type;
};
template <typename E, int L>
using Vector = typename VectorOf<E, L>::type;

template <typename To, int L, typename From>
LSSL_INLINE Vector<To, L> convert(Vector<From, L> v) {
  if constexpr (L == 1) {
    return static_cast<To>(v);
  } else {
    return __builtin_convertvector(v, Vector<To, L>);
  }
}

template <typename To, typename From>
LSSL_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

LSSL_INLINE float half_to_float(uint16_t half) {
  // Subnormals and normals by one multiplication (exponents rebased by 2^112); then infinity and NaN.
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  float value = bit_cast<float>(magnitude) * 0x1p112f;
  if ((half & 0x7c00) == 0x7c00) value = bit_cast<float>(magnitude | 0x7f800000u);
  return bit_cast<float>(bit_cast<uint32_t>(value) | static_cast<uint32_t>(half & 0x8000) << 16);
}

LSSL_INLINE uint16_t float_to_half(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (magnitude > 0x7f800000u) return sign | 0x7e00;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;  // rounds past 65504
  if (magnitude < 0x38800000u) {                       // subnormal: the float addition rounds to the half's last bit
    const float shifted = bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(bit_cast<uint32_t>(shifted) - bit_cast<uint32_t>(0.5f));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

template <int L, typename T>
LSSL_INLINE Vector<Accumulation<T>, L> load(const T* from) {
  if constexpr (sizeof(T) == sizeof(Accumulation<T>)) {
    Vector<T, L> v;
    __builtin_memcpy(&v, from, sizeof(v));
    return v;
  } else {
    Vector<uint16_t, L> bits;
    __builtin_memcpy(&bits, from, sizeof(bits));
    if constexpr (__is_same(T, BFloat16)) {
      return bit_cast<Vector<float, L>>(convert<uint32_t, L, uint16_t>(bits) << 16);
    } else if constexpr (L == 1) {
      return half_to_float(bits);
#if LSSL_SIMD_LEVEL == 2
    } else if constexpr (L == 16) {
      return bit_cast<Vector<float, L>>(_mm512_cvtph_ps(bit_cast<__m256i>(bits)));
#endif
#if LSSL_SIMD_LEVEL >= 1
    } else if constexpr (L == 8) {
      return bit_cast<Vector<float, L>>(_mm256_cvtph_ps(bit_cast<__m128i>(bits)));
#endif
    } else {
      Vector<float, L> v;
      for (int lane = 0; lane < L; ++lane) v[lane] = half_to_float(bits[lane]);
      return v;
    }
  }
}

template <typename T, int L>
LSSL_INLINE auto round_to(Vector<Accumulation<T>, L> v) {
  if constexpr (sizeof(T) == sizeof(Accumulation<T>)) {
    return v;
  } else if constexpr (__is_same(T, BFloat16)) {
    const auto bits = bit_cast<Vector<uint32_t, L>>(v);
    const auto nearest_even = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const Vector<uint32_t, L> nan = bits * 0u + 0x7fc0u, result = v == v ? nearest_even : nan;
#if LSSL_SIMD_LEVEL == 1
    if constexpr (L == 8) {  // GCC narrows lane by lane here
      const auto packed = _mm256_packus_epi32(bit_cast<__m256i>(result), bit_cast<__m256i>(result));
      const auto low = _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
      return bit_cast<Vector<uint16_t, L>>(low);
    }
#endif
    return convert<uint16_t, L, uint32_t>(result);
  } else if constexpr (L == 1) {
    return float_to_half(v);
#if LSSL_SIMD_LEVEL == 2
  } else if constexpr (L == 16) {
    return bit_cast<Vector<uint16_t, L>>(_mm512_cvtps_ph(bit_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT));
#endif
#if LSSL_SIMD_LEVEL >= 1
  } else if constexpr (L == 8) {
    return bit_cast<Vector<uint16_t, L>>(_mm256_cvtps_ph(bit_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT));
#endif
  } else {
    Vector<uint16_t, L> bits;
    for (int lane = 0; lane < L; ++lane) bits[lane] = float_to_half(v[lane]);
    return bits;
  }
}

// Bypasses the cache if `stream` (the address must then be a multiple of the vector's size, and sfence() must follow).
template <int L, typename T>
LSSL_INLINE void store(T* to, Vector<Accumulation<T>, L> v, bool stream) {
  const auto rounded = round_to<T, L>(v);
#if defined(__x86_64__)
  if (stream) {
#if LSSL_SIMD_LEVEL == 2
    if constexpr (sizeof(rounded) == 64) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bit_cast<__m512i>(rounded));
      return;
    }
#endif
#if LSSL_SIMD_LEVEL >= 1
    if constexpr (sizeof(rounded) == 32) {
      _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bit_cast<__m256i>(rounded));
      return;
    }
#endif
    if constexpr (sizeof(rounded) == 16) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to), bit_cast<__m128i>(rounded));
      return;
    }
  }
#endif
  __builtin_memcpy(to, &rounded, sizeof(rounded));
}

LSSL_INLINE void sfence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

template <int L, typename T>
LSSL_INLINE Vector<double, L> load_double(const T* from) {
  return convert<double, L, Accumulation<T>>(load<L>(from));
}

template <int... I>
struct Indices {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  using type = Indices<I...>;
};

template <typename V, int... Lane>
LSSL_INLINE V shuffle(V a, V b) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, Lane...);
#else
  using Index = decltype(a < b);
  return __builtin_shuffle(a, b, Index{Lane...});
#endif
}

// Lanes start, start + 2, ... of a followed by b.
template <int kStart, typename V, int... I>
LSSL_INLINE V every_other(V a, V b, Indices<I...>) {
  return shuffle<V, (kStart + 2 * I)...>(a, b);
}

// Lanes a0 b0 a1 b1 ... from lane `kStart` of both on.
template <int kStart, typename V, int... I>
LSSL_INLINE V zip(V a, V b, Indices<I...>) {
  return shuffle<V, (kStart + I / 2 + (I % 2) * static_cast<int>(sizeof...(I)))...>(a, b);
}

template <int L, typename V>
LSSL_INLINE void interleave(V a, V b, V& low, V& high) {
  if constexpr (L == 1) {
    low = a, high = b;
  } else {
    using All = typename Count<L>::type;
    low = zip<0>(a, b, All{}), high = zip<L / 2>(a, b, All{});
  }
}

template <int L, typename V>
LSSL_INLINE void deinterleave(V low, V high, V& even, V& odd) {
  if constexpr (L == 1) {
    even = low, odd = high;
  } else {
    using All = typename Count<L>::type;
    even = every_other<0>(low, high, All{}), odd = every_other<1>(low, high, All{});
  }
}

template <int kBy, typename V, int... I>
LSSL_INLINE V rotate(V v, Indices<I...>) {
  return shuffle<V, ((I + kBy) % static_cast<int>(sizeof...(I)))...>(v, v);
}

// In a fixed order: lanes half a vector apart first.
template <int L, typename E, int kApart = L / 2>
LSSL_INLINE double sum_lanes(Vector<E, L> v) {
  if constexpr (L == 1) {
    return static_cast<double>(v);
  } else if constexpr (kApart == 0) {
    return static_cast<double>(v[0]);
  } else {
    return sum_lanes<L, E, kApart / 2>(v + rotate<kApart>(v, typename Count<L>::type{}));
  }
}

// Memory for one call: the standard containers may not be used here (see above).
template <typename E>
struct Scratch {
  E* data;
  explicit Scratch(int64_t count) : data(static_cast<E*>(malloc(static_cast<size_t>(count) * sizeof(E) + 1))) {
    if (data == nullptr) abort();
  }
  ~Scratch() { free(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace lssl::cpu::LSSL_SIMD
