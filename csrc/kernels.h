// Every kernel's entry point: raw pointers, no PyTorch. Bindings (csrc/*.cpp) check, allocate and run them in parallel.
#pragma once

#include <cstdint>

namespace lssl::cpu {

// rasterize. Vertices are snapped to fixed point once (snapped: x, y pairs; raster_geometry.h), then rows are drawn.
// Pointers are one image's, except in rasterize_snap, which takes vertices [begin, end) of the whole batch.
bool faces_in_range(const int32_t* faces, int64_t count, int64_t vertex_count);
void rasterize_snap(const float* vertices, int64_t begin, int64_t end, int32_t* snapped);
void rasterize_snap(const double* vertices, int64_t begin, int64_t end, int32_t* snapped);
void rasterize(const float* vertices, const int32_t* snapped, const int32_t* faces, int64_t face_count, int64_t width,
               int64_t row_begin, int64_t row_end, int32_t* triangle, float* barycentric, float* depth);
void rasterize(const double* vertices, const int32_t* snapped, const int32_t* faces, int64_t face_count, int64_t width,
               int64_t row_begin, int64_t row_end, int32_t* triangle, double* barycentric, double* depth);

}  // namespace lssl::cpu
