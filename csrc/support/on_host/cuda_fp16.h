// See cuda_runtime.h.
#pragma once

#include "cuda_runtime.h"

struct __half {
  _Float16 value;
};
inline float __half2float(__half v) { return static_cast<float>(v.value); }
inline __half __float2half_rn(float v) { return {static_cast<_Float16>(v)}; }
inline unsigned short __half_as_ushort(__half v) { return on_host_cast<unsigned short>(v); }
inline __half __ushort_as_half(unsigned short v) { return on_host_cast<__half>(v); }
