// lssl::landmark_heatmap and its gradient: schemas, checks, and the CPU's parallel loops.
#include "support/binding.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "support/kept_memory.h"

namespace lssl {

namespace {

constexpr char kOp[] = "landmark_heatmap";
constexpr int64_t kPixels = 32768;  // least number of pixels per thread

// The inputs in the type of the computation (float, or double for double), contiguous.
struct Inputs {
  Place place;
  Dtype dtype;  // of the maps
  ScalarType type;
  Tensor landmarks;
  std::optional<Tensor> sigmas, visible;
  double sigma;
  int64_t batch, count, height, width;  // `count` landmarks per image

  Inputs(const Tensor& landmarks_in, const std::optional<Tensor>& sigmas_in, double sigma_in,
         const std::optional<Tensor>& visible_in, int64_t height_in, int64_t width_in)
      : place(landmarks_in),
        dtype(dtype_of(kOp, "landmarks", landmarks_in)),
        type(accumulation_type(dtype)),
        landmarks(packed(landmarks_in, type)),
        sigma(sigma_in),
        height(height_in),
        width(width_in) {
    STD_TORCH_CHECK(landmarks.dim() == 3 && landmarks.size(2) == 2, kOp, ": landmarks must be (N, K, 2)");
    STD_TORCH_CHECK(height >= 1 && width >= 1, kOp, ": height and width must be positive, got ", height, " and ",
                    width);
    batch = landmarks.size(0);
    count = landmarks.size(1);
    if (sigmas_in) {
      check_device(kOp, "sigma", *sigmas_in, landmarks);
      STD_TORCH_CHECK(sigmas_in->dim() == 1 && sigmas_in->size(0) == count, kOp, ": sigma must be a number or (K,)");
      sigmas = packed(*sigmas_in, type);
    } else {
      STD_TORCH_CHECK(sigma > 0 && std::isfinite(sigma), kOp, ": sigma must be positive and finite, got ", sigma);
    }
    if (visible_in) {
      check_device(kOp, "visible", *visible_in, landmarks);
      STD_TORCH_CHECK(visible_in->dim() == 2 && visible_in->size(0) == batch && visible_in->size(1) == count &&
                          visible_in->scalar_type() == ScalarType::Bool,
                      kOp, ": visible must be (N, K) bool");
      visible = packed(*visible_in);
    }
  }

  template <typename T>
  cuda::Heatmap<T> call() const {
    return {batch,
            count,
            height,
            width,
            landmarks.const_data_ptr<T>(),
            sigmas ? sigmas->const_data_ptr<T>() : nullptr,
            visible ? visible->const_data_ptr<bool>() : nullptr,
            static_cast<T>(sigma)};
  }
};

// On the CPU only: checking would wait for the GPU, where such a landmark gives NaN.
template <typename T>
void check_values(const cuda::Heatmap<T>& call) {
  for (int64_t i = 0; i < call.batch * call.landmarks; ++i) {
    const bool hidden = call.visible != nullptr && !call.visible[i];
    STD_TORCH_CHECK(hidden || (std::isfinite(call.points[2 * i]) && std::isfinite(call.points[2 * i + 1])), kOp,
                    ": landmarks[", i / call.landmarks, ", ", i % call.landmarks,
                    "] is not finite; mark it not visible");
  }
  for (int64_t k = 0; call.sigmas != nullptr && k < call.landmarks; ++k) {
    STD_TORCH_CHECK(call.sigmas[k] > 0 && std::isfinite(call.sigmas[k]), kOp, ": sigma[", k,
                    "] must be positive and finite, got ", static_cast<double>(call.sigmas[k]));
  }
}

// What the CPU's kernels take: every landmark's profiles along x and y.
template <typename T>
struct Profiles {
  cuda::Heatmap<T> call;
  cpu::HeatmapShape shape;
  Tensor values, support;

  explicit Profiles(const Inputs& in) : call(in.call<T>()) {
    check_values(call);
    const auto padded = [](int64_t size) {
      return (size + cpu::kHeatmapPadding - 1) / cpu::kHeatmapPadding * cpu::kHeatmapPadding;
    };
    shape = {in.count, in.height, in.width, padded(in.width), padded(in.height)};
    const int64_t maps = in.batch * in.count;
    values = torch::stable::new_empty(in.landmarks, {maps * shape.profile_size()});
    support = torch::stable::new_empty(in.landmarks, {maps * 4}, ScalarType::Int);
    T* const to = values.mutable_data_ptr<T>();
    int32_t* const to_support = support.mutable_data_ptr<int32_t>();
    torch::stable::parallel_for(
        0, maps, std::max<int64_t>(1, 8192 / (in.height + in.width)), [&](int64_t begin, int64_t end) {
          cpu::heatmap_profiles(call.points, call.sigmas, call.sigma, call.visible, shape, begin, end, to, to_support);
        });
  }
  const T* data() const { return values.const_data_ptr<T>(); }
  const int32_t* support_data() const { return support.const_data_ptr<int32_t>(); }
};

// `out` is (N, 1, H, W): the sum, the maximum, or its owners.
template <typename T>
void reduce(const Profiles<T>& profiles, Reduction reduction, Dtype dtype, void* out, int64_t element_size) {
  const cpu::HeatmapShape& shape = profiles.shape;
  const T* const values = profiles.data();
  const int32_t* const support = profiles.support_data();
  const int64_t strips = (shape.height + cpu::kHeatmapRows - 1) / cpu::kHeatmapRows;
  const int64_t work = cpu::kHeatmapRows * shape.width * std::max<int64_t>(shape.landmarks, 1);
  torch::stable::parallel_for(
      0, profiles.call.batch * strips, std::max<int64_t>(1, 8 * kPixels / work), [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t n = begin / strips, first = begin % strips;
          const int64_t last = std::min(strips, first + end - begin);
          cpu::heatmap_reduce(values + n * shape.landmarks * shape.profile_size(), support + n * shape.landmarks * 4,
                              shape, first * cpu::kHeatmapRows, std::min(last * cpu::kHeatmapRows, shape.height),
                              reduction, dtype,
                              static_cast<char*>(out) + n * shape.height * shape.width * element_size);
          begin += last - first;
        }
      });
}

template <typename T>
void forward_on_cpu(const Inputs& in, Reduction reduction, Tensor& output) {
  void* const data = output.mutable_data_ptr();
  const Profiles<T> profiles(in);
  if (reduction != Reduction::kNone) return reduce(profiles, reduction, in.dtype, data, output.element_size());
  const T* const values = profiles.data();
  torch::stable::parallel_for(
      0, in.batch * in.count, std::max<int64_t>(1, kPixels / (in.height * in.width)),
      [&](int64_t begin, int64_t end) { cpu::heatmap_planes(values, profiles.shape, begin, end, in.dtype, data); });
}

template <typename T>
void backward_on_cpu(const Inputs& in, Reduction reduction, const T* grad, T* to_landmarks, T* to_sigmas) {
  const Profiles<T> profiles(in);
  std::optional<Tensor> owners;
  const T* owner = nullptr;
  if (reduction == Reduction::kMax) {
    owners = torch::stable::new_empty(in.landmarks, {in.batch, in.height, in.width});
    T* const data = owners->mutable_data_ptr<T>();
    reduce(profiles, Reduction::kOwner, in.dtype == Dtype::kFloat64 ? Dtype::kFloat64 : Dtype::kFloat32, data,
           sizeof(T));
    owner = data;
  }
  torch::stable::parallel_for(
      0, in.batch * in.count, std::max<int64_t>(1, kPixels / (in.height * in.width)), [&](int64_t begin, int64_t end) {
        cpu::heatmap_gradients(grad, reduction != Reduction::kNone, owner, profiles.data(), profiles.support_data(),
                               profiles.call.sigmas, profiles.call.sigma, profiles.shape, begin, end, to_landmarks,
                               to_sigmas);
      });
}

template <typename T>
const char* backward_on_cuda(const Inputs& in, Reduction reduction, const T* grad, T* to_landmarks, T* to_sigmas) {
  const cuda::Heatmap<T> call = in.call<T>();
  std::optional<Tensor> owners;
  int32_t* owner = nullptr;
  if (reduction == Reduction::kMax) {
    owners = torch::stable::new_empty(in.landmarks, {in.batch, in.height, in.width}, ScalarType::Int);
    owner = owners->mutable_data_ptr<int32_t>();
    const char* error = cuda::heatmap(call, Reduction::kOwner, Dtype::kFloat32, owner, in.place.stream());
    if (error != nullptr) return error;
  }
  return cuda::heatmap_backward(call, grad, reduction != Reduction::kNone, owner, to_landmarks, to_sigmas,
                                in.place.stream());
}

Reduction reduction_of(int64_t number) {
  STD_TORCH_CHECK(number >= 0 && number <= 2, kOp, ": reduction must be 0 (none), 1 (sum) or 2 (max)");
  return static_cast<Reduction>(number);
}

Tensor forward(const Tensor& landmarks, const std::optional<Tensor>& sigmas, double sigma,
               const std::optional<Tensor>& visible, int64_t height, int64_t width, int64_t reduction_number) {
  const Reduction reduction = reduction_of(reduction_number);
  const Inputs in(landmarks, sigmas, sigma, visible, height, width);
  const int64_t maps = reduction == Reduction::kNone ? in.count : 1;
  Tensor output = in.place.is_cuda() ? torch::stable::new_empty(landmarks, {in.batch, maps, height, width})
                                     : empty_on_cpu({in.batch, maps, height, width}, landmarks.scalar_type(),
                                                    landmarks.element_size());
  by_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (kWithCuda) {
      if (in.place.is_cuda()) {
        return check_launch(
            kOp, cuda::heatmap(in.call<T>(), reduction, in.dtype, output.mutable_data_ptr(), in.place.stream()));
      }
    }
    forward_on_cpu<T>(in, reduction, output);
  });
  return output;
}

std::tuple<Tensor, Tensor> backward(const Tensor& grad_in, const Tensor& landmarks, const std::optional<Tensor>& sigmas,
                                    double sigma, const std::optional<Tensor>& visible, int64_t reduction_number) {
  const Reduction reduction = reduction_of(reduction_number);
  STD_TORCH_CHECK(grad_in.dim() == 4, kOp, ": grad must be (N, C, H, W)");
  check_device(kOp, "grad", grad_in, landmarks);
  const Inputs in(landmarks, sigmas, sigma, visible, grad_in.size(2), grad_in.size(3));
  const int64_t maps = reduction == Reduction::kNone ? in.count : 1;
  STD_TORCH_CHECK(grad_in.size(0) == in.batch && grad_in.size(1) == maps, kOp, ": grad must be (", in.batch, ", ", maps,
                  ", H, W)");
  const Tensor grad = packed(grad_in, in.type);
  Tensor grad_landmarks = torch::stable::new_empty(in.landmarks, {in.batch, in.count, 2});
  Tensor grad_sigmas = torch::stable::new_empty(in.landmarks, {in.batch, in.count});
  by_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const T* const g = grad.const_data_ptr<T>();
    T *const to_landmarks = grad_landmarks.mutable_data_ptr<T>(), *const to_sigmas = grad_sigmas.mutable_data_ptr<T>();
    if constexpr (kWithCuda) {
      if (in.place.is_cuda()) return check_launch(kOp, backward_on_cuda(in, reduction, g, to_landmarks, to_sigmas));
    }
    backward_on_cpu(in, reduction, g, to_landmarks, to_sigmas);
  });
  return {torch::stable::to(grad_landmarks, landmarks.scalar_type()), grad_sigmas};
}

}  // namespace

}  // namespace lssl

// sigmas (K,) in float32, or float64 for float64 landmarks; where it is absent, `sigma` is used for all landmarks.
// visible is bool. reduction: 0 none, 1 sum, 2 max. The gradient in sigmas is given per map, (N, K), to be summed over
// N.
STABLE_TORCH_LIBRARY_FRAGMENT(lssl, m) {
  m.def(
      "landmark_heatmap(Tensor landmarks, Tensor? sigmas, float sigma, Tensor? visible, SymInt height, SymInt width, "
      "int reduction) -> Tensor");
  m.def(
      "landmark_heatmap_backward(Tensor grad, Tensor landmarks, Tensor? sigmas, float sigma, Tensor? visible, "
      "int reduction) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(lssl, CPU, m) {
  m.impl("landmark_heatmap", TORCH_BOX(&lssl::forward));
  m.impl("landmark_heatmap_backward", TORCH_BOX(&lssl::backward));
}

#if defined(LSSL_WITH_CUDA)
STABLE_TORCH_LIBRARY_IMPL(lssl, CUDA, m) {
  m.impl("landmark_heatmap", TORCH_BOX(&lssl::forward));
  m.impl("landmark_heatmap_backward", TORCH_BOX(&lssl::backward));
}
#endif
