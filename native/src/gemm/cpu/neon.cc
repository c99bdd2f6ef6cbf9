#define PRISMREC_SIMD_NS neon
#define PRISMREC_GEMM_KERNEL kNeonKernel
#include "gemm/cpu/kernel-inl.h"
