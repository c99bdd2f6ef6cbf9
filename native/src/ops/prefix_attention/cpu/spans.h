#ifndef PRISMREC_OPS_PREFIX_ATTENTION_CPU_SPANS_H_
#define PRISMREC_OPS_PREFIX_ATTENTION_CPU_SPANS_H_

#include <cstddef>
#include <cstdint>

#include "runtime/dispatch.h"

namespace prismrec {
namespace prefix_attention {

// Compiled for each instruction set, multiplications and additions apart and sums in one order: the same
// bits by all of them.
struct Spans {
  // out[i] = x[i] * by
  void (*scaled)(const double* x, double by, float* out, size_t n);
  double (*dot)(const float* x, const float* y, size_t n);
  // slopes[i] += weights[i] * (dweights[i] - mean)
  void (*add_slopes)(const float* weights, const float* dweights, double mean, float* slopes,
                     size_t n);
};

}  // namespace prefix_attention

#define PRISMREC_DECLARE_SPANS(isa)                     \
  namespace isa::prefix_attention {                      \
  extern const prismrec::prefix_attention::Spans kSpans; \
  }

PRISMREC_DECLARE_SPANS(scalar)
PRISMREC_DECLARE_SPANS(avx2)
PRISMREC_DECLARE_SPANS(avx512)
PRISMREC_DECLARE_SPANS(neon)

#undef PRISMREC_DECLARE_SPANS

namespace prefix_attention {

inline const Variant<const Spans*> kVariants[] = {
    {"scalar", Simd::kScalar, &scalar::prefix_attention::kSpans},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &avx2::prefix_attention::kSpans},
    {"avx512", Simd::kAvx512, &avx512::prefix_attention::kSpans},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &neon::prefix_attention::kSpans},
#endif
};

}  // namespace prefix_attention
}  // namespace prismrec

#endif  // PRISMREC_OPS_PREFIX_ATTENTION_CPU_SPANS_H_
