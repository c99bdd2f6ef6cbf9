#define PRISMREC_SIMD_NS scalar
#define PRISMREC_GEMM_KERNEL kScalarKernel
#include "gemm/cpu/kernel-inl.h"
