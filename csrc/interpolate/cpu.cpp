// Attribute interpolation and its two gradients. A pixel whose triangle index is outside [0, face_count) is empty.
#include "kernels.h"

namespace lssl::cpu {

namespace {

// C channels known to the compiler, or 0: `channels` at run time.
template <int C, typename T>
void forward(const int32_t* triangle, const T* barycentric, const int32_t* faces, int64_t face_count,
             const T* attributes, int64_t channels, int64_t begin, int64_t end, T* output) {
  const int64_t count = C > 0 ? C : channels;
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    T* out = output + pixel * count;
    const uint32_t t = static_cast<uint32_t>(triangle[pixel]);
    if (t >= face_count) {
      for (int64_t c = 0; c < count; ++c) out[c] = T(0);
      continue;
    }
    const T* a0 = attributes + faces[3 * t] * count;
    const T* a1 = attributes + faces[3 * t + 1] * count;
    const T* a2 = attributes + faces[3 * t + 2] * count;
    const T w0 = barycentric[3 * pixel], w1 = barycentric[3 * pixel + 1], w2 = barycentric[3 * pixel + 2];
    for (int64_t c = 0; c < count; ++c) out[c] = w0 * a0[c] + w1 * a1[c] + w2 * a2[c];
  }
}

template <int C, typename T>
void attributes_backward(const T* grad, const int32_t* triangle, const T* barycentric, const int32_t* faces,
                         int64_t face_count, int64_t pixels, int64_t channels, int64_t vertex_begin, int64_t vertex_end,
                         T* grad_attributes) {
  const int64_t count = C > 0 ? C : channels;
  for (int64_t i = vertex_begin * count; i < vertex_end * count; ++i) grad_attributes[i] = T(0);
  const uint64_t mine = static_cast<uint64_t>(vertex_end - vertex_begin);
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const uint32_t t = static_cast<uint32_t>(triangle[pixel]);
    if (t >= face_count) continue;
    const T* g = grad + pixel * count;
    for (int corner = 0; corner < 3; ++corner) {
      const int64_t vertex = faces[3 * t + corner];
      if (static_cast<uint64_t>(vertex - vertex_begin) >= mine) continue;
      const T w = barycentric[3 * pixel + corner];
      T* sum = grad_attributes + vertex * count;
      for (int64_t c = 0; c < count; ++c) sum[c] += w * g[c];
    }
  }
}

template <int C, typename T>
void barycentric_backward(const T* grad, const int32_t* triangle, const int32_t* faces, int64_t face_count,
                          const T* attributes, int64_t channels, int64_t begin, int64_t end, T* grad_barycentric) {
  const int64_t count = C > 0 ? C : channels;
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    T* out = grad_barycentric + 3 * pixel;
    const uint32_t t = static_cast<uint32_t>(triangle[pixel]);
    const bool empty = t >= face_count;
    const T* g = grad + pixel * count;
    for (int corner = 0; corner < 3; ++corner) {
      T sum = T(0);
      if (!empty) {
        const T* a = attributes + faces[3 * t + corner] * count;
        for (int64_t c = 0; c < count; ++c) sum += a[c] * g[c];
      }
      out[corner] = sum;
    }
  }
}

}  // namespace

// Colours, normals and texture coordinates have 1 to 4 channels: their loops unroll.
#define LSSL_BY_CHANNELS(function, ...) \
  switch (channels) {                   \
    case 1:                             \
      return function<1>(__VA_ARGS__);  \
    case 2:                             \
      return function<2>(__VA_ARGS__);  \
    case 3:                             \
      return function<3>(__VA_ARGS__);  \
    case 4:                             \
      return function<4>(__VA_ARGS__);  \
    default:                            \
      return function<0>(__VA_ARGS__);  \
  }

template <typename T>
void interpolate(const int32_t* triangle, const T* barycentric, const int32_t* faces, int64_t face_count,
                 const T* attributes, int64_t channels, int64_t begin, int64_t end, T* output) {
  LSSL_BY_CHANNELS(forward, triangle, barycentric, faces, face_count, attributes, channels, begin, end, output)
}

template <typename T>
void interpolate_attributes_backward(const T* grad, const int32_t* triangle, const T* barycentric, const int32_t* faces,
                                     int64_t face_count, int64_t pixels, int64_t channels, int64_t vertex_begin,
                                     int64_t vertex_end, T* grad_attributes) {
  LSSL_BY_CHANNELS(attributes_backward, grad, triangle, barycentric, faces, face_count, pixels, channels, vertex_begin,
                   vertex_end, grad_attributes)
}

template <typename T>
void interpolate_barycentric_backward(const T* grad, const int32_t* triangle, const int32_t* faces, int64_t face_count,
                                      const T* attributes, int64_t channels, int64_t begin, int64_t end,
                                      T* grad_barycentric){LSSL_BY_CHANNELS(barycentric_backward, grad, triangle, faces,
                                                                            face_count, attributes, channels, begin,
                                                                            end, grad_barycentric)}

#define LSSL_INSTANTIATE(T)                                                                                            \
  template void interpolate<T>(const int32_t*, const T*, const int32_t*, int64_t, const T*, int64_t, int64_t, int64_t, \
                               T*);                                                                                    \
  template void interpolate_attributes_backward<T>(const T*, const int32_t*, const T*, const int32_t*, int64_t,        \
                                                   int64_t, int64_t, int64_t, int64_t, T*);                            \
  template void interpolate_barycentric_backward<T>(const T*, const int32_t*, const int32_t*, int64_t, const T*,       \
                                                    int64_t, int64_t, int64_t, T*);
LSSL_INSTANTIATE(float) LSSL_INSTANTIATE(double)

}  // namespace lssl::cpu
