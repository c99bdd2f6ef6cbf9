#define PRISMREC_SIMD_NS scalar
#define PRISMREC_PROBE kScalarProbe
#include "simd/cpu/probe-inl.h"
