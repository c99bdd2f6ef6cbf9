#include <algorithm>

#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {

Status Reference(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
                 Selection* selection) {
  const size_t set_count = problem.args->sets.rows;
  Cover cover(problem);
  Sampler sampler(problem);
  std::vector<uint8_t> selected(set_count, 0);
  std::vector<int64_t> gains(set_count, 0);
  selection->bound = problem.attainable;
  for (;;) {
    if (cancel.Cancelled()) return Cancelled();
    for (uint32_t s = 0; s < set_count; ++s) gains[s] = selected[s] != 0 ? 0 : cover.GainOf(s);
    const size_t picks = selection->picks.size();
    int64_t best = -1;
    if (picks < problem.limit) {
      if (problem.args->solver == Solver::kStochastic) {
        best = sampler.Next(selection->cost, by_ratio, [&](uint32_t s) { return gains[s]; });
      } else {
        for (uint32_t s = 0; s < set_count; ++s) {
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
    cover.Add(set, [](uint32_t) {});
  }
}

}  // namespace prismrec::max_cover
