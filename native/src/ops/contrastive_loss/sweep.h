// The sweep that both losses come down to: rows against columns, a log-sum-exp over a block of
// columns less the mean logit of a range of them. The same for every instruction set.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/contrastive_loss/contrastive_loss.h"
#include "ops/contrastive_loss/cpu/spans.h"

namespace prismrec::contrastive_loss {

struct Range {
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
};

// Rows [rows] have the columns [columns] for candidates. Blocks share neither rows nor columns.
struct Block {
  Range rows;
  Range columns;
};

struct Problem {
  // [row_count, dim] and [column_count, dim]; the same memory where rows are contrasted with each
  // other.
  const float* rows = nullptr;
  const float* columns = nullptr;
  size_t row_count = 0;
  size_t column_count = 0;
  size_t dim = 0;
  // 1 / temperature
  float inverse_temperature = 0;
  // [column_count] added to the logits, nullable.
  const float* shift = nullptr;
  std::vector<Block> blocks;
  // [row_count] a row's positives, less the row itself where `without_self`.
  std::vector<Range> positives;
  // Row i and column i are one: no candidate and no positive of itself.
  bool without_self = false;
  // Columns that are no candidates of row i: removed[row_removed[i] .. row_removed[i + 1]); both
  // may be empty.
  std::vector<uint32_t> removed;
  std::vector<size_t> row_removed;
  // What a row's loss counts for.
  float weight = 1;

  size_t PositiveCount(size_t row) const {
    const Range& range = positives[row];
    const bool self = without_self && row >= range.begin && row < range.end;
    return range.size() - (self ? 1 : 0);
  }
};

// Adds each row's loss (not weighted) to losses [row_count] and the weighted gradients to
// row_gradient [row_count, dim] and column_gradient [column_count, dim], which may be one and are
// null together.
Status Sweep(const Spans& spans, const Problem& problem, double* losses, float* row_gradient,
             float* column_gradient, ThreadPool& pool, const CancelFlag& cancel);

// The whole operation with the spans of one instruction set.
Status RunSpans(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
                const CancelFlag& cancel);

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_SWEEP_H_
