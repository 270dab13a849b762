// Outputs of 32 MB and more on the CPU. The GNU C library returns blocks of that size to the system when they are
// freed: every call would fault all pages again, and their clearing takes as long as the arithmetic. So their memory is
// kept for the next outputs.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <vector>

#include "support/binding.h"
#include "support/pages.h"

#if defined(__linux__)
// Of torch 2.11 and later: null in 2.10, whose outputs are fresh memory.
extern "C" __attribute__((weak)) AOTITorchError torch_from_blob(
    void* data, int64_t dimensions, const int64_t* sizes, const int64_t* strides, int64_t offset, int32_t dtype,
    int32_t device_type, int32_t device_index, AtenTensorHandle* tensor, int32_t layout, const uint8_t* metadata,
    int64_t metadata_size, void (*deleter)(void* data, void* context), void* context);
#endif

namespace lssl {

class KeptMemory {
 public:
  static constexpr size_t kLeast = 32 << 20, kMost = 256 << 20;  // of one block, of all that are kept

  // Never destroyed: a tensor may be freed after everything else.
  static KeptMemory& get() {
    static auto* const memory = new KeptMemory;
    return *memory;
  }

  struct Block {
    void* data;
    size_t bytes;
  };

  // At least `bytes`, at most a quarter more; {nullptr, 0} where there is no memory.
  Block take(size_t bytes) {
    {
      // Whoever cannot have the lock at once (another thread, a child of a fork that took it) does without.
      const std::unique_lock lock(try_lock_, std::try_to_lock);
      if (lock.owns_lock()) {
        const auto fits = [bytes](const Block& b) { return b.bytes >= bytes && b.bytes - bytes <= bytes / 4; };
        const auto newest = std::find_if(kept_.rbegin(), kept_.rend(), fits);
        if (newest != kept_.rend()) {
          const Block found = *newest;
          kept_.erase(std::next(newest).base());
          total_ -= found.bytes;
          return found;
        }
      }
    }
    const size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* const data = std::aligned_alloc(kHugePage, whole);
    if (data == nullptr) return {nullptr, 0};
    clear_as_huge(data, whole);
    return {data, whole};
  }

  void give(Block block) {
    const std::unique_lock lock(try_lock_, std::try_to_lock);
    if (!lock.owns_lock() || block.bytes > kMost) return std::free(block.data);
    while (total_ + block.bytes > kMost) {  // the oldest go
      std::free(kept_.front().data);
      total_ -= kept_.front().bytes;
      kept_.erase(kept_.begin());
    }
    kept_.push_back(block);
    total_ += block.bytes;
  }

 private:
  static constexpr size_t kHugePage = 2 << 20;

  // In place of std::mutex, whose try_lock asks for glibc 2.34 (pthread_mutex_trylock); the wheel promises 2.28.
  class TryLock {
   public:
    bool try_lock() { return !held_.test_and_set(std::memory_order_acquire); }
    void unlock() { held_.clear(std::memory_order_release); }

   private:
    std::atomic_flag held_ = ATOMIC_FLAG_INIT;
  };

  TryLock try_lock_;
  std::vector<Block> kept_;  // the newest last
  size_t total_ = 0;
};

// A new 4-dimensional tensor on the CPU, contiguous or channels-last, whose memory comes from KeptMemory where it is
// large.
inline Tensor empty_on_cpu(std::array<int64_t, 4> sizes, ScalarType type, size_t element_size,
                           bool channels_last = false) {
  const auto [n, c, h, w] = sizes;
#if defined(__linux__)
  const size_t bytes = static_cast<size_t>(n * c * h * w) * element_size;
  if (bytes >= KeptMemory::kLeast && torch_from_blob != nullptr) {
    if (const KeptMemory::Block block = KeptMemory::get().take(bytes); block.data != nullptr) {
      const std::array<int64_t, 4> strides = channels_last ? std::array<int64_t, 4>{c * h * w, 1, w * c, c}
                                                           : std::array<int64_t, 4>{c * h * w, h * w, w, 1};
      const auto of = [](auto value) { return torch::stable::detail::to<int32_t>(torch::stable::detail::from(value)); };
      AtenTensorHandle tensor;
      STABLE_TORCH_ERROR_CODE_CHECK(torch_from_blob(
          block.data, 4, sizes.data(), strides.data(), 0, of(type), aoti_torch_device_type_cpu(), -1, &tensor,
          aoti_torch_layout_strided(), nullptr, 0,
          [](void* data, void* bytes) { KeptMemory::get().give({data, reinterpret_cast<size_t>(bytes)}); },
          reinterpret_cast<void*>(block.bytes)));
      return Tensor(tensor);
    }
  }
#endif
  Tensor tensor =
      torch::stable::empty({n, c, h, w}, type, std::nullopt, torch::stable::Device(torch::headeronly::DeviceType::CPU),
                           std::nullopt, channels_last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
  clear_as_huge(tensor.mutable_data_ptr(), static_cast<size_t>(tensor.numel()) * element_size);
  return tensor;
}

}  // namespace lssl
