#ifndef PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_
#define PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_

#include "ops/embedding_rows/embedding_rows.h"

namespace prismrec {

#define PRISMREC_DECLARE_SPANS(isa)                    \
  namespace isa::embedding_rows {                      \
  extern const prismrec::embedding_rows::Spans kSpans; \
  }

PRISMREC_DECLARE_SPANS(scalar)
PRISMREC_DECLARE_SPANS(avx2)
PRISMREC_DECLARE_SPANS(avx512)
PRISMREC_DECLARE_SPANS(neon)

#undef PRISMREC_DECLARE_SPANS

}  // namespace prismrec

#endif  // PRISMREC_OPS_EMBEDDING_ROWS_CPU_SPANS_H_
