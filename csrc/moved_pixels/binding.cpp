// lssl::moved_pixels: schema, checks, and the CPU's parallel loops.
#include "support/binding.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace lssl {

namespace {

constexpr char kOp[] = "moved_pixels";
constexpr int64_t kPixels = 8192;  // least number of pixels per thread

void check_plane(const Tensor& plane, const char* name, int64_t channels) {
  STD_TORCH_CHECK(plane.scalar_type() == ScalarType::Float && plane.dim() == 3 && plane.size(0) == plane.size(1) &&
                      plane.size(0) > 0 && plane.size(2) == channels,
                  kOp, ": ", name, " must be (S, S, ", channels, ") float32");
}

Tensor forward(const Tensor& photograph_in, const Tensor& smooth_in, const Tensor& paint_in, const Tensor& mask_in,
               const Tensor& similarity_in, int64_t left, int64_t top, int64_t right, int64_t bottom, int64_t step) {
  STD_TORCH_CHECK(
      photograph_in.scalar_type() == ScalarType::Byte && photograph_in.dim() == 3 && photograph_in.size(2) == 3, kOp,
      ": photograph must be (H, W, 3) uint8");
  check_plane(smooth_in, "smooth", 8);
  check_plane(paint_in, "paint", 4);
  check_plane(mask_in, "mask", 1);
  STD_TORCH_CHECK(mask_in.size(0) == paint_in.size(0), kOp, ": mask and paint must be of one size");
  STD_TORCH_CHECK(similarity_in.scalar_type() == ScalarType::Double && similarity_in.numel() == 6, kOp,
                  ": similarity must be (2, 3) float64");
  const Tensor photograph = packed(photograph_in), smooth = packed(smooth_in), paint = packed(paint_in);
  const Tensor mask = packed(mask_in), similarity = packed(similarity_in);
  const int64_t height = photograph.size(0), width = photograph.size(1), size = mask.size(0);
  STD_TORCH_CHECK(0 <= left && left <= right && right <= width && 0 <= top && top <= bottom && bottom <= height, kOp,
                  ": the box must lie in the photograph");
  STD_TORCH_CHECK(step >= 1, kOp, ": step must be positive, got ", step);

  Tensor output = torch::stable::new_empty(photograph, {height, width, 3});
  std::memcpy(output.mutable_data_ptr(), photograph.const_data_ptr(), static_cast<size_t>(photograph.numel()));
  const int64_t rows = bottom - top;
  if (rows == 0 || right == left) return output;
  std::vector<uint8_t> reached(static_cast<size_t>(size * size));
  cpu::find_reached(paint.const_data_ptr<float>(), size, reached.data());
  const cpu::MovedPixels call{photograph.const_data_ptr<uint8_t>(),
                              output.mutable_data_ptr<uint8_t>(),
                              height,
                              width,
                              smooth.const_data_ptr<float>(),
                              smooth.size(0),
                              paint.const_data_ptr<float>(),
                              mask.const_data_ptr<float>(),
                              reached.data(),
                              size,
                              similarity.const_data_ptr<double>(),
                              left,
                              top,
                              right,
                              bottom,
                              step};
  std::vector<double> sums(static_cast<size_t>(4 * rows));
  std::vector<int64_t> painted(static_cast<size_t>(2 * rows));
  const int64_t grain = std::max<int64_t>(1, kPixels / (right - left));
  torch::stable::parallel_for(top, bottom, grain, [&](int64_t begin, int64_t end) {
    cpu::move_rows(call, begin, end, sums.data(), painted.data());
  });
  double total[3] = {};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < 3; ++c) total[c] += sums[static_cast<size_t>(4 * row + c)];
  }
  // Skin, lips and teeth reflect red at least as well as green and blue.
  const bool held[3] = {false, total[1] <= total[0], total[2] <= total[0]};
  torch::stable::parallel_for(
      top, bottom, grain, [&](int64_t begin, int64_t end) { cpu::paint_rows(call, begin, end, painted.data(), held); });
  return output;
}

}  // namespace

}  // namespace lssl

// See lssl/ops/moved_pixels.py. Photographs are on the CPU, so there is no other kernel.
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def(
      "moved_pixels(Tensor photograph, Tensor smooth, Tensor paint, Tensor mask, Tensor similarity, int left, int top, "
      "int right, int bottom, int step) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) { m.impl("moved_pixels", TORCH_BOX(&lssl::forward)); }
