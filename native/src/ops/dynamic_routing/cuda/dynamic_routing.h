// Dynamic routing on a GPU; part of the CUDA library, which takes its arguments from any prismrec.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_DYNAMIC_ROUTING_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_DYNAMIC_ROUTING_H_

#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec::dynamic_routing {

Status ForwardOnCuda(const ForwardArgs& args, const CancelFlag& cancel);
Status BackwardOnCuda(const BackwardArgs& args, const CancelFlag& cancel);

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_DYNAMIC_ROUTING_H_
