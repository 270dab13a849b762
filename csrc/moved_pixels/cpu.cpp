// Movement, light and paint of a face, applied to a photograph's own pixels, row by row.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// One copy of the loops for each SIMD level, chosen when the library loads.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define LSSL_SIMD_LEVELS __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define LSSL_SIMD_LEVELS
#endif
#define LSSL_INLINE __attribute__((always_inline)) inline

namespace lssl::cpu {

namespace {

typedef float Four __attribute__((vector_size(16)));  // red, green, blue and one unused; or four weights

constexpr float kLeast = 1.0f / 512;           // of the mask: below it, the photograph's pixel is left untouched
constexpr float kStill = 0.3f, kMoved = 1.2f;  // pixels: a shift below is dropped, beyond applied in full
constexpr float kUnpainted = 0.06f;            // opacity below which nothing is painted
constexpr float kBicubic = -0.75f;             // PyTorch's

LSSL_INLINE Four all(float value) { return Four{value, value, value, value}; }

LSSL_INLINE Four bicubic_weights(float t) {
  const auto near = [](float x) { return ((kBicubic + 2) * x - (kBicubic + 3)) * x * x + 1; };
  const auto far = [](float x) { return ((kBicubic * x - 5 * kBicubic) * x + 8 * kBicubic) * x - 4 * kBicubic; };
  return Four{far(t + 1), near(t), near(1 - t), far(2 - t)};
}

// A place along one axis: its neighbours, held inside [0, extent).
template <int count>
struct Neighbours {
  int64_t extent, first;
  bool inside;     // all of them
  float fraction;  // of a pixel, between the two in the middle

  LSSL_INLINE Neighbours(float place, int64_t size) : extent(size) {
    // Beyond the border all neighbours are the border's pixel; a place that is no number counts as beyond.
    constexpr float kBeyond = count;
    if (!(place > -kBeyond)) place = -kBeyond;
    const float floor = std::floor(std::min(place, static_cast<float>(extent) + kBeyond));
    fraction = std::clamp(place - floor, 0.0f, 1.0f);
    first = static_cast<int64_t>(floor) - (count / 2 - 1);
    inside = first >= 0 && first + count <= extent;
  }
  LSSL_INLINE int64_t at(int k) const { return std::clamp<int64_t>(first + k, 0, extent - 1); }
};

struct Bicubic : Neighbours<4> {
  Four weights;

  LSSL_INLINE Bicubic(float place, int64_t size) : Neighbours(place, size), weights(bicubic_weights(fraction)) {}
};

LSSL_INLINE Four three_bytes(const uint8_t* p) {
  return Four{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), 0.0f};
}

// Reads a byte more than it needs.
LSSL_INLINE Four four_bytes(const uint8_t* p) {
#if defined(__SSE2__)
  int32_t bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  const __m128i zero = _mm_setzero_si128();
  const __m128i wide = _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero), zero);
  return reinterpret_cast<Four>(_mm_cvtepi32_ps(wide));
#else
  return three_bytes(p);
#endif
}

// Lanczos' weights of the six neighbours of a place between pixels, for its fraction in steps of 1 / kSteps. Half a
// pixel away they keep 0.76 of a wave of 8 / 3 pixels, bicubic weights 0.63.
constexpr int kLobes = 3, kTaps = 2 * kLobes, kSteps = 512;

struct LanczosTable {
  float weights[kSteps + 1][kTaps];

  LanczosTable() {
    constexpr double pi = 3.14159265358979323846;
    for (int step = 0; step <= kSteps; ++step) {
      double values[kTaps], total = 0;
      for (int k = 0; k < kTaps; ++k) {
        const double x = pi * (static_cast<double>(step) / kSteps + kLobes - 1 - k);
        values[k] = std::abs(x) < 1e-9 ? 1 : kLobes * std::sin(x) * std::sin(x / kLobes) / (x * x);
        total += values[k];
      }
      for (int k = 0; k < kTaps; ++k) weights[step][k] = static_cast<float>(values[k] / total);
    }
  }
};
const LanczosTable lanczos_table;

struct Lanczos : Neighbours<kTaps> {
  const float* weights;

  LSSL_INLINE Lanczos(float place, int64_t size)
      : Neighbours(place, size), weights(lanczos_table.weights[static_cast<int>(fraction * kSteps + 0.5f)]) {}
};

// The photograph's colour at a place between pixels.
LSSL_INLINE Four look_up(const MovedPixels& call, float x, float y) {
  const Lanczos across(x, call.width), down(y, call.height);
  Four colour = all(0.0f);
  const bool at_end = down.first + kTaps == call.height && across.first + kTaps == call.width;
  if (across.inside && down.inside && !at_end) {
    const uint8_t* row = call.photograph + 3 * (down.first * call.width + across.first);
    for (int i = 0; i < kTaps; ++i, row += 3 * call.width) {
      Four sum = all(across.weights[0]) * four_bytes(row);
      for (int j = 1; j < kTaps; ++j) sum += all(across.weights[j]) * four_bytes(row + 3 * j);
      colour += all(down.weights[i]) * sum;
    }
  } else {
    for (int i = 0; i < kTaps; ++i) {
      const uint8_t* const row = call.photograph + 3 * down.at(i) * call.width;
      Four sum = all(0.0f);
      for (int j = 0; j < kTaps; ++j) sum += all(across.weights[j]) * three_bytes(row + 3 * across.at(j));
      colour += all(down.weights[i]) * sum;
    }
  }
  for (int c = 0; c < 3; ++c) colour[c] = std::clamp(colour[c], 0.0f, 255.0f);
  return colour;
}

LSSL_INLINE Four read(const float* p) {
  Four value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

// Values of a plane (size, size, stride), `parts` times four of them, at a place between its samples.
template <int parts>
LSSL_INLINE void sample(const float* plane, int64_t size, float x, float y, Four* values) {
  const Bicubic across(x, size), down(y, size);
  for (int k = 0; k < parts; ++k) values[k] = all(0.0f);
  const auto add = [&](int i, const auto& sample_at) {
    Four sum[parts];
    for (int k = 0; k < parts; ++k) sum[k] = all(0.0f);
    for (int j = 0; j < 4; ++j) {
      const float* const at = sample_at(j);
      for (int k = 0; k < parts; ++k) sum[k] += all(across.weights[j]) * read(at + 4 * k);
    }
    for (int k = 0; k < parts; ++k) values[k] += all(down.weights[i]) * sum[k];
  };
  constexpr int64_t stride = 4 * parts;
  if (across.inside && down.inside) {
    const float* row = plane + (down.first * size + across.first) * stride;
    for (int i = 0; i < 4; ++i, row += size * stride) add(i, [&](int j) { return row + j * stride; });
  } else {
    for (int i = 0; i < 4; ++i) {
      const float* const row = plane + down.at(i) * size * stride;
      add(i, [&](int j) { return row + across.at(j) * stride; });
    }
  }
}

LSSL_INLINE float mask_at(const MovedPixels& call, float x, float y) {
  const float last = static_cast<float>(call.size - 1);
  x = std::clamp(x, 0.0f, last);
  y = std::clamp(y, 0.0f, last);
  const int64_t left = static_cast<int64_t>(x), top = static_cast<int64_t>(y);
  const int64_t right = std::min(left + 1, call.size - 1), bottom = std::min(top + 1, call.size - 1);
  const float *const upper = call.mask + top * call.size, *const lower = call.mask + bottom * call.size;
  const float tx = x - static_cast<float>(left), ty = y - static_cast<float>(top);
  const float above = upper[left] + tx * (upper[right] - upper[left]);
  const float below = lower[left] + tx * (lower[right] - lower[left]);
  const float value = above + ty * (below - above);
  return value >= kLeast ? value : 0.0f;
}

LSSL_INLINE bool may_be_painted(const MovedPixels& call, float x, float y) {
  const int64_t i = std::clamp<int64_t>(static_cast<int64_t>(std::floor(y)), 0, call.size - 1);
  const int64_t j = std::clamp<int64_t>(static_cast<int64_t>(std::floor(x)), 0, call.size - 1);
  return call.reached[i * call.size + j] != 0;
}

// e to the power of three values.
LSSL_INLINE Four exponential(Four x) {
  const float most = std::max({std::abs(x[0]), std::abs(x[1]), std::abs(x[2])});
  if (most > 2.0f) return Four{std::exp(x[0]), std::exp(x[1]), std::exp(x[2]), 1.0f};
  const Four z = x * all(0.125f);  // the error of five terms, to the power of eight, is below 3e-6
  Four e = all(1.0f) + z * all(1.0f / 5);
  e = all(1.0f) + z * all(1.0f / 4) * e;
  e = all(1.0f) + z * all(1.0f / 3) * e;
  e = all(1.0f) + z * all(1.0f / 2) * e;
  e = all(1.0f) + z * e;
  e *= e;
  e *= e;
  return e * e;
}

// What a row's pixels have in common. Places in the crop are in its pixels, their centres at integers.
struct Row {
  const MovedPixels& call;
  int64_t y;
  double u, v;  // the crop's place of the row's pixel 0
  float ratio;  // of the grid of shifts and tones, to the crop

  LSSL_INLINE Row(const MovedPixels& c, int64_t row) : call(c), y(row) {
    const double* const m = c.similarity;
    u = m[1] * static_cast<double>(row) + m[2];
    v = m[4] * static_cast<double>(row) + m[5];
    ratio = static_cast<float>(c.grid) / static_cast<float>(c.size);
  }
  LSSL_INLINE float crop_x(int64_t x) const {
    return static_cast<float>(u + call.similarity[0] * static_cast<double>(x));
  }
  LSSL_INLINE float crop_y(int64_t x) const {
    return static_cast<float>(v + call.similarity[3] * static_cast<double>(x));
  }

  // Shift and tone at pixel x.
  LSSL_INLINE void smooth(int64_t x, Four* values) const {
    sample<2>(call.smooth, call.grid, (crop_x(x) + 0.5f) * ratio - 0.5f, (crop_y(x) + 0.5f) * ratio - 0.5f, values);
  }

  // The pixel after movement and light, not rounded.
  LSSL_INLINE Four moved(int64_t x, float inside, const Four* values) const {
    const float shift_x = values[0][0] * inside, shift_y = values[0][1] * inside;
    const float length = std::sqrt(shift_x * shift_x + shift_y * shift_y);
    Four colour;
    if (length <= kStill) {
      colour = three_bytes(call.photograph + 3 * (y * call.width + x));
    } else {
      const float share = std::min((length - kStill) / (kMoved - kStill), 1.0f);
      colour = look_up(call, static_cast<float>(x) + shift_x * share, static_cast<float>(y) + shift_y * share);
    }
    const Four tone{values[0][2], values[0][3], values[1][0], 0.0f};
    return colour * exponential(tone * all(inside));
  }

  LSSL_INLINE void write(int64_t x, Four colour) const {
    uint8_t* const to = call.output + 3 * (y * call.width + x);
    for (int c = 0; c < 3; ++c) to[c] = static_cast<uint8_t>(std::clamp(std::nearbyint(colour[c]), 0.0f, 255.0f));
  }
};

// Shift and tone of pixel x between samples `step` pixels apart, from `call.left` on.
class Samples {
 public:
  LSSL_INLINE explicit Samples(const Row& row) : row_(row) {}

  LSSL_INLINE void at(int64_t x, Four* values) {
    const int64_t step = row_.call.step;
    if (step == 1) return row_.smooth(x, values);
    const int64_t cell = (x - row_.call.left) / step;
    if (cell != cell_) {
      const int64_t from = row_.call.left + cell * step;
      if (cell == cell_ + 1 && cell_ >= 0) {
        begin_[0] = end_[0];
        begin_[1] = end_[1];
      } else {
        row_.smooth(from, begin_);
      }
      row_.smooth(from + step, end_);
      cell_ = cell;
    }
    const Four share = all(static_cast<float>(x - row_.call.left - cell * step) / static_cast<float>(step));
    for (int k = 0; k < 2; ++k) values[k] = begin_[k] + share * (end_[k] - begin_[k]);
  }

 private:
  const Row& row_;
  int64_t cell_ = -2;
  Four begin_[2] = {}, end_[2] = {};
};

}  // namespace

LSSL_SIMD_LEVELS
void move_rows(const MovedPixels& call, int64_t begin, int64_t end, double* sums, int64_t* painted) {
  for (int64_t y = begin; y < end; ++y) {
    const Row row(call, y);
    Samples samples(row);
    Four total = all(0.0f);  // of a row: few enough pixels for float
    int64_t first = call.right, last = call.left;
    for (int64_t x = call.left; x < call.right; ++x) {
      const float crop_x = row.crop_x(x), crop_y = row.crop_y(x);
      const float inside = mask_at(call, crop_x, crop_y);
      if (inside == 0.0f) continue;
      Four values[2];
      samples.at(x, values);
      Four colour = row.moved(x, inside, values);
      row.write(x, colour);
      colour[3] = 1.0f;
      total += colour * all(inside);
      if (may_be_painted(call, crop_x, crop_y)) {
        first = std::min(first, x);
        last = x + 1;
      }
    }
    for (int c = 0; c < 4; ++c) sums[4 * (y - call.top) + c] = total[c];
    painted[2 * (y - call.top)] = first;
    painted[2 * (y - call.top) + 1] = last;
  }
}

LSSL_SIMD_LEVELS
void paint_rows(const MovedPixels& call, int64_t begin, int64_t end, const int64_t* painted, const bool* held) {
  for (int64_t y = begin; y < end; ++y) {
    const Row row(call, y);
    Samples samples(row);
    for (int64_t x = painted[2 * (y - call.top)]; x < painted[2 * (y - call.top) + 1]; ++x) {
      const float crop_x = row.crop_x(x), crop_y = row.crop_y(x);
      if (!may_be_painted(call, crop_x, crop_y)) continue;
      const float inside = mask_at(call, crop_x, crop_y);
      if (inside == 0.0f) continue;
      Four said;
      sample<1>(call.paint, call.size, crop_x, crop_y, &said);
      const float opacity = std::clamp((said[0] - kUnpainted) / (1 - kUnpainted), 0.0f, 1.0f) * inside;
      if (opacity == 0.0f) continue;
      Four paint = all(0.0f);
      for (int c = 0; c < 3; ++c) paint[c] = (std::clamp(said[c + 1], -1.0f, 1.0f) + 1) * 127.5f;
      for (int c = 1; c < 3; ++c) {
        if (held[c]) paint[c] = std::min(paint[c], paint[0]);
      }
      Four values[2];
      samples.at(x, values);
      const Four colour = row.moved(x, inside, values);
      row.write(x, colour + all(opacity) * (paint - colour));
    }
  }
}

// The greatest opacity of a look-up in a cell is that of its 4 x 4 neighbours times 1.41 (the sum of the sizes of the
// bicubic weights, squared).
void find_reached(const float* paint, int64_t size, uint8_t* reached) {
  const float least = kUnpainted / 1.42f;
  std::memset(reached, 0, static_cast<size_t>(size * size));
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < size; ++j) {
      if (paint[4 * (i * size + j)] <= least) continue;
      // Neighbours of cell c are c - 1 to c + 2, so sample j serves the cells j - 2 to j + 1.
      const int64_t left = std::max<int64_t>(j - 2, 0), right = std::min<int64_t>(j + 1, size - 1);
      for (int64_t row = std::max<int64_t>(i - 2, 0); row <= std::min<int64_t>(i + 1, size - 1); ++row) {
        std::memset(reached + row * size + left, 1, static_cast<size_t>(right - left + 1));
      }
    }
  }
}

}  // namespace lssl::cpu
