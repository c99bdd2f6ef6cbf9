// The softmax loss on a GPU; part of the CUDA library, which takes its arguments from any prismrec.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_CUDA_SOFTMAX_LOSS_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_CUDA_SOFTMAX_LOSS_H_

#include "ops/softmax_loss/softmax_loss.h"

namespace prismrec::softmax_loss {

// For arguments that CheckArgs accepts.
Status RunOnCuda(const Args& args, Outputs* outputs, const CancelFlag& cancel);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_CUDA_SOFTMAX_LOSS_H_
