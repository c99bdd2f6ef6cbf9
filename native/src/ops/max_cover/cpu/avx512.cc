#define PRISMREC_SIMD_NS avx512
#include "ops/max_cover/cpu/kernel-inl.h"
