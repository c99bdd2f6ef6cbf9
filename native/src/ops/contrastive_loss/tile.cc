#include <numeric>

#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {

size_t TileSize(const gemm::Kernel& kernel) {
  constexpr size_t kAtLeast = 140;
  const size_t whole = std::lcm(kernel.mr, kernel.nr);
  return (kAtLeast + whole - 1) / whole * whole;
}

void TileLogits(const gemm::Kernel& kernel, const float* rows, size_t row_count,
                const float* packed_columns, size_t column_count, size_t dim, float scale,
                float* logits, size_t stride) {
  gemm::Block block{};
  block.m = (row_count + kernel.mr - 1) / kernel.mr * kernel.mr;
  block.n = column_count;
  block.k = dim;
  block.a = rows;
  block.a_row = dim;
  block.b = packed_columns;
  block.c = logits;
  block.ldc = stride;
  block.alpha = scale;
  block.rows_first = true;
  kernel.block(block);
}

}  // namespace prismrec::contrastive_loss
