// The spans, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles this
// file in its own translation unit and namespace; nothing here may call an inline function shared
// with other units.
#include "ops/contrastive_loss/cpu/spans.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss {

constexpr prismrec::contrastive_loss::Spans kSpans = {
    ShiftMax, ExpSum, Sum, AddConstant, Axpy, Scale, Dot, AllFinite,
};

}  // namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss
