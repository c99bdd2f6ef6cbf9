#define PRISMREC_SIMD_NS avx2
#include "ops/prefix_attention/cpu/kernel-inl.h"
