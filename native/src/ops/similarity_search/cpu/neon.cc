#define PRISMREC_SIMD_NS neon
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const TileKernel kNeonTile = PRISMREC_SIMD_NS::similarity_search::kTile;

}  // namespace prismrec::similarity_search
