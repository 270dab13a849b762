// The gradient penalty's kernels: schemas, checks, and the CPU's parallel loops.
#include "support/binding.h"

#include <algorithm>
#include <tuple>

namespace lssl {

namespace {

constexpr int64_t kGrain = 32768;  // least number of elements per thread

// Contiguous and channels-last tensors as they are, others copied: in either, a sample is one block of memory.
Tensor samples_in_blocks(const Tensor& t) {
  return t.is_contiguous() || is_channels_last(t) ? t : torch::stable::contiguous(t);
}

Tensor laid_out_as(const Tensor& t, const Tensor& model) {
  if (same_strides(t, model)) return t;
  if (model.is_contiguous()) return torch::stable::contiguous(t);
  return torch::stable::contiguous(t, t.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d);
}

// True if the elements fill one block of memory, without gaps or overlap, in any order.
bool is_dense(const Tensor& t) {
  if (t.is_contiguous() || t.numel() == 0) return true;
  int64_t expected = 1, remaining = 0;
  for (int64_t d = 0; d < t.dim(); ++d) remaining += t.size(d) > 1;
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
  const Place place(real_in);
  const Dtype dtype = dtype_of(op, "real", real_in);
  STD_TORCH_CHECK(fake_in.scalar_type() == real_in.scalar_type(), op, ": fake must have real's dtype");
  check_device(op, "fake", fake_in, real_in);
  check_device(op, "alpha", alpha_in, real_in);
  STD_TORCH_CHECK(real_in.dim() >= 1 && same_shape(fake_in, real_in), op, ": fake must have real's shape (N, ...)");
  STD_TORCH_CHECK(
      alpha_in.scalar_type() == accumulation_type(dtype) && alpha_in.dim() == 1 && alpha_in.size(0) == real_in.size(0),
      op, ": alpha must be (N,), float32 (float64 for float64 images)");
  const Tensor real = samples_in_blocks(real_in), fake = laid_out_as(fake_in, real), alpha = packed(alpha_in);
  Tensor output = torch::stable::empty_like(real);
  if (output.numel() == 0) return output;
  const int64_t batch = real.size(0), sample = real.numel() / batch;
  const void *r = real.const_data_ptr(), *f = fake.const_data_ptr(), *a = alpha.const_data_ptr();
  void* out = output.mutable_data_ptr();
  if constexpr (kWithCuda) {
    if (place.is_cuda()) {
      check_launch(op, cuda::penalty_interpolate(dtype, r, f, a, batch, sample, out, place.stream()));
      return output;
    }
  }
  torch::stable::parallel_for(0, real.numel(), kGrain, [=](int64_t begin, int64_t end) {
    cpu::penalty_interpolate(dtype, r, f, a, sample, begin, end, out);
  });
  return output;
}

std::tuple<Tensor, Tensor> cotangent(const Tensor& gradient_in, double target) {
  constexpr const char* op = "penalty_cotangent";
  const Place place(gradient_in);
  const Dtype dtype = dtype_of(op, "gradient", gradient_in);
  STD_TORCH_CHECK(gradient_in.dim() >= 1, op, ": gradient must be (N, ...)");
  const Tensor gradient = samples_in_blocks(gradient_in);
  const int64_t batch = gradient.size(0), sample = batch > 0 ? gradient.numel() / batch : 0;
  Tensor output = torch::stable::empty_like(gradient);
  Tensor penalty = torch::stable::new_empty(gradient, {});
  const void* g = gradient.const_data_ptr();
  void *to_penalty = penalty.mutable_data_ptr(), *out = output.mutable_data_ptr();
  if constexpr (kWithCuda) {
    if (place.is_cuda()) {
      Workspace workspace(gradient, cuda::penalty_workspace(batch, sample));
      check_launch(op, cuda::penalty_cotangent(dtype, g, batch, sample, target, workspace.data(), to_penalty, out,
                                               place.stream()));
      return {penalty, output};
    }
  }
  const int64_t blocks = batch * cpu::penalty_blocks(sample);
  Workspace workspace(gradient, (blocks + batch) * static_cast<int64_t>(sizeof(double)));
  double *const sums = static_cast<double*>(workspace.data()), *const scales = sums + blocks;
  torch::stable::parallel_for(
      0, blocks, 2, [=](int64_t begin, int64_t end) { cpu::penalty_square_sums(dtype, g, sample, begin, end, sums); });
  cpu::penalty_and_scales(dtype, sums, batch, sample, target, scales, to_penalty);
  torch::stable::parallel_for(0, gradient.numel(), kGrain, [=](int64_t begin, int64_t end) {
    cpu::penalty_scale(dtype, g, scales, sample, begin, end, out);
  });
  return {penalty, output};
}

Tensor rectify_(Tensor input, double negative_slope) {
  constexpr const char* op = "penalty_rectify_";
  const Place place(input);
  const Dtype dtype = dtype_of(op, "input", input);
  STD_TORCH_CHECK(is_dense(input), op, ": input must be dense in memory");
  const int64_t count = input.numel(), bytes = (count + 7) / 8;
  Tensor slopes = torch::stable::new_empty(input, {bytes}, ScalarType::Byte);
  void* x = input.mutable_data_ptr();
  uint8_t* bits = slopes.mutable_data_ptr<uint8_t>();
  if constexpr (kWithCuda) {
    if (place.is_cuda()) {
      check_launch(op, cuda::penalty_rectify(dtype, x, negative_slope, count, bits, place.stream()));
      return slopes;
    }
  }
  torch::stable::parallel_for(0, bytes, kGrain / 8, [=](int64_t begin, int64_t end) {
    cpu::penalty_rectify(dtype, x, negative_slope, 8 * begin, std::min(8 * end, count), bits);
  });
  return slopes;
}

void slope_(Tensor tangent, const Tensor& slopes, double negative_slope) {
  constexpr const char* op = "penalty_slope_";
  const Place place(tangent);
  const Dtype dtype = dtype_of(op, "tangent", tangent);
  STD_TORCH_CHECK(is_dense(tangent), op, ": tangent must be dense in memory");
  check_device(op, "slopes", slopes, tangent);
  STD_TORCH_CHECK(
      slopes.scalar_type() == ScalarType::Byte && slopes.is_contiguous() && slopes.numel() == (tangent.numel() + 7) / 8,
      op, ": slopes must be what penalty_rectify_ returned for a tensor of tangent's size");
  const int64_t count = tangent.numel();
  void* t = tangent.mutable_data_ptr();
  const uint8_t* bits = slopes.const_data_ptr<uint8_t>();
  if constexpr (kWithCuda) {
    if (place.is_cuda()) {
      return check_launch(op, cuda::penalty_slope(dtype, t, bits, negative_slope, count, place.stream()));
    }
  }
  torch::stable::parallel_for(0, slopes.numel(), kGrain / 8, [=](int64_t begin, int64_t end) {
    cpu::penalty_slope(dtype, t, bits, negative_slope, 8 * begin, std::min(8 * end, count));
  });
}

}  // namespace

}  // namespace lssl

// alpha is (N,) in the accumulation type (float64 for float64 images, else float32). penalty_cotangent's first output
// is a 0-dim tensor of gradient's dtype: sum_i (||g_i|| - target)^2 / max(N, 1); its second, of gradient's layout
// (contiguous or channels-last; other strides become contiguous), is g_i * 2 (||g_i|| - target) / (N ||g_i||), zero
// where g_i is. penalty_rectify_ applies x > 0 ? x : negative_slope * x in place and packs x > 0 (for slope 0, which is
// ReLU: !(x <= 0), so that NaN passes), in memory order: element 8 k + j is bit j of byte k, spare bits are zero.
// penalty_slope_ multiplies a dense tensor in place by 1 or negative_slope (for 0: sets 0, even from infinity).
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def("penalty_interpolate(Tensor real, Tensor fake, Tensor alpha) -> Tensor");
  m.def("penalty_cotangent(Tensor gradient, float target) -> (Tensor penalty, Tensor cotangent)");
  m.def("penalty_rectify_(Tensor(a!) input, float negative_slope) -> Tensor");
  m.def("penalty_slope_(Tensor(a!) tangent, Tensor slopes, float negative_slope) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("penalty_interpolate", TORCH_BOX(&lssl::interpolate_images));
  m.impl("penalty_cotangent", TORCH_BOX(&lssl::cotangent));
  m.impl("penalty_rectify_", TORCH_BOX(&lssl::rectify_));
  m.impl("penalty_slope_", TORCH_BOX(&lssl::slope_));
}

#if defined(LSSL_WITH_CUDA)
STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("penalty_interpolate", TORCH_BOX(&lssl::interpolate_images));
  m.impl("penalty_cotangent", TORCH_BOX(&lssl::cotangent));
  m.impl("penalty_rectify_", TORCH_BOX(&lssl::rectify_));
  m.impl("penalty_slope_", TORCH_BOX(&lssl::slope_));
}
#endif
