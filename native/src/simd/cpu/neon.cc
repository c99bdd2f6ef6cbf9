#define PRISMREC_SIMD_NS neon
#define PRISMREC_PROBE kNeonProbe
#include "simd/cpu/probe-inl.h"
