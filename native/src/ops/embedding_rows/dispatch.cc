#include "runtime/dispatch.h"

#include "ops/embedding_rows/cpu/spans.h"

namespace prismrec::embedding_rows {
namespace {

constexpr Variant<AdamSpan> kAdamSpans[] = {
    {"scalar", Simd::kScalar, scalar::embedding_rows::AdamSpan},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, avx2::embedding_rows::AdamSpan},
    {"avx512", Simd::kAvx512, avx512::embedding_rows::AdamSpan},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, neon::embedding_rows::AdamSpan},
#endif
};

}  // namespace

AdamSpan AdamSpanNamed(const char* variant) {
  const Variant<AdamSpan>* selected = Select(kAdamSpans, variant);
  return selected == nullptr ? nullptr : selected->fn;
}

}  // namespace prismrec::embedding_rows
