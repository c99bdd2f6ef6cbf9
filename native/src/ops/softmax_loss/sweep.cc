// What all ways through the loss have in common: the plan, the outputs, and what is not finite.
// Columns that all rows share are met in tiles of a geometry (shared.cc), by a sweep that keeps its
// exponentials (kept_sweep.cc) or by two that do not (twice_sweep.cc); rows with candidates of their
// own go one by one (own_sweep.cc). How a tile (tile.cc) or a row (rows.cc) is dealt with is the
// same for all. What is cut is cut by the shapes alone and every sum has one owner: the same bits
// whatever the number of threads.
#include "ops/softmax_loss/sweep.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace prismrec::softmax_loss {

Status ItemsNotFinite() {
  return NonFinite(
      "items or itemBias hold a value that is not finite", "finite values", "NaN or infinity",
      "A diverging learning rate is the usual cause; look at the step before this one.");
}

Status InterestsNotFinite() {
  return NonFinite("interests or offsets hold a value that is not finite",
                   "finite values, or offset -Infinity", "NaN or infinity",
                   "A diverging learning rate is the usual cause; look at the step before.");
}

Status Sweep(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
             const CancelFlag& cancel) {
  const Plan plan = MakePlan(args);
  const Problem problem{spans, args, plan, outputs, pool, cancel};
  std::fill_n(outputs->row_losses, args.rows(), 0.0f);
  outputs->counted_rows = problem.counted();
  outputs->gradient_rows = args.candidates == nullptr ? plan.columns : plan.gradient_items.size();
  if (outputs->gradients()) {
    // Those of skipped rows and absent interests stay 0.
    std::fill_n(outputs->interest_gradient, args.interests.rows * args.dim(), 0.0f);
    std::fill_n(outputs->offset_gradient, args.interests.rows, 0.0f);
    std::copy(plan.gradient_items.begin(), plan.gradient_items.end(), outputs->item_ids);
  }
  Rows rows(problem);
  const Status status =
      args.candidates_per_row ? SweepOwn(problem, &rows) : SweepShared(problem, &rows);
  if (!status.ok()) return status;
  if (cancel.Cancelled()) return Cancelled();

  double total = 0;
  for (const uint32_t row : plan.rows) total += outputs->row_losses[row];
  outputs->loss = plan.rows.empty() ? 0 : total / static_cast<double>(plan.rows.size());
  if (std::isfinite(outputs->loss)) return Status::Ok();
  return NonFinite(
      "the softmax loss is not finite", "logits that fit float32", std::to_string(outputs->loss),
      "A diverging learning rate is the usual cause; look at the step before this one.");
}

}  // namespace prismrec::softmax_loss
