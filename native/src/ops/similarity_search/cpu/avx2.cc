#define PRISMREC_SIMD_NS avx2
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const TileKernel kAvx2Tile = PRISMREC_SIMD_NS::similarity_search::kTile;

}  // namespace prismrec::similarity_search
