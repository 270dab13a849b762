// pixel_shuffle_instance_norm: chooses the kernels for a call, and holds the general ones: for float64, upscale factors
// above 2, and rows or channels that do not divide into 16 bytes. These read the plane three times, a value at a time,
// mostly from L2; they are meant to be right rather than fast.
#include "pixel_shuffle_instance_norm/cuda.cuh"

namespace lssl::cuda {

namespace any {

constexpr int kThreads = 256;

template <typename T>
struct Call {
  using A = Accumulator<T>;
  const T *input, *grad_output;
  T *output, *grad_input;
  const A *weight, *bias;
  A *mean, *rstd, *sum_grad, *sum_grad_normalized;
  int64_t channels, height, width;
  Divisor factor, row;  // r and W r
  bool channels_last;
  int64_t affine_step;
  A eps, slope;
};

// The offsets in the input and in the output of value `i` (in the output's order) of output plane (n, c).
template <typename T>
__device__ __forceinline__ void locate(const Call<T>& call, int64_t n, int64_t c, uint32_t i, int64_t& in,
                                       int64_t& out) {
  const int64_t r = call.factor.value, out_y = call.row.divide(i), out_x = i - out_y * call.row.value;
  const int64_t y = call.factor.divide(static_cast<uint32_t>(out_y)),
                x = call.factor.divide(static_cast<uint32_t>(out_x));
  const int64_t channel = (c * r + out_y - y * r) * r + out_x - x * r, channels_in = call.channels * r * r;
  if (call.channels_last) {
    in = ((n * call.height + y) * call.width + x) * channels_in + channel;
    out = ((n * call.height * r + out_y) * call.row.value + out_x) * call.channels + c;
  } else {
    in = ((n * channels_in + channel) * call.height + y) * call.width + x;
    out = ((n * call.channels + c) * call.height * r + out_y) * call.row.value + out_x;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) forward(const Call<T> call) {
  using A = Accumulator<T>;
  LSSL_SHARED(sums, A[32][1]);
  LSSL_SHARED(square_sums, A[32][2]);
  const int64_t n = blockIdx.x / call.channels, c = blockIdx.x % call.channels, at = n * call.affine_step + c;
  const uint32_t values = static_cast<uint32_t>(call.height * call.factor.value) * call.row.value;
  int64_t in, out;
  A sum[1] = {};
  for (uint32_t i = threadIdx.x; i < values; i += kThreads) {
    locate(call, n, c, i, in, out);
    sum[0] += widen(call.input[in]);
  }
  block_sum(sum, sums);
  const A count = static_cast<A>(values), centre = sum[0] / count;
  A deviations[2] = {};
  for (uint32_t i = threadIdx.x; i < values; i += kThreads) {
    locate(call, n, c, i, in, out);
    const A d = widen(call.input[in]) - centre;
    deviations[0] += d;
    deviations[1] += d * d;
  }
  block_sum(deviations, square_sums);
  Moments<A> moments{count, A(0), A(0)};
  recentre(count, centre, deviations[0], deviations[1], moments.mean, moments.squares);
  const A rstd = moments.rstd(call.eps), scale = rstd * affine_weight(call.weight, at);
  const A bias = affine_bias(call.bias, at);
  for (uint32_t i = threadIdx.x; i < values; i += kThreads) {
    locate(call, n, c, i, in, out);
    call.output[out] = narrow<T>(activate((widen(call.input[in]) - moments.mean) * scale + bias, call.slope));
  }
  if (threadIdx.x == 0) {
    call.mean[blockIdx.x] = moments.mean;
    call.rstd[blockIdx.x] = rstd;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) backward(const Call<T> call) {
  using A = Accumulator<T>;
  LSSL_SHARED(scratch, A[32][2]);
  const int64_t n = blockIdx.x / call.channels, c = blockIdx.x % call.channels, at = n * call.affine_step + c;
  const uint32_t values = static_cast<uint32_t>(call.height * call.factor.value) * call.row.value;
  const A mean = call.mean[blockIdx.x], rstd = call.rstd[blockIdx.x];
  const A scale = rstd * affine_weight(call.weight, at), bias = affine_bias(call.bias, at);
  int64_t in, out;
  A sum[2] = {};
  for (uint32_t i = threadIdx.x; i < values; i += kThreads) {
    locate(call, n, c, i, in, out);
    const A d = widen(call.input[in]) - mean, grad = widen(call.grad_output[out]);
    const A u = d * scale + bias > A(0) ? grad : call.slope * grad;
    sum[0] += u;
    sum[1] += u * (d * rstd);
  }
  block_sum(sum, scratch);
  const A mean_u = sum[0] / static_cast<A>(values), mean_normalised = sum[1] / static_cast<A>(values);
  for (uint32_t i = threadIdx.x; i < values; i += kThreads) {
    locate(call, n, c, i, in, out);
    const A d = widen(call.input[in]) - mean, grad = widen(call.grad_output[out]);
    const A u = d * scale + bias > A(0) ? grad : call.slope * grad;
    call.grad_input[in] = narrow<T>(scale * (u - mean_u - d * rstd * mean_normalised));
  }
  if (threadIdx.x == 0) {
    call.sum_grad[blockIdx.x] = sum[0];
    call.sum_grad_normalized[blockIdx.x] = sum[1];
  }
}

template <typename T>
const char* run(const ShuffleNorm& norm, bool is_forward, Stream stream) {
  using A = Accumulator<T>;
  const Call<T> call{static_cast<const T*>(norm.input),
                     static_cast<const T*>(norm.grad_output),
                     static_cast<T*>(norm.output),
                     static_cast<T*>(norm.grad_input),
                     static_cast<const A*>(norm.weight),
                     static_cast<const A*>(norm.bias),
                     static_cast<A*>(norm.mean),
                     static_cast<A*>(norm.rstd),
                     static_cast<A*>(norm.sum_grad),
                     static_cast<A*>(norm.sum_grad_normalized),
                     norm.channels,
                     norm.height,
                     norm.width,
                     Divisor(norm.factor),
                     Divisor(norm.width * norm.factor),
                     norm.channels_last,
                     norm.affine_step,
                     static_cast<A>(norm.eps),
                     static_cast<A>(norm.negative_slope)};
  return launch(is_forward ? forward<T> : backward<T>, norm.batch * norm.channels, kThreads, 0, 1, stream, call);
}

const char* run(Dtype dtype, const ShuffleNorm& call, bool is_forward, Stream stream) {
  switch (dtype) {
    case Dtype::kFloat32:
      return run<float>(call, is_forward, stream);
    case Dtype::kFloat64:
      return run<double>(call, is_forward, stream);
    case Dtype::kBFloat16:
      return run<__nv_bfloat16>(call, is_forward, stream);
    default:
      return run<__half>(call, is_forward, stream);
  }
}

const char* dispatch(Dtype dtype, const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  const int64_t plane = call.height * call.width * call.factor * call.factor;
  if (call.batch * call.channels * plane == 0) return nullptr;
  if (plane >= int64_t{1} << 31) return "a plane must have fewer than 2^31 values";
  if (planes_serve(dtype, call)) {
    return (is_forward ? planes_forward : planes_backward)(dtype, call, workspace, stream);
  }
  if (channels_last_serves(dtype, call)) {
    return (is_forward ? channels_last_forward : channels_last_backward)(dtype, call, workspace, stream);
  }
  return run(dtype, call, is_forward, stream);
}

}  // namespace any

int64_t shuffle_norm_workspace(Dtype dtype, const ShuffleNorm& call) {
  if (call.batch * call.channels * call.height * call.width == 0) return 0;
  if (planes_serve(dtype, call)) return planes_workspace(dtype, call);
  return channels_last_serves(dtype, call) ? channels_last_workspace(dtype, call) : 0;
}

const char* shuffle_norm_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return any::dispatch(dtype, call, true, workspace, stream);
}
const char* shuffle_norm_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return any::dispatch(dtype, call, false, workspace, stream);
}

}  // namespace lssl::cuda
