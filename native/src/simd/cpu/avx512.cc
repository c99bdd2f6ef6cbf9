#define PRISMREC_SIMD_NS avx512
#define PRISMREC_PROBE kAvx512Probe
#include "simd/cpu/probe-inl.h"
