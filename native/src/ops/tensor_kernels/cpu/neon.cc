#define PRISMREC_SIMD_NS neon
#define PRISMREC_TENSOR_TABLE kNeonTable
#include "ops/tensor_kernels/cpu/kernel-inl.h"
