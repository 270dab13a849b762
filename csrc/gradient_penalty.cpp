// The gradient penalty's kernels: schemas, checks and the CPU implementations' parallel loops. CUDA: csrc/cuda/.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "kernels.h"

namespace {

using lssl::cpu::FloatType;
using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kGrain = 32768;  // elements a thread takes at least

FloatType float_type(const Tensor& tensor, const char* name) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return FloatType::float32;
    case ScalarType::Double:
      return FloatType::float64;
    case ScalarType::BFloat16:
      return FloatType::bfloat16;
    case ScalarType::Half:
      return FloatType::float16;
    default:
      STD_TORCH_CHECK(false, "gradient_penalty: ", name, " must be float32, float64, bfloat16 or float16");
  }
}

// True where a walk from the last dimension of `order` to its first meets every element in memory order.
template <size_t N>
bool follows(const Tensor& t, const std::array<int, N>& order) {
  int64_t expected = 1;
  for (size_t i = N; i-- > 0;) {
    if (t.size(order[i]) == 1) continue;
    if (t.stride(order[i]) != expected) return false;
    expected *= t.size(order[i]);
  }
  return true;
}

bool is_channels_last(const Tensor& t) {
  return (t.dim() == 4 && follows<4>(t, {0, 2, 3, 1})) || (t.dim() == 5 && follows<5>(t, {0, 2, 3, 4, 1}));
}

// Contiguous and channels-last tensors as they are, others copied: in either, a sample is one block of memory.
Tensor samples_in_blocks(const Tensor& t) {
  return t.is_contiguous() || is_channels_last(t) ? t : torch::stable::contiguous(t);
}

bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

Tensor laid_out_as(const Tensor& t, const Tensor& model) {
  if (same_strides(t, model)) return t;
  if (model.is_contiguous()) return torch::stable::contiguous(t);
  return torch::stable::contiguous(t, t.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d);
}

// True where the elements fill one block of memory, each once, in whatever order.
bool is_dense(const Tensor& t) {
  int64_t expected = 1, remaining = 0;
  for (int64_t d = 0; d < t.dim(); ++d) remaining += t.size(d) > 1;
  if (t.numel() == 0) return true;
  while (remaining-- > 0) {
    int64_t next = -1;
    for (int64_t d = 0; d < t.dim(); ++d) {
      if (t.size(d) > 1 && t.stride(d) == expected) next = d;
    }
    if (next < 0) return false;
    expected *= t.size(next);
  }
  return true;
}

void check_slopes(const Tensor& tensor, const Tensor& slopes) {
  STD_TORCH_CHECK(
      slopes.scalar_type() == ScalarType::Byte && slopes.is_contiguous() && slopes.numel() == (tensor.numel() + 7) / 8,
      "penalty_slope_: slopes must be what penalty_rectify_ returned for a tensor of tangent's size");
}

Tensor interpolate(const Tensor& real_in, const Tensor& fake_in, const Tensor& alpha_in) {
  const FloatType type = float_type(real_in, "real");
  STD_TORCH_CHECK(fake_in.scalar_type() == real_in.scalar_type(), "penalty_interpolate: fake must have real's dtype");
  STD_TORCH_CHECK(fake_in.is_cpu() && alpha_in.is_cpu(),
                  "penalty_interpolate: fake and alpha must be on real's device");
  STD_TORCH_CHECK(real_in.dim() >= 1 && std::ranges::equal(fake_in.sizes(), real_in.sizes()),
                  "penalty_interpolate: fake must have real's shape (N, ...)");
  const ScalarType alpha_type = type == FloatType::float64 ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(alpha_in.scalar_type() == alpha_type && alpha_in.dim() == 1 && alpha_in.size(0) == real_in.size(0),
                  "penalty_interpolate: alpha must be (N,), float32 (float64 for float64 images)");
  const Tensor real = samples_in_blocks(real_in);
  const Tensor fake = laid_out_as(fake_in, real);
  const Tensor alpha = torch::stable::contiguous(alpha_in);
  Tensor output = torch::stable::empty_like(real);
  if (output.numel() == 0) return output;
  const int64_t sample = real.numel() / real.size(0);
  const void *r = real.const_data_ptr(), *f = fake.const_data_ptr(), *a = alpha.const_data_ptr();
  void* out = output.mutable_data_ptr();
  torch::stable::parallel_for(0, real.numel(), kGrain, [=](int64_t begin, int64_t end) {
    lssl::cpu::penalty_interpolate(type, r, f, a, sample, begin, end, out);
  });
  return output;
}

std::tuple<Tensor, Tensor> cotangent(const Tensor& gradient_in, double target) {
  const FloatType type = float_type(gradient_in, "gradient");
  STD_TORCH_CHECK(gradient_in.dim() >= 1, "penalty_cotangent: gradient must be (N, ...)");
  const Tensor gradient = samples_in_blocks(gradient_in);
  Tensor output = torch::stable::empty_like(gradient);
  const int64_t batch = gradient.size(0);
  const int64_t sample = batch > 0 ? gradient.numel() / batch : 0;
  const int64_t blocks = lssl::cpu::penalty_blocks(sample);
  Tensor sums = torch::stable::new_empty(gradient, {batch * blocks}, ScalarType::Double);
  Tensor scales = torch::stable::new_empty(gradient, {batch}, ScalarType::Double);
  const void* g = gradient.const_data_ptr();
  void* out = output.mutable_data_ptr();
  double *s = sums.mutable_data_ptr<double>(), *c = scales.mutable_data_ptr<double>();
  torch::stable::parallel_for(0, batch * blocks, 2, [=](int64_t begin, int64_t end) {
    lssl::cpu::penalty_square_sums(type, g, sample, begin, end, s);
  });
  Tensor penalty = torch::stable::new_empty(gradient, {});
  lssl::cpu::penalty_and_scales(type, s, batch, sample, target, c, penalty.mutable_data_ptr());
  torch::stable::parallel_for(0, gradient.numel(), kGrain, [=](int64_t begin, int64_t end) {
    lssl::cpu::penalty_scale(type, g, c, sample, begin, end, out);
  });
  return {penalty, output};
}

Tensor rectify_(Tensor input, double negative_slope) {
  const FloatType type = float_type(input, "input");
  STD_TORCH_CHECK(is_dense(input), "penalty_rectify_: input must be dense in memory");
  const int64_t count = input.numel(), bytes = (count + 7) / 8;
  Tensor slopes = torch::stable::new_empty(input, {bytes}, ScalarType::Byte);
  void* x = input.mutable_data_ptr();
  uint8_t* bits = slopes.mutable_data_ptr<uint8_t>();
  torch::stable::parallel_for(0, bytes, kGrain / 8, [=](int64_t begin, int64_t end) {
    lssl::cpu::penalty_rectify(type, x, negative_slope, 8 * begin, std::min(8 * end, count), bits);
  });
  return slopes;
}

void slope_(Tensor tangent, const Tensor& slopes, double negative_slope) {
  const FloatType type = float_type(tangent, "tangent");
  STD_TORCH_CHECK(is_dense(tangent), "penalty_slope_: tangent must be dense in memory");
  check_slopes(tangent, slopes);
  const int64_t count = tangent.numel();
  void* t = tangent.mutable_data_ptr();
  const uint8_t* bits = slopes.const_data_ptr<uint8_t>();
  torch::stable::parallel_for(0, slopes.numel(), kGrain / 8, [=](int64_t begin, int64_t end) {
    lssl::cpu::penalty_slope(type, t, bits, negative_slope, 8 * begin, std::min(8 * end, count));
  });
}

}  // namespace

// alpha is (N,) in the accumulation type (float64 for float64 images, else float32). penalty_cotangent's first output
// is a 0-dim tensor of gradient's dtype: sum_i (||g_i|| - target)^2 / max(N, 1); its second, of gradient's layout
// (contiguous or channels-last; other strides become contiguous), is g_i * 2 (||g_i|| - target) / (N ||g_i||), zero
// where g_i is. penalty_rectify_ applies x > 0 ? x : negative_slope * x in place and packs x > 0 (for slope 0, that is
// ReLU: !(x <= 0), so that NaN passes), in memory order: element 8 k + j is bit j of byte k, spare bits zero.
// penalty_slope_ multiplies a dense tensor in place by 1 or negative_slope (for 0: sets 0, even from infinity).
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("penalty_interpolate(Tensor real, Tensor fake, Tensor alpha) -> Tensor");
  m.def("penalty_cotangent(Tensor gradient, float target) -> (Tensor penalty, Tensor cotangent)");
  m.def("penalty_rectify_(Tensor(a!) input, float negative_slope) -> Tensor");
  m.def("penalty_slope_(Tensor(a!) tangent, Tensor slopes, float negative_slope) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("penalty_interpolate", TORCH_BOX(&interpolate));
  m.impl("penalty_cotangent", TORCH_BOX(&cotangent));
  m.impl("penalty_rectify_", TORCH_BOX(&rectify_));
  m.impl("penalty_slope_", TORCH_BOX(&slope_));
}
