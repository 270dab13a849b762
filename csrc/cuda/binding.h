// What the CUDA bindings share: the device and the stream of a call, its scratch memory, its checks. Like the CPU's
// bindings they use LibTorch's stable ABI alone.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <cstdint>

#include "kernels.h"

namespace lssl::cuda {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Makes a tensor's device current for its lifetime, and knows the stream that PyTorch uses there.
class Queue {
 public:
  explicit Queue(const Tensor& tensor) : device_(device_of(tensor)), guard_(device_) {
    void* stream = nullptr;
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream) == 0, "no CUDA stream on device ", device_);
    stream_ = static_cast<Stream>(stream);
  }
  Stream stream() const { return stream_; }

 private:
  static int32_t device_of(const Tensor& tensor) {
    STD_TORCH_CHECK(tensor.is_cuda(), "all inputs must be on one CUDA device, but the first is not on any");
    return tensor.get_device_index();
  }
  int32_t device_;
  torch::stable::accelerator::DeviceGuard guard_;
  Stream stream_ = nullptr;
};

// `error` is what a launcher returned.
inline void check_launch(const char* op, const char* error) {
  STD_TORCH_CHECK(error == nullptr, op, ": ", error == nullptr ? "" : error);
}

inline void check_device(const char* op, const char* name, const Tensor& tensor, const Tensor& like) {
  STD_TORCH_CHECK(tensor.is_cuda() && tensor.get_device_index() == like.get_device_index(), op, ": ", name,
                  " must be on the device of the other inputs");
}

inline Tensor workspace(const Tensor& like, int64_t bytes) {
  return torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
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

// True where the last of `order` is the innermost dimension, and so on, without gaps.
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

}  // namespace lssl::cuda
