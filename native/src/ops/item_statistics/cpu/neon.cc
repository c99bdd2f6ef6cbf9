#define PRISMREC_SIMD_NS neon
#include "ops/item_statistics/cpu/kernel-inl.h"
