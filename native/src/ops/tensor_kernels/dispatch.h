#ifndef PRISMREC_OPS_TENSOR_KERNELS_DISPATCH_H_
#define PRISMREC_OPS_TENSOR_KERNELS_DISPATCH_H_

#include "ops/tensor_kernels/cpu/table.h"

namespace prismrec::tensor {

// The span kernels of this machine, or of the instruction set PRISMREC_SIMD names.
const KernelTable& ActiveTable();

// The table of one instruction set, or null where this machine cannot run it.
const KernelTable* TableNamed(const char* name);

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_DISPATCH_H_
