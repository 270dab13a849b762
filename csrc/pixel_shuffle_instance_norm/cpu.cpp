// pixel_shuffle_instance_norm for every CPU of the architecture, and the choice of the SIMD level at run time.
#include <stdint.h>
#include <stdlib.h>

#include "kernels.h"
#include "support/simd_level.h"

#define LSSL_SIMD baseline
#define LSSL_SIMD_LEVEL 0
#include "pixel_shuffle_instance_norm/cpu_table.h"

namespace lssl::cpu {

namespace avx2 {
const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype);
}
namespace avx512 {
const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype);
}

const ShuffleNormKernels& shuffle_norm_kernels(Dtype dtype) {
#if defined(__x86_64__)
  static const int level = simd_level();
  if (level == 2) return avx512::shuffle_norm_kernels(dtype);
  if (level == 1) return avx2::shuffle_norm_kernels(dtype);
#endif
  return baseline::shuffle_norm_kernels(dtype);
}

}  // namespace lssl::cpu
