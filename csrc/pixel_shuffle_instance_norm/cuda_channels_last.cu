// pixel_shuffle_instance_norm on channels-last tensors: a cluster of blocks takes a slab of a sample, which is up to
// 128 bytes of every pixel; each block takes some of the pixels.
#include <algorithm>

#include "pixel_shuffle_instance_norm/cuda.cuh"

namespace lssl::cuda {

namespace channels_last {

constexpr int kVectors = 8;                              // held per thread, each of one pixel
constexpr int kFewestThreads = 128, kMostThreads = 512;  // of a block, which then holds up to 64 KB; powers of two
constexpr int kMaxLanes = 8;                             // vectors of a pixel in a slab
constexpr int kMaxCluster = 8;
constexpr int kGroup = 4;  // channels summed at a time, as registers are scarce
constexpr int kSums = 8;   // per lane at a time, at most: 2 kGroup, or a vector's 8 channels
constexpr int64_t kMaxChunks = 64;
constexpr int kTwoPasses = 256;  // threads of a block in two passes

// Output channels of which a thread holds values: r^2 neighbouring input channels make one.
template <typename T, int R>
constexpr int kChannels = kValues<T> / (R * R);

template <typename T>
struct Slabs {
  using A = Accumulator<T>;
  const Vector *input, *grad_output;
  Vector *output, *grad_input;
  const A *weight, *bias;
  A *mean, *rstd, *sum_grad, *sum_grad_normalized;
  A* workspace;      // (batch, slabs, chunks, channels of a slab, 2)
  int channels;      // C
  int affine_step;   // from a sample's weight and bias to the next one's; 0: all share them
  int pixels;        // H W
  Divisor width;     // W
  int vectors;       // of an input pixel
  int lanes, slabs;  // vectors of a slab's pixel, slabs of a pixel
  int chunks, chunk_pixels;
  A eps, slope;
};

// Where a thread works.
template <typename T, int R>
struct Place {
  int lane, row, rows;  // the vector within the slab; the pixel among `rows` at a time
  int slab, chunk, begin, end;
  int64_t n;

  __device__ __forceinline__ Place(const Slabs<T>& s, int threads) {
    lane = static_cast<int>(threadIdx.x) & (s.lanes - 1);
    row = static_cast<int>(threadIdx.x) / s.lanes;
    rows = threads / s.lanes;
    const int block = static_cast<int>(blockIdx.x);
    chunk = block % s.chunks;
    slab = block / s.chunks % s.slabs;
    n = block / s.chunks / s.slabs;
    begin = chunk * s.chunk_pixels;
    end = min(s.pixels, begin + s.chunk_pixels);
  }
  // The position of a pixel's vector in the input.
  __device__ __forceinline__ int64_t input(const Slabs<T>& s, int pixel) const {
    LSSL_ASSERT(within(pixel, s.pixels) && within(slab * s.lanes + lane, s.vectors));
    return (n * s.pixels + pixel) * s.vectors + slab * s.lanes + lane;
  }
  // In the output. For R = 2 four lanes each hold one position (i, j) of the same pixel, with all their channels.
  __device__ __forceinline__ int64_t output(const Slabs<T>& s, int pixel) const {
    if constexpr (R == 1) return input(s, pixel);
    const int y = static_cast<int>(s.width.divide(static_cast<uint32_t>(pixel)));
    const int width = static_cast<int>(s.width.value), x = pixel - y * width, i = lane / 2 % 2, j = lane % 2;
    LSSL_ASSERT(within(pixel, s.pixels) && within(slab * s.lanes + lane, s.vectors));
    const int64_t to = n * s.pixels * 4 + static_cast<int64_t>(2 * y + i) * (2 * width) + 2 * x + j;
    return to * (s.vectors / 4) + slab * (s.lanes / 4) + lane / 4;
  }
  // The number of values per channel in a chunk.
  __device__ __forceinline__ Accumulator<T> values(const Slabs<T>& s, int of_chunk) const {
    return static_cast<Accumulator<T>>(max(0, min(s.pixels - of_chunk * s.chunk_pixels, s.chunk_pixels)) * (R * R));
  }
};

// Input value e of a thread's vector belongs to its channel e / R^2. For R = 2 the output vector, before the lanes
// exchange words, has word (i, j) for position (i, j); a word holds one float, or two channels of 16 bits.
template <int R>
__device__ __forceinline__ constexpr int channel_of(int e) {
  return e / (R * R);
}
template <typename T, int R>
__device__ __forceinline__ constexpr int shuffled(int e) {
  return R == 1 || sizeof(T) == 4 ? e : 2 * (e % 4) + e / 4;
}

// A 4 x 4 transpose: lane m of each four ends with word m of all four. Its own inverse.
__device__ __forceinline__ void transpose(Vector& v) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool high = (threadIdx.x & bit) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const uint32_t got = __shfl_xor_sync(kWarp, high ? v.word[i] : v.word[i | bit], bit);
      if (high) {
        v.word[i] = got;
      } else {
        v.word[i | bit] = got;
      }
    }
  }
}

// Sums over the block's threads of the same lane, in a fixed order; each of them gets the result.
template <int kThreads, typename A, int N>
__device__ __forceinline__ void column_sum(A (&v)[N], int lanes, A* scratch, A* totals) {
  for (int offset = 16; offset >= lanes; offset /= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] += __shfl_xor_sync(kWarp, v[i], offset);
  }
  const int thread = static_cast<int>(threadIdx.x), lane = thread & (lanes - 1), columns = lanes * N;
  static_assert(kMaxLanes * N <= kThreads);
  if (thread % 32 < lanes) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      LSSL_ASSERT(within(thread / 32 * columns + lane * N + i, kThreads / 32 * kMaxLanes * kSums));
      scratch[thread / 32 * columns + lane * N + i] = v[i];
    }
  }
  __syncthreads();
  if (thread < columns) {
    A total = A(0);
    for (int warp = 0; warp < kThreads / 32; ++warp) total += scratch[warp * columns + thread];
    totals[thread] = total;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = totals[lane * N + i];
}

template <typename T, int R, int kThreads>
struct Exchange {
  using A = Accumulator<T>;
  static_assert(kMaxLanes * kChannels<T, R> * 2 <= kThreads);
  A scratch[kThreads / 32 * kMaxLanes * kSums];
  A totals[kMaxLanes * kSums];
  A mine[kMaxLanes * kChannels<T, R> * 2];      // this block's two numbers per channel, for its cluster
  A combined[kMaxLanes * kChannels<T, R> * 2];  // the cluster's
};

// Combines the chunks' two numbers per channel, in order: `merge(state, chunk, first, second)` for each, then
// `finish(state, channel of the slab, first, second)`. `mine` is in the shared memory of the chunks' blocks (kFused) or
// in the workspace (kApply).
template <Pass P, typename T, int R, int kThreads, typename Begin, typename Merge, typename Finish>
__device__ __forceinline__ void combine(const Slabs<T>& s, Exchange<T, R, kThreads>& exchange, Begin start, Merge merge,
                                        Finish finish) {
  using A = Accumulator<T>;
  const int slab_channels = s.lanes * kChannels<T, R>, channel = static_cast<int>(threadIdx.x);
  if constexpr (P == Pass::kFused) cluster_sync();
  LSSL_ASSERT(slab_channels <= kMaxLanes * kChannels<T, R>);
  if (channel < slab_channels) {
    auto state = start();
    for (int chunk = 0; chunk < s.chunks; ++chunk) {
      const A* from;
      if constexpr (P == Pass::kFused) {
        from = cluster_peer(static_cast<const A*>(exchange.mine), chunk);
      } else {
        from = s.workspace + (static_cast<int64_t>(blockIdx.x) / s.chunks * s.chunks + chunk) * slab_channels * 2;
      }
      merge(state, chunk, from[2 * channel], from[2 * channel + 1]);
    }
    finish(state, channel, exchange.combined[2 * channel], exchange.combined[2 * channel + 1]);
  }
  if constexpr (P == Pass::kFused) cluster_arrive();
  __syncthreads();
}

// The two numbers of channel `c` of the calling thread's lane, in shared memory; one thread per lane writes them.
template <typename T, int R, int kThreads>
__device__ __forceinline__ Accumulator<T>* mine(Exchange<T, R, kThreads>& exchange, const Place<T, R>& place, int c) {
  LSSL_ASSERT(within(place.lane, kMaxLanes) && within(c, kChannels<T, R>));
  return exchange.mine + 2 * (place.lane * kChannels<T, R> + c);
}

// Writes a block's numbers to the workspace, for the second pass.
template <typename T, int R, int kThreads>
__device__ __forceinline__ void publish(const Slabs<T>& s, Exchange<T, R, kThreads>& exchange) {
  const int numbers = s.lanes * kChannels<T, R> * 2, thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  if (thread < numbers) s.workspace[static_cast<int64_t>(blockIdx.x) * numbers + thread] = exchange.mine[thread];
}

template <typename T, int R, Pass P, int kThreads>
__global__ void __launch_bounds__(kThreads, P == Pass::kFused ? kFusedBlocks * (kMostThreads / kThreads) : 1)
    forward(const Slabs<T> s) {
  using A = Accumulator<T>;
  constexpr int V = kValues<T>, C = kChannels<T, R>, G = C < kGroup ? C : kGroup;
  LSSL_DYNAMIC_SHARED(x_store, Vector);  // one pixel's each; as many per thread as its chunk needs (run)
  LSSL_SHARED(exchange, Exchange<T, R, kThreads>);
  const Place<T, R> place(s, kThreads);
  const int tile = place.rows * kVectors;
  const int64_t first_channel = static_cast<int64_t>(place.slab * s.lanes) * C;
  const int64_t first_affine = place.n * s.affine_step + first_channel;
  const ThreadVectors x(x_store, kThreads);
  A mean[C], scale[C], bias[C];

  // Turns the chunks' moments into mean and rstd, and those into what a thread needs.
  const auto statistics = [&] {
    combine<P>(
        s, exchange, [] { return Moments<A>{A(0), A(0), A(0)}; },
        [&](Moments<A>& m, int chunk, A other_mean, A squares) {
          m.merge(place.values(s, chunk), other_mean, squares);
        },
        [&](const Moments<A>& m, int channel, A& to_mean, A& to_rstd) {
          to_mean = m.mean;
          to_rstd = m.rstd(s.eps);
          if (place.chunk != 0) return;
          s.mean[place.n * s.channels + first_channel + channel] = to_mean;
          s.rstd[place.n * s.channels + first_channel + channel] = to_rstd;
        });
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int channel = place.lane * C + c;
      mean[c] = exchange.combined[2 * channel];
      scale[c] = exchange.combined[2 * channel + 1] * affine_weight(s.weight, first_affine + channel);
      bias[c] = affine_bias(s.bias, first_affine + channel);
      if constexpr (sizeof(T) == 2) {  // saves registers; float32 would lose digits where |mean| >> deviation
        bias[c] -= mean[c] * scale[c];
        mean[c] = A(0);
      }
    }
  };
  if constexpr (P == Pass::kApply) statistics();

  A seen = A(0);  // values per channel in earlier tiles
  int start = place.begin;
  do {
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int pixel = start + k * place.rows + place.row;
      if (pixel < place.end) copy_async(&x[k], s.input + place.input(s, pixel));
    }
    await_copies();
    if constexpr (P != Pass::kApply) {
      A centre[C] = {};
#pragma unroll
      for (int k = 0; k < kVectors; ++k) {
        if (start + k * place.rows + place.row >= place.end) break;
        A v[V];
        unpack<T>(x[k], v);
#pragma unroll
        for (int e = 0; e < V; ++e) centre[channel_of<R>(e)] += v[e];
      }
      column_sum<kThreads>(centre, s.lanes, exchange.scratch, exchange.totals);
      const A count = static_cast<A>(max(0, min(tile, place.end - start)) * (R * R));
#pragma unroll
      for (int c = 0; c < C; ++c) centre[c] /= count;
#pragma unroll
      for (int first = 0; first < C; first += G) {
        A deviations[2 * G] = {};
#pragma unroll
        for (int k = 0; k < kVectors; ++k) {
          if (start + k * place.rows + place.row >= place.end) break;
          A v[V];
          unpack<T>(x[k], v);
#pragma unroll
          for (int e = first * R * R; e < (first + G) * R * R; ++e) {
            const int c = channel_of<R>(e);
            const A d = v[e] - centre[c];
            deviations[c - first] += d;
            deviations[G + c - first] += d * d;
          }
        }
        column_sum<kThreads>(deviations, s.lanes, exchange.scratch, exchange.totals);
        if (static_cast<int>(threadIdx.x) < s.lanes) {
#pragma unroll
          for (int c = 0; c < G; ++c) {
            A* const numbers = mine(exchange, place, first + c);
            Moments<A> moments{seen, numbers[0], numbers[1]};
            A tile_mean, squares;
            recentre(count, centre[first + c], deviations[c], deviations[G + c], tile_mean, squares);
            moments.merge(count, tile_mean, squares);
            numbers[0] = moments.mean;
            numbers[1] = moments.squares;
          }
        }
      }
      seen += count;
      if constexpr (P == Pass::kFused) {
        statistics();
      }
    }
    if constexpr (P != Pass::kPartial) {
#pragma unroll
      for (int k = 0; k < kVectors; ++k) {
        const int pixel = start + k * place.rows + place.row;
        A v[V], y[V];
        unpack<T>(pixel < place.end ? x[k] : Vector{}, v);  // the lanes of a transpose stay together to the end
#pragma unroll
        for (int e = 0; e < V; ++e) {
          const int c = channel_of<R>(e);
          y[shuffled<T, R>(e)] = activate((v[e] - mean[c]) * scale[c] + bias[c], s.slope);
        }
        Vector out = pack<T>(y);
        if constexpr (R == 2) transpose(out);
        if (pixel < place.end) store(s.output + place.output(s, pixel), out);
      }
    }
    start += tile;
  } while (P != Pass::kFused && start < place.end);
  if constexpr (P == Pass::kPartial) publish(s, exchange);
  if constexpr (P == Pass::kFused) cluster_wait();
}

// grad_input = weight rstd (u - mean(u) - xhat mean(u xhat)), with u = grad_output activation'(z).
template <typename T, int R, Pass P, int kThreads>
__global__ void __launch_bounds__(kThreads, kMostThreads / kThreads) backward(const Slabs<T> s) {
  using A = Accumulator<T>;
  constexpr int V = kValues<T>, C = kChannels<T, R>, G = C < kGroup ? C : kGroup;
  LSSL_DYNAMIC_SHARED(x_store, Vector);  // one pixel's each; as many per thread as its chunk needs (run)
  LSSL_SHARED(exchange, Exchange<T, R, kThreads>);
  const Place<T, R> place(s, kThreads);
  const int tile = place.rows * kVectors;
  const int64_t first_channel = static_cast<int64_t>(place.slab * s.lanes) * C;
  const int64_t first_affine = place.n * s.affine_step + first_channel;
  const ThreadVectors x(x_store, kThreads);
  const A* const rstd = s.rstd + place.n * s.channels + first_channel;
  A mean[C], scale[C], bias[C];
#pragma unroll
  for (int c = 0; c < C; ++c) {
    const int channel = place.lane * C + c;
    mean[c] = s.mean[place.n * s.channels + first_channel + channel];
    scale[c] = rstd[channel] * affine_weight(s.weight, first_affine + channel);
    bias[c] = affine_bias(s.bias, first_affine + channel);
  }
  // The result is scale u - offset - (x - mean) factor.
  A offset[C], factor[C];
  const auto sums = [&] {
    combine<P>(
        s, exchange, [] { return make_float2(0, 0); },
        [&](float2& total, int, A u, A normalised) {
          total.x += u;
          total.y += normalised;
        },
        [&](const float2& total, int channel, A& mean_u, A& mean_normalised) {
          const A count = static_cast<A>(s.pixels) * (R * R);
          mean_u = total.x / count;
          mean_normalised = total.y / count;
          if (place.chunk != 0) return;
          s.sum_grad[place.n * s.channels + first_channel + channel] = total.x;
          s.sum_grad_normalized[place.n * s.channels + first_channel + channel] = total.y;
        });
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const int channel = place.lane * C + c;
      offset[c] = scale[c] * exchange.combined[2 * channel];
      factor[c] = scale[c] * rstd[channel] * exchange.combined[2 * channel + 1];
    }
  };
  if constexpr (P == Pass::kApply) sums();

  int start = place.begin;
  do {
    Vector g[kVectors];
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int pixel = start + k * place.rows + place.row;
      g[k] = pixel < place.end ? load(s.grad_output + place.output(s, pixel)) : Vector{};
      if (pixel < place.end) copy_async(&x[k], s.input + place.input(s, pixel));
    }
    if constexpr (R == 2) {
#pragma unroll
      for (int k = 0; k < kVectors; ++k) transpose(g[k]);
    }
    await_copies();
    const auto visit = [&](int k, int from, int to, auto use) {
      A v[V], grad[V];
      unpack<T>(x[k], v);
      unpack<T>(g[k], grad);
#pragma unroll
      for (int e = 0; e < V; ++e) {
        if (e < from || e >= to) continue;
        const int c = channel_of<R>(e);
        const A d = v[e] - mean[c], g_e = grad[shuffled<T, R>(e)];
        use(e, c, d, d * scale[c] + bias[c] > A(0) ? g_e : s.slope * g_e);
      }
    };
    if constexpr (P != Pass::kApply) {
#pragma unroll
      for (int first = 0; first < C; first += G) {
        A sum[2 * G] = {};
#pragma unroll
        for (int k = 0; k < kVectors; ++k) {
          if (start + k * place.rows + place.row >= place.end) break;
          visit(k, first * R * R, (first + G) * R * R, [&](int, int c, A d, A u) {
            sum[c - first] += u;
            sum[G + c - first] += u * d;
          });
        }
        column_sum<kThreads>(sum, s.lanes, exchange.scratch, exchange.totals);
        if (static_cast<int>(threadIdx.x) < s.lanes) {
#pragma unroll
          for (int c = 0; c < G; ++c) {
            A* const numbers = mine(exchange, place, first + c);
            const bool fresh = start == place.begin;
            numbers[0] = (fresh ? A(0) : numbers[0]) + sum[c];
            numbers[1] = (fresh ? A(0) : numbers[1]) + sum[G + c] * rstd[place.lane * C + first + c];
          }
        }
      }
      if constexpr (P == Pass::kFused) {
        sums();
      }
    }
    if constexpr (P != Pass::kPartial) {
#pragma unroll
      for (int k = 0; k < kVectors; ++k) {
        const int pixel = start + k * place.rows + place.row;
        if (pixel >= place.end) break;
        A dx[V];
        visit(k, 0, V, [&](int e, int c, A d, A u) { dx[e] = scale[c] * u - offset[c] - d * factor[c]; });
        store(s.grad_input + place.input(s, pixel), pack<T>(dx));
      }
    }
    start += tile;
  } while (P != Pass::kFused && start < place.end);
  if constexpr (P == Pass::kPartial) publish(s, exchange);
  if constexpr (P == Pass::kFused) cluster_wait();
}

struct Shape {
  int64_t vectors, pixels;
  int lanes, threads;
  bool fused;
  int64_t chunks, chunk_pixels;
};

// A rule for the fast ones of all shapes of blocks that were timed on an H200, with 1 to 32 lanes and 64 to 1024
// threads (docs/operators-gpu.md).
Shape shape_of(Dtype dtype, const ShuffleNorm& call) {
  const int64_t values = dtype == Dtype::kFloat32 ? 4 : 8;
  const int64_t vectors = call.channels * call.factor * call.factor / values, pixels = call.height * call.width;
  const int max_cluster = device_attribute(cudaDevAttrComputeCapabilityMajor) >= 9 ? kMaxCluster : 1;
  const int64_t multiprocessors = device_attribute(cudaDevAttrMultiProcessorCount);
  const auto widest = [&](int lanes) {
    while (vectors % lanes != 0) lanes /= 2;
    return lanes;
  };
  const int most = widest(call.factor == 2 ? kMaxLanes : 4),
            fewest = std::min(most, 4);  // fewer are slower than two passes
  for (int lanes = most; lanes >= fewest; lanes /= 2) {
    int64_t chunks = 1;
    while (ceil_div(pixels, chunks) * lanes > int64_t{kMostThreads} * kVectors) chunks *= 2;
    if (chunks > max_cluster) continue;
    // Nearly a block for each multiprocessor, but not less than a pixel for each thread.
    while (2 * chunks <= max_cluster && 4 * call.batch * (vectors / lanes) * chunks < 3 * multiprocessors &&
           pixels * lanes >= 2 * chunks * kFewestThreads) {
      chunks *= 2;
    }
    const int64_t chunk = ceil_div(pixels, chunks);
    int threads = kFewestThreads;
    while (threads * kVectors < chunk * lanes) threads *= 2;
    return {vectors, pixels, lanes, threads, true, chunks, chunk};
  }
  const int lanes = widest(kMaxLanes), threads = kTwoPasses;
  const int64_t two_tiles = 2 * int64_t{threads} / lanes * kVectors,
                chunk = ceil_div(ceil_div(pixels, two_tiles), kMaxChunks) * two_tiles;
  return {vectors, pixels, lanes, threads, false, ceil_div(pixels, chunk), chunk};
}

template <typename T, int R>
const char* run(Dtype dtype, const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  using A = Accumulator<T>;
  const Shape shape = shape_of(dtype, call);
  const int slabs = static_cast<int>(shape.vectors) / shape.lanes;
  const Slabs<T> s{static_cast<const Vector*>(call.input),
                   static_cast<const Vector*>(call.grad_output),
                   static_cast<Vector*>(call.output),
                   static_cast<Vector*>(call.grad_input),
                   static_cast<const A*>(call.weight),
                   static_cast<const A*>(call.bias),
                   static_cast<A*>(call.mean),
                   static_cast<A*>(call.rstd),
                   static_cast<A*>(call.sum_grad),
                   static_cast<A*>(call.sum_grad_normalized),
                   static_cast<A*>(workspace),
                   static_cast<int>(call.channels),
                   static_cast<int>(call.affine_step),
                   static_cast<int>(shape.pixels),
                   Divisor(call.width),
                   static_cast<int>(shape.vectors),
                   shape.lanes,
                   slabs,
                   static_cast<int>(shape.chunks),
                   static_cast<int>(shape.chunk_pixels),
                   static_cast<A>(call.eps),
                   static_cast<A>(call.negative_slope)};
  const int64_t blocks = call.batch * slabs * shape.chunks;
  const int64_t at_once = shape.threads / shape.lanes,
                held = std::min<int64_t>(kVectors, ceil_div(shape.chunk_pixels, at_once));
  const int64_t x_bytes = held * shape.threads * static_cast<int64_t>(sizeof(Vector));
  const auto queue = [&](auto kernel, int64_t cluster) {
    return launch(kernel, blocks, shape.threads, x_bytes, static_cast<int>(cluster), stream, s);
  };
  const auto fused = [&]<int kThreads>() {
    return queue(is_forward ? forward<T, R, Pass::kFused, kThreads> : backward<T, R, Pass::kFused, kThreads>,
                 shape.chunks);
  };
  if (shape.fused) {
    static_assert(kMostThreads == 4 * kFewestThreads);
    return shape.threads == kFewestThreads       ? fused.template operator()<kFewestThreads>()
           : shape.threads == 2 * kFewestThreads ? fused.template operator()<2 * kFewestThreads>()
                                                 : fused.template operator()<kMostThreads>();
  }
  const char* error =
      queue(is_forward ? forward<T, R, Pass::kPartial, kTwoPasses> : backward<T, R, Pass::kPartial, kTwoPasses>, 1);
  if (error != nullptr) return error;
  return queue(is_forward ? forward<T, R, Pass::kApply, kTwoPasses> : backward<T, R, Pass::kApply, kTwoPasses>, 1);
}

template <typename T>
const char* run(Dtype dtype, const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  return call.factor == 1 ? run<T, 1>(dtype, call, is_forward, workspace, stream)
                          : run<T, 2>(dtype, call, is_forward, workspace, stream);
}

const char* run(Dtype dtype, const ShuffleNorm& call, bool is_forward, void* workspace, Stream stream) {
  switch (dtype) {
    case Dtype::kFloat32:
      return run<float>(dtype, call, is_forward, workspace, stream);
    case Dtype::kBFloat16:
      return run<__nv_bfloat16>(dtype, call, is_forward, workspace, stream);
    default:
      return run<__half>(dtype, call, is_forward, workspace, stream);
  }
}

}  // namespace channels_last

bool channels_last_serves(Dtype dtype, const ShuffleNorm& call) {
  const int64_t values = dtype == Dtype::kFloat32 ? 4 : 8;
  return call.channels_last && dtype != Dtype::kFloat64 && (call.factor == 1 || call.factor == 2) &&
         call.channels % values == 0 && aligned(call) && call.height * call.width < (int64_t{1} << 28);
}

int64_t channels_last_workspace(Dtype dtype, const ShuffleNorm& call) {
  const channels_last::Shape shape = channels_last::shape_of(dtype, call);
  return shape.fused ? 0 : call.batch * call.channels * shape.chunks * 2 * static_cast<int64_t>(sizeof(float));
}

const char* channels_last_forward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return channels_last::run(dtype, call, true, workspace, stream);
}
const char* channels_last_backward(Dtype dtype, const ShuffleNorm& call, void* workspace, Stream stream) {
  return channels_last::run(dtype, call, false, workspace, stream);
}

}  // namespace lssl::cuda
