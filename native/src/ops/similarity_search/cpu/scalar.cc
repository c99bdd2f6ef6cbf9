#define PRISMREC_SIMD_NS scalar
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const TileKernel kScalarTile = PRISMREC_SIMD_NS::similarity_search::kTile;

}  // namespace prismrec::similarity_search
