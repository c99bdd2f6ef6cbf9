#define PRISMREC_SIMD_NS neon
#include "ops/contrastive_loss/cpu/kernel-inl.h"

namespace prismrec::contrastive_loss {

const Spans kNeonSpans = PRISMREC_SIMD_NS::contrastive_loss::kSpans;

}  // namespace prismrec::contrastive_loss
