// The algorithm around the spans, the same for every instruction set.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_

#include "ops/softmax_loss/cpu/spans.h"
#include "ops/softmax_loss/softmax_loss.h"

namespace prismrec::softmax_loss {

Status Sweep(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
             const CancelFlag& cancel);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_SWEEP_H_
