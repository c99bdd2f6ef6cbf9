#define PRISMREC_SIMD_NS avx2
#include "ops/softmax_loss/cpu/kernel-inl.h"

namespace prismrec::softmax_loss {

const Spans kAvx2Spans = PRISMREC_SIMD_NS::softmax_loss::kSpans;

}  // namespace prismrec::softmax_loss
