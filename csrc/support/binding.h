// What the bindings share: where a call runs, its scratch memory, its checks. Uses only LibTorch's stable ABI.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <optional>

#include "kernels.h"

#if defined(LSSL_WITH_CUDA)
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#endif

namespace lssl {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Code for CUDA is guarded by `if constexpr (kWithCuda)`: a build without CUDA has no such kernels to link.
#if defined(LSSL_WITH_CUDA)
inline constexpr bool kWithCuda = true;
#else
inline constexpr bool kWithCuda = false;
#endif

// Where a call runs: on the CPU, or on a CUDA device, in PyTorch's stream; the device is current while this object
// lives.
class Place {
 public:
#if defined(LSSL_ON_HOST)  // the CUDA kernels, compiled for the CPU (make cuda-on-host)
  explicit Place(const Tensor&) : is_cuda_(true) {}
#else
  explicit Place(const Tensor& tensor) : is_cuda_(kWithCuda && tensor.is_cuda()) {
#if defined(LSSL_WITH_CUDA)
    if (!is_cuda_) return;
    const int32_t device = tensor.get_device_index();
    guard_.emplace(device);
    void* stream = nullptr;
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream(device, &stream) == 0, "no CUDA stream on device ", device);
    stream_ = static_cast<cuda::Stream>(stream);
#endif
  }
#endif
  bool is_cuda() const { return is_cuda_; }
  cuda::Stream stream() const { return stream_; }

 private:
  bool is_cuda_;
  std::optional<torch::stable::accelerator::DeviceGuard> guard_;
  cuda::Stream stream_ = nullptr;
};

// `error` is what a CUDA launcher returned.
inline void check_launch(const char* op, const char* error) {
  STD_TORCH_CHECK(error == nullptr, op, ": ", error == nullptr ? "" : error);
}

// Scratch memory on `like`'s device; none for 0 bytes.
class Workspace {
 public:
  Workspace(const Tensor& like, int64_t bytes) {
    if (bytes > 0) tensor_ = torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
  }
  void* data() { return tensor_ ? tensor_->mutable_data_ptr() : nullptr; }

 private:
  std::optional<Tensor> tensor_;
};

inline void check_device(const char* op, const char* name, const Tensor& tensor, const Tensor& like) {
  STD_TORCH_CHECK(tensor.device() == like.device(), op, ": ", name, " must be on the device of the other inputs");
}

inline Dtype dtype_of(const char* op, const char* name, const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return Dtype::kFloat32;
    case ScalarType::Double:
      return Dtype::kFloat64;
    case ScalarType::BFloat16:
      return Dtype::kBFloat16;
    case ScalarType::Half:
      return Dtype::kFloat16;
    default:
      STD_TORCH_CHECK(false, op, ": ", name, " must be float32, float64, bfloat16 or float16");
  }
}

inline ScalarType accumulation_type(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? ScalarType::Double : ScalarType::Float;
}

// Calls f with a zero of the type, float or double, and returns what it returns.
template <typename F>
auto by_type(ScalarType type, const F& f) {
  return type == ScalarType::Float ? f(float()) : f(double());
}

// Contiguous; without a copy, or a trip through the dispatcher, where it already is.
inline Tensor packed(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }
inline Tensor packed(const Tensor& t, ScalarType type) {
  return packed(t.scalar_type() == type ? t : torch::stable::to(t, type));
}

inline bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.dim() != b.dim()) return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != b.size(d)) return false;
  }
  return true;
}

// True if the strides are equal where they matter.
inline bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// True if walking the dimensions in `order`, the last one fastest, meets every element in memory order.
template <size_t N>
bool in_order(const Tensor& t, const std::array<int, N>& order) {
  int64_t expected = 1;
  for (size_t i = N; i-- > 0;) {
    if (t.size(order[i]) != 1 && t.stride(order[i]) != expected) return false;
    expected *= t.size(order[i]);
  }
  return true;
}

inline bool is_channels_last(const Tensor& t) {
  return (t.dim() == 4 && in_order<4>(t, {0, 2, 3, 1})) || (t.dim() == 5 && in_order<5>(t, {0, 2, 3, 4, 1}));
}

}  // namespace lssl
