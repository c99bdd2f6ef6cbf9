#define PRISMREC_SIMD_NS scalar
#include "ops/prefix_attention/cpu/kernel-inl.h"
