#ifndef PRISMREC_OPS_ITEM_STATISTICS_TRANSPOSE_H_
#define PRISMREC_OPS_ITEM_STATISTICS_TRANSPOSE_H_

#include "ops/item_statistics/item_statistics.h"

namespace prismrec::item_statistics {

// The transpose of a sparse matrix; without values where it has none. Cancelled: unfinished.
CsrMatrix Transpose(const CsrView& matrix, const CancelFlag& cancel);

inline CsrView View(const CsrMatrix& matrix, size_t rows, size_t cols) {
  return {matrix.indptr.data(), matrix.indices.data(),
          matrix.values.empty() ? nullptr : matrix.values.data(), rows, cols};
}

}  // namespace prismrec::item_statistics

#endif  // PRISMREC_OPS_ITEM_STATISTICS_TRANSPOSE_H_
