#define PRISMREC_SIMD_NS neon
#include "ops/softmax_loss/cpu/kernel-inl.h"

namespace prismrec::softmax_loss {

const Spans kNeonSpans = PRISMREC_SIMD_NS::softmax_loss::kSpans;

}  // namespace prismrec::softmax_loss
