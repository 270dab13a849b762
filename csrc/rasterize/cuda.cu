// rasterize: one block per tile of 16 x 16 pixels. Faces are taken in order, 1024 bounding boxes at a time; those that
// touch the tile are set up, 256 at a time, in shared memory, and each pixel keeps the nearest that covers it. So the
// lowest face wins a tie, no atomics are needed, and with rasterize/geometry.h the image is the CPU's, bit for bit.
#include "rasterize/geometry.h"
#include "support/vector.cuh"

namespace lssl::cuda {

namespace raster_kernels {

using raster::Point;
using raster::Triangle;

constexpr int kThreads = 256;
constexpr int kTile = 16;
constexpr int kBoxes = 4;  // tested per thread at a time
constexpr int kHits = kThreads + kThreads * kBoxes;

// A face's first and last pixel columns and rows; empty where it covers no pixel centre.
struct Box {
  uint16_t x_first, x_last, y_first, y_last;
};

// A face in the coordinates of a tile.
template <typename T>
struct Face {
  int64_t origin[3], step_x[3], step_y[3];  // less the threshold: inside where none is negative
  T area, z[3];
  int32_t index;
  uint8_t thresholds;                        // bit i: edge i's
  uint8_t x_first, x_last, y_first, y_last;  // within the tile
};

template <typename T>
__device__ __forceinline__ bool corners(const T* vertices, const int32_t* faces, int64_t vertex_count, int64_t face,
                                        Point (&p)[3], T (&z)[3]) {
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const uint32_t index = static_cast<uint32_t>(faces[3 * face + i]);
    if (index >= vertex_count) return false;
    const T* v = vertices + 3 * static_cast<int64_t>(index);
    p[i] = raster::snap(v[0], v[1], v[2]);
    z[i] = v[2];
  }
  return true;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    boxes(const T* vertices, const int32_t* faces, int64_t count, int64_t vertex_count, int64_t face_count, int width,
          int height, Box* to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int64_t n = i / face_count;
  Point p[3];
  T z[3];
  Triangle<T> triangle;
  Box box{0xffff, 0, 0xffff, 0};
  if (corners(vertices + n * vertex_count * 3, faces, vertex_count, i - n * face_count, p, z) &&
      raster::set_up(p[0], p[1], p[2], 0, width, 0, height, triangle)) {
    box = {static_cast<uint16_t>(triangle.x_begin), static_cast<uint16_t>(triangle.x_end - 1),
           static_cast<uint16_t>(triangle.y_begin), static_cast<uint16_t>(triangle.y_end - 1)};
  }
  to[i] = box;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    draw(const T* vertices, const int32_t* faces, const Box* boxes, int vertex_count, int face_count, int width,
         int height, int tiles_x, int tiles, int32_t* ids, T* barycentric, T* depth) {
  LSSL_SHARED(hits, int32_t[kHits]);
  LSSL_SHARED(warp_hits, int32_t[kThreads / 32]);
  LSSL_SHARED(tile_faces, Face<T>[kThreads]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t n = blockIdx.x / tiles;
  const int tile = static_cast<int>(blockIdx.x % tiles);
  const int left = tile % tiles_x * kTile, top = tile / tiles_x * kTile;
  const int right = min(left + kTile, width) - 1, bottom = min(top + kTile, height) - 1;
  vertices += n * vertex_count * 3;
  boxes += n * face_count;

  // A warp is 8 x 4 pixels.
  const int warp_x = warp % 2 * 8, warp_y = warp / 2 * 4, x = warp_x + lane % 8, y = warp_y + lane / 8;
  int32_t nearest = -1;
  T z = static_cast<T>(INFINITY), w0 = T(0), w1 = T(0), w2 = T(0);

  const auto draw_faces = [&](int first, int count) {
    if (thread < count) {
      LSSL_ASSERT(within(first + thread, kHits));
      const int32_t index = hits[first + thread];
      LSSL_ASSERT(within(index, face_count));
      Point p[3];
      Triangle<T> triangle;
      Face<T>& face = tile_faces[thread];
      corners(vertices, faces, vertex_count, index, p, face.z);
      raster::set_up(p[0], p[1], p[2], left, right + 1, top, bottom + 1, triangle);
      face.thresholds = 0;
#pragma unroll
      for (int i = 0; i < 3; ++i) {
        const raster::Edge& edge = triangle.edges[i];
        face.origin[i] = edge.at(left, top) - edge.threshold;
        face.step_x[i] = edge.step_x;
        face.step_y[i] = edge.step_y;
        face.thresholds |= static_cast<uint8_t>(edge.threshold << i);
      }
      face.area = triangle.area;
      face.index = index;
      face.x_first = static_cast<uint8_t>(triangle.x_begin - left);
      face.x_last = static_cast<uint8_t>(triangle.x_end - 1 - left);
      face.y_first = static_cast<uint8_t>(triangle.y_begin - top);
      face.y_last = static_cast<uint8_t>(triangle.y_end - 1 - top);
    }
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      const Face<T>& face = tile_faces[i];
      if (face.x_first > warp_x + 7 || face.x_last < warp_x || face.y_first > warp_y + 3 || face.y_last < warp_y) {
        continue;  // no pixel of this warp
      }
      int64_t v[3];
#pragma unroll
      for (int e = 0; e < 3; ++e) v[e] = face.origin[e] + x * face.step_x[e] + y * face.step_y[e];
      if ((v[0] | v[1] | v[2]) < 0) continue;
      T w[3];
#pragma unroll
      for (int e = 0; e < 3; ++e) {
        w[e] = raster::divide(static_cast<T>(v[e] + (face.thresholds >> e & 1)), face.area);
      }
      const T at = raster::interpolate_depth(w[1], w[2], face.z[0], face.z[1], face.z[2]);
      if (!(at < z)) continue;
      z = at;
      nearest = face.index;
      w0 = w[0];
      w1 = w[1];
      w2 = w[2];
    }
    __syncthreads();
  };

  int waiting = 0;  // hits not yet drawn
  for (int start = 0; start < face_count; start += kThreads * kBoxes) {
    const int mine = start + thread * kBoxes;
    bool hit[kBoxes];
    int found = 0;
#pragma unroll
    for (int i = 0; i < kBoxes; ++i) {
      const Box box = mine + i < face_count ? boxes[mine + i] : Box{0xffff, 0, 0xffff, 0};
      hit[i] = box.x_first <= right && box.x_last >= left && box.y_first <= bottom && box.y_last >= top;
      found += hit[i];
    }
    // Where this thread's hits go: after those of all lower faces.
    int before = found;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const int other = __shfl_up_sync(kWarp, before, offset);
      before += lane >= offset ? other : 0;
    }
    if (lane == 31) warp_hits[warp] = before;
    before -= found;
    __syncthreads();
    int total = 0;
#pragma unroll
    for (int i = 0; i < kThreads / 32; ++i) {
      before += i < warp ? warp_hits[i] : 0;
      total += warp_hits[i];
    }
#pragma unroll
    for (int i = 0; i < kBoxes; ++i) {
      LSSL_ASSERT(!hit[i] || within(waiting + before, kHits));
      if (hit[i]) hits[waiting + before++] = mine + i;
    }
    waiting += total;
    __syncthreads();
    int drawn = 0;
    for (; waiting - drawn >= kThreads; drawn += kThreads) draw_faces(drawn, kThreads);
    if (drawn > 0) {  // the rest moves to the front
      waiting -= drawn;
      const int32_t moved = thread < waiting ? hits[drawn + thread] : 0;
      __syncthreads();
      if (thread < waiting) hits[thread] = moved;
      __syncthreads();
    }
  }
  if (waiting > 0) draw_faces(0, waiting);

  if (left + x > right || top + y > bottom) return;
  const int64_t pixel = (n * height + top + y) * width + left + x;
  ids[pixel] = nearest;
  depth[pixel] = z;
  barycentric[3 * pixel] = w0;
  barycentric[3 * pixel + 1] = w1;
  barycentric[3 * pixel + 2] = w2;
}

}  // namespace raster_kernels

int64_t rasterize_workspace(int64_t batch, int64_t face_count) {
  return batch * face_count * static_cast<int64_t>(sizeof(raster_kernels::Box));
}

template <typename T>
const char* rasterize(const T* vertices, const int32_t* faces, int64_t batch, int64_t vertex_count, int64_t face_count,
                      int64_t height, int64_t width, void* workspace, int32_t* triangle, T* barycentric, T* depth,
                      Stream stream) {
  using namespace raster_kernels;
  Box* const all = static_cast<Box*>(workspace);
  const int64_t count = batch * face_count, tiles_x = (width + kTile - 1) / kTile;
  const int64_t tiles = tiles_x * ((height + kTile - 1) / kTile);
  const int w = static_cast<int>(width), h = static_cast<int>(height);
  const char* error = launch(raster_kernels::boxes<T>, (count + kThreads - 1) / kThreads, kThreads, 0, 1, stream,
                             vertices, faces, count, vertex_count, face_count, w, h, all);
  if (error != nullptr) return error;
  return launch(draw<T>, batch * tiles, kThreads, 0, 1, stream, vertices, faces, all, static_cast<int>(vertex_count),
                static_cast<int>(face_count), w, h, static_cast<int>(tiles_x), static_cast<int>(tiles), triangle,
                barycentric, depth);
}

template const char* rasterize<float>(const float*, const int32_t*, int64_t, int64_t, int64_t, int64_t, int64_t, void*,
                                      int32_t*, float*, float*, Stream);
template const char* rasterize<double>(const double*, const int32_t*, int64_t, int64_t, int64_t, int64_t, int64_t,
                                       void*, int32_t*, double*, double*, Stream);

}  // namespace lssl::cuda
