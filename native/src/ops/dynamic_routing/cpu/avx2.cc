#define PRISMREC_SIMD_NS avx2
#include "ops/dynamic_routing/cpu/kernel-inl.h"

namespace prismrec::dynamic_routing {

const Kernels kAvx2Kernels = PRISMREC_SIMD_NS::dynamic_routing::kKernels;

}  // namespace prismrec::dynamic_routing
