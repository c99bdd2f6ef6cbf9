#define PRISMREC_SIMD_NS neon
#include "ops/embedding_rows/cpu/kernel-inl.h"
