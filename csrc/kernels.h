// Every kernel's entry point: raw pointers, no PyTorch. Bindings (csrc/*.cpp) check, allocate and run them in parallel.
#pragma once

#include <cstdint>

namespace lssl::cpu {

// rasterize (float, double). Vertices are snapped to fixed point once (snapped: x, y pairs; raster_geometry.h), then
// rows are drawn. Pointers are one image's, except in rasterize_snap: vertices [begin, end) of the whole batch.
bool faces_in_range(const int32_t* faces, int64_t count, int64_t vertex_count);
template <typename T>
void rasterize_snap(const T* vertices, int64_t begin, int64_t end, int32_t* snapped);
template <typename T>
void rasterize(const T* vertices, const int32_t* snapped, const int32_t* faces, int64_t face_count, int64_t width,
               int64_t row_begin, int64_t row_end, int32_t* triangle, T* barycentric, T* depth);

// interpolate (float, double). Pointers are one image's; pixels [begin, end), or vertices [vertex_begin, vertex_end).
template <typename T>
void interpolate(const int32_t* triangle, const T* barycentric, const int32_t* faces, int64_t face_count,
                 const T* attributes, int64_t channels, int64_t begin, int64_t end, T* output);
template <typename T>
void interpolate_attributes_backward(const T* grad, const int32_t* triangle, const T* barycentric, const int32_t* faces,
                                     int64_t face_count, int64_t pixels, int64_t channels, int64_t vertex_begin,
                                     int64_t vertex_end, T* grad_attributes);
template <typename T>
void interpolate_barycentric_backward(const T* grad, const int32_t* triangle, const int32_t* faces, int64_t face_count,
                                      const T* attributes, int64_t channels, int64_t begin, int64_t end,
                                      T* grad_barycentric);

}  // namespace lssl::cpu
