#define PRISMREC_SIMD_NS avx2
#define PRISMREC_TENSOR_TABLE kAvx2Table
#include "ops/tensor_kernels/cpu/kernel-inl.h"
