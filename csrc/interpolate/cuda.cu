// interpolate and its two gradients. The attributes' gradient is a sum over pixels into vertices: the terms are added
// as 64-bit integers, whose sum does not depend on the order, so integer atomics keep it deterministic, and accurate to
// 2^-62 of the largest term times the number of terms. If any term is not finite, the whole gradient becomes NaN.
#include <climits>

#include "support/vector.cuh"

namespace lssl::cuda {

namespace interpolate_kernels {

constexpr int kThreads = 256;

// The corners of a pixel's triangle: vertices, or none (-1) where the pixel is empty or a face is out of range.
struct Corners {
  int32_t vertex[3];

  __device__ __forceinline__ Corners(const Interpolation& call, int64_t pixel) {
    const uint32_t t = static_cast<uint32_t>(call.triangle[pixel]);
    vertex[0] = -1;
    if (t >= call.face_count) return;
    bool valid = true;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      vertex[i] = call.faces[3 * static_cast<int64_t>(t) + i];
      valid &= static_cast<uint32_t>(vertex[i]) < call.vertex_count;
    }
    if (!valid) vertex[0] = -1;
  }
  __device__ __forceinline__ bool empty() const { return vertex[0] < 0; }
};

// A block takes kThreads pixels of one image, then its threads take the pixels' channels in memory order.
template <typename T>
__global__ void __launch_bounds__(kThreads) forward(const Interpolation call, const T* barycentric, const T* attributes,
                                                    T* output, int64_t blocks, Divisor channels) {
  LSSL_SHARED(vertex, int32_t[kThreads][3]);
  LSSL_SHARED(weight, T[kThreads][3]);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t n = blockIdx.x / blocks, first = blockIdx.x % blocks * kThreads;
  const int count = static_cast<int>(min(call.pixels - first, static_cast<int64_t>(kThreads)));
  const int64_t start = n * call.pixels + first;
  if (thread < count) {
    const Corners corners(call, start + thread);
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      vertex[thread][i] = corners.vertex[i];
      weight[thread][i] = barycentric[3 * (start + thread) + i];
    }
  }
  __syncthreads();
  const T* from = attributes + n * call.vertex_count * call.channels;
  for (int64_t i = thread; i < count * call.channels; i += kThreads) {
    const uint32_t pixel = channels.divide(static_cast<uint32_t>(i));
    const int64_t c = i - static_cast<int64_t>(pixel) * channels.value;
    LSSL_ASSERT(within(pixel, count));
    T value = T(0);
    if (vertex[pixel][0] >= 0) {
#pragma unroll
      for (int k = 0; k < 3; ++k) value += weight[pixel][k] * from[vertex[pixel][k] * call.channels + c];
    }
    output[start * call.channels + i] = value;
  }
}

// The largest |weight * grad|, as the bits of a double: those order as integers do, NaN above infinity.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    largest_term(const Interpolation call, const T* grad, const T* barycentric, unsigned long long* largest) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, count = call.batch * call.pixels;
  unsigned long long bits = 0;
  if (i < count && !Corners(call, i).empty()) {
    double weight = 0;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      const double w = fabs(static_cast<double>(barycentric[3 * i + k]));
      weight = w <= weight ? weight : w;  // NaN wins
    }
    for (int64_t c = 0; c < call.channels; ++c) {
      const double term = weight * fabs(static_cast<double>(grad[i * call.channels + c]));
      const unsigned long long term_bits = static_cast<unsigned long long>(__double_as_longlong(term)) & LLONG_MAX;
      bits = term_bits > bits ? term_bits : bits;
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const unsigned long long other = __shfl_xor_sync(kWarp, bits, offset);
    bits = other > bits ? other : bits;
  }
  if (threadIdx.x % 32 == 0 && bits > 0) atomicMax(largest, bits);
}

// The power of two that turns terms into integers whose sum fits 63 bits; 0 where a term is not finite.
__device__ __forceinline__ double term_scale(const unsigned long long* largest, int64_t terms) {
  const double top = __longlong_as_double(static_cast<long long>(*largest));
  if (!(top < INFINITY)) return 0;
  int exponent = 0;  // top < 2^exponent
  frexp(top, &exponent);
  int count_bits = 0;
  while ((int64_t{1} << count_bits) < terms) ++count_bits;
  const int power = 62 - exponent - count_bits;
  return ldexp(1.0, power < 1000 ? power : 1000);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) add_terms(const Interpolation call, const T* grad, const T* barycentric,
                                                      const unsigned long long* largest, unsigned long long* sums) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= call.batch * call.pixels) return;
  const Corners corners(call, i);
  if (corners.empty()) return;
  const double scale = term_scale(largest, 3 * call.pixels);
  const int64_t n = i / call.pixels;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const double weight = static_cast<double>(barycentric[3 * i + k]) * scale;
    unsigned long long* to = sums + (n * call.vertex_count + corners.vertex[k]) * call.channels;
    for (int64_t c = 0; c < call.channels; ++c) {
      const long long term = __double2ll_rn(weight * static_cast<double>(grad[i * call.channels + c]));
      if (term != 0) atomicAdd(to + c, static_cast<unsigned long long>(term));
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    finish_sums(const unsigned long long* sums, const unsigned long long* largest, int64_t terms, int64_t count,
                T* output) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const double scale = term_scale(largest, terms);
  output[i] = static_cast<T>(scale == 0 ? NAN : static_cast<double>(static_cast<long long>(sums[i])) / scale);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    barycentric_backward(const Interpolation call, const T* grad, const T* attributes, T* output) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= call.batch * call.pixels) return;
  const Corners corners(call, i);
  const T* from = attributes + i / call.pixels * call.vertex_count * call.channels;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    T sum = T(0);
    if (!corners.empty()) {
      const T* a = from + corners.vertex[k] * call.channels;
      for (int64_t c = 0; c < call.channels; ++c) sum += a[c] * grad[i * call.channels + c];
    }
    output[3 * i + k] = sum;
  }
}

int64_t blocks_of(int64_t count) { return (count + kThreads - 1) / kThreads; }

}  // namespace interpolate_kernels

template <typename T>
const char* interpolate(const Interpolation& call, const T* barycentric, const T* attributes, T* output,
                        Stream stream) {
  using namespace interpolate_kernels;
  if (call.channels == 0) return nullptr;
  if (call.channels > INT32_MAX / kThreads) return "attributes have too many channels";
  const int64_t blocks = blocks_of(call.pixels);
  return launch(forward<T>, call.batch * blocks, kThreads, 0, 1, stream, call, barycentric, attributes, output, blocks,
                Divisor(call.channels));
}

int64_t interpolate_workspace(const Interpolation& call) {
  return (1 + call.batch * call.vertex_count * call.channels) * static_cast<int64_t>(sizeof(unsigned long long));
}

template <typename T>
const char* interpolate_attributes_backward(const Interpolation& call, const T* grad, const T* barycentric,
                                            void* workspace, T* grad_attributes, Stream stream) {
  using namespace interpolate_kernels;
  auto* const largest = static_cast<unsigned long long*>(workspace);
  auto* const sums = largest + 1;
  const cudaError_t cleared = cudaMemsetAsync(workspace, 0, static_cast<size_t>(interpolate_workspace(call)), stream);
  if (cleared != cudaSuccess) return cudaGetErrorString(cleared);
  const int64_t blocks = blocks_of(call.batch * call.pixels), terms = 3 * call.pixels;
  const char* error = launch(largest_term<T>, blocks, kThreads, 0, 1, stream, call, grad, barycentric, largest);
  if (error != nullptr) return error;
  error = launch(add_terms<T>, blocks, kThreads, 0, 1, stream, call, grad, barycentric, largest, sums);
  if (error != nullptr) return error;
  const int64_t count = call.batch * call.vertex_count * call.channels;
  return launch(finish_sums<T>, blocks_of(count), kThreads, 0, 1, stream, sums, largest, terms, count, grad_attributes);
}

template <typename T>
const char* interpolate_barycentric_backward(const Interpolation& call, const T* grad, const T* attributes,
                                             T* grad_barycentric, Stream stream) {
  using namespace interpolate_kernels;
  return launch(barycentric_backward<T>, blocks_of(call.batch * call.pixels), kThreads, 0, 1, stream, call, grad,
                attributes, grad_barycentric);
}

#define LSSL_INSTANTIATE(T)                                                                                    \
  template const char* interpolate<T>(const Interpolation&, const T*, const T*, T*, Stream);                   \
  template const char* interpolate_attributes_backward<T>(const Interpolation&, const T*, const T*, void*, T*, \
                                                          Stream);                                             \
  template const char* interpolate_barycentric_backward<T>(const Interpolation&, const T*, const T*, T*, Stream);
LSSL_INSTANTIATE(float)
LSSL_INSTANTIATE(double)

}  // namespace lssl::cuda
