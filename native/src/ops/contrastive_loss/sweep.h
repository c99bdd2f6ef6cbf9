// The two sweeps that the losses come down to. Both walk over tiles of logits that stay in the
// cache and are the same for every instruction set: products by the tile engine, the loops over a
// row of a tile by `Spans`.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gemm/cpu/table.h"
#include "ops/contrastive_loss/contrastive_loss.h"
#include "ops/contrastive_loss/cpu/spans.h"
#include "ops/contrastive_loss/plan.h"
#include "runtime/workspace.h"

namespace prismrec::contrastive_loss {

// One instruction set.
struct Kernel {
  const Spans& spans;
  const gemm::Kernel& gemm;
};

// What the sweep of rows reads is allocated with this many rows more than it has: the tile engine
// takes whole panels of rows.
inline constexpr size_t kRowSlack = 16;

// Row i against all columns, with column i for its positive.
struct PairProblem {
  const float* rows = nullptr;     // [row_count, dim]
  const float* columns = nullptr;  // [column_count, dim], column_count >= row_count
  size_t row_count = 0;
  size_t column_count = 0;
  size_t dim = 0;
  // 1 / temperature
  float inverse_temperature = 0;
  // [column_count] added to the logits, nullable.
  const float* shift = nullptr;
  // [row_count] and [column_count], null together: a column with the row's identity is no candidate
  // of it unless it is its positive.
  const float* row_ids = nullptr;
  const float* column_ids = nullptr;
  // What a row's loss counts for.
  float weight = 1;
  // Whether there is memory for both packed forms of the columns, 2 column_count dim floats;
  // without it each panel of rows packs them anew.
  bool keep_packed = false;
};

// Adds each row's loss (not weighted) to losses [row_count] and the weighted gradients to
// row_gradient [row_count, dim] and column_gradient [column_count, dim], which are null together.
Status SweepPairs(const Kernel& kernel, const PairProblem& problem, double* losses,
                  float* row_gradient, float* column_gradient, ThreadPool& pool,
                  const CancelFlag& cancel);

// Rows against the other rows of their block.
struct RowProblem {
  const float* rows = nullptr;  // [row_count + kRowSlack, dim]
  size_t row_count = 0;
  size_t dim = 0;
  float inverse_temperature = 0;
  // Do not overlap.
  std::vector<Range> blocks;
  // [row_count] a row's positives and itself, alike for all rows of the range; empty: none.
  std::vector<Range> positives;
  // [row_count], nullable: of the rows outside its positives, those with its identity are no
  // candidates of a row.
  const float* ids = nullptr;
  float weight = 1;

  size_t PositiveCount(size_t row) const {
    return positives[row].size() == 0 ? 0 : positives[row].size() - 1;
  }
};

// Writes each row's loss (not weighted; 0 without positives) to losses [row_count] and the weighted
// gradient to gradient [row_count, dim]. `spare`, as large, may hold anything before and after; the
// two are null together.
Status SweepRows(const Kernel& kernel, const RowProblem& problem, double* losses, float* gradient,
                 float* spare, ThreadPool& pool, const CancelFlag& cancel);

// The whole operation with one instruction set.
Status RunKernel(const Kernel& kernel, const Args& args, Outputs* outputs, ThreadPool& pool,
                 const CancelFlag& cancel);

// Rows and columns of a tile: whole panels of the tile engine either way, and few enough for the
// second-level cache.
size_t TileSize(const gemm::Kernel& kernel);

// logits = rows x columns^T / temperature for packed columns.
void TileLogits(const gemm::Kernel& kernel, const float* rows, size_t row_count,
                const float* packed_columns, size_t column_count, size_t dim, float scale,
                float* logits, size_t stride);

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_
