#define PRISMREC_SIMD_NS avx512
#include "ops/dynamic_routing/cpu/kernel-inl.h"

namespace prismrec::dynamic_routing {

const Kernels kAvx512Kernels = PRISMREC_SIMD_NS::dynamic_routing::kKernels;

}  // namespace prismrec::dynamic_routing
