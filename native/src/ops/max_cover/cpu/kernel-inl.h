// Population counts by whatever the instruction set has for them: the compiler knows.
#include "ops/max_cover/cpu/bitset.h"

namespace prismrec::PRISMREC_SIMD_NS::max_cover {

uint64_t CountCommon(const uint64_t* a, const uint64_t* b, size_t words) {
  uint64_t count = 0;
  for (size_t w = 0; w < words; ++w) {
    count += static_cast<uint64_t>(__builtin_popcountll(a[w] & b[w]));
  }
  return count;
}

}  // namespace prismrec::PRISMREC_SIMD_NS::max_cover
