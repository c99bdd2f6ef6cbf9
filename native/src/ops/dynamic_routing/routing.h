// Forward and backward pass around the kernels of one instruction set.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_ROUTING_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_ROUTING_H_

#include "ops/dynamic_routing/cpu/kernels.h"
#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec::dynamic_routing {

Status Forward(const Kernels& kernels, const ForwardArgs& args, ThreadPool& pool,
               const CancelFlag& cancel);
Status Backward(const Kernels& kernels, const BackwardArgs& args, ThreadPool& pool,
                const CancelFlag& cancel);

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_ROUTING_H_
