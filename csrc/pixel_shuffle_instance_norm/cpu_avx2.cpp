// pixel_shuffle_instance_norm for CPUs with AVX2, FMA and F16C.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernels.h"

#define LSSL_SIMD avx2
#define LSSL_SIMD_LEVEL 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "pixel_shuffle_instance_norm/cpu_table.h"
#pragma clang attribute pop
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#include "pixel_shuffle_instance_norm/cpu_table.h"
#pragma GCC pop_options
#endif
#endif
