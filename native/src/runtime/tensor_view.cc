#include "runtime/tensor_view.h"

#include <string>

namespace prismrec {

Status CheckCsr(const CsrView& csr) {
  if (csr.indptr[0] != 0) {
    return InvalidArgument("indptr must begin with 0", "0", std::to_string(csr.indptr[0]));
  }
  for (size_t r = 0; r < csr.rows; ++r) {
    if (csr.indptr[r + 1] < csr.indptr[r]) {
      return InvalidArgument("indptr must not fall", "at least " + std::to_string(csr.indptr[r]),
                             std::to_string(csr.indptr[r + 1]) + " after row " + std::to_string(r));
    }
  }
  const size_t nnz = csr.nnz();
  for (size_t i = 0; i < nnz; ++i) {
    if (csr.indices[i] >= csr.cols) {
      return InvalidArgument("a column index is out of range", "below " + std::to_string(csr.cols),
                             std::to_string(csr.indices[i]) + " at entry " + std::to_string(i));
    }
  }
  return Status::Ok();
}

}  // namespace prismrec
