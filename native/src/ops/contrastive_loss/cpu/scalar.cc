#define PRISMREC_SIMD_NS scalar
#include "ops/contrastive_loss/cpu/kernel-inl.h"

namespace prismrec::contrastive_loss {

const Spans kScalarSpans = PRISMREC_SIMD_NS::contrastive_loss::kSpans;

}  // namespace prismrec::contrastive_loss
