// lssl::landmark_heatmap and its gradient on CUDA. Schemas: csrc/landmark_heatmap.cpp.
#include <cmath>
#include <optional>
#include <tuple>

#include "binding.h"

namespace lssl::cuda {

namespace {

constexpr char kOp[] = "landmark_heatmap";

// The inputs in the dtype of the computation (float, or double for double), contiguous. Their values are not looked
// at: that would wait for the device.
struct Inputs {
  Tensor landmarks;
  std::optional<Tensor> sigmas, visible;
  double sigma;
  int64_t height, width;

  Inputs(const Tensor& landmarks_in, const std::optional<Tensor>& sigmas_in, double sigma_in,
         const std::optional<Tensor>& visible_in, int64_t height_in, int64_t width_in)
      : landmarks(landmarks_in), sigma(sigma_in), height(height_in), width(width_in) {
    STD_TORCH_CHECK(landmarks.dim() == 3 && landmarks.size(2) == 2, kOp, ": landmarks must be (N, K, 2)");
    STD_TORCH_CHECK(height >= 1 && width >= 1, kOp, ": height and width must be positive, got ", height, " and ",
                    width);
    const ScalarType dtype = accumulation_type(dtype_of(kOp, "landmarks", landmarks_in));
    landmarks = torch::stable::contiguous(torch::stable::to(landmarks_in, dtype));
    if (sigmas_in) {
      check_device(kOp, "sigma", *sigmas_in, landmarks);
      STD_TORCH_CHECK(sigmas_in->dim() == 1 && sigmas_in->size(0) == landmarks.size(1), kOp,
                      ": sigma must be a number or (K,)");
      sigmas = torch::stable::contiguous(torch::stable::to(*sigmas_in, dtype));
    } else {
      STD_TORCH_CHECK(sigma > 0 && std::isfinite(sigma), kOp, ": sigma must be positive and finite, got ", sigma);
    }
    if (visible_in) {
      check_device(kOp, "visible", *visible_in, landmarks);
      STD_TORCH_CHECK(visible_in->dim() == 2 && visible_in->size(0) == landmarks.size(0) &&
                          visible_in->size(1) == landmarks.size(1) && visible_in->scalar_type() == ScalarType::Bool,
                      kOp, ": visible must be (N, K) bool");
      visible = torch::stable::contiguous(*visible_in);
    }
  }

  template <typename T>
  Heatmap<T> call() const {
    return {landmarks.size(0),
            landmarks.size(1),
            height,
            width,
            landmarks.const_data_ptr<T>(),
            sigmas ? sigmas->const_data_ptr<T>() : nullptr,
            visible ? visible->const_data_ptr<bool>() : nullptr,
            static_cast<T>(sigma)};
  }
  template <typename F>
  void launch(const F& f) const {
    check_launch(kOp, landmarks.scalar_type() == ScalarType::Float ? f(float()) : f(double()));
  }
};

void check_reduction(int64_t reduction) {
  STD_TORCH_CHECK(reduction >= 0 && reduction <= 2, kOp, ": reduction must be 0 (none), 1 (sum) or 2 (max)");
}

Tensor forward(const Tensor& landmarks, const std::optional<Tensor>& sigmas, double sigma,
               const std::optional<Tensor>& visible, int64_t height, int64_t width, int64_t reduction) {
  const Queue queue(landmarks);
  check_reduction(reduction);
  const Inputs in(landmarks, sigmas, sigma, visible, height, width);
  Tensor output =
      torch::stable::new_empty(landmarks, {landmarks.size(0), reduction == 0 ? landmarks.size(1) : 1, height, width});
  in.launch([&](auto zero) {
    return heatmap(in.call<decltype(zero)>(), static_cast<HeatmapReduction>(reduction),
                   dtype_of(kOp, "landmarks", landmarks), output.mutable_data_ptr(), queue.stream());
  });
  return output;
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad_in, const Tensor& landmarks, const std::optional<Tensor>& sigmas,
                                    double sigma, const std::optional<Tensor>& visible, int64_t reduction) {
  const Queue queue(landmarks);
  check_reduction(reduction);
  check_device(kOp, "grad", grad_in, landmarks);
  STD_TORCH_CHECK(grad_in.dim() == 4, kOp, ": grad must be (N, C, H, W)");
  const int64_t height = grad_in.size(2), width = grad_in.size(3);
  const Inputs in(landmarks, sigmas, sigma, visible, height, width);
  const int64_t batch = landmarks.size(0), planes = reduction == 0 ? landmarks.size(1) : 1;
  STD_TORCH_CHECK(grad_in.size(0) == batch && grad_in.size(1) == planes, kOp, ": grad must be (", batch, ", ", planes,
                  ", H, W)");
  const Tensor grad = torch::stable::contiguous(torch::stable::to(grad_in, in.landmarks.scalar_type()));
  Tensor grad_landmarks = torch::stable::new_empty(in.landmarks, {batch, landmarks.size(1), 2});
  Tensor grad_sigmas = torch::stable::new_empty(in.landmarks, {batch, landmarks.size(1)});
  std::optional<Tensor> owners;
  if (reduction == 2) owners = torch::stable::new_empty(in.landmarks, {batch, height, width}, ScalarType::Int);
  in.launch([&](auto zero) -> const char* {
    using T = decltype(zero);
    const Heatmap<T> call = in.call<T>();
    const char* error = nullptr;
    int32_t* owner = nullptr;
    if (owners) {
      owner = owners->mutable_data_ptr<int32_t>();
      error = heatmap(call, HeatmapReduction::kOwner, Dtype::kFloat32, owner, queue.stream());
    }
    if (error != nullptr) return error;
    return heatmap_backward(call, grad.const_data_ptr<T>(), reduction != 0, owner, grad_landmarks.mutable_data_ptr<T>(),
                            grad_sigmas.mutable_data_ptr<T>(), queue.stream());
  });
  return {torch::stable::to(grad_landmarks, landmarks.scalar_type()), grad_sigmas};
}

}  // namespace

}  // namespace lssl::cuda

STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("landmark_heatmap", TORCH_BOX(&lssl::cuda::forward));
  m.impl("landmark_heatmap_backward", TORCH_BOX(&lssl::cuda::backward));
}
