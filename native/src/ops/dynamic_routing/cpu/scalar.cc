#define PRISMREC_SIMD_NS scalar
#include "ops/dynamic_routing/cpu/kernel-inl.h"

namespace prismrec::dynamic_routing {

const Kernels kScalarKernels = PRISMREC_SIMD_NS::dynamic_routing::kKernels;

}  // namespace prismrec::dynamic_routing
