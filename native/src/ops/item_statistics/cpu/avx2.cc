#define PRISMREC_SIMD_NS avx2
#include "ops/item_statistics/cpu/kernel-inl.h"
