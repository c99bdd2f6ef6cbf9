#define PRISMREC_SIMD_NS avx512
#define PRISMREC_GEMM_KERNEL kAvx512Kernel
#include "gemm/cpu/kernel-inl.h"
