#include "gemm/pack.h"

#include <algorithm>

namespace prismrec::gemm {
namespace {

void Transposed(const Kernel& kernel, const float* from, size_t ld, size_t count, size_t k,
                size_t width, float* packed) {
  for (size_t i = 0; i < count; i += width) {
    kernel.pack_transposed(from + i * ld, ld, std::min(width, count - i), k, packed + i * k, width);
  }
}

}  // namespace

void PackRows(const Kernel& kernel, const float* rows, size_t ld, size_t count, size_t k,
              float* packed) {
  Transposed(kernel, rows, ld, count, k, kernel.mr, packed);
}

void PackColumns(const Kernel& kernel, const float* rows, size_t ld, size_t count, size_t k,
                 float* packed) {
  Transposed(kernel, rows, ld, count, k, kernel.nr, packed);
}

void PackRowsOfTranspose(const Kernel& kernel, const float* from, size_t ld, size_t count, size_t k,
                         float* packed) {
  kernel.pack_plain(from, ld, count, k, packed, kernel.mr);
}

void PackColumnsOfPlain(const Kernel& kernel, const float* from, size_t ld, size_t count, size_t k,
                        float* packed) {
  kernel.pack_plain(from, ld, count, k, packed, kernel.nr);
}

}  // namespace prismrec::gemm
