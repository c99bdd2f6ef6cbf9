#include "runtime/cpu_features.h"

#include <cstdlib>
#include <cstring>
#include <string>

namespace prismrec {
namespace {

#ifdef PRISMREC_EMULATE_AVX512
constexpr bool kEmulateAvx512 = true;
#else
constexpr bool kEmulateAvx512 = false;
#endif

Simd Best() {
  if (Supported(Simd::kAvx512) && !kEmulateAvx512) return Simd::kAvx512;
  if (Supported(Simd::kAvx2)) return Simd::kAvx2;
  if (Supported(Simd::kNeon)) return Simd::kNeon;
  return Simd::kScalar;
}

std::string SupportedNames() {
  std::string names;
  for (Simd simd : kAllSimd) {
    if (Supported(simd)) names += (names.empty() ? "" : ", ") + std::string(SimdName(simd));
  }
  return names;
}

}  // namespace

const char* SimdName(Simd simd) {
  switch (simd) {
    case Simd::kScalar:
      return "scalar";
    case Simd::kAvx2:
      return "avx2";
    case Simd::kAvx512:
      return "avx512";
    case Simd::kNeon:
      return "neon";
  }
  return "scalar";
}

bool Supported(Simd simd) {
  switch (simd) {
    case Simd::kScalar:
      return true;
#ifdef PRISMREC_ARCH_X86
    case Simd::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Simd::kAvx512:
      return Supported(Simd::kAvx2) &&
             (kEmulateAvx512 ||
              (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")));
#endif
#ifdef PRISMREC_ARCH_ARM64
    case Simd::kNeon:
      return true;
#endif
    default:
      return false;
  }
}

Status ResolveSimd(const char* forced, Simd* simd) {
  if (forced == nullptr || *forced == '\0') {
    *simd = Best();
    return Status::Ok();
  }
  for (Simd candidate : kAllSimd) {
    if (std::strcmp(forced, SimdName(candidate)) == 0 && Supported(candidate)) {
      *simd = candidate;
      return Status::Ok();
    }
  }
  return DeviceUnavailable("PRISMREC_SIMD names an instruction set that this machine does not run",
                           SupportedNames(), forced, "Unset PRISMREC_SIMD or name another one.");
}

Simd ActiveSimd() {
  static const Simd active = [] {
    Simd simd = Simd::kScalar;
    return ResolveSimd(std::getenv("PRISMREC_SIMD"), &simd).ok() ? simd : Best();
  }();
  return active;
}

}  // namespace prismrec
