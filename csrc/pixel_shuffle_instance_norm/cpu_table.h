// The kernels of one SIMD level, by dtype and activation.
#pragma once

#include "pixel_shuffle_instance_norm/cpu_channels_last.h"
#include "pixel_shuffle_instance_norm/cpu_planes.h"

namespace lssl::cpu::LSSL_SIMD {

template <auto kNone, auto kReLU, auto kLeakyReLU, typename... Args>
void by_activation(const ShuffleNorm& op, Args... args) {
  if (op.negative_slope == 1) return kNone(op, args...);
  if (op.negative_slope == 0) return kReLU(op, args...);
  kLeakyReLU(op, args...);
}

#define LSSL_BY_ACTIVATION(kernel) \
  by_activation<kernel<T, Activation::kNone>, kernel<T, Activation::kReLU>, kernel<T, Activation::kLeakyReLU>>

template <typename T>
constexpr ShuffleNormKernels kKernels{
    LSSL_BY_ACTIVATION(forward_planes),
    LSSL_BY_ACTIVATION(backward_planes),
    forward_rows_sums<T>,
    forward_statistics<T>,
    LSSL_BY_ACTIVATION(forward_rows),
    LSSL_BY_ACTIVATION(backward_rows_sums),
    backward_statistics<T>,
    LSSL_BY_ACTIVATION(backward_rows),
};

const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat64:
      return kKernels<double>;
    case Dtype::kBFloat16:
      return kKernels<BFloat16>;
    case Dtype::kFloat16:
      return kKernels<Float16>;
    default:
      return kKernels<float>;
  }
}

}  // namespace lssl::cpu::LSSL_SIMD
