// The abstract vector's functions applied to arrays, so that tests reach them in each instruction
// set. Nothing of the addon refers to this.
#ifndef PRISMREC_SIMD_VEC_PROBE_H_
#define PRISMREC_SIMD_VEC_PROBE_H_

#include <cstddef>
#include <cstdint>

#include "runtime/dispatch.h"

namespace prismrec::simd_probe {

struct Probe {
  size_t lanes;
  // out[i] = f(x[i]); the last part through LoadN and StoreN.
  void (*exp)(const float* x, float* out, size_t n);
  void (*exp2_near)(const float* x, float* out, size_t n);
  void (*log)(const float* x, float* out, size_t n);
  // Each writes one row of `lanes` values per function: add, sub, mul, div, fma, fnma, min, max,
  // abs, sqrt, round, and blend by less, less-equal, greater, greater-equal, equal, less and equal,
  // less or equal.
  void (*arithmetic)(const float* a, const float* b, const float* c, float* out);
  // out[0..2] = sum, maximum, minimum of `lanes` values.
  void (*reduce)(const float* x, float* out);
  // out[0..3] = sums of `lanes` values each, four at once; out[4..7] = the same one by one.
  void (*reduce_four)(const float* x, float* out);
  uint32_t (*less_bits)(const float* a, const float* b);
  // out [lanes] = LoadN(x, n, fill)
  void (*load_filled)(const float* x, size_t n, float fill, float* out);
};

inline constexpr size_t kArithmeticRows = 18;

extern const Probe kScalarProbe;
extern const Probe kAvx2Probe;
extern const Probe kAvx512Probe;
extern const Probe kNeonProbe;

inline const Variant<const Probe*> kVariants[] = {
    {"scalar", Simd::kScalar, &kScalarProbe},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &kAvx2Probe},
    {"avx512", Simd::kAvx512, &kAvx512Probe},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &kNeonProbe},
#endif
};

}  // namespace prismrec::simd_probe

#endif  // PRISMREC_SIMD_VEC_PROBE_H_
