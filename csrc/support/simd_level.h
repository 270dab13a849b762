// The SIMD level to use on this CPU: 0 is what every CPU of the architecture has, 1 AVX2 with FMA and F16C, 2 AVX-512.
// LSSL_SIMD=baseline or avx2 lowers it, so that one machine can test all three.
#pragma once

#include <stdlib.h>
#include <string.h>

namespace lssl::cpu {

inline int simd_level() {
  int level = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const auto avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  level = avx2 ? avx512 ? 2 : 1 : 0;
  const char* wish = getenv("LSSL_SIMD");
  const int ceiling = wish == nullptr ? 2 : strcmp(wish, "baseline") == 0 ? 0 : strcmp(wish, "avx2") == 0 ? 1 : 2;
  if (ceiling < level) level = ceiling;
#endif
  return level;
}

}  // namespace lssl::cpu
