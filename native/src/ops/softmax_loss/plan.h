// What the sweep needs besides the numbers: which interests are present, which columns a row leaves
// out, its targets.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_PLAN_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/softmax_loss/softmax_loss.h"

namespace prismrec::softmax_loss {

// One distinct target of a row.
struct Target {
  uint32_t item;
  // Full: the column of the panel. Shared candidates: the row of Plan::target_items. Candidates of
  // each row's own: the place among the row's targets.
  uint32_t column;
  // Share of the row's target entries.
  float weight;
  // Sampled: item bias minus target_log_q (in the full softmax the panel brings them).
  float shift;
};

inline constexpr uint32_t kNoRow = UINT32_MAX;

struct Plan {
  // Counted rows and, for each, its present interests pairs[row_pairs[i] .. row_pairs[i + 1]).
  std::vector<uint32_t> rows;
  std::vector<uint32_t> pairs;
  std::vector<size_t> row_pairs;
  // targets[row_targets[i] .. row_targets[i + 1])
  std::vector<Target> targets;
  std::vector<size_t> row_targets;
  // removed[row_removed[i] .. row_removed[i + 1]): columns outside the row's softmax,
  // ascending.
  std::vector<uint32_t> removed;
  std::vector<size_t> row_removed;
  // Columns of the panel: N, or the number of distinct shared candidates, or of a row's own.
  size_t columns = 0;
  // Shared candidates, [columns]: each once, ascending, and what a column adds to its logits for
  // them: log sum exp(-log_q) over the repeats.
  std::vector<uint32_t> column_items;
  std::vector<float> column_weights;
  // Sampled only: distinct targets and candidates, ascending.
  std::vector<uint32_t> gradient_items;
  // Shared candidates: distinct targets of all rows, ascending; and, for each of gradient_items,
  // the panel column and the one of target_items that it is, or kNoRow.
  std::vector<uint32_t> target_items;
  std::vector<uint32_t> slot_columns;
  std::vector<uint32_t> slot_targets;
  // target_places[target_begin[n] .. target_begin[n + 1]): where target_items[n] is a target, by
  // row.
  struct Place {
    uint32_t row;     // of `rows`
    uint32_t target;  // of the row's
  };
  std::vector<size_t> target_begin;
  std::vector<Place> target_places;
  // Candidates of each row's own: an entry is a candidate or a target of a counted row; row i has
  // the entries [i * row_entries, (i + 1) * row_entries), its candidates first.
  // slot_entries[slot_begin[s] .. slot_begin[s + 1]): those of gradient_items[s], ascending.
  size_t row_entries = 0;
  std::vector<size_t> slot_begin;
  std::vector<size_t> slot_entries;
  size_t most_targets = 0;
  size_t most_pairs = 0;
};

// Indices in range, and an interest in every row that has targets.
Status CheckArgs(const Args& args);

// For arguments that CheckArgs accepts.
Plan MakePlan(const Args& args);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_PLAN_H_
