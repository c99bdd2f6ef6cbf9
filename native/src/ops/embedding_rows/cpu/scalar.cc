#define PRISMREC_SIMD_NS scalar
#include "ops/embedding_rows/cpu/kernel-inl.h"
