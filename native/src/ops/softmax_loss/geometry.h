// How rows and shared columns are cut. Nothing here depends on the number of threads.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_GEOMETRY_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_GEOMETRY_H_

#include <cstddef>
#include <vector>

#include "compute/work.h"
#include "gemm/cpu/table.h"
#include "ops/softmax_loss/plan.h"

namespace prismrec::softmax_loss {

// Counted rows [row0, row1) and their interests [pair0, pair0 + pairs), which take `places` rows of
// the wave's panel from `place` on: whole tiles.
struct Block {
  size_t row0, row1;
  size_t pair0, pairs;
  size_t place, places;
};

// Blocks that meet the columns together.
struct Wave {
  size_t block0, block1;
  size_t row0, row1;
  size_t pair0, pairs;
  size_t places;
};

struct Geometry {
  // The panel holds the wave's exponentials against all columns, so that both gradients come from
  // one sweep; else a second sweep computes them again.
  bool kept = true;
  size_t columns = 0;
  // Columns that pass together, and how many such chunks a task takes one after the other.
  size_t chunk = 0;
  size_t group_chunks = 1;
  size_t groups = 0;
  // Distance of the panel's rows: of all columns, or of a chunk.
  size_t stride = 0;
  // Kept: columns whose gradient one task takes.
  size_t gradient_columns = 0;
  std::vector<Block> blocks;
  std::vector<Wave> waves;
  // Of the largest wave and block.
  size_t wave_places = 0, wave_pairs = 0, wave_rows = 0, block_places = 0;

  struct Span {
    size_t begin, end;
    size_t size() const { return end - begin; }
  };
  Span Group(size_t group) const;
  size_t GradientTasks() const { return (columns + gradient_columns - 1) / gradient_columns; }
  Span GradientColumns(size_t task) const;
  // Counted rows of a wave that a task finishes.
  static size_t RowsAtOnce(const Wave& wave);
  static size_t RowTasks(const Wave& wave);
};

// Columns of a task that gathers and packs them: the geometry's chunk. Rows of the item gradient of
// a sampled loss that one task puts together.
size_t SlotsAtOnce(size_t slots);

// For columns that all rows share.
Geometry MakeGeometry(const gemm::Kernel& kernel, const Plan& plan);

// What the sweep over `geometry` costs, with gradients.
Work WorkOf(const Geometry& geometry, const Plan& plan, size_t dim, bool sampled);

// Rows with candidates of their own.
struct OwnGeometry {
  size_t wave_rows;  // whose derivatives are kept at a time
  size_t rows_at_once;
  size_t slots_at_once;
  // Of a row's part of a wave: where its scaled interests and its bias gradient begin, and how long
  // it is.
  size_t scaled_at, bias_at, stride;
};

OwnGeometry MakeOwnGeometry(const Plan& plan, size_t dim);
Work WorkOf(const OwnGeometry& geometry, const Plan& plan, size_t dim);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_GEOMETRY_H_
