// Which instruction sets this machine runs, and which one is in use.
#ifndef PRISMREC_RUNTIME_CPU_FEATURES_H_
#define PRISMREC_RUNTIME_CPU_FEATURES_H_

#include "runtime/status.h"

#if defined(__x86_64__) || defined(_M_X64)
#define PRISMREC_ARCH_X86 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define PRISMREC_ARCH_ARM64 1
#endif

namespace prismrec {

enum class Simd { kScalar, kAvx2, kAvx512, kNeon };

inline constexpr Simd kAllSimd[] = {Simd::kScalar, Simd::kAvx2, Simd::kAvx512, Simd::kNeon};

// "scalar", "avx2", "avx512" or "neon": the names that PRISMREC_SIMD takes.
const char* SimdName(Simd simd);

// Whether processor and operating system run it. AVX2 stands for AVX2 with FMA and F16C; AVX-512
// for its F, BW, DQ and VL parts.
bool Supported(Simd simd);

// The instruction set named by `forced` (null or empty: the best supported one).
Status ResolveSimd(const char* forced, Simd* simd);

// The instruction set in use: PRISMREC_SIMD's as of the first call, else the best supported one. An
// impossible wish is reported by ResolveSimd when the addon is loaded; here it counts as no wish.
Simd ActiveSimd();

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_CPU_FEATURES_H_
