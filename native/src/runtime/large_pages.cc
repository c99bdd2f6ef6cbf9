#include "runtime/large_pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace prismrec {

void AdviseLargePages([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  const uintptr_t from = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t first = (from + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t end = (from + bytes) / kLargePage * kLargePage;
  if (first >= end) return;
  void* const pages = reinterpret_cast<void*>(first);
  (void)madvise(pages, end - first, MADV_HUGEPAGE);
  // What is written already would else wait for the system's background thread. The C library of
  // older systems has no name for it (MADV_COLLAPSE, Linux 6.1).
  constexpr int kCollapse = 25;
  (void)madvise(pages, end - first, kCollapse);
#endif
}

}  // namespace prismrec
