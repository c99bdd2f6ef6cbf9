#define PRISMREC_SIMD_NS avx2
#define PRISMREC_GEMM_KERNEL kAvx2Kernel
#include "gemm/cpu/kernel-inl.h"
