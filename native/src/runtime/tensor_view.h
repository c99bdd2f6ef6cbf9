// Views over memory that the caller owns. They are passed by value and retain nothing.
#ifndef PRISMREC_RUNTIME_TENSOR_VIEW_H_
#define PRISMREC_RUNTIME_TENSOR_VIEW_H_

#include <cstddef>
#include <cstdint>

#include "runtime/cancel.h"
#include "runtime/status.h"

namespace prismrec {

template <class T>
struct ArrayView {
  T* data = nullptr;  // null where an optional array is absent
  size_t size = 0;

  T& operator[](size_t i) const { return data[i]; }
  explicit operator bool() const { return data != nullptr; }
};

// Row-major and contiguous.
template <class T>
struct MatrixView {
  T* data = nullptr;  // [rows, cols]; null where an optional matrix is absent
  size_t rows = 0;
  size_t cols = 0;

  T* row(size_t i) const { return data + i * cols; }
  size_t size() const { return rows * cols; }
  explicit operator bool() const { return data != nullptr; }
};

// Row r holds the columns indices[indptr[r] .. indptr[r + 1]).
struct CsrView {
  const uint32_t* indptr = nullptr;   // [rows + 1], from 0, never falling
  const uint32_t* indices = nullptr;  // [indptr[rows]], each < cols
  const float* values = nullptr;      // [indptr[rows]]; null: every entry is 1
  size_t rows = 0;
  size_t cols = 0;

  size_t nnz() const { return indptr[rows]; }
};

// Whether the indices of `csr` stay inside it; the arrays' lengths are the reader's business.
// O(nnz).
Status CheckCsr(const CsrView& csr, const CancelFlag& cancel = CancelFlag());

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_TENSOR_VIEW_H_
