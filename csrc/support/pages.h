// Large new outputs cost more in page faults than in writing. Huge pages, where the system grants them on request, make
// the faults 512 times fewer.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lssl {

// Call before the first write to large memory. Only a hint: failure changes nothing. New pages are cleared by all
// threads at once, for a kernel that reads between its writes: clearing would push what it reads out of the cache (a
// quarter of its time on an Intel CPU with AVX-512).
inline void clear_as_huge([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = 4096, kPiece = 2 << 20, kLeast = 8 << 20;
  if (bytes < kLeast) return;
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + kPage - 1) / kPage * kPage,
                  end = (address + bytes) / kPage * kPage;  // whole pages
  const auto advise = [](uintptr_t from, uintptr_t to, int what) {
    (void)madvise(reinterpret_cast<void*>(from), to - from, what);
  };
#if defined(MADV_HUGEPAGE)
  advise(begin, end, MADV_HUGEPAGE);
#endif
#if defined(MADV_POPULATE_WRITE)
  unsigned char resident = 0;
  void* const middle = reinterpret_cast<void*>((begin + (end - begin) / 2) / kPage * kPage);
  if (mincore(middle, kPage, &resident) != 0 || (resident & 1) != 0) return;  // memory used before
  torch::stable::parallel_for(begin / kPiece, (end + kPiece - 1) / kPiece, 1, [&](int64_t first, int64_t last) {
    advise(std::max<uintptr_t>(begin, first * kPiece), std::min<uintptr_t>(end, last * kPiece), MADV_POPULATE_WRITE);
  });
#endif
#endif
}

}  // namespace lssl
