// Contiguous tensors: plane (n, c) is r^2 H W values in a row, in the input (r^2 sub-planes) and in the output
// (shuffled). It is read from memory once, for the statistics, and again from the cache.
#pragma once

#include "pixel_shuffle_instance_norm/cpu_math.h"

namespace lssl::cpu::LSSL_SIMD {

template <typename T>
LSSL_INLINE Moments plane_moments(const T* x, int64_t count) {
  using A = Accumulation<T>;
  using V = Vector<A, kLanes<T>>;
  constexpr int L = kLanes<T>, kUnroll = 4;
  // Sums within a block are in the accumulation type, sums of blocks in double.
  constexpr int64_t kStep = kUnroll * L, kBlock = 16 * kStep;
  const PlaneStrides at{1, 0, count, 1};
  const A shift = shift_of(x, at);
  double sum = 0, square = 0;
  const int64_t whole = count / kStep * kStep;
  for (int64_t i = 0; i < whole;) {
    V sums[kUnroll] = {}, squares[kUnroll] = {};
    const int64_t end = i + kBlock < whole ? i + kBlock : whole;
    for (; i < end; i += kStep) {
#pragma GCC unroll 4
      for (int k = 0; k < kUnroll; ++k) {
        const V d = load<L>(x + i + k * L) - shift;
        sums[k] += d;
        squares[k] += d * d;
      }
    }
    sum += sum_lanes<L, A>((sums[0] + sums[1]) + (sums[2] + sums[3]));
    square += sum_lanes<L, A>((squares[0] + squares[1]) + (squares[2] + squares[3]));
  }
  for (int64_t i = whole; i < count; ++i) {
    const double d = static_cast<double>(load<1>(x + i) - shift);
    sum += d;
    square += d * d;
  }
  return moments(x, at, shift, sum, square);
}

// From a plane to the next, which is prefetched while this one is written; 0 if it would not stay in the cache.
template <typename T>
LSSL_INLINE int64_t prefetch_distance(int64_t count) {
  return count * int64_t{sizeof(T)} <= 128 << 10 ? count : 0;
}

// L values, or for r = 2 the L values of either input row that make 2 L of an output row.
template <int L, Activation kActivation, typename T, typename A>
LSSL_INLINE void normalize_one(const T* x, T* y, const Affine<A>& affine, bool stream) {
  store<L>(y, normalized<L, kActivation>(x, affine), stream);
}

template <int L, Activation kActivation, typename T, typename A>
LSSL_INLINE void normalize_pair(const T* left, const T* right, T* y, const Affine<A>& affine, bool stream) {
  Vector<A, L> low, high;
  interleave<L>(normalized<L, kActivation>(left, affine), normalized<L, kActivation>(right, affine), low, high);
  store<L>(y, low, stream);
  store<L>(y + L, high, stream);
}

template <Activation kActivation, typename T, typename A>
void normalize_plane(const T* x, T* y, int64_t height, int64_t width, int64_t r, const Affine<A>& affine, bool stream) {
  constexpr int L = kLanes<T>, kHalf = L >= 8 ? L / 2 : 1;
  const int64_t area = height * width;
  if (r == 1) {
    int64_t i = 0;
    for (; i + L <= area; i += L) normalize_one<L, kActivation>(x + i, y + i, affine, stream);
    for (; i < area; ++i) normalize_one<1, kActivation>(x + i, y + i, affine, false);
    return;
  }
  for (int64_t h = 0; h < height; ++h) {
    for (int64_t i = 0; i < r; ++i, y += r * width) {
      const T* row = x + i * r * area + h * width;
      if (r == 2) {
        const T *left = row, *right = row + area;
        int64_t w = 0;
        for (; w + L <= width; w += L) normalize_pair<L, kActivation>(left + w, right + w, y + 2 * w, affine, stream);
        for (; w + kHalf <= width; w += kHalf) {
          normalize_pair<kHalf, kActivation>(left + w, right + w, y + 2 * w, affine, stream && kHalf > 1);
        }
        for (; w < width; ++w) normalize_pair<1, kActivation>(left + w, right + w, y + 2 * w, affine, false);
      } else {
        for (int64_t j = 0; j < r; ++j) {
          for (int64_t w = 0; w < width; ++w) {
            normalize_one<1, kActivation>(row + j * area + w, y + w * r + j, affine, false);
          }
        }
      }
    }
  }
}

template <typename T, Activation kActivation>
void forward_planes(const ShuffleNorm& op, int64_t begin, int64_t end) {
  const int64_t r = op.factor, count = r * r * op.height * op.width;
  const bool stream = should_stream<T>(op, op.output, r == 1 ? count : r * op.width);
  for (int64_t plane = begin; plane < end; ++plane) {
    const T* x = static_cast<const T*>(op.input) + plane * count;
    keep_statistics<T>(op, plane, plane_moments(x, count));
    normalize_plane<kActivation>(x, static_cast<T*>(op.output) + plane * count, op.height, op.width, r,
                                 affine_of<T>(op, plane), stream);
  }
  if (stream) sfence();
}

// Walks a plane with its shuffled gradients: calls one.run(offset in x, gradients) for all, in vectors of kLanes, half
// that or 1, and one.row_done(values) at the end of each row.
template <typename T, typename One>
LSSL_INLINE void walk_grads(const T* grad, int64_t height, int64_t width, int64_t r, One& one) {
  using A = Accumulation<T>;
  constexpr int L = kLanes<T>, kHalf = L >= 8 ? L / 2 : 1;
  constexpr int64_t kRow = 4096;
  const int64_t area = height * width;
  if (r == 1) {
    for (int64_t begin = 0; begin < area; begin += kRow) {
      const int64_t end = begin + kRow < area ? begin + kRow : area;
      int64_t i = begin;
      for (; i + L <= end; i += L) one.template run<L>(i, load<L>(grad + i));
      for (; i < end; ++i) one.template run<1>(i, load<1>(grad + i));
      one.row_done(end - begin);
    }
    return;
  }
  for (int64_t h = 0; h < height; ++h) {
    for (int64_t i = 0; i < r; ++i, grad += r * width) {
      const int64_t row = i * r * area + h * width;
      if (r == 2) {
        int64_t w = 0;
        for (; w + L <= width; w += L) {
          Vector<A, L> left, right;
          deinterleave<L>(load<L>(grad + 2 * w), load<L>(grad + 2 * w + L), left, right);
          one.template run<L>(row + w, left);
          one.template run<L>(row + area + w, right);
        }
        for (; w + kHalf <= width; w += kHalf) {
          Vector<A, kHalf> left, right;
          deinterleave<kHalf>(load<kHalf>(grad + 2 * w), load<kHalf>(grad + 2 * w + kHalf), left, right);
          one.template run<kHalf>(row + w, left);
          one.template run<kHalf>(row + area + w, right);
        }
        for (; w < width; ++w) {
          one.template run<1>(row + w, load<1>(grad + 2 * w));
          one.template run<1>(row + area + w, load<1>(grad + 2 * w + 1));
        }
      } else {
        for (int64_t j = 0; j < r; ++j) {
          for (int64_t w = 0; w < width; ++w) one.template run<1>(row + j * area + w, load<1>(grad + w * r + j));
        }
      }
    }
    one.row_done(r * r * width);
  }
}

template <typename T, Activation kActivation>
struct PlaneGradSums {
  using A = Accumulation<T>;
  static constexpr int L = kLanes<T>, kHalf = L >= 8 ? L / 2 : 1;
  const T* x;
  const Affine<A>& affine;
  GradSums<L, A> full;
  GradSums<kHalf, A> half;
  double sum_u = 0, sum_ux = 0;
  int64_t pending = 0;

  template <int N>
  LSSL_INLINE void run(int64_t at, Vector<A, N> grad) {
    if constexpr (N == L) {
      add_grads<N, kActivation>(x + at, grad, affine, full);
    } else if constexpr (N == kHalf) {
      add_grads<N, kActivation>(x + at, grad, affine, half);
    } else {
      GradSums<1, A> one;
      add_grads<1, kActivation>(x + at, grad, affine, one);
      sum_u += static_cast<double>(one.u), sum_ux += static_cast<double>(one.ux);
    }
  }

  // Float sums take in no more than a few thousand values before they are added to the double ones.
  LSSL_INLINE void row_done(int64_t values) {
    pending += values;
    if (pending >= 4096) flush();
  }

  LSSL_INLINE void flush() {
    sum_u += sum_lanes<L, A>(full.u) + sum_lanes<kHalf, A>(half.u);
    sum_ux += sum_lanes<L, A>(full.ux) + sum_lanes<kHalf, A>(half.ux);
    full = {}, half = {}, pending = 0;
  }
};

template <typename T, Activation kActivation>
struct PlaneGradWriter {
  using A = Accumulation<T>;
  const T* x;
  T* to;
  const Affine<A>& affine;
  GradLine<A> line;
  bool stream;
  const T *next_x, *next_grad;  // prefetched while this plane, in the cache by now, is written

  template <int N>
  LSSL_INLINE void run(int64_t at, Vector<A, N> grad) {
    if constexpr (N > 1) {
      __builtin_prefetch(next_x + at, 0, 2);
      __builtin_prefetch(next_grad + at, 0, 2);
    }
    write_grads<N, kActivation>(x + at, grad, affine, line, to + at, stream && N > 1);
  }
  LSSL_INLINE void row_done(int64_t) {}
};

template <typename T, Activation kActivation>
void backward_planes(const ShuffleNorm& op, int64_t begin, int64_t end) {
  using A = Accumulation<T>;
  const int64_t r = op.factor, count = r * r * op.height * op.width;
  const bool stream = should_stream<T>(op, op.grad_input, r == 1 ? count : op.width);
  const int64_t ahead = prefetch_distance<T>(count);
  for (int64_t plane = begin; plane < end; ++plane) {
    const T* x = static_cast<const T*>(op.input) + plane * count;
    const T* grad = static_cast<const T*>(op.grad_output) + plane * count;
    const Affine<A> affine = affine_of<T>(op, plane);
    PlaneGradSums<T, kActivation> sums{x, affine, {}, {}};
    walk_grads(grad, op.height, op.width, r, sums);
    sums.flush();
    keep_grad_sums<T>(op, plane, sums.sum_u, sums.sum_ux);
    PlaneGradWriter<T, kActivation> writer{x,           static_cast<T*>(op.grad_input) + plane * count,
                                           affine,      grad_line<T>(op, plane, affine.scale, sums.sum_u, sums.sum_ux),
                                           stream,      x + ahead,
                                           grad + ahead};
    walk_grads(grad, op.height, op.width, r, writer);
  }
  if (stream) sfence();
}

}  // namespace lssl::cpu::LSSL_SIMD
