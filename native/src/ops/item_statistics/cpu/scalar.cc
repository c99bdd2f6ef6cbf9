#define PRISMREC_SIMD_NS scalar
#include "ops/item_statistics/cpu/kernel-inl.h"
