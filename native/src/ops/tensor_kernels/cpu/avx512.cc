#define PRISMREC_SIMD_NS avx512
#define PRISMREC_TENSOR_TABLE kAvx512Table
#include "ops/tensor_kernels/cpu/kernel-inl.h"
