// Large new outputs cost more in page faults than in writing: glibc returns blocks over 32 MB to the system, so every
// call faults every page again. Huge pages, where the system grants them on request, make the faults 512 times fewer.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lssl {

struct Pages {
  uintptr_t begin, end;  // addresses of whole pages

  static constexpr uintptr_t kSize = 4096, kLeast = 8 << 20;

  Pages(void* data, size_t bytes)
      : begin((reinterpret_cast<uintptr_t>(data) + kSize - 1) / kSize * kSize),
        end((reinterpret_cast<uintptr_t>(data) + bytes) / kSize * kSize) {
    if (bytes < kLeast) end = begin;
  }

  // Call before the first write. Only a hint: failure changes nothing.
  void ask_for_huge() const {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
  }

  // The same, and new pages are cleared by all threads at once, for a kernel that reads between its writes: clearing
  // would push what it reads out of the cache (a quarter of its time on an Intel CPU with AVX-512).
  void clear_as_huge() const {
    ask_for_huge();
#if defined(__linux__) && defined(MADV_POPULATE_WRITE)
    unsigned char resident = 0;
    void* const middle = reinterpret_cast<void*>((begin + (end - begin) / 2) / kSize * kSize);
    if (begin == end || mincore(middle, kSize, &resident) != 0 || (resident & 1) != 0) return;  // memory used before
    constexpr uintptr_t kPiece = 2 << 20;
    torch::stable::parallel_for(begin / kPiece, (end + kPiece - 1) / kPiece, 1, [this](int64_t first, int64_t last) {
      const uintptr_t from = std::max<uintptr_t>(begin, first * kPiece);
      const uintptr_t to = std::min<uintptr_t>(end, last * kPiece);
      (void)madvise(reinterpret_cast<void*>(from), to - from, MADV_POPULATE_WRITE);
    });
#endif
  }
};

}  // namespace lssl
