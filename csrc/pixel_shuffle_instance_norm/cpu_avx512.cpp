// pixel_shuffle_instance_norm for CPUs with AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernels.h"

#define LSSL_SIMD avx512
#define LSSL_SIMD_LEVEL 2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#include "pixel_shuffle_instance_norm/cpu_table.h"
#pragma clang attribute pop
#else
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC bug 105593: _mm512_undefined_ps()
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
#include "pixel_shuffle_instance_norm/cpu_table.h"
#pragma GCC pop_options
#endif
#endif
