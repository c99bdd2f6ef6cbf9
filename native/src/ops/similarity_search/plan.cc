#include "ops/similarity_search/plan.h"

#include <algorithm>

#include "ops/similarity_search/cpu/panel.h"

namespace prismrec::similarity_search {
namespace {

// The packed rows of a block stay in the second-level cache while the items pass; a block is a whole
// number of row panels of every instruction set where each query has one row.
constexpr size_t kBlockRows = 252;
constexpr size_t kBlockFloats = size_t{1} << 16;
// Tasks of a round: enough for 64 threads.
constexpr size_t kTasks = 72;
constexpr size_t kMinRangePanels = 64;
// Of few codes ranges are long: a second thread takes longer to wake than some thousand items.
constexpr size_t kFewCodedPanels = 16384;
constexpr size_t kMinRangeOfFew = 512;
// The items are met in rounds: the first is short and finds thresholds, each of the others ends where
// this many times as many items have been seen.
constexpr size_t kFirstRoundPanels = 128;
constexpr size_t kGrowth = 4;
// Of the codes the first round reads single precision, for want of a threshold, and one thread does it; the
// last begins early.
constexpr size_t kFirstCodedRoundPanels = 64;
constexpr size_t kLastCodedGrowth = 8;
// Rows of a block in the first round, at least, which is cut by queries alone: a range without a threshold
// would take all of its items for candidates.
constexpr size_t kFirstRoundRows = 4;

std::vector<Block> MakeBlocks(const std::vector<size_t>& first_row, size_t limit) {
  std::vector<Block> blocks;
  const size_t count = first_row.size() - 1;
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count && first_row[end + 1] - first_row[begin] <= limit) ++end;
    blocks.push_back({begin, end});
    begin = end;
  }
  return blocks;
}

size_t Parts(size_t x, size_t part) { return (x + part - 1) / part; }

}  // namespace

size_t Round::Begin(size_t task) const { return std::min(end, begin + task % ranges * step); }
size_t Round::End(size_t task) const { return std::min(end, Begin(task) + step); }

Plan MakePlan(const PlanShape& shape) {
  Plan plan;
  const size_t rows = shape.first_row.back();
  if (shape.first_row.size() == 1) return plan;
  plan.merged_queries = std::max<size_t>(1, (shape.first_row.size() - 1) / kTasks);
  const size_t tile = shape.coded ? 1 : shape.row_panel;
  const size_t fitting = std::max<size_t>(1, kBlockFloats / shape.dim / shape.row_panel) * shape.row_panel;
  const size_t most = std::min(kBlockRows, fitting);
  // Blocks of about the same size.
  const size_t limit = std::min(most, Parts(Parts(rows, std::max<size_t>(1, Parts(rows, most))), tile) * tile);
  const std::vector<Block> blocks = MakeBlocks(shape.first_row, limit);
  const size_t wanted = Parts(kTasks, blocks.size());
  const size_t least_range =
      shape.coded && shape.panels < kFewCodedPanels ? kMinRangeOfFew : kMinRangePanels;
  for (size_t begin = 0; begin < shape.panels;) {
    const size_t least = shape.coded ? kFirstCodedRoundPanels : kFirstRoundPanels;
    const size_t first = std::max(least, 4 * shape.k / kPanelItems);
    const bool rest = wanted == 1 || (shape.coded && kLastCodedGrowth * begin >= shape.panels);
    Round round{};
    round.begin = begin;
    round.end = rest ? shape.panels : std::min(shape.panels, std::max(first, kGrowth * begin));
    const size_t size = round.end - begin;
    round.ranges = begin == 0 ? 1 : std::clamp<size_t>(size / least_range, 1, wanted);
    round.step = Parts(size, round.ranges);
    round.blocks = blocks;
    const size_t splits = Parts(kTasks, blocks.size() * round.ranges);
    const size_t whole = begin == 0 ? std::min(tile, kFirstRoundRows) : tile;
    const size_t share = std::max<size_t>(1, Parts(Parts(limit, splits), whole)) * whole;
    if (share < limit) round.blocks = MakeBlocks(shape.first_row, share);
    begin = round.end;
    plan.rounds.push_back(std::move(round));
  }
  return plan;
}

Work WorkOf(const Plan& plan, const PlanShape& shape) {
  const auto real = [](size_t n) { return static_cast<double>(n); };
  const double d = real(shape.dim);
  Work work;
  // The queries' copies and lengths, and which items are allowed.
  work.serial = real(shape.first_row.back()) * 3 * d + real(shape.panels);
  const size_t queries = shape.first_row.size() - 1;
  for (const Round& round : plan.rounds) {
    std::vector<double>& scans = work.Add("scan");
    for (size_t n = 0; n < round.tasks(); ++n) {
      const Block& block = round.blocks[n / round.ranges];
      const size_t rows = shape.first_row[block.end] - shape.first_row[block.begin];
      scans.push_back(real(rows) * real((round.End(n) - round.Begin(n)) * kPanelItems) * 2 * d);
    }
    std::vector<double>& lists = work.Add("lists");
    for (size_t q = 0; q < queries; q += plan.merged_queries) {
      lists.push_back(real(std::min(plan.merged_queries, queries - q)) * real(round.ranges + 8 * shape.k));
    }
  }
  return work;
}

}  // namespace prismrec::similarity_search
