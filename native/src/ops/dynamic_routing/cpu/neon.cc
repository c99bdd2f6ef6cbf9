#define PRISMREC_SIMD_NS neon
#include "ops/dynamic_routing/cpu/kernel-inl.h"

namespace prismrec::dynamic_routing {

const Kernels kNeonKernels = PRISMREC_SIMD_NS::dynamic_routing::kKernels;

}  // namespace prismrec::dynamic_routing
