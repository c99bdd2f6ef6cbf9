#define PRISMREC_SIMD_NS avx512
#include "ops/item_statistics/cpu/kernel-inl.h"
