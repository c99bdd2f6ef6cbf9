#define PRISMREC_SIMD_NS avx512
#include "ops/prefix_attention/cpu/kernel-inl.h"
