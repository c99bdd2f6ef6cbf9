// How the sweeps are cut into tasks. What a sum is made of depends on the shapes alone; up to
// kFewThreads (compute/work.h) some tasks are taken together, which changes no sum.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_PLAN_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_PLAN_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "compute/work.h"
#include "gemm/cpu/table.h"

namespace prismrec::contrastive_loss {

struct Range {
  size_t begin = 0;
  size_t end = 0;
  size_t size() const { return end - begin; }
};

// Rows that a task scales or adds up.
size_t RowsAtOnce(size_t rows, bool many_threads);

// Pairs: panels of rows, one after the other, against chunks of columns.
struct PairPlan {
  PairPlan(const gemm::Kernel& kernel, size_t rows, size_t columns, size_t dim);

  size_t rows, columns;
  size_t tile;         // columns of a chunk
  size_t chunks;
  size_t task_chunks;  // whose products with a panel are summed by one task
  size_t tasks;
  size_t panel_rows;
  size_t block_rows;      // of a panel, that a task takes
  size_t column_step;     // of a chunk, whose gradient a task takes
  size_t finished_rows;   // of a panel, that a task finishes

  Range Chunk(size_t chunk) const {
    return {chunk * tile, std::min((chunk + 1) * tile, columns)};
  }
  // The chunks of a task.
  Range Chunks(size_t task) const {
    return {task * task_chunks, std::min((task + 1) * task_chunks, chunks)};
  }
  size_t blocks() const { return (panel_rows + block_rows - 1) / block_rows; }
  size_t column_parts() const { return (tile + column_step - 1) / column_step; }
};

// With gradients, for logits that are near 0.
Work WorkOf(const PairPlan& plan, size_t dim);

// Labelled rows: tiles of a block of rows against each other, each pair once.
struct RowPlan {
  struct Pair {
    Range rows, columns;
    // Which of their sums the rows add to on the left, and the columns on the right.
    size_t set;

    bool diagonal() const { return rows.begin == columns.begin; }
  };
  // Rows of a block of one tile, whose exponentials lie at `at`.
  struct Strip {
    Range rows, block;
    size_t at;
  };

  RowPlan(const gemm::Kernel& kernel, size_t rows, const std::vector<Range>& blocks);

  size_t rows;
  size_t tile;
  // Sums that each row has on either side.
  size_t sets = 1;
  // One after the other; in each, a row has one task at most for each of its sums.
  std::vector<std::vector<Pair>> loops;
  // Blocks of one tile, which need no second pass.
  std::vector<Range> alone;
  // The same for many threads; empty where there are enough of them.
  std::vector<Strip> strips;
  size_t strip_floats = 0;
  // The rows of all other blocks, for tasks that finish them.
  std::vector<Range> finished;
};

Work WorkOf(const RowPlan& plan, size_t dim);

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_PLAN_H_
