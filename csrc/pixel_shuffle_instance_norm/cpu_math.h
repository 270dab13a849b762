// The arithmetic of one value, or of one vector of them, whatever the memory format.
#pragma once

#include "kernels.h"
#include "support/simd.h"

namespace lssl::cpu::LSSL_SIMD {

enum class Activation { kNone, kReLU, kLeakyReLU };

// What one plane (or, in channels-last, one channel) needs beyond its values: z = (x - mean) * scale + bias.
template <typename A>
struct Affine {
  A mean, scale, bias, slope;
};

template <Activation kActivation, typename V, typename A>
LSSL_INLINE V activate(V z, A slope) {
  if constexpr (kActivation == Activation::kNone) return z;
  if constexpr (kActivation == Activation::kReLU) return z < V{} ? V{} : z;
  if constexpr (kActivation == Activation::kLeakyReLU) return z > V{} ? z : z * slope;
}

// grad times the activation's derivative at z, which is taken as `slope` at 0, as in PyTorch.
template <Activation kActivation, typename V, typename A>
LSSL_INLINE V activation_grad(V z, V grad, A slope) {
  if constexpr (kActivation == Activation::kNone) return grad;
  if constexpr (kActivation == Activation::kReLU) return z > V{} ? grad : V{};
  if constexpr (kActivation == Activation::kLeakyReLU) return z > V{} ? grad : grad * slope;
}

struct Moments {
  double mean, variance;
};

// A plane's values lie `step` apart in `runs` runs of `length`, `jump` apart.
struct PlaneStrides {
  int64_t runs, jump, length, step;
};

// Four values of the plane, averaged: near enough to the mean that float sums of x - shift and (x - shift)^2 suffice.
template <typename T>
LSSL_INLINE Accumulation<T> shift_of(const T* x, const PlaneStrides& at) {
  const T* middle = x + at.runs / 2 * at.jump;
  const auto value = [&](int64_t eighth) { return load<1>(middle + at.length * eighth / 8 * at.step); };
  return ((value(1) + value(3)) + (value(5) + value(7))) * Accumulation<T>(0.25);
}

template <typename T>
__attribute__((noinline)) Moments moments_by_two_passes(const T* x, const PlaneStrides& at) {
  double mean = 0, variance = 0;
  const double count = static_cast<double>(at.runs * at.length);
  for (int64_t run = 0; run < at.runs; ++run) {
    for (int64_t i = 0; i < at.length; ++i) mean += load_double<1>(x + run * at.jump + i * at.step);
  }
  mean /= count;
  for (int64_t run = 0; run < at.runs; ++run) {
    for (int64_t i = 0; i < at.length; ++i) {
      const double d = load_double<1>(x + run * at.jump + i * at.step) - mean;
      variance += d * d;
    }
  }
  return {mean, variance / count};
}

// Mean and biased variance from the sums. Where the shift was far from the mean, which is rare (outliers), the
// subtraction would lose digits: then the plane is read again.
template <typename T>
LSSL_INLINE Moments moments(const T* x, const PlaneStrides& at, Accumulation<T> shift, double sum, double square) {
  constexpr double kFar = 64;  // in variances
  const double count = static_cast<double>(at.runs * at.length);
  const double offset = sum / count, variance = square / count - offset * offset;
  if (!(offset * offset <= kFar * variance) && (offset != 0 || variance != 0)) return moments_by_two_passes(x, at);
  return {static_cast<double>(shift) + offset, variance};
}

template <typename T>
LSSL_INLINE void keep_statistics(const ShuffleNorm& op, int64_t plane, const Moments& m) {
  using A = Accumulation<T>;
  static_cast<A*>(op.mean)[plane] = static_cast<A>(m.mean);
  static_cast<A*>(op.rstd)[plane] = static_cast<A>(1 / __builtin_sqrt(m.variance + op.eps));
}

template <int L, Activation kActivation, typename T, typename A>
LSSL_INLINE Vector<A, L> normalized(const T* x, const Affine<A>& affine) {
  return activate<kActivation>((load<L>(x) - affine.mean) * affine.scale + affine.bias, affine.slope);
}

template <typename T>
LSSL_INLINE Affine<Accumulation<T>> affine_of(const ShuffleNorm& op, int64_t plane) {
  using A = Accumulation<T>;
  const int64_t at = plane / op.channels * op.affine_step + plane % op.channels;
  const A weight = op.weight ? static_cast<const A*>(op.weight)[at] : A(1);
  return {static_cast<const A*>(op.mean)[plane], static_cast<const A*>(op.rstd)[plane] * weight,
          op.bias ? static_cast<const A*>(op.bias)[at] : A(0), static_cast<A>(op.negative_slope)};
}

// True if the result should bypass the cache, being too large to be found there by its next reader. Rows must keep
// vectors aligned.
template <typename T>
LSSL_INLINE bool should_stream(const ShuffleNorm& op, const void* result, int64_t row) {
  constexpr int64_t kStreamBytes = int64_t{8} << 20;
  const int64_t bytes = op.batch * op.channels * op.factor * op.factor * op.height * op.width * int64_t{sizeof(T)};
  return bytes >= kStreamBytes && reinterpret_cast<uintptr_t>(result) % 64 == 0 &&
         row * int64_t{sizeof(T)} % kVectorBytes == 0;
}

// Sums of u and u (x - mean), u being grad times the activation's derivative.
template <int L, typename A>
struct GradSums {
  Vector<A, L> u{}, ux{};
};

template <int L, Activation kActivation, typename A>
LSSL_INLINE Vector<A, L> masked(Vector<A, L> centered, Vector<A, L> grad, const Affine<A>& affine) {
  return activation_grad<kActivation>(centered * affine.scale + affine.bias, grad, affine.slope);
}

template <int L, Activation kActivation, typename T, typename A>
LSSL_INLINE void add_grads(const T* x, Vector<A, L> grad, const Affine<A>& affine, GradSums<L, A>& sums) {
  const Vector<A, L> centered = load<L>(x) - affine.mean;
  const Vector<A, L> u = masked<L, kActivation>(centered, grad, affine);
  sums.u += u;
  sums.ux += u * centered;
}

// grad_input = scale * u + shift + tilt * (x - mean): the instance norm's backward with the plane's two sums folded in.
template <typename A>
struct GradLine {
  A shift, tilt;
};

template <typename T>
LSSL_INLINE GradLine<Accumulation<T>> grad_line(const ShuffleNorm& op, int64_t plane, Accumulation<T> scale,
                                                double sum_u, double sum_ux) {
  using A = Accumulation<T>;
  const double count = static_cast<double>(op.factor * op.factor * op.height * op.width);
  const double rstd = static_cast<double>(static_cast<const A*>(op.rstd)[plane]),
               each = static_cast<double>(scale) / count;
  return {static_cast<A>(-each * sum_u), static_cast<A>(-each * rstd * rstd * sum_ux)};
}

template <typename T>
LSSL_INLINE void keep_grad_sums(const ShuffleNorm& op, int64_t plane, double sum_u, double sum_ux) {
  using A = Accumulation<T>;
  const double rstd = static_cast<double>(static_cast<const A*>(op.rstd)[plane]);
  static_cast<A*>(op.sum_grad)[plane] = static_cast<A>(sum_u);
  static_cast<A*>(op.sum_grad_normalized)[plane] = static_cast<A>(sum_ux * rstd);
}

template <int L, Activation kActivation, typename T, typename A>
LSSL_INLINE void write_grads(const T* x, Vector<A, L> grad, const Affine<A>& affine, const GradLine<A>& line, T* to,
                             bool stream) {
  const Vector<A, L> centered = load<L>(x) - affine.mean;
  const Vector<A, L> u = masked<L, kActivation>(centered, grad, affine);
  store<L>(to, u * affine.scale + (centered * line.tilt + line.shift), stream);
}

}  // namespace lssl::cpu::LSSL_SIMD
