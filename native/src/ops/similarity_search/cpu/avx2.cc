#define PRISMREC_SIMD_NS avx2
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const PanelKernel kAvx2Panel = PRISMREC_SIMD_NS::similarity_search::kPanel;

}  // namespace prismrec::similarity_search
