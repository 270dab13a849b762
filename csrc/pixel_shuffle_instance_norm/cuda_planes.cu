// pixel_shuffle_instance_norm on contiguous tensors: one block per plane (n, c), whose r^2 H W values are one run of
// memory; several per large plane.
#include "pixel_shuffle_instance_norm/cuda.cuh"

namespace lssl::cuda {

namespace planes {

constexpr int kVectors = 8;    // held per thread
constexpr int kThreads = 512;  // at most: 64 KB, a plane of 128 x 128 float32 or 181 x 181 16-bit values
constexpr int64_t kMaxChunks = 64;

// A unit of work is R input vectors that become R consecutive output vectors: for R = 2, the vectors at one position of
// the sub-planes (i, 0) and (i, 1), interleaved.
template <typename T>
struct Planes {
  using A = Accumulator<T>;
  const Vector *input, *grad_output;
  Vector *output, *grad_input;
  const A *weight, *bias;
  A *mean, *rstd, *sum_grad, *sum_grad_normalized;
  A* workspace;             // (planes, chunks, 2)
  int channels, units;      // units per plane
  int chunks, chunk_units;  // chunk_units is even
  int half;                 // vectors of H W values
  int height;
  Divisor row;      // vectors of W values
  int affine_step;  // from a sample's weight and bias to the next one's; 0: all share them
  A eps, slope;
};

// Where a plane's weight and bias lie.
template <typename T>
__device__ __forceinline__ int affine_at(const Planes<T>& p, int plane) {
  return plane / p.channels * p.affine_step + plane % p.channels;
}

// Vector j of unit u, in vectors from the start of the input plane.
template <int R, typename T>
__device__ __forceinline__ int source(const Planes<T>& p, int u, int j) {
  LSSL_ASSERT(within(u, p.units));
  if constexpr (R == 1) return u;
  return u + ((u >= p.half ? 1 : 0) + j) * p.half;
}

// The first output vector of unit u, in vectors from the start of the output plane.
template <int R, typename T>
__device__ __forceinline__ int destination(const Planes<T>& p, int u) {
  if constexpr (R == 1) return u;
  const int row = static_cast<int>(p.row.divide(static_cast<uint32_t>(u)));  // i H + y
  const int x = u - row * static_cast<int>(p.row.value), i = row >= p.height ? 1 : 0, y = row - i * p.height;
  return 2 * ((2 * y + i) * static_cast<int>(p.row.value) + x);
}

// Two neighbouring lanes each have two consecutive output vectors. So that each access of a warp covers whole 32-byte
// sectors, they exchange one: the even lane takes both first vectors, the odd lane both second ones. Its own inverse.
__device__ __forceinline__ void trade(Vector& first, Vector& second) {
  const bool odd = threadIdx.x % 2 != 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t got = __shfl_xor_sync(kWarp, odd ? first.word[i] : second.word[i], 1);
    if (odd) {
      first.word[i] = got;
    } else {
      second.word[i] = got;
    }
  }
}

// Where the lane's two vectors lie after the exchange.
__device__ __forceinline__ int2 traded(int own) {
  const int other = __shfl_xor_sync(kWarp, own, 1);
  return threadIdx.x % 2 != 0 ? make_int2(other + 1, own + 1) : make_int2(own, other);
}

template <typename T>
__device__ __forceinline__ int chunk_size(const Planes<T>& p, int chunk) {
  return min(p.units - chunk * p.chunk_units, p.chunk_units);
}

template <typename T, int R, Pass P>
__global__ void __launch_bounds__(kThreads, P == Pass::kFused ? kFusedBlocks : 1) forward(const Planes<T> p) {
  using A = Accumulator<T>;
  constexpr int V = kValues<T>, kUnits = kVectors / R;
  LSSL_SHARED(sums, A[32][1]);
  LSSL_SHARED(square_sums, A[32][2]);
  const int plane = static_cast<int>(blockIdx.x) / p.chunks, chunk = static_cast<int>(blockIdx.x) % p.chunks;
  const int begin = chunk * p.chunk_units, end = begin + chunk_size(p, chunk);
  const Vector* in = p.input + static_cast<int64_t>(plane) * p.units * R;
  Vector* out = p.output + static_cast<int64_t>(plane) * p.units * R;
  const int tile = static_cast<int>(blockDim.x) * kUnits;

  Moments<A> moments{A(0), A(0), A(0)};
  if constexpr (P == Pass::kApply) {
    const A* partial = p.workspace + static_cast<int64_t>(plane) * p.chunks * 2;
    for (int i = 0; i < p.chunks; ++i) {
      moments.merge(static_cast<A>(chunk_size(p, i)) * (R * V), partial[2 * i], partial[2 * i + 1]);
    }
  }
  for (int start = begin; start < end; start += tile) {
    const int first = start + static_cast<int>(threadIdx.x);
    Vector x[kVectors];
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      const int u = first + k * static_cast<int>(blockDim.x);
#pragma unroll
      for (int j = 0; j < R; ++j) x[k * R + j] = u < end ? load(in + source<R>(p, u, j)) : Vector{};
    }
    if constexpr (P != Pass::kApply) {
      A sum[1] = {};
#pragma unroll
      for (int i = 0; i < kVectors; ++i) {
        A v[V];
        unpack<T>(x[i], v);
#pragma unroll
        for (int e = 0; e < V; ++e) sum[0] += v[e];
      }
      block_sum(sum, sums);
      const A count = static_cast<A>(min(tile, end - start)) * (R * V), centre = sum[0] / count;
      A deviations[2] = {};
#pragma unroll
      for (int i = 0; i < kVectors; ++i) {
        if (first + i / R * static_cast<int>(blockDim.x) >= end) break;
        A v[V];
        unpack<T>(x[i], v);
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const A d = v[e] - centre;
          deviations[0] += d;
          deviations[1] += d * d;
        }
      }
      block_sum(deviations, square_sums);
      A mean, squares;
      recentre(count, centre, deviations[0], deviations[1], mean, squares);
      moments.merge(count, mean, squares);
    }
    if constexpr (P != Pass::kPartial) {
      const int at = affine_at(p, plane);
      const A scale = moments.rstd(p.eps) * affine_weight(p.weight, at), bias = affine_bias(p.bias, at);
      const auto finish = [&](A v) { return activate((v - moments.mean) * scale + bias, p.slope); };
#pragma unroll
      for (int k = 0; k < kUnits; ++k) {
        const int u = first + k * static_cast<int>(blockDim.x);
        if constexpr (R == 1) {
          A v[V];
          unpack<T>(x[k], v);
#pragma unroll
          for (int e = 0; e < V; ++e) v[e] = finish(v[e]);
          if (u < end) store(out + u, pack<T>(v));
        } else {
          A a[V], b[V], low[V], high[V];
          unpack<T>(x[2 * k], a);
          unpack<T>(x[2 * k + 1], b);
#pragma unroll
          for (int e = 0; e < V / 2; ++e) {
            low[2 * e] = finish(a[e]);
            low[2 * e + 1] = finish(b[e]);
            high[2 * e] = finish(a[V / 2 + e]);
            high[2 * e + 1] = finish(b[V / 2 + e]);
          }
          Vector one = pack<T>(low), two = pack<T>(high);
          trade(one, two);
          const int2 to = traded(destination<R>(p, u));
          if (u < end) {
            LSSL_ASSERT(within(to.x, p.units * R) && within(to.y, p.units * R));
            store(out + to.x, one);
            store(out + to.y, two);
          }
        }
      }
    } else {
      __syncthreads();  // the next tile uses the same scratch
    }
    if constexpr (P == Pass::kFused) break;  // the plane is one tile
  }
  if (threadIdx.x == 0) {
    if constexpr (P == Pass::kPartial) {
      A* partial = p.workspace + static_cast<int64_t>(blockIdx.x) * 2;
      partial[0] = moments.mean;
      partial[1] = moments.squares;
    } else if (chunk == 0) {
      p.mean[plane] = moments.mean;
      p.rstd[plane] = moments.rstd(p.eps);
    }
  }
}

// grad_input = weight rstd (u - mean(u) - xhat mean(u xhat)), with u = grad_output activation'(z).
template <typename T, int R, Pass P>
__global__ void __launch_bounds__(kThreads, P == Pass::kFused ? kFusedBlocks : 1) backward(const Planes<T> p) {
  using A = Accumulator<T>;
  constexpr int V = kValues<T>, kUnits = kVectors / R;
  LSSL_DYNAMIC_SHARED(x_store, Vector);  // kVectors per thread
  LSSL_SHARED(scratch, A[32][2]);
  const int plane = static_cast<int>(blockIdx.x) / p.chunks, chunk = static_cast<int>(blockIdx.x) % p.chunks;
  const int begin = chunk * p.chunk_units, end = begin + chunk_size(p, chunk);
  const int64_t offset = static_cast<int64_t>(plane) * p.units * R;
  const int threads = static_cast<int>(blockDim.x), tile = threads * kUnits;
  const ThreadVectors kept(x_store, threads);
  const A mean = p.mean[plane], rstd = p.rstd[plane];
  const int at = affine_at(p, plane);
  const A scale = rstd * affine_weight(p.weight, at), bias = affine_bias(p.bias, at);

  A total[2] = {};
  if constexpr (P == Pass::kApply) {
    const A* partial = p.workspace + static_cast<int64_t>(plane) * p.chunks * 2;
    for (int i = 0; i < p.chunks; ++i) {
      total[0] += partial[2 * i];
      total[1] += partial[2 * i + 1];
    }
  }
  for (int start = begin; start < end; start += tile) {
    const int first = start + static_cast<int>(threadIdx.x);
    Vector g[kVectors];
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      const int u = first + k * threads;
      int2 from = make_int2(u, u);
      if constexpr (R == 2) from = traded(destination<R>(p, u));
#pragma unroll
      for (int j = 0; j < R; ++j) {
        LSSL_ASSERT(u >= end || within(j == 0 ? from.x : from.y, p.units * R));
        g[k * R + j] = u < end ? load(p.grad_output + offset + (j == 0 ? from.x : from.y)) : Vector{};
        if (u < end) {
          copy_async(&kept[k * R + j], p.input + offset + source<R>(p, u, j));
        }
      }
    }
    if constexpr (R == 2) {
#pragma unroll
      for (int k = 0; k < kUnits; ++k) trade(g[2 * k], g[2 * k + 1]);
    }
    await_copies();

    // Calls use(x normalised, u, position) for the values of a unit's vector j.
    const auto visit = [&](int k, int j, auto use) {
      A x[V];
      unpack<T>(kept[k * R + j], x);
      if constexpr (R == 1) {
        A grad[V];
        unpack<T>(g[k], grad);
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const A d = x[e] - mean;
          use(d * rstd, d * scale + bias > A(0) ? grad[e] : p.slope * grad[e], e);
        }
      } else {
        A low[V], high[V];
        unpack<T>(g[2 * k], low);
        unpack<T>(g[2 * k + 1], high);
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const A grad = e < V / 2 ? low[2 * e + j] : high[2 * e + j - V];
          const A d = x[e] - mean;
          use(d * rstd, d * scale + bias > A(0) ? grad : p.slope * grad, e);
        }
      }
    };
    if constexpr (P != Pass::kApply) {
      A sum[2] = {};
#pragma unroll
      for (int k = 0; k < kUnits; ++k) {
        if (first + k * threads >= end) break;
#pragma unroll
        for (int j = 0; j < R; ++j) {
          visit(k, j, [&](A normalised, A u, int) {
            sum[0] += u;
            sum[1] += u * normalised;
          });
        }
      }
      block_sum(sum, scratch);
      total[0] += sum[0];
      total[1] += sum[1];
    }
    if constexpr (P != Pass::kPartial) {
      const A count = static_cast<A>(p.units) * (R * V), mean_u = total[0] / count, mean_normalised = total[1] / count;
#pragma unroll
      for (int k = 0; k < kUnits; ++k) {
        const int u = first + k * threads;
        if (u >= end) break;
#pragma unroll
        for (int j = 0; j < R; ++j) {
          A dx[V];
          visit(k, j, [&](A normalised, A v, int e) { dx[e] = scale * (v - mean_u - normalised * mean_normalised); });
          store(p.grad_input + offset + source<R>(p, u, j), pack<T>(dx));
        }
      }
    } else {
      __syncthreads();  // the next tile uses the same scratch
    }
    if constexpr (P == Pass::kFused) break;  // the plane is one tile
  }
  if (threadIdx.x == 0) {
    if constexpr (P == Pass::kPartial) {
      A* partial = p.workspace + static_cast<int64_t>(blockIdx.x) * 2;
      partial[0] = total[0];
      partial[1] = total[1];
    } else if (chunk == 0) {
      p.sum_grad[plane] = total[0];
      p.sum_grad_normalized[plane] = total[1];
    }
  }
}

struct Shape {
  int threads;
  int64_t units, chunks, chunk_units;
};

template <typename T>
Shape shape_of(const ShuffleNorm& call) {
  const int64_t r = call.factor, units = r * r * call.height * call.width / (kValues<T> * r);
  const int64_t per_thread = kVectors / r;
  const int64_t threads = ceil_div(ceil_div(units, per_thread), 32) * 32;
  if (threads <= kThreads) return {static_cast<int>(threads), units, 1, units};
  const int64_t tile = kThreads * per_thread, chunk = ceil_div(ceil_div(units, tile), kMaxChunks) * tile;
  return {kThreads, units, ceil_div(units, chunk), chunk};
}

template <typename T>
Planes<T> planes_of(const ShuffleNorm& call, const Shape& shape, void* workspace) {
  using A = Accumulator<T>;
  Planes<T> p;
  p.input = static_cast<const Vector*>(call.input);
  p.grad_output = static_cast<const Vector*>(call.grad_output);
  p.output = static_cast<Vector*>(call.output);
  p.grad_input = static_cast<Vector*>(call.grad_input);
  p.weight = static_cast<const A*>(call.weight);
  p.bias = static_cast<const A*>(call.bias);
  p.mean = static_cast<A*>(call.mean);
  p.rstd = static_cast<A*>(call.rstd);
  p.sum_grad = static_cast<A*>(call.sum_grad);
  p.sum_grad_normalized = static_cast<A*>(call.sum_grad_normalized);
  p.workspace = static_cast<A*>(workspace);
  p.channels = static_cast<int>(call.channels);
  p.units = static_cast<int>(shape.units);
  p.chunks = static_cast<int>(shape.chunks);
  p.chunk_units = static_cast<int>(shape.chunk_units);
  p.half = static_cast<int>(call.height * call.width / kValues<T>);
  p.height = static_cast<int>(call.height);
  p.row = Divisor(call.factor == 2 ? call.width / kValues<T> : 1);
  p.affine_step = static_cast<int>(call.affine_step);
  p.eps = static_cast<A>(call.eps);
  p.slope = static_cast<A>(call.negative_slope);
  return p;
}

template <typename T, int R>
const char* run(const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  const Shape shape = shape_of<T>(call);
  const Planes<T> p = planes_of<T>(call, shape, workspace);
  const int64_t blocks = call.batch * call.channels * shape.chunks;
  const int64_t x_bytes = is_forward ? 0 : int64_t{kVectors} * shape.threads * sizeof(Vector);
  const auto queue = [&](auto kernel) { return launch(kernel, blocks, shape.threads, x_bytes, 1, stream, p); };
  if (shape.chunks == 1) return queue(is_forward ? forward<T, R, Pass::kFused> : backward<T, R, Pass::kFused>);
  const char* error = queue(is_forward ? forward<T, R, Pass::kPartial> : backward<T, R, Pass::kPartial>);
  if (error != nullptr) return error;
  return queue(is_forward ? forward<T, R, Pass::kApply> : backward<T, R, Pass::kApply>);
}

template <typename T>
const char* run(const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  return call.factor == 1 ? run<T, 1>(call, is_forward, workspace, stream)
                          : run<T, 2>(call, is_forward, workspace, stream);
}

const char* run(Dtype dtype, const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  switch (dtype) {
    case Dtype::kFloat32:
      return run<float>(call, is_forward, workspace, stream);
    case Dtype::kBFloat16:
      return run<__nv_bfloat16>(call, is_forward, workspace, stream);
    default:
      return run<__half>(call, is_forward, workspace, stream);
  }
}

}  // namespace planes

bool planes_serve(Dtype dtype, const ShuffleNorm& call) {
  const int64_t values = dtype == Dtype::kFloat32 ? 4 : 8;
  const int64_t run = call.factor == 2 ? call.width : call.height * call.width;
  return !call.channels_last && dtype != Dtype::kFloat64 && (call.factor == 1 || call.factor == 2) &&
         run % values == 0 && aligned(call) &&
         call.height * call.width * call.factor * call.factor < (int64_t{1} << 30);
}

int64_t planes_workspace(Dtype dtype, const ShuffleNorm& call) {
  const int64_t chunks =
      dtype == Dtype::kFloat32 ? planes::shape_of<float>(call).chunks : planes::shape_of<__half>(call).chunks;
  return chunks == 1 ? 0 : call.batch * call.channels * chunks * 2 * static_cast<int64_t>(sizeof(float));
}

const char* planes_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return planes::run(dtype, call, true, workspace, stream);
}
const char* planes_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return planes::run(dtype, call, false, workspace, stream);
}

}  // namespace lssl::cuda
