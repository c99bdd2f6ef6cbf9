// The contrastive loss on a GPU; part of the CUDA library, which takes its arguments from any prismrec.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_CONTRASTIVE_LOSS_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_CONTRASTIVE_LOSS_H_

#include "ops/contrastive_loss/contrastive_loss.h"

namespace prismrec::contrastive_loss {

Status RunOnCuda(const Args& args, Outputs* outputs, const CancelFlag& cancel);

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_CONTRASTIVE_LOSS_H_
