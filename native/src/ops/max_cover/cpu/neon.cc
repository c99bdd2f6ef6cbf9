#define PRISMREC_SIMD_NS neon
#include "ops/max_cover/cpu/kernel-inl.h"
