// lssl::pixel_shuffle_instance_norm and its backward on CUDA. Schemas: csrc/pixel_shuffle_instance_norm.cpp.
#include <optional>
#include <tuple>
#include <vector>

#include "binding.h"

namespace lssl::cuda {

namespace {

constexpr char kOp[] = "pixel_shuffle_instance_norm";

Tensor in_format(const Tensor& t, bool channels_last) {
  if (channels_last ? is_channels_last(t) : t.is_contiguous()) return t;
  return torch::stable::contiguous(t, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

Tensor empty_image(const Tensor& like, int64_t channels, int64_t height, int64_t width, bool channels_last) {
  return torch::stable::empty({like.size(0), channels, height, width}, like.scalar_type(), std::nullopt, like.device(),
                              std::nullopt, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

const void* channel_data(const std::optional<Tensor>& t, const char* name, const Tensor& input, Dtype dtype,
                         int64_t channels, std::vector<Tensor>& kept) {
  if (!t) return nullptr;
  STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == channels, kOp, ": ", name, " must have shape (", channels, ",)");
  STD_TORCH_CHECK(t->scalar_type() == accumulation_type(dtype), kOp, ": ", name,
                  " must be float64 for a float64 input, else float32");
  check_device(kOp, name, *t, input);
  kept.push_back(torch::stable::contiguous(*t));
  return kept.back().const_data_ptr();
}

ShuffleNorm describe(const Tensor& input, Dtype dtype, const std::optional<Tensor>& weight,
                     const std::optional<Tensor>& bias, int64_t factor, double eps, double negative_slope,
                     std::vector<Tensor>& kept) {
  STD_TORCH_CHECK(input.dim() == 4, kOp, ": input must be (N, C r^2, H, W)");
  STD_TORCH_CHECK(factor >= 1, kOp, ": upscale_factor must be at least 1, got ", factor);
  STD_TORCH_CHECK(input.size(1) % (factor * factor) == 0, kOp, ": input has ", input.size(1),
                  " channels, not a multiple of upscale_factor^2 = ", factor * factor);
  STD_TORCH_CHECK(input.size(2) > 0 && input.size(3) > 0, kOp, ": input must have at least one pixel");
  ShuffleNorm op{};
  op.batch = input.size(0);
  op.channels = input.size(1) / (factor * factor);
  op.height = input.size(2);
  op.width = input.size(3);
  op.factor = factor;
  op.channels_last = !input.is_contiguous() && is_channels_last(input);
  op.eps = eps;
  op.negative_slope = negative_slope;
  op.weight = channel_data(weight, "weight", input, dtype, op.channels, kept);
  op.bias = channel_data(bias, "bias", input, dtype, op.channels, kept);
  return op;
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& input_in, const std::optional<Tensor>& weight,
                                           const std::optional<Tensor>& bias, int64_t upscale_factor, double eps,
                                           double negative_slope) {
  const Queue queue(input_in);
  const Dtype dtype = dtype_of(kOp, "input", input_in);
  std::vector<Tensor> kept;
  ShuffleNorm op = describe(input_in, dtype, weight, bias, upscale_factor, eps, negative_slope, kept);
  const Tensor input = in_format(input_in, op.channels_last);
  Tensor output = empty_image(input, op.channels, op.height * op.factor, op.width * op.factor, op.channels_last);
  Tensor mean = torch::stable::new_empty(input, {op.batch, op.channels}, accumulation_type(dtype));
  Tensor rstd = torch::stable::new_empty(input, {op.batch, op.channels}, accumulation_type(dtype));
  op.input = input.const_data_ptr();
  op.output = output.mutable_data_ptr();
  op.mean = mean.mutable_data_ptr();
  op.rstd = rstd.mutable_data_ptr();
  Tensor scratch = workspace(input, shuffle_norm_workspace(dtype, op));
  check_launch(kOp, shuffle_norm_forward(dtype, op, scratch.mutable_data_ptr(), queue.stream()));
  return {output, mean, rstd};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad_output_in, const Tensor& input_in, const Tensor& mean_in,
                                            const Tensor& rstd_in, const std::optional<Tensor>& weight,
                                            const std::optional<Tensor>& bias, int64_t upscale_factor, double eps,
                                            double negative_slope) {
  const Queue queue(input_in);
  const Dtype dtype = dtype_of(kOp, "input", input_in);
  std::vector<Tensor> kept;
  ShuffleNorm op = describe(input_in, dtype, weight, bias, upscale_factor, eps, negative_slope, kept);
  STD_TORCH_CHECK(grad_output_in.scalar_type() == input_in.scalar_type(), kOp,
                  ": grad_output must have the dtype of input");
  check_device(kOp, "grad_output", grad_output_in, input_in);
  STD_TORCH_CHECK(grad_output_in.dim() == 4 && grad_output_in.size(0) == op.batch &&
                      grad_output_in.size(1) == op.channels && grad_output_in.size(2) == op.height * op.factor &&
                      grad_output_in.size(3) == op.width * op.factor,
                  kOp, ": grad_output must have the shape of the output");
  for (const Tensor* t : {&mean_in, &rstd_in}) {
    check_device(kOp, "mean and rstd", *t, input_in);
    STD_TORCH_CHECK(t->dim() == 2 && t->size(0) == op.batch && t->size(1) == op.channels &&
                        t->scalar_type() == accumulation_type(dtype),
                    kOp, ": mean and rstd must be what the forward op returned");
  }
  const Tensor input = in_format(input_in, op.channels_last);
  const Tensor grad_output = in_format(grad_output_in, op.channels_last);
  const Tensor mean = torch::stable::contiguous(mean_in), rstd = torch::stable::contiguous(rstd_in);
  Tensor grad_input = empty_image(input, input.size(1), op.height, op.width, op.channels_last);
  Tensor sum_grad = torch::stable::empty_like(mean);
  Tensor sum_grad_normalized = torch::stable::empty_like(mean);
  op.input = input.const_data_ptr();
  op.mean = const_cast<void*>(mean.const_data_ptr());
  op.rstd = const_cast<void*>(rstd.const_data_ptr());
  op.grad_output = grad_output.const_data_ptr();
  op.grad_input = grad_input.mutable_data_ptr();
  op.sum_grad = sum_grad.mutable_data_ptr();
  op.sum_grad_normalized = sum_grad_normalized.mutable_data_ptr();
  Tensor scratch = workspace(input, shuffle_norm_workspace(dtype, op));
  check_launch(kOp, shuffle_norm_backward(dtype, op, scratch.mutable_data_ptr(), queue.stream()));
  return {grad_input, sum_grad, sum_grad_normalized};
}

}  // namespace

}  // namespace lssl::cuda

STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("pixel_shuffle_instance_norm", TORCH_BOX(&lssl::cuda::forward));
  m.impl("pixel_shuffle_instance_norm_backward", TORCH_BOX(&lssl::cuda::backward));
}
