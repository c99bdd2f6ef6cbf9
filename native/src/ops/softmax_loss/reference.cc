// The definition, in double precision and in the order of the formulas: nothing here is meant to be
// fast.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "ops/softmax_loss/softmax_loss.h"

namespace prismrec::softmax_loss {
namespace {

constexpr double kNegativeInfinity = -std::numeric_limits<double>::infinity();

struct Column {
  uint32_t item;
  double shift;
};

struct RowColumns {
  std::vector<Column> columns;
  // For each target entry, its column.
  std::vector<size_t> targets;
};

double At(const float* values, size_t i) { return values == nullptr ? 0.0 : values[i]; }

RowColumns ColumnsOf(const Args& args, size_t r) {
  RowColumns out;
  const size_t first = args.targets.indptr[r];
  const size_t last = args.targets.indptr[r + 1];
  std::set<uint32_t> own(args.targets.indices + first, args.targets.indices + last);
  std::set<uint32_t> removed;
  if (args.mask.indptr != nullptr) {
    removed.insert(args.mask.indices + args.mask.indptr[r],
                   args.mask.indices + args.mask.indptr[r + 1]);
  }
  std::map<uint32_t, size_t> place;
  if (args.candidates == nullptr) {
    for (uint32_t item = 0; item < args.items.rows; ++item) {
      if (removed.count(item) != 0 && own.count(item) == 0) continue;
      place[item] = out.columns.size();
      out.columns.push_back({item, At(args.item_bias, item)});
    }
  } else {
    for (size_t t = first; t < last; ++t) {
      const uint32_t item = args.targets.indices[t];
      if (!place.emplace(item, out.columns.size()).second) continue;
      out.columns.push_back({item, At(args.item_bias, item) - At(args.target_log_q, t)});
    }
    const size_t first_candidate = args.candidates_per_row ? r * args.candidate_count : 0;
    for (size_t s = first_candidate; s < first_candidate + args.candidate_count; ++s) {
      const uint32_t item = args.candidates[s];
      if (own.count(item) != 0 || removed.count(item) != 0) continue;
      out.columns.push_back({item, At(args.item_bias, item) - At(args.log_q, s)});
    }
  }
  for (size_t t = first; t < last; ++t) out.targets.push_back(place[args.targets.indices[t]]);
  return out;
}

// Slot in the item gradient of each item that may have one.
std::map<uint32_t, size_t> Slots(const Args& args) {
  std::map<uint32_t, size_t> slots;
  if (args.candidates == nullptr) return slots;
  for (size_t s = 0; s < args.candidate_entries(); ++s) slots[args.candidates[s]] = 0;
  for (size_t t = 0; t < args.targets.indptr[args.rows()]; ++t) slots[args.targets.indices[t]] = 0;
  size_t next = 0;
  for (auto& entry : slots) entry.second = next++;
  return slots;
}

// All items, and the interests that are read.
bool AllFinite(const Args& args) {
  const auto finite = [](const float* values, size_t count) {
    return std::all_of(values, values + count, [](float x) { return std::isfinite(x); });
  };
  const auto finite_item = [&](uint32_t item) {
    return finite(args.items.row(item), args.dim()) && std::isfinite(At(args.item_bias, item));
  };
  if (args.candidates == nullptr) {
    for (uint32_t item = 0; item < args.items.rows; ++item) {
      if (!finite_item(item)) return false;
    }
  } else if (!std::all_of(args.candidates, args.candidates + args.candidate_entries(),
                          finite_item) ||
             !std::all_of(args.targets.indices, args.targets.indices + args.targets.nnz(),
                          finite_item)) {
    return false;
  }
  for (size_t p = 0; p < args.interests.rows; ++p) {
    const size_t r = p / args.interests_per_row;
    const double offset = At(args.offsets, p);
    if (offset == kNegativeInfinity || args.targets.indptr[r] == args.targets.indptr[r + 1]) continue;
    if (!std::isfinite(offset) || !finite(args.interests.row(p), args.dim())) return false;
  }
  return true;
}

}  // namespace

Status Reference(const Args& args, Outputs* out, ThreadPool&, const CancelFlag& cancel) {
  if (!AllFinite(args)) return NonFinite("the input is not finite", "finite input");
  const size_t dim = args.dim();
  const size_t per_row = args.interests_per_row;
  const bool max = args.readout == Readout::kMax;
  const std::map<uint32_t, size_t> slots = Slots(args);
  const size_t slot_count = args.candidates == nullptr ? args.items.rows : slots.size();
  const size_t pairs = args.rows() * per_row;
  std::vector<double> d_interests, d_offsets, d_items, d_bias;
  if (out->gradients()) {
    d_interests.assign(pairs * dim, 0);
    d_offsets.assign(pairs, 0);
    d_items.assign(slot_count * dim, 0);
    d_bias.assign(slot_count, 0);
  }
  size_t counted = 0;
  for (size_t r = 0; r < args.rows(); ++r)
    counted += args.targets.indptr[r + 1] > args.targets.indptr[r];

  double total = 0;
  for (size_t r = 0; r < args.rows(); ++r) {
    if (cancel.Cancelled()) return Cancelled();
    out->row_losses[r] = 0;
    const RowColumns row = ColumnsOf(args, r);
    if (row.targets.empty()) continue;
    std::vector<size_t> present;
    for (size_t p = r * per_row; p < (r + 1) * per_row; ++p) {
      if (!std::isinf(At(args.offsets, p)) || At(args.offsets, p) > 0) present.push_back(p);
    }
    const size_t columns = row.columns.size();
    std::vector<double> logits(present.size() * columns);
    for (size_t p = 0; p < present.size(); ++p) {
      for (size_t c = 0; c < columns; ++c) {
        double dot = 0;
        for (size_t k = 0; k < dim; ++k) {
          dot += double{args.interests.data[present[p] * dim + k]} *
                 args.items.data[row.columns[c].item * dim + k];
        }
        logits[p * columns + c] = dot + row.columns[c].shift + At(args.offsets, present[p]);
      }
    }
    std::vector<double> scores(columns);
    std::vector<size_t> winner(columns);
    double top = kNegativeInfinity;
    for (size_t c = 0; c < columns; ++c) {
      for (size_t p = 1; p < present.size(); ++p) {
        if (logits[p * columns + c] > logits[winner[c] * columns + c]) winner[c] = p;
      }
      const double best = logits[winner[c] * columns + c];
      double sum = 0;
      for (size_t p = 0; p < present.size(); ++p) sum += std::exp(logits[p * columns + c] - best);
      scores[c] = max ? best : best + std::log(sum);
      top = std::max(top, scores[c]);
    }
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - top);
    const double normaliser = top + std::log(sum);
    double target_mean = 0;
    for (const size_t c : row.targets) target_mean += scores[c] / row.targets.size();
    const double loss = normaliser - target_mean;
    out->row_losses[r] = static_cast<float>(loss);
    total += loss;
    if (!out->gradients()) continue;

    std::vector<double> gradient(columns);
    for (size_t c = 0; c < columns; ++c) gradient[c] = std::exp(scores[c] - normaliser) / counted;
    for (const size_t c : row.targets) gradient[c] -= 1.0 / (row.targets.size() * counted);
    for (size_t c = 0; c < columns; ++c) {
      const uint32_t item = row.columns[c].item;
      const size_t slot = args.candidates == nullptr ? item : slots.at(item);
      for (size_t p = 0; p < present.size(); ++p) {
        const double share =
            max ? (p == winner[c] ? 1.0 : 0.0) : std::exp(logits[p * columns + c] - scores[c]);
        const double g = gradient[c] * share;
        d_offsets[present[p]] += g;
        d_bias[slot] += g;
        for (size_t k = 0; k < dim; ++k) {
          d_interests[present[p] * dim + k] += g * args.items.data[item * dim + k];
          d_items[slot * dim + k] += g * args.interests.data[present[p] * dim + k];
        }
      }
    }
  }
  out->counted_rows = counted;
  out->loss = counted == 0 ? 0 : total / counted;
  if (!std::isfinite(out->loss)) return NonFinite("the softmax loss is not finite", "finite input");
  if (out->gradients()) {
    std::copy(d_interests.begin(), d_interests.end(), out->interest_gradient);
    std::copy(d_offsets.begin(), d_offsets.end(), out->offset_gradient);
    std::copy(d_items.begin(), d_items.end(), out->item_gradient);
    std::copy(d_bias.begin(), d_bias.end(), out->bias_gradient);
    out->gradient_rows = slot_count;
    for (const auto& [item, slot] : slots) out->item_ids[slot] = item;
  }
  return Status::Ok();
}

}  // namespace prismrec::softmax_loss
