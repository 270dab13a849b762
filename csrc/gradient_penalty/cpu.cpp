// The gradient penalty's interpolation, its norms, penalty and cotangent, and its packed slopes. Sums are taken over
// blocks of fixed size in a fixed order, so that no bit of the result depends on the number of threads.
#include <bit>
#include <cmath>

#include "kernels.h"

// One copy of the loops for each SIMD level, chosen when the library loads.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define LSSL_SIMD_LEVELS __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LSSL_SIMD_LEVELS
#endif
#define LSSL_INLINE __attribute__((always_inline)) inline

namespace lssl::cpu {

namespace {

constexpr int64_t kBlock = 4096;  // elements in a partial sum
constexpr int kLanes = 32;        // independent sums in a block

// Storage types, and the type in which each is computed.
struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <typename T>
struct MathOf {
  using Type = T;
};
template <>
struct MathOf<Bfloat16> {
  using Type = float;
};
template <>
struct MathOf<Float16> {
  using Type = float;
};

LSSL_INLINE float load(const float& x) { return x; }
LSSL_INLINE double load(const double& x) { return x; }
LSSL_INLINE float load(const Bfloat16& x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }
LSSL_INLINE float load(const Float16& x) {
  const uint32_t magnitude = uint32_t{x.bits & 0x7fffu} << 13, sign = uint32_t{x.bits & 0x8000u} << 16;
  const bool finite = (x.bits & 0x7c00u) != 0x7c00u;
  const uint32_t value =
      finite ? std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f) : (magnitude | 0x7f800000u);
  return std::bit_cast<float>(value | sign);
}

LSSL_INLINE void store(float& to, float x) { to = x; }
LSSL_INLINE void store(double& to, double x) { to = x; }
// Round to nearest even; NaN stays NaN.
LSSL_INLINE void store(Bfloat16& to, float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  to.bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? ((u >> 16) | 0x40u) : rounded);
}
LSSL_INLINE void store(Float16& to, float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), magnitude = u & 0x7fffffffu;
  constexpr uint32_t kSubnormal = (127u - 15 + 23 - 10 + 1) << 23;  // the addition shifts and rounds the mantissa
  uint32_t value;
  if (magnitude >= 0x47800000u) {
    value = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    value = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + std::bit_cast<float>(kSubnormal)) - kSubnormal;
  } else {
    value = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  to.bits = static_cast<uint16_t>(value | ((u >> 16) & 0x8000u));
}

template <typename T>
LSSL_INLINE void interpolate(const T* real, const T* fake, typename MathOf<T>::Type a, int64_t count, T* output) {
  using Math = typename MathOf<T>::Type;
  const Math b = Math(1) - a;
  for (int64_t i = 0; i < count; ++i) store(output[i], a * load(real[i]) + b * load(fake[i]));
}

template <typename T>
LSSL_INLINE double square_sum(const T* x, int64_t count) {
  using Math = typename MathOf<T>::Type;
  Math lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) lanes[j] += load(x[i + j]) * load(x[i + j]);
  }
  for (int j = 0; i < count; ++i, ++j) lanes[j] += load(x[i]) * load(x[i]);
  double sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += lanes[j];
  return sum;
}

template <typename T>
LSSL_INLINE void scale(const T* x, typename MathOf<T>::Type factor, int64_t count, T* output) {
  for (int64_t i = 0; i < count; ++i) store(output[i], factor * load(x[i]));
}

constexpr int kGroup = 32;  // elements whose slopes are packed at a time, in vector registers

template <bool kRelu, typename T>
LSSL_INLINE uint32_t rectify_one(T& x, typename MathOf<T>::Type slope) {
  const auto value = load(x);
  const bool positive = kRelu ? !(value <= 0) : value > 0;
  store(x, positive ? value : (kRelu ? 0 : slope * value));
  return positive;
}

template <bool kRelu, typename T>
LSSL_INLINE void rectify(T* x, typename MathOf<T>::Type slope, int64_t begin, int64_t end, uint8_t* bits) {
  int64_t i = begin;
  for (; i + kGroup <= end; i += kGroup) {
    uint32_t word = 0;
    for (int j = 0; j < kGroup; ++j) word |= rectify_one<kRelu>(x[i + j], slope) << j;
    for (int k = 0; k < kGroup / 8; ++k) bits[i / 8 + k] = static_cast<uint8_t>(word >> (8 * k));
  }
  for (; i < end; i += 8) {
    uint32_t byte = 0;
    for (int j = 0; j < 8 && i + j < end; ++j) byte |= rectify_one<kRelu>(x[i + j], slope) << j;
    bits[i / 8] = static_cast<uint8_t>(byte);
  }
}

template <bool kRelu, typename T>
LSSL_INLINE void slope_one(T& x, uint32_t positive, typename MathOf<T>::Type slope) {
  const auto value = load(x);
  store(x, positive ? value : (kRelu ? 0 : slope * value));
}

template <bool kRelu, typename T>
LSSL_INLINE void apply_slope(T* x, const uint8_t* bits, typename MathOf<T>::Type slope, int64_t begin, int64_t end) {
  int64_t i = begin;
  for (; i + kGroup <= end; i += kGroup) {
    uint32_t word = 0;
    for (int k = 0; k < kGroup / 8; ++k) word |= uint32_t{bits[i / 8 + k]} << (8 * k);
    for (int j = 0; j < kGroup; ++j) slope_one<kRelu>(x[i + j], (word >> j) & 1u, slope);
  }
  for (; i < end; ++i) slope_one<kRelu>(x[i], (bits[i / 8] >> (i % 8)) & 1u, slope);
}

template <typename T>
LSSL_INLINE void interpolate_samples(const void* real, const void* fake, const void* alpha, int64_t sample_size,
                                     int64_t begin, int64_t end, void* output) {
  using Math = typename MathOf<T>::Type;
  while (begin < end) {
    const int64_t sample = begin / sample_size;
    const int64_t next = (sample + 1) * sample_size, last = end < next ? end : next;
    interpolate(static_cast<const T*>(real) + begin, static_cast<const T*>(fake) + begin,
                static_cast<const Math*>(alpha)[sample], last - begin, static_cast<T*>(output) + begin);
    begin = last;
  }
}

template <typename T>
LSSL_INLINE void scale_samples(const void* gradient, const double* scales, int64_t sample_size, int64_t begin,
                               int64_t end, void* output) {
  using Math = typename MathOf<T>::Type;
  while (begin < end) {
    const int64_t sample = begin / sample_size;
    const int64_t next = (sample + 1) * sample_size, last = end < next ? end : next;
    scale(static_cast<const T*>(gradient) + begin, static_cast<Math>(scales[sample]), last - begin,
          static_cast<T*>(output) + begin);
    begin = last;
  }
}

template <typename T>
LSSL_INLINE void square_sums(const void* gradient, int64_t sample_size, int64_t begin, int64_t end, double* sums) {
  const int64_t blocks = penalty_blocks(sample_size);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = (i % blocks) * kBlock, rest = sample_size - first;
    const T* sample = static_cast<const T*>(gradient) + (i / blocks) * sample_size;
    sums[i] = square_sum(sample + first, rest < kBlock ? rest : kBlock);
  }
}

template <typename T>
LSSL_INLINE void rectify_typed(void* x, double slope, int64_t begin, int64_t end, uint8_t* bits) {
  if (slope == 0) {
    rectify<true>(static_cast<T*>(x), 0, begin, end, bits);
  } else {
    rectify<false>(static_cast<T*>(x), static_cast<typename MathOf<T>::Type>(slope), begin, end, bits);
  }
}

template <typename T>
LSSL_INLINE void slope_typed(void* x, const uint8_t* bits, double slope, int64_t begin, int64_t end) {
  if (slope == 0) {
    apply_slope<true>(static_cast<T*>(x), bits, 0, begin, end);
  } else {
    apply_slope<false>(static_cast<T*>(x), bits, static_cast<typename MathOf<T>::Type>(slope), begin, end);
  }
}

}  // namespace

int64_t penalty_blocks(int64_t sample_size) { return (sample_size + kBlock - 1) / kBlock; }

LSSL_SIMD_LEVELS
void penalty_interpolate(Dtype dtype, const void* real, const void* fake, const void* alpha, int64_t sample_size,
                         int64_t begin, int64_t end, void* output) {
  switch (dtype) {
    case Dtype::kFloat32:
      return interpolate_samples<float>(real, fake, alpha, sample_size, begin, end, output);
    case Dtype::kFloat64:
      return interpolate_samples<double>(real, fake, alpha, sample_size, begin, end, output);
    case Dtype::kBFloat16:
      return interpolate_samples<Bfloat16>(real, fake, alpha, sample_size, begin, end, output);
    case Dtype::kFloat16:
      return interpolate_samples<Float16>(real, fake, alpha, sample_size, begin, end, output);
  }
}

LSSL_SIMD_LEVELS
void penalty_square_sums(Dtype dtype, const void* gradient, int64_t sample_size, int64_t begin, int64_t end,
                         double* sums) {
  switch (dtype) {
    case Dtype::kFloat32:
      return square_sums<float>(gradient, sample_size, begin, end, sums);
    case Dtype::kFloat64:
      return square_sums<double>(gradient, sample_size, begin, end, sums);
    case Dtype::kBFloat16:
      return square_sums<Bfloat16>(gradient, sample_size, begin, end, sums);
    case Dtype::kFloat16:
      return square_sums<Float16>(gradient, sample_size, begin, end, sums);
  }
}

void penalty_and_scales(Dtype dtype, const double* sums, int64_t batch, int64_t sample_size, double target,
                        double* scales, void* penalty) {
  const int64_t blocks = penalty_blocks(sample_size);
  double total = 0;
  for (int64_t n = 0; n < batch; ++n) {
    double square = 0;
    for (int64_t i = 0; i < blocks; ++i) square += sums[n * blocks + i];
    const double norm = std::sqrt(square), excess = norm - target;
    total += excess * excess;
    scales[n] = norm == 0 ? 0 : 2 * excess / (static_cast<double>(batch) * norm);
  }
  const double mean = batch > 0 ? total / static_cast<double>(batch) : 0;
  switch (dtype) {
    case Dtype::kFloat32:
      return store(*static_cast<float*>(penalty), static_cast<float>(mean));
    case Dtype::kFloat64:
      return store(*static_cast<double*>(penalty), mean);
    case Dtype::kBFloat16:
      return store(*static_cast<Bfloat16*>(penalty), static_cast<float>(mean));
    case Dtype::kFloat16:
      return store(*static_cast<Float16*>(penalty), static_cast<float>(mean));
  }
}

LSSL_SIMD_LEVELS
void penalty_scale(Dtype dtype, const void* gradient, const double* scales, int64_t sample_size, int64_t begin,
                   int64_t end, void* output) {
  switch (dtype) {
    case Dtype::kFloat32:
      return scale_samples<float>(gradient, scales, sample_size, begin, end, output);
    case Dtype::kFloat64:
      return scale_samples<double>(gradient, scales, sample_size, begin, end, output);
    case Dtype::kBFloat16:
      return scale_samples<Bfloat16>(gradient, scales, sample_size, begin, end, output);
    case Dtype::kFloat16:
      return scale_samples<Float16>(gradient, scales, sample_size, begin, end, output);
  }
}

LSSL_SIMD_LEVELS
void penalty_rectify(Dtype dtype, void* x, double slope, int64_t begin, int64_t end, uint8_t* bits) {
  switch (dtype) {
    case Dtype::kFloat32:
      return rectify_typed<float>(x, slope, begin, end, bits);
    case Dtype::kFloat64:
      return rectify_typed<double>(x, slope, begin, end, bits);
    case Dtype::kBFloat16:
      return rectify_typed<Bfloat16>(x, slope, begin, end, bits);
    case Dtype::kFloat16:
      return rectify_typed<Float16>(x, slope, begin, end, bits);
  }
}

LSSL_SIMD_LEVELS
void penalty_slope(Dtype dtype, void* tangent, const uint8_t* bits, double slope, int64_t begin, int64_t end) {
  switch (dtype) {
    case Dtype::kFloat32:
      return slope_typed<float>(tangent, bits, slope, begin, end);
    case Dtype::kFloat64:
      return slope_typed<double>(tangent, bits, slope, begin, end);
    case Dtype::kBFloat16:
      return slope_typed<Bfloat16>(tangent, bits, slope, begin, end);
    case Dtype::kFloat16:
      return slope_typed<Float16>(tangent, bits, slope, begin, end);
  }
}

}  // namespace lssl::cpu
