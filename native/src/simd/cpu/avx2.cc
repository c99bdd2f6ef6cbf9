#define PRISMREC_SIMD_NS avx2
#define PRISMREC_PROBE kAvx2Probe
#include "simd/cpu/probe-inl.h"
