// A stand-in for CUDA's runtime, for kernels compiled for the host: `make cuda-on-host` puts it before the real one on
// the include path, so that AddressSanitizer sees what a kernel does on a machine without a GPU. The threads of a
// cluster's blocks are fibers that run in turns from one barrier or shuffle to the next; shared memory is one
// allocation per variable and block, freed when the block ends; what CUDA leaves undefined (a shuffle with a lane that
// has left, a barrier that not all reach, a peer's memory after its block ended) stops the program with a message.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace on_host {

struct Index {
  unsigned x, y, z;
};

// The position of the running thread, and the operations open to it.
const Index& thread_index();
const Index& block_index();
const Index& block_size();
void block_barrier();
void cluster_arrive();
void cluster_wait();
const void* peer(const void* shared, int rank);
// A block's memory for the variable `key`, allocated by its first thread that asks.
void* shared(const void* key, size_t bytes);
void* dynamic_shared();
uint64_t shuffle(unsigned mask, uint64_t value, int from);
int lane();

void run(int64_t blocks, int threads, int64_t shared_bytes, int cluster, const std::function<void()>& kernel);

template <typename T>
T shuffled(unsigned mask, T value, int from) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, from);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace on_host

#define threadIdx (::on_host::thread_index())
#define blockIdx (::on_host::block_index())
#define blockDim (::on_host::block_size())

inline void __syncthreads() { ::on_host::block_barrier(); }
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return ::on_host::shuffled(mask, value, ::on_host::lane() ^ bits);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int by) {
  const int from = ::on_host::lane() - by;
  return ::on_host::shuffled(mask, value, from < 0 ? ::on_host::lane() : from);
}

struct uint4 {
  uint32_t x, y, z, w;
};
struct uint2 {
  uint32_t x, y;
};
struct int2 {
  int x, y;
};
struct float2 {
  float x, y;
};
template <typename T>
void __stwb(T* to, T value) {
  *to = value;
}
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

template <typename T>
T __ldg(const T* p) {
  return *p;
}
template <typename To, typename From>
To on_host_cast(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &v, sizeof(to));
  return to;
}
inline float __uint_as_float(uint32_t v) { return on_host_cast<float>(v); }
inline uint32_t __float_as_uint(float v) { return on_host_cast<uint32_t>(v); }
inline double __longlong_as_double(long long v) { return on_host_cast<double>(v); }
inline long long __double_as_longlong(double v) { return on_host_cast<long long>(v); }
inline double __hiloint2double(int high, int low) {
  return on_host_cast<double>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 | static_cast<uint32_t>(low));
}
inline int __double2loint(double v) { return static_cast<int>(on_host_cast<uint64_t>(v)); }
inline int __double2hiint(double v) { return static_cast<int>(on_host_cast<uint64_t>(v) >> 32); }
inline long long __double2ll_rn(double v) { return llrint(v); }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32); }

template <typename T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
  return a < b ? b : a;
}

inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long v) {
  const unsigned long long before = *to;
  *to += v;
  return before;
}
inline unsigned long long atomicMax(unsigned long long* to, unsigned long long v) {
  const unsigned long long before = *to;
  if (v > before) *to = v;
  return before;
}

enum cudaError_t { cudaSuccess };
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, void*) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor, cudaDevAttrMultiProcessorCount };
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
// With LSSL_ON_HOST_CAPABILITY=8 there are no clusters; few multiprocessors keep the number of fibers low.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
