// Packed panels, what the tile engine reads (cpu/tile-inl.h): pack once, use against many blocks.
#ifndef PRISMREC_GEMM_PACK_H_
#define PRISMREC_GEMM_PACK_H_

#include <cstddef>

#include "gemm/cpu/table.h"

namespace prismrec::gemm {

// Floats of room for `count` rows (or columns) of length k in panels of `width`.
inline size_t PackedFloats(size_t count, size_t width, size_t k) {
  return (count + width - 1) / width * width * k + kPackSlack;
}

// The panel that holds row (or column) i, a multiple of the panels' width, begins at
// packed + i * k. Rows beyond `count` are 0 up to the width.

// Panels of kernel.mr rows, [ceil(count / mr)][k][mr], from `count` rows of length k, `ld` apart.
void PackRows(const Kernel& kernel, const float* rows, size_t ld, size_t count, size_t k,
              float* packed);
// Panels of kernel.nr columns, [ceil(count / nr)][k][nr], of the transpose of `count` rows of
// length k: items as the columns of a product.
void PackColumns(const Kernel& kernel, const float* rows, size_t ld, size_t count, size_t k,
                 float* packed);
// The same from a [k, count] matrix, rows `ld` apart: mr rows of its transpose, or nr columns.
void PackRowsOfTranspose(const Kernel& kernel, const float* from, size_t ld, size_t count, size_t k,
                         float* packed);
void PackColumnsOfPlain(const Kernel& kernel, const float* from, size_t ld, size_t count, size_t k,
                        float* packed);

}  // namespace prismrec::gemm

#endif  // PRISMREC_GEMM_PACK_H_
