#define PRISMREC_SIMD_NS neon
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const PanelKernel kNeonPanel = PRISMREC_SIMD_NS::similarity_search::kPanel;

}  // namespace prismrec::similarity_search
