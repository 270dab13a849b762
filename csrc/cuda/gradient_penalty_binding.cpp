// The gradient penalty's ops on CUDA. Schemas, and what they promise: csrc/gradient_penalty.cpp.
#include <tuple>

#include "binding.h"

namespace lssl::cuda {

namespace {

bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim()) return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != b.size(d)) return false;
  }
  return true;
}

bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// Contiguous and channels-last tensors as they are, others copied: in either, a sample is one block of memory.
Tensor samples_in_blocks(const Tensor& t) {
  return t.is_contiguous() || is_channels_last(t) ? t : torch::stable::contiguous(t);
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

Tensor interpolate_images(const Tensor& real_in, const Tensor& fake_in, const Tensor& alpha_in) {
  constexpr const char* op = "penalty_interpolate";
  const Queue queue(real_in);
  const Dtype dtype = dtype_of(op, "real", real_in);
  STD_TORCH_CHECK(fake_in.scalar_type() == real_in.scalar_type(), op, ": fake must have real's dtype");
  check_device(op, "fake", fake_in, real_in);
  check_device(op, "alpha", alpha_in, real_in);
  STD_TORCH_CHECK(real_in.dim() >= 1 && same_shape(fake_in, real_in), op, ": fake must have real's shape (N, ...)");
  STD_TORCH_CHECK(
      alpha_in.scalar_type() == accumulation_type(dtype) && alpha_in.dim() == 1 && alpha_in.size(0) == real_in.size(0),
      op, ": alpha must be (N,), float32 (float64 for float64 images)");
  const Tensor real = samples_in_blocks(real_in), fake = laid_out_as(fake_in, real);
  const Tensor alpha = torch::stable::contiguous(alpha_in);
  Tensor output = torch::stable::empty_like(real);
  if (output.numel() == 0) return output;
  check_launch(
      op, penalty_interpolate(dtype, real.const_data_ptr(), fake.const_data_ptr(), alpha.const_data_ptr(), real.size(0),
                              real.numel() / real.size(0), output.mutable_data_ptr(), queue.stream()));
  return output;
}

std::tuple<Tensor, Tensor> cotangent(const Tensor& gradient_in, double target) {
  constexpr const char* op = "penalty_cotangent";
  const Queue queue(gradient_in);
  const Dtype dtype = dtype_of(op, "gradient", gradient_in);
  STD_TORCH_CHECK(gradient_in.dim() >= 1, op, ": gradient must be (N, ...)");
  const Tensor gradient = samples_in_blocks(gradient_in);
  const int64_t batch = gradient.size(0), sample = batch > 0 ? gradient.numel() / batch : 0;
  Tensor output = torch::stable::empty_like(gradient);
  Tensor penalty = torch::stable::new_empty(gradient, {});
  Tensor scratch = workspace(gradient, penalty_workspace(batch, sample));
  check_launch(op,
               penalty_cotangent(dtype, gradient.const_data_ptr(), batch, sample, target, scratch.mutable_data_ptr(),
                                 penalty.mutable_data_ptr(), output.mutable_data_ptr(), queue.stream()));
  return {penalty, output};
}

Tensor rectify_(Tensor input, double negative_slope) {
  constexpr const char* op = "penalty_rectify_";
  const Queue queue(input);
  const Dtype dtype = dtype_of(op, "input", input);
  STD_TORCH_CHECK(is_dense(input), op, ": input must be dense in memory");
  Tensor slopes = torch::stable::new_empty(input, {(input.numel() + 7) / 8}, ScalarType::Byte);
  check_launch(op, penalty_rectify(dtype, input.mutable_data_ptr(), negative_slope, input.numel(),
                                   slopes.mutable_data_ptr<uint8_t>(), queue.stream()));
  return slopes;
}

void slope_(Tensor tangent, const Tensor& slopes, double negative_slope) {
  constexpr const char* op = "penalty_slope_";
  const Queue queue(tangent);
  const Dtype dtype = dtype_of(op, "tangent", tangent);
  STD_TORCH_CHECK(is_dense(tangent), op, ": tangent must be dense in memory");
  check_device(op, "slopes", slopes, tangent);
  STD_TORCH_CHECK(
      slopes.scalar_type() == ScalarType::Byte && slopes.is_contiguous() && slopes.numel() == (tangent.numel() + 7) / 8,
      op, ": slopes must be what penalty_rectify_ returned for a tensor of tangent's size");
  check_launch(op, penalty_slope(dtype, tangent.mutable_data_ptr(), slopes.const_data_ptr<uint8_t>(), negative_slope,
                                 tangent.numel(), queue.stream()));
}

}  // namespace

}  // namespace lssl::cuda

STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("penalty_interpolate", TORCH_BOX(&lssl::cuda::interpolate_images));
  m.impl("penalty_cotangent", TORCH_BOX(&lssl::cuda::cotangent));
  m.impl("penalty_rectify_", TORCH_BOX(&lssl::cuda::rectify_));
  m.impl("penalty_slope_", TORCH_BOX(&lssl::cuda::slope_));
}
