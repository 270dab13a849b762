// Rasteriser: each thread draws whole rows of one image, taking the triangles in order, with the depth test in place.
// On machines with fused multiply-add, contraction, which setup.py allows elsewhere, would change the last bit of
// depth.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif
#include "kernels.h"
#include "rasterize/geometry.h"

namespace lssl::cpu {

using raster::Point;
using raster::Triangle;

namespace {

template <typename T>
void draw(const Triangle<T>& triangle, int32_t index, T z0, T z1, T z2, int64_t width, int32_t* ids, T* barycentric,
          T* depth) {
  const auto& [e0, e1, e2] = triangle.edges;
  const int64_t x = triangle.x_begin, columns = triangle.x_end - triangle.x_begin;
  // Biased by the fill rule, so that one sign test of all three decides coverage.
  int64_t row0 = e0.at(x, triangle.y_begin) - e0.threshold;
  int64_t row1 = e1.at(x, triangle.y_begin) - e1.threshold;
  int64_t row2 = e2.at(x, triangle.y_begin) - e2.threshold;
  for (int64_t y = triangle.y_begin; y < triangle.y_end; ++y) {
    int64_t v0 = row0, v1 = row1, v2 = row2;
    bool entered = false;
    const int64_t first = y * width + x;
    for (int64_t i = 0; i < columns; ++i, v0 += e0.step_x, v1 += e1.step_x, v2 += e2.step_x) {
      if ((v0 | v1 | v2) < 0) {
        if (entered) break;  // a triangle is convex
        continue;
      }
      entered = true;
      const T w1 = raster::divide(static_cast<T>(v1 + e1.threshold), triangle.area);
      const T w2 = raster::divide(static_cast<T>(v2 + e2.threshold), triangle.area);
      const T z = raster::interpolate_depth(w1, w2, z0, z1, z2);
      const int64_t pixel = first + i;
      if (!(z < depth[pixel])) continue;
      depth[pixel] = z;
      ids[pixel] = index;
      barycentric[3 * pixel] = raster::divide(static_cast<T>(v0 + e0.threshold), triangle.area);
      barycentric[3 * pixel + 1] = w1;
      barycentric[3 * pixel + 2] = w2;
    }
    row0 += e0.step_y;
    row1 += e1.step_y;
    row2 += e2.step_y;
  }
}

}  // namespace

template <typename T>
void rasterize_snap(const T* vertices, int64_t begin, int64_t end, int32_t* snapped) {
  for (int64_t v = begin; v < end; ++v) {
    const Point p = raster::snap(vertices[3 * v], vertices[3 * v + 1], vertices[3 * v + 2]);
    snapped[2 * v] = p.x;
    snapped[2 * v + 1] = p.y;
  }
}

template <typename T>
void rasterize(const T* vertices, const int32_t* snapped, const int32_t* faces, int64_t face_count, int64_t width,
               int64_t row_begin, int64_t row_end, int32_t* ids, T* barycentric, T* depth) {
  for (int64_t pixel = row_begin * width; pixel < row_end * width; ++pixel) {
    ids[pixel] = -1;
    depth[pixel] = static_cast<T>(INFINITY);
  }
  for (int64_t i = 3 * row_begin * width; i < 3 * row_end * width; ++i) barycentric[i] = T(0);
  const Point* points = reinterpret_cast<const Point*>(snapped);
  for (int64_t f = 0; f < face_count; ++f) {
    const int32_t a = faces[3 * f], b = faces[3 * f + 1], c = faces[3 * f + 2];
    Triangle<T> triangle;
    if (!raster::set_up(points[a], points[b], points[c], 0, static_cast<int32_t>(width),
                        static_cast<int32_t>(row_begin), static_cast<int32_t>(row_end), triangle)) {
      continue;
    }
    draw(triangle, static_cast<int32_t>(f), vertices[3 * a + 2], vertices[3 * b + 2], vertices[3 * c + 2], width, ids,
         barycentric, depth);
  }
}

template void rasterize_snap<float>(const float*, int64_t, int64_t, int32_t*);
template void rasterize_snap<double>(const double*, int64_t, int64_t, int32_t*);
template void rasterize<float>(const float*, const int32_t*, const int32_t*, int64_t, int64_t, int64_t, int64_t,
                               int32_t*, float*, float*);
template void rasterize<double>(const double*, const int32_t*, const int32_t*, int64_t, int64_t, int64_t, int64_t,
                                int32_t*, double*, double*);

bool faces_in_range(const int32_t* faces, int64_t count, int64_t vertex_count) {
  uint32_t top = 0;  // a negative index is a huge unsigned one
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t index = static_cast<uint32_t>(faces[i]);
    top = index > top ? index : top;
  }
  return count == 0 || static_cast<int64_t>(top) < vertex_count;
}

}  // namespace lssl::cpu
