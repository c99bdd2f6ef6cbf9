// The algorithm around the spans, the same for every instruction set.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_

#include "ops/softmax_loss/problem.h"
#include "ops/softmax_loss/rows.h"

namespace prismrec::softmax_loss {

Status Sweep(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
             const CancelFlag& cancel);

// Columns that all rows share (shared.cc); candidates of each row's own (own_sweep.cc).
Status SweepShared(const Problem& problem, Rows* rows);
Status SweepOwn(const Problem& problem, Rows* rows);

Status ItemsNotFinite();
Status InterestsNotFinite();

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_
