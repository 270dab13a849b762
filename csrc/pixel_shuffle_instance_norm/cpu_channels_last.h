// Channels-last tensors: a pixel's channels lie together, so vectors run over channels and a sample's rows are read
// twice (sums, then output); the caller does both for a few samples at a time, while they are in the cache.
#pragma once

#include "pixel_shuffle_instance_norm/cpu_math.h"

namespace lssl::cpu::LSSL_SIMD {

// How the input holds the plane of one output channel of a sample: a run of r^2 values per pixel.
LSSL_INLINE PlaneStrides strides_of(const ShuffleNorm& op) {
  const int64_t group = op.factor * op.factor;
  return {op.height * op.width, op.channels * group, group, 1};
}

// Per input channel of sample n: sums over rows [begin, end) of x - shift and of its square; in the accumulation type
// along a row, in doubles from row to row.
template <typename T>
void forward_rows_sums(const ShuffleNorm& op, int64_t n, int64_t begin, int64_t end, double* sums) {
  using A = Accumulation<T>;
  using V = Vector<A, kLanes<T>>;
  constexpr int L = kLanes<T>;
  const int64_t group = op.factor * op.factor, depth = op.channels * group;
  const T* sample = static_cast<const T*>(op.input) + n * op.height * op.width * depth;
  Scratch<A> memory(3 * depth);
  A *shift = memory.data, *row_sums = shift + depth, *row_squares = row_sums + depth;
  for (int64_t k = 0; k < depth; ++k) {
    shift[k] = k % group ? shift[k - 1] : shift_of(sample + k, strides_of(op));
    sums[k] = 0, sums[depth + k] = 0;
  }
  for (int64_t h = begin; h < end; ++h) {
    for (int64_t k = 0; k < 2 * depth; ++k) row_sums[k] = 0;
    const T *x = sample + h * op.width * depth, *stop = x + op.width * depth;
    // Pixels by fours, so that the sums are loaded and stored once for four values.
    while (x < stop) {
      const int64_t pixels = stop - x >= 4 * depth ? 4 : 1;
      int64_t k = 0;
      for (; k + L <= depth; k += L) {
        const V s = load<L>(shift + k);
        V sum = load<L>(row_sums + k), square = load<L>(row_squares + k);
        for (int64_t p = 0; p < pixels; ++p) {
          const V d = load<L>(x + p * depth + k) - s;
          sum += d;
          square += d * d;
        }
        store<L>(row_sums + k, sum, false);
        store<L>(row_squares + k, square, false);
      }
      for (; k < depth; ++k) {
        for (int64_t p = 0; p < pixels; ++p) {
          const A d = load<1>(x + p * depth + k) - shift[k];
          row_sums[k] += d;
          row_squares[k] += d * d;
        }
      }
      x += pixels * depth;
    }
    for (int64_t k = 0; k < 2 * depth; ++k) sums[k] += static_cast<double>(row_sums[k]);
  }
}

template <typename T>
void forward_statistics(const ShuffleNorm& op, int64_t n, int64_t bands, const double* sums) {
  const int64_t group = op.factor * op.factor, depth = op.channels * group;
  const T* sample = static_cast<const T*>(op.input) + n * op.height * op.width * depth;
  Scratch<double> total(2 * depth);
  for (int64_t k = 0; k < 2 * depth; ++k) total.data[k] = 0;
  for (int64_t band = 0; band < bands; ++band, sums += 2 * depth) {
    for (int64_t k = 0; k < 2 * depth; ++k) total.data[k] += sums[k];
  }
  for (int64_t c = 0; c < op.channels; ++c) {
    double sum = 0, square = 0;
    for (int64_t k = c * group; k < (c + 1) * group; ++k) sum += total.data[k], square += total.data[depth + k];
    const T* x = sample + c * group;
    const PlaneStrides at = strides_of(op);
    keep_statistics<T>(op, n * op.channels + c, moments(x, at, shift_of(x, at), sum, square));
  }
}

// The Affine and, in backward, the GradLine of every channel of one sample, each field as an array.
template <typename T>
struct ChannelTables {
  using A = Accumulation<T>;
  Scratch<A> memory;
  A *mean, *scale, *bias, *shift, *tilt;
  A slope;

  ChannelTables(const ShuffleNorm& op, int64_t n, bool backward) : memory(op.channels * 5) {
    A** const fields[] = {&mean, &scale, &bias, &shift, &tilt};
    for (int i = 0; i < 5; ++i) *fields[i] = memory.data + i * op.channels;
    slope = static_cast<A>(op.negative_slope);
    for (int64_t c = 0; c < op.channels; ++c) {
      const int64_t plane = n * op.channels + c;
      const Affine<A> affine = affine_of<T>(op, plane);
      mean[c] = affine.mean, scale[c] = affine.scale, bias[c] = affine.bias;
      if (!backward) continue;
      const double rstd = static_cast<double>(static_cast<const A*>(op.rstd)[plane]);
      const double sum_u = static_cast<double>(static_cast<const A*>(op.sum_grad)[plane]);
      const double sum_uz = static_cast<double>(static_cast<const A*>(op.sum_grad_normalized)[plane]);
      const GradLine<A> line = grad_line<T>(op, plane, affine.scale, sum_u, sum_uz / rstd);
      shift[c] = line.shift, tilt[c] = line.tilt;
    }
  }

  template <int L>
  LSSL_INLINE Affine<Vector<A, L>> affine(int64_t c) const {
    return {load<L>(mean + c), load<L>(scale + c), load<L>(bias + c), Vector<A, L>{} + slope};
  }
  template <int L>
  LSSL_INLINE GradLine<Vector<A, L>> line(int64_t c) const {
    return {load<L>(shift + c), load<L>(tilt + c)};
  }
};

// The r^2 values of output channels c to c + L at one input pixel, sub-pixel by sub-pixel (r = 1 or 2).
template <int L, int kGroup, typename V, typename T>
LSSL_INLINE void load_group(const T* x, V* values) {
  if constexpr (kGroup == 1) {
    values[0] = load<L>(x);
  } else {
    V even[2], odd[2];
    deinterleave<L>(load<L>(x), load<L>(x + L), even[0], odd[0]);
    deinterleave<L>(load<L>(x + 2 * L), load<L>(x + 3 * L), even[1], odd[1]);
    deinterleave<L>(even[0], even[1], values[0], values[2]);
    deinterleave<L>(odd[0], odd[1], values[1], values[3]);
  }
}

template <int L, int kGroup, typename V, typename T>
LSSL_INLINE void store_group(T* x, const V* values, bool stream) {
  if constexpr (kGroup == 1) {
    store<L>(x, values[0], stream);
  } else {
    V even[2], odd[2], out[4];
    interleave<L>(values[0], values[2], even[0], even[1]);
    interleave<L>(values[1], values[3], odd[0], odd[1]);
    interleave<L>(even[0], odd[0], out[0], out[1]);
    interleave<L>(even[1], odd[1], out[2], out[3]);
    for (int i = 0; i < 4; ++i) store<L>(x + i * L, out[i], stream);
  }
}

// Calls body.run<L, kGroup>(x's offset, sub-pixels' offsets, c) over the channels of every pixel of the rows; for r > 2
// one channel and sub-pixel at a time.
template <typename T, typename Body>
LSSL_INLINE void walk_pixels(const ShuffleNorm& op, int64_t n, int64_t begin, int64_t end, Body& body) {
  constexpr int L = kLanes<T>;
  const int64_t r = op.factor, channels = op.channels, depth = channels * r * r, out_row = r * op.width * channels;
  for (int64_t h = begin; h < end; ++h) {
    for (int64_t w = 0; w < op.width; ++w) {
      const int64_t in = ((n * op.height + h) * op.width + w) * depth;
      const int64_t out = (n * op.height + h) * r * out_row + w * r * channels;
      int64_t c = 0;
      if (r <= 2) {
        const int64_t at[4] = {out, out + channels, out + out_row, out + out_row + channels};
        if (r == 1) {
          for (; c + L <= channels; c += L) body.template run<L, 1>(in + c, at, c);
          for (; c < channels; ++c) body.template run<1, 1>(in + c, at, c);
        } else {
          for (; c + L <= channels; c += L) body.template run<L, 4>(in + 4 * c, at, c);
          for (; c < channels; ++c) body.template run<1, 4>(in + 4 * c, at, c);
        }
        continue;
      }
      for (; c < channels; ++c) {
        for (int64_t s = 0; s < r * r; ++s) {
          const int64_t at[1] = {out + s / r * out_row + s % r * channels};
          body.template run<1, 1>(in + c * r * r + s, at, c);
        }
      }
    }
    body.row_done();
  }
}

template <typename T, Activation kActivation>
struct NormalizeChannels {
  using A = Accumulation<T>;
  const T* x;
  T* y;
  const ChannelTables<T>& tables;
  bool stream;

  template <int L, int kGroup>
  LSSL_INLINE void run(int64_t in, const int64_t* out, int64_t c) {
    const auto affine = tables.template affine<L>(c);
    Vector<A, L> values[kGroup];
    load_group<L, kGroup>(x + in, values);
    for (int s = 0; s < kGroup; ++s) {
      const Vector<A, L> z = (values[s] - affine.mean) * affine.scale + affine.bias;
      store<L>(y + out[s] + c, activate<kActivation>(z, affine.slope), stream && L > 1);
    }
  }
  LSSL_INLINE void row_done() {}
};

template <typename T, Activation kActivation>
void forward_rows(const ShuffleNorm& op, int64_t n, int64_t begin, int64_t end) {
  const ChannelTables<T> tables(op, n, false);
  const bool stream = should_stream<T>(op, op.output, op.channels);
  NormalizeChannels<T, kActivation> body{static_cast<const T*>(op.input), static_cast<T*>(op.output), tables, stream};
  walk_pixels<T>(op, n, begin, end, body);
  if (stream) sfence();
}

// Sums of u and u (x - mean) per output channel: in the accumulation type along a row, in doubles from row to row.
template <typename T, Activation kActivation>
struct SumChannelGrads {
  using A = Accumulation<T>;
  const T *x, *grad;
  const ChannelTables<T>& tables;
  int64_t channels;
  A* row;
  double* sums;

  template <int L, int kGroup>
  LSSL_INLINE void run(int64_t in, const int64_t* out, int64_t c) {
    const auto affine = tables.template affine<L>(c);
    Vector<A, L> values[kGroup];
    load_group<L, kGroup>(x + in, values);
    auto sum_u = load<L>(row + c), sum_ux = load<L>(row + channels + c);
    for (int s = 0; s < kGroup; ++s) {
      const Vector<A, L> centered = values[s] - affine.mean;
      const Vector<A, L> z = centered * affine.scale + affine.bias;
      const Vector<A, L> u = activation_grad<kActivation>(z, load<L>(grad + out[s] + c), affine.slope);
      sum_u += u;
      sum_ux += u * centered;
    }
    store<L>(row + c, sum_u, false);
    store<L>(row + channels + c, sum_ux, false);
  }
  LSSL_INLINE void row_done() {
    for (int64_t i = 0; i < 2 * channels; ++i) {
      sums[i] += static_cast<double>(row[i]);
      row[i] = 0;
    }
  }
};

template <typename T, Activation kActivation>
void backward_rows_sums(const ShuffleNorm& op, int64_t n, int64_t begin, int64_t end, double* sums) {
  using A = Accumulation<T>;
  const ChannelTables<T> tables(op, n, false);
  Scratch<A> row(2 * op.channels);
  for (int64_t i = 0; i < 2 * op.channels; ++i) row.data[i] = 0, sums[i] = 0;
  SumChannelGrads<T, kActivation> body{
      static_cast<const T*>(op.input), static_cast<const T*>(op.grad_output), tables, op.channels, row.data, sums};
  walk_pixels<T>(op, n, begin, end, body);
}

template <typename T>
void backward_statistics(const ShuffleNorm& op, int64_t n, int64_t bands, const double* sums) {
  for (int64_t c = 0; c < op.channels; ++c) {
    double sum_u = 0, sum_ux = 0;
    for (int64_t band = 0; band < bands; ++band) {
      sum_u += sums[band * 2 * op.channels + c], sum_ux += sums[(band * 2 + 1) * op.channels + c];
    }
    keep_grad_sums<T>(op, n * op.channels + c, sum_u, sum_ux);
  }
}

template <typename T, Activation kActivation>
struct WriteChannelGrads {
  using A = Accumulation<T>;
  const T *x, *grad;
  T* to;
  const ChannelTables<T>& tables;
  bool stream;

  template <int L, int kGroup>
  LSSL_INLINE void run(int64_t in, const int64_t* out, int64_t c) {
    const auto affine = tables.template affine<L>(c);
    const auto line = tables.template line<L>(c);
    Vector<A, L> values[kGroup];
    load_group<L, kGroup>(x + in, values);
    for (int s = 0; s < kGroup; ++s) {
      const Vector<A, L> centered = values[s] - affine.mean;
      const Vector<A, L> z = centered * affine.scale + affine.bias;
      const Vector<A, L> u = activation_grad<kActivation>(z, load<L>(grad + out[s] + c), affine.slope);
      values[s] = u * affine.scale + (centered * line.tilt + line.shift);
    }
    store_group<L, kGroup>(to + in, values, stream && L > 1);
  }
  LSSL_INLINE void row_done() {}
};

template <typename T, Activation kActivation>
void backward_rows(const ShuffleNorm& op, int64_t n, int64_t begin, int64_t end) {
  const ChannelTables<T> tables(op, n, true);
  const bool stream = should_stream<T>(op, op.grad_input, op.channels);
  WriteChannelGrads<T, kActivation> body{static_cast<const T*>(op.input), static_cast<const T*>(op.grad_output),
                                         static_cast<T*>(op.grad_input), tables, stream};
  walk_pixels<T>(op, n, begin, end, body);
  if (stream) sfence();
}

}  // namespace lssl::cpu::LSSL_SIMD
