// What the kernels share: 16-byte vectors of every dtype, sums in a fixed order, fast division, launches.
#pragma once

#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <type_traits>

#include "kernels.h"

namespace lssl::cuda {

constexpr unsigned kWarp = 0xffffffffu;

// Indices are asserted only in builds with LSSL_CUDA_DEBUG=1: a wrong one stops the kernel, and the line is printed.
#if defined(LSSL_CUDA_DEBUG) && defined(__CUDA_ARCH__)
#define LSSL_ASSERT(...)                                                                                    \
  do {                                                                                                      \
    if (!(__VA_ARGS__)) {                                                                                   \
      printf("%s:%d: block %u thread %u: %s\n", __FILE__, __LINE__, blockIdx.x, threadIdx.x, #__VA_ARGS__); \
      __trap();                                                                                             \
    }                                                                                                       \
  } while (false)
#else
#define LSSL_ASSERT(...) static_cast<void>(0)
#endif

// A block's shared memory. LSSL_ON_HOST: make cuda-on-host (support/on_host/).
#if defined(LSSL_ON_HOST)
#define LSSL_SHARED(name, ...)              \
  static const char name##_key = 0;         \
  std::type_identity_t<__VA_ARGS__>& name = \
      *static_cast<std::type_identity_t<__VA_ARGS__>*>(on_host::shared(&name##_key, sizeof(__VA_ARGS__)))
#define LSSL_DYNAMIC_SHARED(name, type) type* const name = static_cast<type*>(on_host::dynamic_shared())
#else
#define LSSL_SHARED(name, ...) __shared__ std::type_identity_t<__VA_ARGS__> name
#define LSSL_DYNAMIC_SHARED(name, type) extern __shared__ type name[]
#endif

__device__ __forceinline__ bool within(int64_t index, int64_t size) { return index >= 0 && index < size; }

// Sums and statistics are kept in float32, in float64 for float64.
template <typename T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <typename T>
using Accumulator = typename AccumulatorOf<T>::type;

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ double widen(double v) { return v; }
__device__ __forceinline__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float widen(__half v) { return __half2float(v); }

template <typename T>
__device__ __forceinline__ T narrow(Accumulator<T> v) {
  return static_cast<T>(v);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}
template <>
__device__ __forceinline__ __half narrow<__half>(float v) {
  return __float2half_rn(v);
}

// The unit of memory traffic: 16 bytes, `kValues` of T.
struct alignas(16) Vector {
  uint32_t word[4];
};
template <typename T>
constexpr int kValues = 16 / static_cast<int>(sizeof(T));

// Through the read-only cache: nothing in the same kernel may write there.
__device__ __forceinline__ Vector load(const Vector* p) {
  const uint4 v = __ldg(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}
__device__ __forceinline__ Vector load_mutable(const Vector* p) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  return {{v.x, v.y, v.z, v.w}};
}
__device__ __forceinline__ void store(Vector* p, const Vector& v) {
  *reinterpret_cast<uint4*>(p) = make_uint4(v.word[0], v.word[1], v.word[2], v.word[3]);
}

__device__ __forceinline__ void unpack(const Vector& v, float (&out)[4], float) {
#pragma unroll
  for (int i = 0; i < 4; ++i) out[i] = __uint_as_float(v.word[i]);
}
__device__ __forceinline__ void unpack(const Vector& v, double (&out)[2], double) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    out[i] = __hiloint2double(static_cast<int>(v.word[2 * i + 1]), static_cast<int>(v.word[2 * i]));
  }
}
__device__ __forceinline__ void unpack(const Vector& v, float (&out)[8], __nv_bfloat16) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {  // bfloat16 is the upper half of a float32
    out[2 * i] = __uint_as_float(v.word[i] << 16);
    out[2 * i + 1] = __uint_as_float(v.word[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void unpack(const Vector& v, float (&out)[8], __half) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __half2float(__ushort_as_half(static_cast<unsigned short>(v.word[i] & 0xffffu)));
    out[2 * i + 1] = __half2float(__ushort_as_half(static_cast<unsigned short>(v.word[i] >> 16)));
  }
}
template <typename T>
__device__ __forceinline__ void unpack(const Vector& v, Accumulator<T> (&out)[kValues<T>]) {
  unpack(v, out, T{});
}

// One 4-byte word of two 16-bit values or one float.
__device__ __forceinline__ uint32_t pack_word(__nv_bfloat16 low, __nv_bfloat16 high) {
  return static_cast<uint32_t>(__bfloat16_as_ushort(low)) | static_cast<uint32_t>(__bfloat16_as_ushort(high)) << 16;
}
__device__ __forceinline__ uint32_t pack_word(__half low, __half high) {
  return static_cast<uint32_t>(__half_as_ushort(low)) | static_cast<uint32_t>(__half_as_ushort(high)) << 16;
}
template <typename T>
__device__ __forceinline__ Vector pack(const Accumulator<T> (&in)[kValues<T>]) {
  Vector v;
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v.word[i] = __float_as_uint(in[i]);
  } else if constexpr (sizeof(T) == 8) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      v.word[2 * i] = static_cast<uint32_t>(__double2loint(in[i]));
      v.word[2 * i + 1] = static_cast<uint32_t>(__double2hiint(in[i]));
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) v.word[i] = pack_word(narrow<T>(in[2 * i]), narrow<T>(in[2 * i + 1]));
  }
  return v;
}

// A block's dynamic shared memory as vectors, of which t, t + threads, t + 2 threads, ... are thread t's: an extension
// of its registers. The launch decides how many there are.
class ThreadVectors {
 public:
  __device__ __forceinline__ ThreadVectors(Vector* shared, int threads)
      : own_(shared + threadIdx.x), threads_(threads) {}
  __device__ __forceinline__ Vector& operator[](int k) const {
    LSSL_ASSERT(within(k * threads_ + static_cast<int>(threadIdx.x), held()));
    return own_[k * threads_];
  }

 private:
  static __device__ __forceinline__ int64_t held() {
    uint32_t bytes = 0;
#if defined(__CUDA_ARCH__)
    asm("mov.u32 %0, %%dynamic_smem_size;" : "=r"(bytes));
#endif
    return bytes / sizeof(Vector);
  }
  Vector* own_;
  int threads_;
};

// n / divisor for 0 <= n < 2^31 by one multiplication (Granlund and Montgomery 1994, figure 4.1).
struct Divisor {
  uint32_t value, multiplier, shift;

  Divisor() = default;
  explicit Divisor(int64_t divisor) : value(static_cast<uint32_t>(divisor)), multiplier(0), shift(0) {
    while ((uint64_t{1} << shift) < value) ++shift;
    multiplier = static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - value)) / value + 1);
  }
  __device__ __forceinline__ uint32_t divide(uint32_t n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

// Copies 16 bytes to shared memory asynchronously; await_copies() makes them visible to the thread that called it.
__device__ __forceinline__ void copy_async(Vector* shared, const Vector* global) {
  __pipeline_memcpy_async(shared, global, sizeof(Vector));
}
__device__ __forceinline__ void await_copies() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

// The sum over a block, bit for bit the same in every thread and on every run. Each call needs its own `scratch`.
template <typename A, int N>
__device__ __forceinline__ void block_sum(A (&v)[N], A (*scratch)[N]) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] += __shfl_xor_sync(kWarp, v[i], offset);
  }
  const int warps = static_cast<int>(blockDim.x + 31) / 32, lane = static_cast<int>(threadIdx.x % 32);
  if (warps == 1) return;
  if (lane == 0) {
#pragma unroll
    for (int i = 0; i < N; ++i) scratch[threadIdx.x / 32][i] = v[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = lane < warps ? scratch[lane][i] : A(0);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] += __shfl_xor_sync(kWarp, v[i], offset);
  }
}

// The blocks of a cluster (sm_90 and later) read one another's shared memory between a cluster_sync() and a
// cluster_arrive(); none may end before cluster_wait(). A block launched alone is a cluster of one.
__device__ __forceinline__ void cluster_sync() {
#if defined(LSSL_ON_HOST)
  on_host::cluster_arrive();
  on_host::cluster_wait();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().sync();
#else
  __syncthreads();
#endif
}
__device__ __forceinline__ void cluster_arrive() {
#if defined(LSSL_ON_HOST)
  on_host::cluster_arrive();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().barrier_arrive();
#endif
}
__device__ __forceinline__ void cluster_wait() {
#if defined(LSSL_ON_HOST)
  on_host::cluster_wait();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().barrier_wait();
#endif
}
template <typename A>
__device__ __forceinline__ const A* cluster_peer(const A* shared, int rank) {
#if defined(LSSL_ON_HOST)
  return static_cast<const A*>(on_host::peer(shared, rank));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  return cooperative_groups::this_cluster().map_shared_rank(shared, rank);
#else
  return shared;
#endif
}

#if defined(LSSL_ON_HOST)
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes, int cluster,
                   Stream, Arguments... arguments) {
  if (blocks == 0) return nullptr;
  on_host::run(blocks, threads, shared_bytes, cluster, [&] { kernel(static_cast<Parameters>(arguments)...); });
  return nullptr;
}
#else
// Launches; returns null, or CUDA's message if that failed.
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes, int cluster,
                   Stream stream, Arguments... arguments) {
  if (blocks == 0) return nullptr;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = cluster > 1 ? 1 : 0;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();  // clear it: the caller reports it
  return cudaGetErrorString(error);
}

#endif

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, attribute, device);
  return value;
}

}  // namespace lssl::cuda
