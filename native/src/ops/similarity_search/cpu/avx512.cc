#define PRISMREC_SIMD_NS avx512
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const PanelKernel kAvx512Panel = PRISMREC_SIMD_NS::similarity_search::kPanel;

}  // namespace prismrec::similarity_search
