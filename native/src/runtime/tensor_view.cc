#include "runtime/tensor_view.h"

#include <algorithm>
#include <string>

namespace prismrec {
namespace {

// Rows or entries between two looks at the cancel flag.
constexpr size_t kPerPoll = size_t{1} << 16;

}  // namespace

Status CheckCsr(const CsrView& csr, const CancelFlag& cancel) {
  if (csr.indptr[0] != 0) {
    return InvalidArgument("indptr must begin with 0", "0", std::to_string(csr.indptr[0]));
  }
  for (size_t r = 0; r < csr.rows; ++r) {
    if (r % kPerPoll == 0 && cancel.Cancelled()) return Cancelled();
    if (csr.indptr[r + 1] < csr.indptr[r]) {
      return InvalidArgument("indptr must not fall", "at least " + std::to_string(csr.indptr[r]),
                             std::to_string(csr.indptr[r + 1]) + " after row " + std::to_string(r));
    }
  }
  const size_t nnz = csr.nnz();
  for (size_t from = 0; from < nnz; from += kPerPoll) {
    if (cancel.Cancelled()) return Cancelled();
    const size_t end = std::min(nnz, from + kPerPoll);
    // Without an early exit, so that the compiler turns it into vector instructions.
    uint32_t most = 0;
    for (size_t i = from; i < end; ++i) most = std::max(most, csr.indices[i]);
    if (most < csr.cols) continue;
    for (size_t i = from; i < end; ++i) {
      if (csr.indices[i] < csr.cols) continue;
      return InvalidArgument("a column index is out of range", "below " + std::to_string(csr.cols),
                             std::to_string(csr.indices[i]) + " at entry " + std::to_string(i));
    }
  }
  return Status::Ok();
}

}  // namespace prismrec
