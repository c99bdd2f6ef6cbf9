#include "ops/softmax_loss/geometry.h"

#include <algorithm>
#include <numeric>

#include "ops/softmax_loss/problem.h"

namespace prismrec::softmax_loss {
namespace {

// The exponentials of a wave: they stay in a large third-level cache.
constexpr size_t kPanelFloats = 3400000;
// The same where tiles have few rows: each line of the panel is then read by several tiles of the
// columns' gradients, so it has to be nearer, unless that leaves fewer than so many rows.
constexpr size_t kNearFloats = 700000;
constexpr size_t kNearRows = 168;
constexpr size_t kManyTileRows = 12;
// A wave of fewer rows makes the products slower than a second sweep does.
constexpr size_t kFewestPanelRows = 64;
// Rows of a block: enough for the products to run at full speed, few enough for a chunk of the
// panel to stay near; the same where tasks would be too few.
constexpr size_t kMostBlockPairs = 84;
constexpr size_t kLeastBlockPairs = 56;
// Interests that meet a column each time it is packed.
constexpr size_t kWidePairs = 504;
// Columns of the panel, at most, that stay in the second-level cache from their logits to the
// interests' product; chunks are whole numbers of the other.
constexpr size_t kChunkColumns = 480;
constexpr size_t kChunkUnit = 96;
// The least panel of a tile: smaller problems get fewer tasks, not tasks that cost more to hand out
// and to add up than to do.
constexpr size_t kLeastTile = 56 * 192;
constexpr size_t kGradientColumns = 240;
// Tasks of a loop: enough for 64 threads. Fewer of the loop that is a third of the work: where a task
// of few columns begins and ends, it reads lines that it shares with others.
constexpr size_t kTasks = 72;
constexpr size_t kColumnTasks = 68;
// The weights of rows with candidates of their own are kept this much at a time.
constexpr size_t kOwnFloats = size_t{1} << 20;
constexpr size_t kMostOwnRows = 8;
constexpr size_t kMostSlots = 512;

struct RowCut {
  size_t block_pairs;  // at most, unless one row has more
  size_t wave_blocks;
};

// Waves of at most about `wave_pairs` interests, of much the same size.
RowCut CutRows(const gemm::Kernel& kernel, const Plan& plan, size_t wave_pairs,
               size_t block_pairs) {
  // Whole tiles of whole rows, where rows have as many interests each.
  const size_t even = std::lcm(kernel.mr, std::max<size_t>(1, plan.most_pairs));
  if (even <= block_pairs) block_pairs = block_pairs / even * even;
  block_pairs = std::max(block_pairs, plan.most_pairs);
  const size_t pairs = plan.pairs.size();
  const size_t blocks = std::max<size_t>(1, Blocks(pairs, block_pairs));
  const size_t in_wave = std::max<size_t>(1, (wave_pairs + block_pairs / 2) / block_pairs);
  const size_t waves = pairs <= wave_pairs ? 1 : Blocks(blocks, in_wave);
  return {block_pairs, Blocks(blocks, waves)};
}

void MakeWaves(const gemm::Kernel& kernel, const Plan& plan, const RowCut& cut, Geometry* g) {
  const size_t rows = plan.rows.size();
  for (size_t row = 0; row < rows;) {
    Wave wave{g->blocks.size(), g->blocks.size(), row, row, plan.row_pairs[row], 0, 0};
    for (size_t n = 0; n < cut.wave_blocks && row < rows; ++n) {
      Block block{row, row + 1, plan.row_pairs[row], 0, wave.places, 0};
      while (block.row1 < rows && plan.row_pairs[block.row1 + 1] - block.pair0 <= cut.block_pairs) {
        ++block.row1;
      }
      row = block.row1;
      block.pairs = plan.row_pairs[row] - block.pair0;
      block.places = RoundUp(block.pairs, kernel.mr);
      wave.places += block.places;
      g->block_places = std::max(g->block_places, block.places);
      g->blocks.push_back(block);
    }
    wave.block1 = g->blocks.size();
    wave.row1 = row;
    wave.pairs = plan.row_pairs[row] - wave.pair0;
    g->wave_places = std::max(g->wave_places, wave.places);
    g->wave_pairs = std::max(g->wave_pairs, wave.pairs);
    g->wave_rows = std::max(g->wave_rows, wave.row1 - wave.row0);
    g->waves.push_back(wave);
  }
}

}  // namespace

Geometry::Span Geometry::Group(size_t group) const {
  const size_t size = chunk * group_chunks;
  return {group * size, std::min(columns, (group + 1) * size)};
}

Geometry::Span Geometry::GradientColumns(size_t task) const {
  return {task * gradient_columns, std::min(columns, (task + 1) * gradient_columns)};
}

size_t Geometry::RowsAtOnce(const Wave& wave) {
  return std::max<size_t>(1, (wave.row1 - wave.row0) / kTasks);
}

size_t Geometry::RowTasks(const Wave& wave) {
  return Blocks(wave.row1 - wave.row0, RowsAtOnce(wave));
}

size_t SlotsAtOnce(size_t slots) { return std::max<size_t>(1, slots / kTasks); }

Geometry MakeGeometry(const gemm::Kernel& kernel, const Plan& plan) {
  Geometry made;
  made.columns = plan.columns;
  const size_t columns = std::max<size_t>(1, plan.columns);
  const size_t affordable = kPanelFloats / columns;
  const size_t wave_pairs = kernel.mr >= kManyTileRows
                                ? affordable
                                : std::max(kNearFloats / columns, std::min(affordable, kNearRows));
  made.kept = affordable >= std::max(plan.most_pairs, kFewestPanelRows);
  const size_t unit = RoundUp(kChunkUnit, kernel.nr);
  const size_t most = std::max(unit, kChunkColumns / unit * unit);
  RowCut cut{};
  if (made.kept) {
    // Smaller blocks cost less than shorter chunks, each of which has a product to be added up.
    for (const size_t block_pairs : {kMostBlockPairs, kLeastBlockPairs}) {
      cut = CutRows(kernel, plan, wave_pairs, block_pairs);
      const size_t wanted = (columns * cut.wave_blocks / kTasks + unit / 2) / unit * unit;
      const size_t least = RoundUp(kLeastTile / cut.block_pairs, unit);
      made.chunk = std::clamp(wanted, std::min(least, most), most);
      if (wanted >= 2 * unit) break;
    }
    made.gradient_columns = std::clamp(RoundUp(columns / kColumnTasks, kernel.mr), 2 * kernel.mr,
                                       kGradientColumns / kernel.mr * kernel.mr);
    made.stride = Aligned(RoundUp(columns, kernel.nr));
  } else {
    cut = CutRows(kernel, plan, kWidePairs, kMostBlockPairs);
    made.chunk = most;
    made.group_chunks = std::max<size_t>(1, Blocks(columns, most) / kTasks);
    made.stride = Aligned(most);
  }
  // An odd number of cache lines, so that a column of the panel spreads over the whole first-level
  // cache.
  if (made.stride / kLine % 2 == 0) made.stride += kLine;
  made.groups = Blocks(made.columns, made.chunk * made.group_chunks);
  MakeWaves(kernel, plan, cut, &made);
  return made;
}

Work WorkOf(const Geometry& geometry, const Plan& plan, size_t dim, bool sampled) {
  const double d = static_cast<double>(dim);
  const auto real = [](size_t n) { return static_cast<double>(n); };
  const auto targets = [&](size_t row0, size_t row1) {
    return real(plan.row_targets[row1] - plan.row_targets[row0]);
  };
  Work work;
  // The plan's sorting; losses, and the gradients of what is absent.
  work.serial = 8 * real(plan.column_items.size() + plan.targets.size()) + real(plan.rows.size()) +
                real(plan.pairs.size()) * d;
  std::vector<double>& gather = work.Add("gather");
  for (size_t begin = 0; begin < geometry.columns; begin += geometry.chunk) {
    const size_t count = std::min(geometry.chunk, geometry.columns - begin);
    gather.push_back(real(count) * d * (sampled ? 6 : 5));
  }
  for (const Block& block : geometry.blocks) {
    gather.push_back(real(block.pairs) * d * 5);
    if (sampled) gather.back() += targets(block.row0, block.row1) * real(plan.most_pairs) * 2 * d;
  }
  for (const Wave& wave : geometry.waves) {
    std::vector<double>& sweep = work.Add(geometry.kept ? "tiles" : "statistics");
    for (size_t group = 0; group < geometry.groups; ++group) {
      const double width = real(geometry.Group(group).size());
      if (geometry.kept) {
        for (size_t b = wave.block0; b < wave.block1; ++b) {
          sweep.push_back(real(geometry.blocks[b].pairs) * width * (4 * d + 1));
        }
      } else {
        sweep.push_back(real(wave.pairs) * width * (2 * d + 1) + width * d);
      }
    }
    const auto rows = [&](double operations) {
      std::vector<double>& tasks = work.Add("rows");
      for (size_t row = wave.row0; row < wave.row1; row += Geometry::RowsAtOnce(wave)) {
        const size_t end = std::min(wave.row1, row + Geometry::RowsAtOnce(wave));
        tasks.push_back(real(plan.row_pairs[end] - plan.row_pairs[row]) * operations +
                        targets(row, end) * real(plan.most_pairs) * (2 * d + 8));
      }
    };
    if (geometry.kept) {
      rows(real(geometry.groups) * (d + 1) + 4 * d);
      std::vector<double>& columns = work.Add("columns");
      for (size_t task = 0; task < geometry.GradientTasks(); ++task) {
        columns.push_back(real(geometry.GradientColumns(task).size()) * real(wave.pairs) *
                          (2 * d + 2));
      }
    } else {
      rows(real(geometry.groups) + 2 * d);
      std::vector<double>& gradients = work.Add("gradients");
      for (size_t group = 0; group < geometry.groups; ++group) {
        const double width = real(geometry.Group(group).size());
        gradients.push_back(real(wave.pairs) * width * (6 * d + 3) + 2 * width * d);
      }
      rows(real(geometry.groups) * (d + 1) + 2 * d);
    }
  }
  if (sampled) {
    std::vector<double>& slots = work.Add("slots");
    const size_t count = plan.gradient_items.size();
    const size_t step = SlotsAtOnce(count);
    for (size_t slot = 0; slot < count; slot += step) {
      double cost = 0;
      for (size_t s = slot; s < std::min(count, slot + step); ++s) {
        cost += d;
        if (plan.slot_targets[s] == kNoRow) continue;
        const size_t target = plan.slot_targets[s];
        cost += real(plan.target_begin[target + 1] - plan.target_begin[target]) *
                real(plan.most_pairs) * (2 * d + 2);
      }
      slots.push_back(cost);
    }
  }
  return work;
}

OwnGeometry MakeOwnGeometry(const Plan& plan, size_t dim) {
  OwnGeometry made{};
  made.scaled_at = Aligned(plan.most_pairs * plan.row_entries);
  made.bias_at = made.scaled_at + Aligned(plan.most_pairs * dim);
  made.stride = made.bias_at + Aligned(plan.row_entries);
  made.wave_rows = std::max<size_t>(
      1, std::min(plan.rows.size(), kOwnFloats / std::max<size_t>(1, made.stride)));
  made.rows_at_once = std::clamp<size_t>(made.wave_rows / kTasks, 1, kMostOwnRows);
  made.slots_at_once = std::clamp<size_t>(plan.gradient_items.size() / kTasks, 1, kMostSlots);
  return made;
}

Work WorkOf(const OwnGeometry& geometry, const Plan& plan, size_t dim) {
  const double d = static_cast<double>(dim);
  const auto real = [](size_t n) { return static_cast<double>(n); };
  Work work;
  work.serial = 4 * real(plan.slot_entries.size()) + real(plan.rows.size()) +
                real(plan.pairs.size()) * d;
  const size_t counted = plan.rows.size();
  std::vector<size_t> next(plan.slot_begin);
  for (size_t row0 = 0; row0 < counted; row0 += geometry.wave_rows) {
    const size_t row1 = std::min(counted, row0 + geometry.wave_rows);
    std::vector<double>& rows = work.Add("rows");
    for (size_t row = row0; row < row1; row += geometry.rows_at_once) {
      const size_t end = std::min(row1, row + geometry.rows_at_once);
      rows.push_back(real(end - row) * real(plan.row_entries) * 3 * d +
                     real(plan.row_pairs[end] - plan.row_pairs[row]) * real(plan.row_entries) *
                         (4 * d + 3));
    }
    std::vector<double>& slots = work.Add("slots");
    const size_t count = plan.gradient_items.size();
    for (size_t slot = 0; slot < count; slot += geometry.slots_at_once) {
      double cost = 0;
      for (size_t s = slot; s < std::min(count, slot + geometry.slots_at_once); ++s) {
        cost += row0 == 0 ? d : 1;
        for (; next[s] < plan.slot_begin[s + 1]; ++next[s]) {
          const size_t row = plan.slot_entries[next[s]] / plan.row_entries;
          if (row >= row1) break;
          cost += real(plan.row_pairs[row + 1] - plan.row_pairs[row]) * 2 * d;
        }
      }
      slots.push_back(cost);
    }
  }
  return work;
}

}  // namespace prismrec::softmax_loss
