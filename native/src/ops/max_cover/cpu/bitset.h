// The dense instances' inner loop, compiled once per instruction set.
#ifndef PRISMREC_OPS_MAX_COVER_CPU_BITSET_H_
#define PRISMREC_OPS_MAX_COVER_CPU_BITSET_H_

#include <cstddef>
#include <cstdint>

namespace prismrec {
namespace max_cover {

// How many bits a and b, [words] each, have in common.
using CountCommon = uint64_t (*)(const uint64_t* a, const uint64_t* b, size_t words);

}  // namespace max_cover

#define PRISMREC_DECLARE(isa)                                                  \
  namespace isa::max_cover {                                                   \
  uint64_t CountCommon(const uint64_t* a, const uint64_t* b, size_t words);    \
  }
PRISMREC_DECLARE(scalar)
PRISMREC_DECLARE(avx2)
PRISMREC_DECLARE(avx512)
PRISMREC_DECLARE(neon)
#undef PRISMREC_DECLARE

}  // namespace prismrec

#endif  // PRISMREC_OPS_MAX_COVER_CPU_BITSET_H_
