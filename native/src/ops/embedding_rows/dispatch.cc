#include "runtime/dispatch.h"

#include "ops/embedding_rows/cpu/spans.h"

namespace prismrec::embedding_rows {
namespace {

constexpr Variant<const Spans*> kVariants[] = {
    {"scalar", Simd::kScalar, &scalar::embedding_rows::kSpans},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &avx2::embedding_rows::kSpans},
    {"avx512", Simd::kAvx512, &avx512::embedding_rows::kSpans},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &neon::embedding_rows::kSpans},
#endif
};

}  // namespace

const Spans* SpansNamed(const char* variant) {
  const Variant<const Spans*>* selected = Select(kVariants, variant);
  return selected == nullptr ? nullptr : selected->fn;
}

}  // namespace prismrec::embedding_rows
