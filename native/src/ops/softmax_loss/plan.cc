#include "ops/softmax_loss/plan.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>

#include "runtime/radix_sort.h"

namespace prismrec::softmax_loss {
namespace {

bool Present(const Args& args, size_t pair) {
  return args.offsets == nullptr || !std::isinf(args.offsets[pair]) || args.offsets[pair] > 0;
}

// Appends row r's distinct targets, ascending, in the order of their first entries among equals.
void AppendTargets(const Args& args, size_t r, std::vector<std::pair<uint32_t, uint32_t>>* scratch,
                   Plan* plan) {
  const uint32_t first = args.targets.indptr[r];
  const uint32_t last = args.targets.indptr[r + 1];
  scratch->clear();
  for (uint32_t t = first; t < last; ++t) scratch->emplace_back(args.targets.indices[t], t);
  std::sort(scratch->begin(), scratch->end());
  const float weight = 1.0f / static_cast<float>(last - first);
  for (size_t n = 0; n < scratch->size();) {
    const auto [item, entry] = (*scratch)[n];
    size_t repeats = 0;
    for (; n < scratch->size() && (*scratch)[n].first == item; ++n) ++repeats;
    const float bias = args.item_bias == nullptr ? 0.0f : args.item_bias[item];
    const float log_q = args.target_log_q == nullptr ? 0.0f : args.target_log_q[entry];
    plan->targets.push_back({item, item, weight * static_cast<float>(repeats), bias - log_q});
  }
}

uint32_t PlaceOf(const std::vector<uint32_t>& sorted, uint32_t item) {
  return static_cast<uint32_t>(std::lower_bound(sorted.begin(), sorted.end(), item) -
                               sorted.begin());
}

// Makes one column of each distinct candidate: its repeats have the same logit up to log_q, so that
// they count as one with their weights together.
void PlanColumns(const Args& args, Plan* plan) {
  std::vector<IdAt> drawn(args.candidate_count);
  for (uint32_t s = 0; s < args.candidate_count; ++s) drawn[s] = {args.candidates[s], s};
  RadixSort(&drawn);
  const auto item = [&](size_t n) { return drawn[n].id; };
  const auto log_weight = [&](size_t n) {
    return args.log_q == nullptr ? 0.0 : -static_cast<double>(args.log_q[drawn[n].at]);
  };
  plan->column_items.reserve(drawn.size());
  plan->column_weights.reserve(drawn.size());
  for (size_t first = 0, n = 0; n < drawn.size(); first = n) {
    double weight = log_weight(first);
    n = first + 1;
    if (n < drawn.size() && item(n) == item(first)) {
      double top = weight;
      for (; n < drawn.size() && item(n) == item(first); ++n) top = std::max(top, log_weight(n));
      double total = 0;
      for (size_t i = first; i < n; ++i) total += std::exp(log_weight(i) - top);
      weight = top + std::log(total);
    }
    plan->column_items.push_back(item(first));
    plan->column_weights.push_back(static_cast<float>(weight));
  }
  plan->columns = plan->column_items.size();
}

// Numbers the distinct targets and the rows of the item gradient.
void PlanShared(Plan* plan) {
  for (const Target& target : plan->targets) plan->target_items.push_back(target.item);
  std::sort(plan->target_items.begin(), plan->target_items.end());
  plan->target_items.erase(std::unique(plan->target_items.begin(), plan->target_items.end()),
                           plan->target_items.end());
  // target_begin[n + 1] is where target n writes next, and so ends where it ends.
  plan->target_begin.assign(plan->target_items.size() + 2, 0);
  for (Target& target : plan->targets) {
    target.column = PlaceOf(plan->target_items, target.item);
    ++plan->target_begin[target.column + 2];
  }
  for (size_t n = 2; n < plan->target_begin.size(); ++n) {
    plan->target_begin[n] += plan->target_begin[n - 1];
  }
  plan->target_places.resize(plan->targets.size());
  for (uint32_t row = 0; row < plan->rows.size(); ++row) {
    for (size_t t = plan->row_targets[row]; t < plan->row_targets[row + 1]; ++t) {
      plan->target_places[plan->target_begin[plan->targets[t].column + 1]++] = {
          row, static_cast<uint32_t>(t - plan->row_targets[row])};
    }
  }
  plan->target_begin.pop_back();

  std::set_union(plan->column_items.begin(), plan->column_items.end(), plan->target_items.begin(),
                 plan->target_items.end(), std::back_inserter(plan->gradient_items));
  plan->slot_columns.assign(plan->gradient_items.size(), kNoRow);
  plan->slot_targets.assign(plan->gradient_items.size(), kNoRow);
  uint32_t column = 0, target = 0;
  for (size_t slot = 0; slot < plan->gradient_items.size(); ++slot) {
    const uint32_t item = plan->gradient_items[slot];
    if (column < plan->column_items.size() && plan->column_items[column] == item) {
      plan->slot_columns[slot] = column++;
    }
    if (target < plan->target_items.size() && plan->target_items[target] == item) {
      plan->slot_targets[slot] = target++;
    }
  }
}

// Numbers the rows of the item gradient and lists what adds to each.
void PlanPerRow(const Args& args, Plan* plan) {
  // Touched, then the row of the item gradient.
  std::vector<uint32_t> slot(args.items.rows, 0);
  for (size_t s = 0; s < args.candidate_entries(); ++s) slot[args.candidates[s]] = 1;
  for (const Target& target : plan->targets) slot[target.item] = 1;
  for (uint32_t item = 0; item < args.items.rows; ++item) {
    if (slot[item] == 0) continue;
    slot[item] = static_cast<uint32_t>(plan->gradient_items.size());
    plan->gradient_items.push_back(item);
  }
  plan->row_entries = plan->columns + plan->most_targets;
  const auto for_each_entry = [&](auto fn) {
    for (size_t i = 0; i < plan->rows.size(); ++i) {
      size_t entry = i * plan->row_entries;
      const uint32_t* own = args.candidates + plan->rows[i] * plan->columns;
      for (size_t s = 0; s < plan->columns; ++s) fn(slot[own[s]], entry++);
      for (size_t t = plan->row_targets[i]; t < plan->row_targets[i + 1]; ++t) {
        fn(slot[plan->targets[t].item], entry++);
      }
    }
  };
  // slot_begin[s + 1] counts, then is where slot s writes next, and so ends where slot s ends.
  plan->slot_begin.assign(plan->gradient_items.size() + 2, 0);
  for_each_entry([&](uint32_t s, size_t) { ++plan->slot_begin[s + 2]; });
  for (size_t s = 2; s < plan->slot_begin.size(); ++s) {
    plan->slot_begin[s] += plan->slot_begin[s - 1];
  }
  plan->slot_entries.resize(plan->slot_begin.back());
  for_each_entry([&](uint32_t s, size_t entry) {
    plan->slot_entries[plan->slot_begin[s + 1]++] = entry;
  });
  plan->slot_begin.pop_back();
}

}  // namespace

size_t GradientRows(const Args& args) {
  if (args.candidates == nullptr) return args.items.rows;
  return std::min(args.items.rows, args.candidate_entries() + args.targets.indptr[args.rows()]);
}

Status CheckArgs(const Args& args) {
  Status status = CheckCsr(args.targets);
  if (status.ok() && args.mask.indptr != nullptr) status = CheckCsr(args.mask);
  if (!status.ok()) return status;
  for (size_t s = 0; s < args.candidate_entries(); ++s) {
    if (args.candidates[s] < args.items.rows) continue;
    return InvalidArgument("candidates[" + std::to_string(s) + "] is not a row of items",
                           "below " + std::to_string(args.items.rows),
                           std::to_string(args.candidates[s]));
  }
  const auto finite = [](const float* values, size_t count) {
    return values == nullptr ||
           std::all_of(values, values + count, [](float x) { return std::isfinite(x); });
  };
  if (!finite(args.log_q, args.candidate_entries()) ||
      !finite(args.target_log_q, args.targets.nnz())) {
    return NonFinite("logQ or targetLogQ hold a value that is not finite", "finite logarithms",
                     "NaN or infinity");
  }
  for (size_t r = 0; r < args.rows(); ++r) {
    if (args.targets.indptr[r] == args.targets.indptr[r + 1]) continue;
    size_t p = r * args.interests_per_row;
    const size_t end = p + args.interests_per_row;
    while (p < end && !Present(args, p)) ++p;
    if (p < end) continue;
    return InvalidArgument("row " + std::to_string(r) + " has targets but no interest",
                           "at least one offset above -Infinity", "none",
                           "Give a row without interests no targets, and it is skipped.");
  }
  return Status::Ok();
}

Plan MakePlan(const Args& args) {
  Plan made;
  Plan* const plan = &made;
  const bool sampled = args.candidates != nullptr;
  plan->columns = args.items.rows;
  if (args.candidates_per_row) {
    plan->columns = args.candidate_count;
  } else if (sampled) {
    PlanColumns(args, plan);
  }
  plan->row_pairs.push_back(0);
  plan->row_targets.push_back(0);
  plan->row_removed.push_back(0);
  const auto remove = [&](uint32_t item) {
    if (!sampled) {
      plan->removed.push_back(item);
      return;
    }
    const uint32_t column = PlaceOf(plan->column_items, item);
    if (column < plan->columns && plan->column_items[column] == item) {
      plan->removed.push_back(column);
    }
  };
  std::vector<std::pair<uint32_t, uint32_t>> scratch;
  std::vector<uint32_t> masked;
  for (size_t r = 0; r < args.rows(); ++r) {
    if (args.targets.indptr[r] == args.targets.indptr[r + 1]) continue;
    const size_t first_pair = plan->pairs.size();
    for (size_t p = r * args.interests_per_row; p < (r + 1) * args.interests_per_row; ++p) {
      if (Present(args, p)) plan->pairs.push_back(static_cast<uint32_t>(p));
    }
    const size_t first_target = plan->targets.size();
    AppendTargets(args, r, &scratch, plan);
    const auto own_begin = plan->targets.begin() + static_cast<std::ptrdiff_t>(first_target);
    const auto own = [&](uint32_t item) {
      const auto at = std::lower_bound(
          own_begin, plan->targets.end(), item,
          [](const Target& target, uint32_t value) { return target.item < value; });
      return at != plan->targets.end() && at->item == item;
    };
    if (args.candidates_per_row) {
      masked.clear();
      if (args.mask.indptr != nullptr) {
        masked.assign(args.mask.indices + args.mask.indptr[r],
                      args.mask.indices + args.mask.indptr[r + 1]);
      }
      std::sort(masked.begin(), masked.end());
      for (uint32_t s = 0; s < args.candidate_count; ++s) {
        const uint32_t item = args.candidates[r * args.candidate_count + s];
        if (own(item) || std::binary_search(masked.begin(), masked.end(), item)) {
          plan->removed.push_back(s);
        }
      }
      for (size_t t = first_target; t < plan->targets.size(); ++t) {
        plan->targets[t].column = static_cast<uint32_t>(t - first_target);
      }
    } else if (sampled) {
      for (auto target = own_begin; target != plan->targets.end(); ++target) remove(target->item);
    }
    if (!args.candidates_per_row && args.mask.indptr != nullptr) {
      for (size_t n = args.mask.indptr[r]; n < args.mask.indptr[r + 1]; ++n) {
        if (!own(args.mask.indices[n])) remove(args.mask.indices[n]);
      }
    }
    const auto removed =
        plan->removed.begin() + static_cast<std::ptrdiff_t>(plan->row_removed.back());
    if (!std::is_sorted(removed, plan->removed.end())) std::sort(removed, plan->removed.end());
    plan->rows.push_back(static_cast<uint32_t>(r));
    plan->row_pairs.push_back(plan->pairs.size());
    plan->row_targets.push_back(plan->targets.size());
    plan->row_removed.push_back(plan->removed.size());
    plan->most_pairs = std::max(plan->most_pairs, plan->pairs.size() - first_pair);
    plan->most_targets = std::max(plan->most_targets, plan->targets.size() - first_target);
  }
  if (args.candidates_per_row) {
    PlanPerRow(args, plan);
  } else if (sampled) {
    PlanShared(plan);
  }
  return made;
}

}  // namespace prismrec::softmax_loss
