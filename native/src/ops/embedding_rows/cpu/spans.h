#ifndef PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_
#define PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_

#include "ops/embedding_rows/embedding_rows.h"

namespace prismrec {

#define PRISMREC_DECLARE_ADAM_SPAN(isa)                                                        \
  namespace isa::embedding_rows {                                                              \
  void AdamSpan(const prismrec::embedding_rows::AdamFactors& factors, float* values, float* m, \
                float* v, const float* gradients, size_t n);                                   \
  }

PRISMREC_DECLARE_ADAM_SPAN(scalar)
PRISMREC_DECLARE_ADAM_SPAN(avx2)
PRISMREC_DECLARE_ADAM_SPAN(avx512)
PRISMREC_DECLARE_ADAM_SPAN(neon)

#undef PRISMREC_DECLARE_ADAM_SPAN

}  // namespace prismrec

#endif  // PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_
