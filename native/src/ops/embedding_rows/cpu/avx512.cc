#define PRISMREC_SIMD_NS avx512
#include "ops/embedding_rows/cpu/kernel-inl.h"
