// The arithmetic of rasterize, shared by the CPU and the CUDA kernel so that both draw the same image, bit for
// bit: coverage is decided in integers, and every floating-point operation is rounded on its own, in a fixed order.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define LSSL_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define LSSL_HOST_DEVICE inline __attribute__((always_inline))
#endif

#if defined(__clang__) && !defined(__CUDACC__)
#pragma STDC FP_CONTRACT OFF
#endif

namespace lssl::raster {

// Vertices snap to a grid of 1/4096 pixel. Inside the guard band coordinates fit 30 bits, so that a difference fits
// 31, a product 61 and an edge function 62: int64 never overflows.
constexpr int kSubpixelBits = 12;
constexpr int32_t kGuardPixels = 1 << 17;
constexpr int64_t kMaxImageSize = 1 << 15;
constexpr int32_t kInvalid = INT32_MIN;

struct Point {
  int32_t x, y;
};

// A vertex that is not finite, or lies outside the guard band, is invalid (x == kInvalid).
template <typename T>
LSSL_HOST_DEVICE Point snap(T x, T y, T z) {
  const T guard = static_cast<T>(kGuardPixels);
  // The comparisons are false for NaN; z - z is NaN for infinity and NaN.
  const bool valid = (x <= guard) & (x >= -guard) & (y <= guard) & (y >= -guard) & (z - z == T(0));
  if (!valid) return {kInvalid, kInvalid};
  const T scale = static_cast<T>(1 << kSubpixelBits);
  return {static_cast<int32_t>(std::lrint(x * scale)), static_cast<int32_t>(std::lrint(y * scale))};
}

// Products, sums and quotients that the compiler may not contract to a fused multiply-add.
#if defined(__CUDA_ARCH__)
LSSL_HOST_DEVICE float multiply(float a, float b) { return __fmul_rn(a, b); }
LSSL_HOST_DEVICE double multiply(double a, double b) { return __dmul_rn(a, b); }
LSSL_HOST_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
LSSL_HOST_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
LSSL_HOST_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
LSSL_HOST_DEVICE double divide(double a, double b) { return __ddiv_rn(a, b); }
#else
template <typename T>
LSSL_HOST_DEVICE T multiply(T a, T b) {
  return a * b;
}
template <typename T>
LSSL_HOST_DEVICE T add(T a, T b) {
  return a + b;
}
template <typename T>
LSSL_HOST_DEVICE T divide(T a, T b) {
  return a / b;
}
#endif

// Twice the signed area of (a, b, p): positive where p lies to the right of a -> b in an image with y down.
LSSL_HOST_DEVICE int64_t edge(Point a, Point b, Point p) {
  return (int64_t(b.x) - a.x) * (int64_t(p.y) - a.y) - (int64_t(b.y) - a.y) * (int64_t(p.x) - a.x);
}

// One edge function over the pixel grid. Its value, at(), is exact; a pixel is inside where it is >= threshold: 0 for a
// left or top edge (which owns its pixels), 1 for the others.
struct Edge {
  int64_t origin;          // at pixel (0, 0)
  int64_t step_x, step_y;  // per pixel
  int64_t threshold;

  LSSL_HOST_DEVICE int64_t at(int64_t x, int64_t y) const { return origin + x * step_x + y * step_y; }
};

LSSL_HOST_DEVICE Edge make_edge(Point a, Point b) {
  const int64_t dx = int64_t(b.x) - a.x, dy = int64_t(b.y) - a.y;
  Edge e;
  e.origin = dy * a.x - dx * a.y;
  e.step_x = -dy * (int64_t(1) << kSubpixelBits);
  e.step_y = dx * (int64_t(1) << kSubpixelBits);
  e.threshold = (dy < 0 || (dy == 0 && dx > 0)) ? 0 : 1;
  return e;
}

// A triangle ready to be sampled. Corner i is opposite edge i; both windings become the positive one by negating the
// edges, so that barycentric coordinate i always belongs to the face's corner i.
template <typename T>
struct Triangle {
  Edge edges[3];
  T area;
  int32_t x_begin, x_end, y_begin, y_end;  // the pixels whose centres lie in its bounding box, within the window
};

LSSL_HOST_DEVICE int32_t smallest(int32_t a, int32_t b, int32_t c) {
  const int32_t m = a < b ? a : b;
  return m < c ? m : c;
}
LSSL_HOST_DEVICE int32_t largest(int32_t a, int32_t b, int32_t c) {
  const int32_t m = a > b ? a : b;
  return m > c ? m : c;
}

// The first pixel at or after, and the first one past, a snapped coordinate.
LSSL_HOST_DEVICE int32_t pixel_ceil(int32_t v) { return (v + ((1 << kSubpixelBits) - 1)) >> kSubpixelBits; }
LSSL_HOST_DEVICE int32_t pixel_past(int32_t v) { return (v >> kSubpixelBits) + 1; }

// False where the triangle covers no pixel centre of the window [x_low, x_high) x [y_low, y_high): invalid,
// degenerate, outside, or between the pixel centres.
template <typename T>
LSSL_HOST_DEVICE bool set_up(Point a, Point b, Point c, int32_t x_low, int32_t x_high, int32_t y_low, int32_t y_high,
                             Triangle<T>& triangle) {
  if (a.x == kInvalid || b.x == kInvalid || c.x == kInvalid) return false;
  const int32_t x_begin = pixel_ceil(smallest(a.x, b.x, c.x)), x_end = pixel_past(largest(a.x, b.x, c.x));
  triangle.x_begin = x_begin > x_low ? x_begin : x_low;
  triangle.x_end = x_end < x_high ? x_end : x_high;
  if (triangle.x_begin >= triangle.x_end) return false;
  const int32_t y_begin = pixel_ceil(smallest(a.y, b.y, c.y)), y_end = pixel_past(largest(a.y, b.y, c.y));
  triangle.y_begin = y_begin > y_low ? y_begin : y_low;
  triangle.y_end = y_end < y_high ? y_end : y_high;
  if (triangle.y_begin >= triangle.y_end) return false;
  const int64_t area = edge(a, b, c);
  if (area == 0) return false;
  if (area > 0) {
    triangle.edges[0] = make_edge(b, c);
    triangle.edges[1] = make_edge(c, a);
    triangle.edges[2] = make_edge(a, b);
    triangle.area = static_cast<T>(area);
  } else {
    triangle.edges[0] = make_edge(c, b);
    triangle.edges[1] = make_edge(a, c);
    triangle.edges[2] = make_edge(b, a);
    triangle.area = static_cast<T>(-area);
  }
  return true;
}

// Depth at barycentric (w0, w1, w2): exact for a triangle of constant depth, so that ties stay ties.
template <typename T>
LSSL_HOST_DEVICE T interpolate_depth(T w1, T w2, T z0, T z1, T z2) {
  return add(z0, add(multiply(w1, add(z1, -z0)), multiply(w2, add(z2, -z0))));
}

}  // namespace lssl::raster
