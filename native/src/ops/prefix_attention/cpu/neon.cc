#define PRISMREC_SIMD_NS neon
#include "ops/prefix_attention/cpu/kernel-inl.h"
