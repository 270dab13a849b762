// lssl::pixel_shuffle_instance_norm: schema, checks and the CPU implementation's parallel loops. CUDA: csrc/cuda/.
#include <torch/csrc/stable/library.h>

// negative_slope tells the activation: 1 is none, 0 is ReLU, else leaky ReLU. weight and bias are (C,) in the
// accumulation type (float64 for a float64 input, else float32), as are mean and rstd, (N, C). The output has input's
// dtype and memory format (contiguous or channels-last). Backward's sums are (N, C) over a plane of u = grad_output *
// activation'(z): of u, and of u * (x - mean) * rstd.
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
