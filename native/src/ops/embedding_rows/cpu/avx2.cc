#define PRISMREC_SIMD_NS avx2
#include "ops/embedding_rows/cpu/kernel-inl.h"
