#define PRISMREC_SIMD_NS scalar
#include "ops/max_cover/cpu/kernel-inl.h"
