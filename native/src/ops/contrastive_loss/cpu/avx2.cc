#define PRISMREC_SIMD_NS avx2
#include "ops/contrastive_loss/cpu/kernel-inl.h"

namespace prismrec::contrastive_loss {

const Spans kAvx2Spans = PRISMREC_SIMD_NS::contrastive_loss::kSpans;

}  // namespace prismrec::contrastive_loss
