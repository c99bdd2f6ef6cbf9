#define PRISMREC_SIMD_NS scalar
#include "ops/similarity_search/cpu/kernel-inl.h"

namespace prismrec::similarity_search {

const PanelKernel kScalarPanel = PRISMREC_SIMD_NS::similarity_search::kPanel;

}  // namespace prismrec::similarity_search
