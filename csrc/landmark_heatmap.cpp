// lssl::landmark_heatmap and its gradient: schemas, checks, and the CPU implementations' parallel loops.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "huge_pages.h"
#include "kernels.h"

namespace {

using lssl::cpu::HeatmapShape;
using lssl::cpu::kHeatmapPadding;
using lssl::cpu::kHeatmapRows;
using lssl::cpu::Reduction;
using lssl::cpu::Store;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kPixels = 32768;  // pixels that are worth a thread

// The inputs in the dtype of the computation (float, or double for double), contiguous, and their profiles.
struct Maps {
  Tensor landmarks, profiles, support;
  std::optional<Tensor> sigmas, visible;
  double sigma;
  HeatmapShape shape;
  int64_t batch;
  ScalarType dtype;

  template <typename T>
  const T* sigma_data() const {
    return sigmas ? sigmas->const_data_ptr<T>() : nullptr;
  }
};

bool is_floating(ScalarType dtype) {
  return dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::BFloat16 ||
         dtype == ScalarType::Half;
}

template <typename F>
void by_dtype(ScalarType dtype, const F& f) {
  if (dtype == ScalarType::Float) {
    f(float());
  } else {
    f(double());
  }
}

template <typename T>
void check_values(const Maps& maps) {
  const T* xy = maps.landmarks.const_data_ptr<T>();
  const bool* visible = maps.visible ? maps.visible->const_data_ptr<bool>() : nullptr;
  for (int64_t i = 0; i < maps.batch * maps.shape.landmarks; ++i) {
    STD_TORCH_CHECK((visible != nullptr && !visible[i]) || (std::isfinite(xy[2 * i]) && std::isfinite(xy[2 * i + 1])),
                    "landmark_heatmap: landmarks[", i / maps.shape.landmarks, ", ", i % maps.shape.landmarks,
                    "] is not finite; mark it not visible");
  }
  const T* sigmas = maps.sigma_data<T>();
  for (int64_t k = 0; sigmas != nullptr && k < maps.shape.landmarks; ++k) {
    STD_TORCH_CHECK(sigmas[k] > 0 && std::isfinite(sigmas[k]), "landmark_heatmap: sigma[", k,
                    "] must be positive and finite, got ", static_cast<double>(sigmas[k]));
  }
}

Maps prepare(const Tensor& landmarks, const std::optional<Tensor>& sigmas, double sigma,
             const std::optional<Tensor>& visible, int64_t height, int64_t width) {
  STD_TORCH_CHECK(landmarks.dim() == 3 && landmarks.size(2) == 2, "landmark_heatmap: landmarks must be (N, K, 2)");
  STD_TORCH_CHECK(is_floating(landmarks.scalar_type()), "landmark_heatmap: landmarks must be floating point");
  STD_TORCH_CHECK(height >= 1 && width >= 1, "landmark_heatmap: height and width must be positive, got ", height,
                  " and ", width);
  Maps maps;
  maps.batch = landmarks.size(0);
  maps.dtype = landmarks.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  maps.landmarks = torch::stable::contiguous(torch::stable::to(landmarks, maps.dtype));
  const auto padded = [](int64_t size) { return (size + kHeatmapPadding - 1) / kHeatmapPadding * kHeatmapPadding; };
  maps.shape = {landmarks.size(1), height, width, padded(width), padded(height)};
  maps.sigma = sigma;
  if (sigmas) {
    STD_TORCH_CHECK(sigmas->dim() == 1 && sigmas->size(0) == maps.shape.landmarks && sigmas->is_cpu(),
                    "landmark_heatmap: sigma must be a number or (K,) on the device of landmarks");
    maps.sigmas = torch::stable::contiguous(torch::stable::to(*sigmas, maps.dtype));
  } else {
    STD_TORCH_CHECK(sigma > 0 && std::isfinite(sigma), "landmark_heatmap: sigma must be positive and finite, got ",
                    sigma);
  }
  if (visible) {
    STD_TORCH_CHECK(visible->dim() == 2 && visible->size(0) == maps.batch && visible->size(1) == maps.shape.landmarks &&
                        visible->scalar_type() == ScalarType::Bool && visible->is_cpu(),
                    "landmark_heatmap: visible must be (N, K) bool on the device of landmarks");
    maps.visible = torch::stable::contiguous(*visible);
  }
  const int64_t count = maps.batch * maps.shape.landmarks;
  maps.profiles = torch::stable::new_empty(maps.landmarks, {count * maps.shape.profile_size()});
  maps.support = torch::stable::new_empty(maps.landmarks, {count * 4}, ScalarType::Int);
  by_dtype(maps.dtype, [&](auto zero) {
    using T = decltype(zero);
    check_values<T>(maps);
    const T* xy = maps.landmarks.const_data_ptr<T>();
    const T* s = maps.sigma_data<T>();
    const bool* shown = maps.visible ? maps.visible->const_data_ptr<bool>() : nullptr;
    T* profiles = maps.profiles.mutable_data_ptr<T>();
    int32_t* support = maps.support.mutable_data_ptr<int32_t>();
    const int64_t grain = std::max<int64_t>(1, 8192 / (height + width));
    torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
      lssl::cpu::heatmap_profiles(xy, s, static_cast<T>(sigma), shown, maps.shape, begin, end, profiles, support);
    });
  });
  return maps;
}

// `out` is (N, 1, H, W): the sum, the maximum, or its owners.
template <typename T>
void reduce(const Maps& maps, Reduction reduction, Store store, void* out, int64_t element_size) {
  const HeatmapShape& shape = maps.shape;
  const T* profiles = maps.profiles.const_data_ptr<T>();
  const int32_t* support = maps.support.const_data_ptr<int32_t>();
  const int64_t strips = (shape.height + kHeatmapRows - 1) / kHeatmapRows;
  const int64_t work = kHeatmapRows * shape.width * std::max<int64_t>(shape.landmarks, 1);
  torch::stable::parallel_for(
      0, maps.batch * strips, std::max<int64_t>(1, 8 * kPixels / work), [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t n = begin / strips, first = begin % strips;
          const int64_t last = std::min(strips, first + end - begin);
          lssl::cpu::heatmap_reduce(profiles + n * shape.landmarks * shape.profile_size(),
                                    support + n * shape.landmarks * 4, shape, first * kHeatmapRows,
                                    std::min(last * kHeatmapRows, shape.height), reduction, store,
                                    static_cast<char*>(out) + n * shape.height * shape.width * element_size);
          begin += last - first;
        }
      });
}

void check_reduction(int64_t reduction) {
  STD_TORCH_CHECK(reduction >= 0 && reduction <= 2, "landmark_heatmap: reduction must be 0 (none), 1 (sum) or 2 (max)");
}

Tensor landmark_heatmap(const Tensor& landmarks, const std::optional<Tensor>& sigmas, double sigma,
                        const std::optional<Tensor>& visible, int64_t height, int64_t width, int64_t reduction) {
  check_reduction(reduction);
  const Maps maps = prepare(landmarks, sigmas, sigma, visible, height, width);
  const bool none = reduction == 0;
  Tensor out = torch::stable::new_empty(landmarks, {maps.batch, none ? maps.shape.landmarks : 1, height, width});
  const ScalarType dtype = landmarks.scalar_type();
  const Store store = dtype == ScalarType::BFloat16 ? Store::kBFloat16
                      : dtype == ScalarType::Half   ? Store::kHalf
                                                    : Store::kSame;
  void* data = out.mutable_data_ptr();
  lssl::advise_huge_pages(data, out.numel() * out.element_size());
  by_dtype(maps.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (!none) return reduce<T>(maps, static_cast<Reduction>(reduction), store, data, out.element_size());
    const T* profiles = maps.profiles.const_data_ptr<T>();
    const int64_t grain = std::max<int64_t>(1, kPixels / (height * width));
    torch::stable::parallel_for(0, maps.batch * maps.shape.landmarks, grain, [&](int64_t begin, int64_t end) {
      lssl::cpu::heatmap_planes(profiles, maps.shape, begin, end, store, data);
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> landmark_heatmap_backward(const Tensor& grad_in, const Tensor& landmarks,
                                                     const std::optional<Tensor>& sigmas, double sigma,
                                                     const std::optional<Tensor>& visible, int64_t reduction) {
  check_reduction(reduction);
  STD_TORCH_CHECK(grad_in.dim() == 4 && grad_in.is_cpu(), "landmark_heatmap_backward: grad must be (N, C, H, W)");
  const int64_t height = grad_in.size(2), width = grad_in.size(3);
  const Maps maps = prepare(landmarks, sigmas, sigma, visible, height, width);
  const bool none = reduction == 0;
  const int64_t planes = none ? maps.shape.landmarks : 1;
  STD_TORCH_CHECK(grad_in.size(0) == maps.batch && grad_in.size(1) == planes,
                  "landmark_heatmap_backward: grad must be (", maps.batch, ", ", planes, ", H, W)");
  const Tensor grad = torch::stable::contiguous(torch::stable::to(grad_in, maps.dtype));
  Tensor grad_landmarks = torch::stable::new_empty(maps.landmarks, {maps.batch, maps.shape.landmarks, 2});
  Tensor grad_sigmas = torch::stable::new_empty(maps.landmarks, {maps.batch, maps.shape.landmarks});
  by_dtype(maps.dtype, [&](auto zero) {
    using T = decltype(zero);
    std::optional<Tensor> owners;
    const T* owner = nullptr;
    if (reduction == 2) {
      owners = torch::stable::new_empty(maps.landmarks, {maps.batch, height, width});
      T* data = owners->mutable_data_ptr<T>();
      reduce<T>(maps, Reduction::kOwner, Store::kSame, data, sizeof(T));
      owner = data;
    }
    const T* g = grad.const_data_ptr<T>();
    const T* s = maps.sigma_data<T>();
    const T* profiles = maps.profiles.const_data_ptr<T>();
    const int32_t* support = maps.support.const_data_ptr<int32_t>();
    T* to_landmarks = grad_landmarks.mutable_data_ptr<T>();
    T* to_sigmas = grad_sigmas.mutable_data_ptr<T>();
    const int64_t grain = std::max<int64_t>(1, kPixels / (height * width));
    torch::stable::parallel_for(0, maps.batch * maps.shape.landmarks, grain, [&](int64_t begin, int64_t end) {
      lssl::cpu::heatmap_gradients(g, !none, owner, profiles, support, s, static_cast<T>(sigma), maps.shape, begin, end,
                                   to_landmarks, to_sigmas);
    });
  });
  return {torch::stable::to(grad_landmarks, landmarks.scalar_type()), grad_sigmas};
}

}  // namespace

// sigmas (K,) in float32, or float64 for float64 landmarks; where it is absent, `sigma` serves all landmarks. visible
// is bool. reduction: 0 none, 1 sum, 2 max. The gradient in sigmas comes for each map, (N, K), to be summed over N.
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def(
      "landmark_heatmap(Tensor landmarks, Tensor? sigmas, float sigma, Tensor? visible, SymInt height, SymInt width, "
      "int reduction) -> Tensor");
  m.def(
      "landmark_heatmap_backward(Tensor grad, Tensor landmarks, Tensor? sigmas, float sigma, Tensor? visible, "
      "int reduction) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("landmark_heatmap", TORCH_BOX(&landmark_heatmap));
  m.impl("landmark_heatmap_backward", TORCH_BOX(&landmark_heatmap_backward));
}
