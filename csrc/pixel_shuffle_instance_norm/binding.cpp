// lssl::pixel_shuffle_instance_norm and its backward: schemas, checks, and the CPU's parallel loops.
#include "support/binding.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "support/kept_memory.h"

namespace lssl {

namespace {

using cpu::ShuffleNormKernels;

constexpr int64_t kValues = 32768;  // least number of values per thread
constexpr char kOp[] = "pixel_shuffle_instance_norm";

Tensor in_format(const Tensor& t, bool channels_last) {
  if (channels_last ? is_channels_last(t) : t.is_contiguous()) return t;
  return torch::stable::contiguous(t, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

Tensor empty_image(const Place& place, const Tensor& like, int64_t channels, int64_t height, int64_t width,
                   bool channels_last) {
  if (!place.is_cuda()) {
    return empty_on_cpu({like.size(0), channels, height, width}, like.scalar_type(), like.element_size(),
                        channels_last);
  }
  const auto format = channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return torch::stable::empty({like.size(0), channels, height, width}, like.scalar_type(), std::nullopt, like.device(),
                              std::nullopt, format);
}

// Data of (C,), or of (N, C) whose rows are `op.affine_step` apart, in the accumulation type; `kept` keeps it alive.
const void* channel_data(const std::optional<Tensor>& t, const char* name, const Tensor& input, Dtype dtype,
                         const ShuffleNorm& op, std::optional<Tensor>& kept) {
  if (!t) return nullptr;
  const bool fits = op.affine_step != 0 ? t->dim() == 2 && t->size(0) == op.batch && t->size(1) == op.channels
                                        : t->dim() == 1 && t->size(0) == op.channels;
  STD_TORCH_CHECK(fits, kOp, ": ", name, " must have shape (", op.channels, ",) or (", op.batch, ", ", op.channels,
                  "), the same for weight and bias");
  STD_TORCH_CHECK(t->scalar_type() == accumulation_type(dtype), kOp, ": ", name,
                  " must be float64 for a float64 input, else float32");
  check_device(kOp, name, *t, input);
  const bool as_it_is = t->dim() == 2 && t->stride(1) == 1 && t->stride(0) == op.affine_step;
  kept = as_it_is ? *t : packed(*t);
  return kept->const_data_ptr();
}

// The distance between the rows of (N, C) weight and bias, if both have the same (parts of one tensor, say), else C for
// contiguous copies; 0 for (C,) ones.
int64_t affine_step_of(const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, int64_t channels) {
  int64_t step = 0;
  for (const auto* t : {&weight, &bias}) {
    if (!*t || (*t)->dim() != 2) continue;
    const int64_t own = (*t)->stride(1) == 1 ? std::max((*t)->stride(0), channels) : channels;
    if (step != 0 && step != own) return channels;
    step = own;
  }
  return step;
}

// A call's sizes and options, with its weight and bias, which it keeps alive. The other pointers are null.
struct Call {
  Dtype dtype;
  ShuffleNorm op{};
  std::optional<Tensor> weight, bias;

  Call(const Tensor& input, const std::optional<Tensor>& weight_in, const std::optional<Tensor>& bias_in,
       int64_t factor, double eps, double negative_slope)
      : dtype(dtype_of(kOp, "input", input)) {
    STD_TORCH_CHECK(input.dim() == 4, kOp, ": input must be (N, C r^2, H, W)");
    STD_TORCH_CHECK(factor >= 1, kOp, ": upscale_factor must be at least 1, got ", factor);
    STD_TORCH_CHECK(eps > 0, kOp, ": eps must be positive, got ", eps);
    op.batch = input.size(0);
    op.channels = input.size(1) / (factor * factor);
    op.height = input.size(2);
    op.width = input.size(3);
    STD_TORCH_CHECK(input.size(1) == op.channels * factor * factor, kOp, ": input has ", input.size(1),
                    " channels, not a multiple of upscale_factor^2 = ", factor * factor);
    STD_TORCH_CHECK(op.height > 0 && op.width > 0, kOp, ": input must have at least one pixel");
    op.factor = factor;
    op.channels_last = !input.is_contiguous() && is_channels_last(input);
    op.eps = eps;
    op.negative_slope = negative_slope;
    op.affine_step = affine_step_of(weight_in, bias_in, op.channels);
    op.weight = channel_data(weight_in, "weight", input, dtype, op, weight);
    op.bias = channel_data(bias_in, "bias", input, dtype, op, bias);
  }
};

// Bands of rows of a channels-last sample: enough pixels that a band's sums weigh little against its values.
struct Bands {
  int64_t rows, count;  // input rows per band, bands per sample

  explicit Bands(const ShuffleNorm& op) {
    const int64_t row = op.width * op.channels * op.factor * op.factor;
    rows = std::clamp<int64_t>(std::max(kValues / row, 64 / op.width), 1, op.height);
    count = (op.height + rows - 1) / rows;
  }
};

// Sums of the bands, statistics, output: one sample per thread where that keeps every thread busy, so that the sample
// is still in the cache for the output; else the bands of all samples in three parallel steps. Both give the same bits.
template <typename Sums, typename Statistics, typename Rows>
void run_channels_last(const ShuffleNorm& op, int64_t sums_per_band, Sums sums, Statistics statistics, Rows rows) {
  const Bands bands(op);
  const int64_t jobs = op.batch * bands.count, threads = torch::stable::get_num_threads();
  const int64_t row = op.width * op.channels * op.factor * op.factor;
  const auto grain = [&](int64_t rows) { return std::max<int64_t>(1, kValues / (row * rows)); };
  const auto memory_of = [&](int64_t samples) {
    return std::vector<double>(static_cast<size_t>(samples * bands.count * sums_per_band));
  };
  const auto begin_of = [&](int64_t job) { return job % bands.count * bands.rows; };
  const auto sum_band = [&](int64_t job, double* to) {
    sums(op, job / bands.count, begin_of(job), std::min(begin_of(job) + bands.rows, op.height), to);
  };
  const auto write_band = [&](int64_t job) {
    rows(op, job / bands.count, begin_of(job), std::min(begin_of(job) + bands.rows, op.height));
  };
  if (op.batch % threads == 0 || op.batch >= 4 * threads) {
    torch::stable::parallel_for(0, op.batch, grain(op.height), [&](int64_t begin, int64_t end) {
      std::vector<double> memory = memory_of(1);
      for (int64_t n = begin; n < end; ++n) {
        for (int64_t i = 0; i < bands.count; ++i) sum_band(n * bands.count + i, memory.data() + i * sums_per_band);
        statistics(op, n, bands.count, memory.data());
        for (int64_t i = 0; i < bands.count; ++i) write_band(n * bands.count + i);
      }
    });
    return;
  }
  std::vector<double> memory = memory_of(op.batch);
  torch::stable::parallel_for(0, jobs, grain(bands.rows), [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) sum_band(job, memory.data() + job * sums_per_band);
  });
  torch::stable::parallel_for(0, op.batch, grain(bands.count), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      statistics(op, n, bands.count, memory.data() + n * bands.count * sums_per_band);
    }
  });
  torch::stable::parallel_for(0, jobs, grain(bands.rows), [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) write_band(job);
  });
}

void run_planes(const ShuffleNorm& op, void (*planes)(const ShuffleNorm&, int64_t, int64_t)) {
  const int64_t values = op.factor * op.factor * op.height * op.width;
  torch::stable::parallel_for(0, op.batch * op.channels, std::max<int64_t>(1, kValues / values),
                              [&](int64_t begin, int64_t end) { planes(op, begin, end); });
}

void run(const Place& place, const Call& call, const Tensor& input, bool is_forward) {
  const ShuffleNorm& op = call.op;
  if (input.numel() == 0) return;
  if constexpr (kWithCuda) {
    if (place.is_cuda()) {
      Workspace workspace(input, cuda::shuffle_norm_workspace(call.dtype, op));
      const auto launch = is_forward ? cuda::shuffle_norm_forward : cuda::shuffle_norm_backward;
      return check_launch(kOp, launch(call.dtype, op, workspace.data(), place.stream()));
    }
  }
  const ShuffleNormKernels& k = cpu::shuffle_norm_kernels(call.dtype);
  if (!op.channels_last) {
    run_planes(op, is_forward ? k.forward_planes : k.backward_planes);
  } else if (is_forward) {
    run_channels_last(op, 2 * input.size(1), k.forward_rows_sums, k.forward_statistics, k.forward_rows);
  } else {
    run_channels_last(op, 2 * op.channels, k.backward_rows_sums, k.backward_statistics, k.backward_rows);
  }
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& input_in, const std::optional<Tensor>& weight,
                                           const std::optional<Tensor>& bias, int64_t upscale_factor, double eps,
                                           double negative_slope) {
  const Place place(input_in);
  Call call(input_in, weight, bias, upscale_factor, eps, negative_slope);
  ShuffleNorm& op = call.op;
  const Tensor input = in_format(input_in, op.channels_last);
  Tensor output = empty_image(place, input, op.channels, op.height * op.factor, op.width * op.factor, op.channels_last);
  Tensor mean = torch::stable::new_empty(input, {op.batch, op.channels}, accumulation_type(call.dtype));
  Tensor rstd = torch::stable::new_empty(input, {op.batch, op.channels}, accumulation_type(call.dtype));
  op.input = input.const_data_ptr();
  op.output = output.mutable_data_ptr();
  op.mean = mean.mutable_data_ptr();
  op.rstd = rstd.mutable_data_ptr();
  run(place, call, input, true);
  return {output, mean, rstd};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad_output_in, const Tensor& input_in, const Tensor& mean_in,
                                            const Tensor& rstd_in, const std::optional<Tensor>& weight,
                                            const std::optional<Tensor>& bias, int64_t upscale_factor, double eps,
                                            double negative_slope) {
  const Place place(input_in);
  Call call(input_in, weight, bias, upscale_factor, eps, negative_slope);
  ShuffleNorm& op = call.op;
  check_device(kOp, "grad_output", grad_output_in, input_in);
  STD_TORCH_CHECK(grad_output_in.scalar_type() == input_in.scalar_type(), kOp,
                  ": grad_output must have the dtype of input");
  STD_TORCH_CHECK(grad_output_in.dim() == 4 && grad_output_in.size(0) == op.batch &&
                      grad_output_in.size(1) == op.channels && grad_output_in.size(2) == op.height * op.factor &&
                      grad_output_in.size(3) == op.width * op.factor,
                  kOp, ": grad_output must have the shape of the output");
  for (const Tensor* t : {&mean_in, &rstd_in}) {
    check_device(kOp, "mean and rstd", *t, input_in);
    STD_TORCH_CHECK(t->dim() == 2 && t->size(0) == op.batch && t->size(1) == op.channels &&
                        t->scalar_type() == accumulation_type(call.dtype),
                    kOp, ": mean and rstd must be what the forward op returned");
  }
  const Tensor input = in_format(input_in, op.channels_last);
  const Tensor grad_output = in_format(grad_output_in, op.channels_last);
  const Tensor mean = packed(mean_in), rstd = packed(rstd_in);
  Tensor grad_input = empty_image(place, input, input.size(1), op.height, op.width, op.channels_last);
  Tensor sum_grad = torch::stable::empty_like(mean);
  Tensor sum_grad_normalized = torch::stable::empty_like(mean);
  op.input = input.const_data_ptr();
  op.mean = const_cast<void*>(mean.const_data_ptr());
  op.rstd = const_cast<void*>(rstd.const_data_ptr());
  op.grad_output = grad_output.const_data_ptr();
  op.grad_input = grad_input.mutable_data_ptr();
  op.sum_grad = sum_grad.mutable_data_ptr();
  op.sum_grad_normalized = sum_grad_normalized.mutable_data_ptr();
  run(place, call, input, false);
  return {grad_input, sum_grad, sum_grad_normalized};
}

}  // namespace

}  // namespace lssl

// negative_slope selects the activation: 1 is none, 0 is ReLU, else leaky ReLU. weight and bias are (C,), or both
// (N, C), in the accumulation type (float64 for a float64 input, else float32), as are mean and rstd, (N, C). The
// output has input's dtype and memory format (contiguous or channels-last). Backward's sums are (N, C) over a plane of
// u = grad_output * activation'(z): of u, and of u * (x - mean) * rstd.
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def(
      "pixel_shuffle_instance_norm(Tensor input, Tensor? weight, Tensor? bias, int upscale_factor, float eps, "
      "float negative_slope) -> (Tensor output, Tensor mean, Tensor rstd)");
  m.def(
      "pixel_shuffle_instance_norm_backward(Tensor grad_output, Tensor input, Tensor mean, Tensor rstd, Tensor? "
      "weight, "
      "Tensor? bias, int upscale_factor, float eps, float negative_slope) -> (Tensor grad_input, Tensor sum_grad, "
      "Tensor sum_grad_normalized)");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("pixel_shuffle_instance_norm", TORCH_BOX(&lssl::forward));
  m.impl("pixel_shuffle_instance_norm_backward", TORCH_BOX(&lssl::backward));
}

#if defined(LSSL_WITH_CUDA)
STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("pixel_shuffle_instance_norm", TORCH_BOX(&lssl::forward));
  m.impl("pixel_shuffle_instance_norm_backward", TORCH_BOX(&lssl::backward));
}
#endif
