#define PRISMREC_SIMD_NS avx2
#include "ops/max_cover/cpu/kernel-inl.h"
