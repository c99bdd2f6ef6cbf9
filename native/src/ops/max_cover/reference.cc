#include <algorithm>
#include <cmath>

#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {
namespace {

// The most, in units, that sets of the whole budget could add to a cover where set s would add
// gains[s], if they did not overlap and one of them could be bought in part. The optimum is worth at
// most the cover's value plus this (Nemhauser, Wolsey and Fisher, 1978).
int64_t Purchasable(const Problem& problem, const std::vector<int64_t>& gains) {
  const Args& args = *problem.args;
  const auto sorted = [&](bool by_ratio) {
    std::vector<uint32_t> sets;
    for (uint32_t s = 0; s < gains.size(); ++s) {
      if (gains[s] > 0 && problem.Affordable(s, 0)) sets.push_back(s);
    }
    std::stable_sort(sets.begin(), sets.end(), [&](uint32_t a, uint32_t b) {
      return problem.WorthOf(gains[a], a, by_ratio) > problem.WorthOf(gains[b], b, by_ratio);
    });
    return sets;
  };
  const std::vector<uint32_t> by_gain = sorted(false);
  int64_t most = 0;
  for (size_t n = 0; n < std::min(problem.limit, by_gain.size()); ++n) most += gains[by_gain[n]];
  if (args.costs == nullptr || std::isinf(args.max_cost)) return most;
  double left = args.max_cost;
  int64_t sum = 0;
  for (const uint32_t s : sorted(true)) {
    const double cost = args.costs[s];
    if (cost > left) {
      sum += static_cast<int64_t>(std::ceil(static_cast<double>(gains[s]) * (left / cost)));
      break;
    }
    left -= cost;
    sum += gains[s];
  }
  return std::min(most, sum);
}

}  // namespace

Status Reference(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
                 Selection* selection) {
  const CsrView& sets = problem.args->sets;
  std::vector<uint32_t> left(sets.cols, problem.args->repeats);
  Sampler sampler(problem);
  std::vector<uint8_t> selected(sets.rows, 0);
  std::vector<int64_t> gains(sets.rows, 0);
  selection->bound = problem.attainable;
  for (;;) {
    if (cancel.Cancelled()) return Cancelled();
    for (uint32_t s = 0; s < sets.rows; ++s) {
      gains[s] = 0;
      for (size_t e = sets.indptr[s]; e < sets.indptr[s + 1] && selected[s] == 0; ++e) {
        if (left[sets.indices[e]] > 0) gains[s] += problem.UnitsOf(sets.indices[e]);
      }
    }
    const size_t picks = selection->picks.size();
    int64_t best = -1;
    if (picks < problem.limit) {
      if (problem.args->solver == Solver::kStochastic) {
        best = sampler.Next(selection->cost, by_ratio, [&](const std::vector<uint32_t>& drawn) {
          std::vector<int64_t> found;
          for (const uint32_t s : drawn) found.push_back(gains[s]);
          return found;
        });
      } else {
        for (uint32_t s = 0; s < sets.rows; ++s) {
          if (gains[s] < problem.least_gain || !problem.Affordable(s, selection->cost)) continue;
          const auto worth = [&](uint32_t set) {
            return problem.WorthOf(gains[set], set, by_ratio);
          };
          if (best < 0 || worth(s) > worth(static_cast<uint32_t>(best))) best = s;
        }
      }
    }
    if (best < 0 || problem.AsksBound(picks)) {
      selection->bound =
          std::min(selection->bound, selection->value + Purchasable(problem, gains));
    }
    if (best < 0) return Status::Ok();
    const uint32_t set = static_cast<uint32_t>(best);
    selection->picks.push_back(set);
    selection->gains.push_back(gains[set]);
    selection->value += gains[set];
    selection->cost += problem.CostOf(set);
    selected[set] = 1;
    for (size_t e = sets.indptr[set]; e < sets.indptr[set + 1]; ++e) {
      uint32_t& remaining = left[sets.indices[e]];
      if (remaining > 0) --remaining;
    }
  }
}

}  // namespace prismrec::max_cover
