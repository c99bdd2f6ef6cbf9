#define PRISMREC_SIMD_NS scalar
#define PRISMREC_TENSOR_TABLE kScalarTable
#include "ops/tensor_kernels/cpu/kernel-inl.h"
