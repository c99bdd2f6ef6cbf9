// Large pages behind memory that is touched all over: with small ones most accesses would miss the
// translation cache, which costs several times as much on a virtual machine.
#ifndef PRISMREC_RUNTIME_LARGE_PAGES_H_
#define PRISMREC_RUNTIME_LARGE_PAGES_H_

#include <cstddef>

namespace prismrec {

inline constexpr size_t kLargePage = size_t{2} << 20;

// Asks the system for large pages behind the whole ones within [begin, begin + bytes); what is
// there stays. Only advice: where the system does not take it, nothing is lost.
void AdviseLargePages(void* begin, size_t bytes);

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_LARGE_PAGES_H_
