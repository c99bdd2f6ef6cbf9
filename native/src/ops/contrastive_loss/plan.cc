#include "ops/contrastive_loss/plan.h"

#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

// A loop's tasks where there are many threads: enough for 64.
constexpr size_t kTasks = 72;
// Room for a panel, unless the rows themselves take more.
constexpr size_t kPanelFloats = 2300000;
// A multiple of most tile heights; more rows measure no faster and take more memory.
constexpr size_t kMostPanelRows = 112;
constexpr size_t kFinishedRows = 16;
// Each task keeps products for the panel's rows, which have to be added up.
constexpr size_t kMostTasks = 32;
// Each is 2 n d floats.
constexpr size_t kMostSets = 3;
// Pairs of tiles that a loop should have.
constexpr size_t kPairs = 56;
// Rows of a block that is cut into strips, at most.
constexpr size_t kStripRows = 14;
constexpr size_t kLeastRowsAtOnce = 16, kMostRowsAtOnce = 1024;

size_t Blocks(size_t x, size_t block) { return (x + block - 1) / block; }
size_t RoundUp(size_t x, size_t to) { return Blocks(x, to) * to; }
double Real(size_t x) { return static_cast<double>(x); }

// Scaling to unit length, and the way of the gradients back through it.
void AddSides(size_t rows, size_t dim, Work* work) {
  for (const char* name : {"fill", "gradients"}) {
    std::vector<double>& tasks = work->Add(name);
    const size_t step = RowsAtOnce(rows, true);
    for (size_t row = 0; row < rows; row += step) {
      tasks.push_back(Real(std::min(step, rows - row)) * 5 * Real(dim));
    }
  }
}

// Tile i and tile i + round of each block that has them.
std::vector<RowPlan::Pair> Round(const std::vector<Range>& blocks, size_t tile, size_t round) {
  std::vector<RowPlan::Pair> pairs;
  for (const Range& block : blocks) {
    const size_t tiles = Blocks(block.size(), tile);
    if (tiles == 1 || 2 * round > tiles) continue;
    const auto at = [&](size_t i) {
      const size_t begin = block.begin + i % tiles * tile;
      return Range{begin, std::min(begin + tile, block.end)};
    };
    const bool opposite = round > 0 && 2 * round == tiles;
    for (size_t i = 0; i < (opposite ? round : tiles); ++i) {
      pairs.push_back({at(i), at(i + round), 0});
    }
  }
  return pairs;
}

}  // namespace

size_t RowsAtOnce(size_t rows, bool many_threads) {
  if (!many_threads) return kMostRowsAtOnce;
  return std::clamp(rows / kTasks, kLeastRowsAtOnce, kMostRowsAtOnce);
}

PairPlan::PairPlan(const gemm::Kernel& kernel, size_t row_count, size_t column_count, size_t dim)
    : rows(row_count),
      columns(column_count),
      tile(TileSize(kernel)),
      chunks(Blocks(column_count, tile)),
      task_chunks(Blocks(chunks, kMostTasks)),
      tasks(Blocks(chunks, task_chunks)),
      finished_rows(kFinishedRows) {
  const size_t affordable = std::max(kPanelFloats, columns * dim / 4 * 3) / columns;
  const size_t step = std::min({kMostPanelRows, affordable, rows});
  panel_rows = RoundUp(std::max<size_t>(step, 1), kernel.mr);
  block_rows = RoundUp(Blocks(panel_rows, Blocks(kTasks, tasks)), kernel.mr);
  column_step = RoundUp(Blocks(tile, Blocks(kTasks, chunks)), kernel.mr);
}

Work WorkOf(const PairPlan& plan, size_t dim) {
  const double d = Real(dim), n = Real(plan.rows), c = Real(plan.columns);
  Work work;
  // Checks, what has to be 0, and how long the columns are.
  work.serial = 2 * (n + c) * d + 2 * c * d;
  AddSides(plan.rows, dim, &work);
  AddSides(plan.columns, dim, &work);
  std::vector<double>& pack = work.Add("pack");
  for (size_t chunk = 0; chunk < plan.chunks; ++chunk) {
    pack.push_back(2 * Real(plan.Chunk(chunk).size()) * d);
  }
  for (size_t row = 0; row < plan.rows; row += plan.panel_rows) {
    const size_t count = std::min(plan.panel_rows, plan.rows - row);
    // The positives and the rows' lengths.
    work.serial += Real(count) * 4 * d;
    std::vector<double>& tiles = work.Add("tiles");
    for (size_t task = 0; task < plan.tasks; ++task) {
      const Range chunks = plan.Chunks(task);
      const double width = Real(plan.Chunk(chunks.end - 1).end - plan.Chunk(chunks.begin).begin);
      for (size_t at = 0; at < count; at += plan.block_rows) {
        tiles.push_back(Real(std::min(plan.block_rows, count - at)) * width * (4 * d + 1));
      }
    }
    std::vector<double>& finish = work.Add("rows");
    for (size_t at = 0; at < count; at += plan.finished_rows) {
      finish.push_back(Real(std::min(plan.finished_rows, count - at)) *
                       (Real(plan.tasks) * (2 * d + 1) + 6 * d));
    }
    std::vector<double>& columns = work.Add("columns");
    for (size_t chunk = 0; chunk < plan.chunks; ++chunk) {
      const size_t width = plan.Chunk(chunk).size();
      for (size_t at = 0; at < width; at += plan.column_step) {
        columns.push_back(Real(std::min(plan.column_step, width - at)) * Real(count) * 2 * d);
      }
    }
  }
  return work;
}

RowPlan::RowPlan(const gemm::Kernel& kernel, size_t row_count, const std::vector<Range>& blocks)
    : rows(row_count), tile(TileSize(kernel)) {
  size_t most_tiles = 1, pairs = 0;
  for (const Range& block : blocks) {
    const size_t tiles = Blocks(block.size(), tile);
    if (tiles == 1) {
      alone.push_back(block);
      continue;
    }
    most_tiles = std::max(most_tiles, tiles);
    pairs += tiles * (tiles + 1) / 2;
    for (size_t row = block.begin; row < block.end; row += tile) {
      finished.push_back({row, std::min(row + tile, block.end)});
    }
  }
  if (alone.size() < kPairs) {
    const size_t step = std::max<size_t>(1, kStripRows / kernel.mr) * kernel.mr;
    for (const Range& block : alone) {
      for (size_t row = block.begin; row < block.end; row += step) {
        strips.push_back({{row, std::min(row + step, block.end)}, block, strip_floats});
        strip_floats += step * block.size();
      }
    }
  }
  if (pairs == 0) return;

  // Rounds that go together, so that there are enough pairs; what remains is cut by rows.
  const size_t rounds = most_tiles / 2 + 1;
  sets = std::clamp(Blocks(kPairs, Blocks(pairs, rounds)), size_t{1},
                    std::min(kMostSets, std::max<size_t>(1, rounds / 2)));
  for (size_t round = 0; round < rounds;) {
    const size_t together = std::min(sets, rounds - round);
    const size_t parts = sets / together;
    std::vector<Pair> loop;
    for (size_t n = 0; n < together; ++n, ++round) {
      for (const Pair& pair : Round(blocks, tile, round)) {
        const size_t step =
            pair.diagonal() ? tile : RoundUp(Blocks(pair.rows.size(), parts), kernel.mr);
        size_t set = n * parts;
        for (size_t row = pair.rows.begin; row < pair.rows.end; row += step) {
          loop.push_back({{row, std::min(row + step, pair.rows.end)}, pair.columns, set++});
        }
      }
    }
    loops.push_back(std::move(loop));
  }
}

Work WorkOf(const RowPlan& plan, size_t dim) {
  const double d = Real(dim), n = Real(plan.rows);
  Work work;
  // The check, and the sorting by group and label.
  work.serial = n * d + 16 * n;
  AddSides(plan.rows, dim, &work);
  const auto add_rows = [&](const char* name, double operations) {
    std::vector<double>& tasks = work.Add(name);
    const size_t step = RowsAtOnce(plan.rows, true);
    for (size_t row = 0; row < plan.rows; row += step) {
      tasks.push_back(Real(std::min(step, plan.rows - row)) * operations);
    }
  };
  // How long they are, and what has to be 0.
  add_rows("lengths", Real(2 + (plan.loops.empty() ? 1 : 2 * plan.sets)) * d);
  if (!plan.strips.empty()) {
    std::vector<double>& statistics = work.Add("strips");
    std::vector<double> gradients;
    for (const RowPlan::Strip& strip : plan.strips) {
      const double area = Real(strip.rows.size()) * Real(strip.block.size());
      statistics.push_back(area * (2 * d + 1) + Real(strip.block.size()) * d);
      gradients.push_back(area * (2 * d + 1) + Real(strip.block.size()) * d);
    }
    work.Add("strips' gradients") = gradients;
  } else if (!plan.alone.empty()) {
    std::vector<double>& alone = work.Add("blocks");
    for (const Range& block : plan.alone) {
      alone.push_back(Real(block.size()) * Real(block.size()) * (4 * d + 2));
    }
  }
  if (plan.loops.empty()) return work;
  const auto area = [](const RowPlan::Pair& pair) {
    return Real(pair.rows.size()) * Real(pair.columns.size());
  };
  for (const std::vector<RowPlan::Pair>& loop : plan.loops) {
    std::vector<double>& statistics = work.Add("statistics");
    for (const RowPlan::Pair& pair : loop) statistics.push_back(area(pair) * (2 * d + 2));
  }
  std::vector<double>& finish = work.Add("rows");
  for (const Range& rows : plan.finished) finish.push_back(Real(rows.size() * plan.sets) * 8);
  for (const std::vector<RowPlan::Pair>& loop : plan.loops) {
    std::vector<double>& gradients = work.Add("tiles");
    for (const RowPlan::Pair& pair : loop) {
      gradients.push_back(area(pair) * ((pair.diagonal() ? 4 : 6) * d + 2));
    }
  }
  add_rows("sums", Real(2 * plan.sets - 1) * d);
  return work;
}

}  // namespace prismrec::contrastive_loss
