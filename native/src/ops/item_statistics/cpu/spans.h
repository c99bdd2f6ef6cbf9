#ifndef PRISMREC_OPS_ITEM_STATISTICS_CPU_SPANS_H_
#define PRISMREC_OPS_ITEM_STATISTICS_CPU_SPANS_H_

#include <cstddef>
#include <cstdint>

#include "runtime/dispatch.h"

namespace prismrec {
namespace item_statistics {

// Compiled for each instruction set, multiplications and additions apart: the same bits by all of them.
struct Spans {
  // out [rows, width] = A * in [cols, width] for rows of a sparse A, values 1 where there are none.
  // `indptr` [rows + 1] begins with the first of these rows.
  void (*multiply)(const uint32_t* indptr, const uint32_t* indices, const float* values, size_t rows,
                   const float* in, size_t width, float* out);
  // The lower triangle of gram [width, width] += panel' * panel for panel [rows, width], row by row;
  // `scratch` [4, width].
  void (*add_gram)(const float* panel, size_t rows, size_t width, double* scratch, double* gram);
};

}  // namespace item_statistics

#define PRISMREC_DECLARE_SPANS(isa)                     \
  namespace isa::item_statistics {                       \
  extern const prismrec::item_statistics::Spans kSpans; \
  }

PRISMREC_DECLARE_SPANS(scalar)
PRISMREC_DECLARE_SPANS(avx2)
PRISMREC_DECLARE_SPANS(avx512)
PRISMREC_DECLARE_SPANS(neon)

#undef PRISMREC_DECLARE_SPANS

namespace item_statistics {

inline const Variant<const Spans*> kVariants[] = {
    {"scalar", Simd::kScalar, &scalar::item_statistics::kSpans},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &avx2::item_statistics::kSpans},
    {"avx512", Simd::kAvx512, &avx512::item_statistics::kSpans},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &neon::item_statistics::kSpans},
#endif
};

}  // namespace item_statistics
}  // namespace prismrec

#endif  // PRISMREC_OPS_ITEM_STATISTICS_CPU_SPANS_H_
