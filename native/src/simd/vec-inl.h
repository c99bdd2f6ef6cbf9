// One abstract vector of floats, so that a kernel is written once.
//
// A file compiled for one instruction set (cpu/avx2.cc, ...) says which, then includes the kernel:
//   #define PRISMREC_SIMD_NS avx2  // scalar, avx2, avx512 or neon
//   #include "ops/<op>/cpu/kernel-inl.h"
// Everything here lives in prismrec::<that name>. Such a file must not use inline functions or
// templates that other files use too (the standard library's containers and algorithms, say): the
// linker keeps one copy of each, and it might keep the one that this machine cannot run.
//
// A comparison with NaN is false. Min(a, b) and Max(a, b) are `a < b ? a : b` and `a > b ? a : b`
// in effect where neither is NaN; with NaN the answer differs between instruction sets.
#ifndef PRISMREC_SIMD_NS
#error "define PRISMREC_SIMD_NS before including this file"
#endif

#ifndef PRISMREC_SIMD_VEC_INL_H_
#define PRISMREC_SIMD_VEC_INL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#define PRISMREC_SIMD_ID_scalar 1
#define PRISMREC_SIMD_ID_avx2 2
#define PRISMREC_SIMD_ID_avx512 3
#define PRISMREC_SIMD_ID_neon 4
#define PRISMREC_SIMD_JOIN_(a, b) a##b
#define PRISMREC_SIMD_JOIN(a, b) PRISMREC_SIMD_JOIN_(a, b)
#define PRISMREC_SIMD_ID PRISMREC_SIMD_JOIN(PRISMREC_SIMD_ID_, PRISMREC_SIMD_NS)

#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3
#include <immintrin.h>
#elif PRISMREC_SIMD_ID == 4
#include <arm_neon.h>
#elif PRISMREC_SIMD_ID != 1
#error "PRISMREC_SIMD_NS must be scalar, avx2, avx512 or neon"
#endif

namespace prismrec::PRISMREC_SIMD_NS {

#if PRISMREC_SIMD_ID == 1

using Vec = float;
using Mask = bool;
inline constexpr size_t kLanes = 1;

inline Vec Set(float x) { return x; }
inline Vec Load(const float* p) { return *p; }
inline void Store(float* p, Vec v) { *p = v; }
inline Vec LoadN(const float* p, size_t n) { return n > 0 ? *p : 0.0f; }
inline void StoreN(float* p, Vec v, size_t n) {
  if (n > 0) *p = v;
}
inline Vec Add(Vec a, Vec b) { return a + b; }
inline Vec Sub(Vec a, Vec b) { return a - b; }
inline Vec Mul(Vec a, Vec b) { return a * b; }
inline Vec Div(Vec a, Vec b) { return a / b; }
inline Vec Fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec Fnma(Vec a, Vec b, Vec c) { return c - a * b; }
inline Vec Min(Vec a, Vec b) { return a < b ? a : b; }
inline Vec Max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec Abs(Vec a) { return __builtin_fabsf(a); }
inline Vec Sqrt(Vec a) { return __builtin_sqrtf(a); }
// To the nearest integer, ties to even, for |a| < 2^22.
inline Vec Round(Vec a) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: above it, one unit is the last place
  return (a + kMagic) - kMagic;
}
inline Mask Less(Vec a, Vec b) { return a < b; }
inline Mask LessEqual(Vec a, Vec b) { return a <= b; }
inline Mask Greater(Vec a, Vec b) { return a > b; }
inline Mask GreaterEqual(Vec a, Vec b) { return a >= b; }
inline Mask Equal(Vec a, Vec b) { return a == b; }
inline Mask And(Mask a, Mask b) { return a && b; }
inline Mask Or(Mask a, Mask b) { return a || b; }
inline Vec Blend(Mask m, Vec yes, Vec no) { return m ? yes : no; }
inline uint32_t MaskBits(Mask m) { return m ? 1 : 0; }
inline float ReduceAdd(Vec v) { return v; }
inline float ReduceMax(Vec v) { return v; }
inline float ReduceMin(Vec v) { return v; }
// v * 2^n for an integer n in [-252, 252].
inline Vec Scale(Vec v, Vec n) {
  const int32_t whole = static_cast<int32_t>(n);
  const int32_t half = whole >> 1;
  const int32_t bits[2] = {(half + 127) << 23, (whole - half + 127) << 23};
  float factor[2];
  std::memcpy(factor, bits, sizeof(bits));
  return v * factor[0] * factor[1];
}
// The same by adding to the exponent's bits alone: where the result is normal, and 0 of 1 * 2^-127.
inline Vec ShiftExponent(Vec v, Vec n) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  bits += static_cast<uint32_t>(static_cast<int32_t>(n)) << 23;
  std::memcpy(&v, &bits, sizeof(bits));
  return v;
}
// v = *mantissa * 2^result, the mantissa in [0.5, 1), for a normal positive v.
inline Vec Split(Vec v, Vec* mantissa) {
  int32_t bits;
  std::memcpy(&bits, &v, sizeof(bits));
  const int32_t m = (bits & 0x007fffff) | 0x3f000000;
  std::memcpy(mantissa, &m, sizeof(m));
  return static_cast<float>((bits >> 23) - 126);
}

#elif PRISMREC_SIMD_ID == 2

using Vec = __m256;
using Mask = __m256;
inline constexpr size_t kLanes = 8;

inline __m256i LaneMask(size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? static_cast<int>(n) : 8), lane);
}
inline Vec Set(float x) { return _mm256_set1_ps(x); }
inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
// The first n lanes; 0 in the others. Memory beyond p[n - 1] is not touched.
inline Vec LoadN(const float* p, size_t n) { return _mm256_maskload_ps(p, LaneMask(n)); }
inline void StoreN(float* p, Vec v, size_t n) { _mm256_maskstore_ps(p, LaneMask(n), v); }
inline Vec Add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec Fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
inline Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec Abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Vec Sqrt(Vec a) { return _mm256_sqrt_ps(a); }
inline Vec Round(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Mask Less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline Mask LessEqual(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
inline Mask Greater(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
inline Mask GreaterEqual(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
inline Mask Equal(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
inline Mask And(Mask a, Mask b) { return _mm256_and_ps(a, b); }
inline Mask Or(Mask a, Mask b) { return _mm256_or_ps(a, b); }
inline Vec Blend(Mask m, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, m); }
// Bit i is lane i.
inline uint32_t MaskBits(Mask m) { return static_cast<uint32_t>(_mm256_movemask_ps(m)); }
inline float ReduceAdd(Vec v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// out[i] = ReduceAdd(v[i]), with the same bits.
inline void ReduceAdd4(const Vec (&v)[4], float* out) {
  const auto halves = [](Vec a, Vec b) {
    return Add(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  };
  const Vec first = halves(v[0], v[1]), second = halves(v[2], v[3]);
  const Vec pairs = Add(_mm256_unpacklo_ps(first, second), _mm256_unpackhi_ps(first, second));
  const __m128 even = _mm256_castps256_ps128(pairs), odd = _mm256_extractf128_ps(pairs, 1);
  _mm_storeu_ps(out, _mm_add_ps(_mm_unpacklo_ps(even, odd), _mm_unpackhi_ps(even, odd)));
}
inline float ReduceMax(Vec v) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline float ReduceMin(Vec v) {
  const __m128 four = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}
inline Vec Scale(Vec v, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(v, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
inline Vec ShiftExponent(Vec v, Vec n) {
  const __m256i by = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), by));
}
inline Vec Split(Vec v, Vec* mantissa) {
  const __m256i bits = _mm256_castps_si256(v);
  *mantissa = _mm256_castsi256_ps(_mm256_or_si256(
      _mm256_and_si256(bits, _mm256_set1_epi32(0x007fffff)), _mm256_set1_epi32(0x3f000000)));
  return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(126)));
}

#elif PRISMREC_SIMD_ID == 3

using Vec = __m512;
using Mask = __mmask16;
inline constexpr size_t kLanes = 16;

inline __mmask16 LaneMask(size_t n) {
  return static_cast<__mmask16>(n < 16 ? (1u << n) - 1 : 0xffffu);
}
inline Vec Set(float x) { return _mm512_set1_ps(x); }
inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec LoadN(const float* p, size_t n) { return _mm512_maskz_loadu_ps(LaneMask(n), p); }
inline void StoreN(float* p, Vec v, size_t n) { _mm512_mask_storeu_ps(p, LaneMask(n), v); }
inline Vec Add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec Sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec Mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec Div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec Fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
inline Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec Abs(Vec a) { return _mm512_abs_ps(a); }
inline Vec Sqrt(Vec a) { return _mm512_sqrt_ps(a); }
inline Vec Round(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Mask Less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Mask LessEqual(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline Mask Greater(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask GreaterEqual(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline Mask Equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
inline Mask And(Mask a, Mask b) { return static_cast<Mask>(a & b); }
inline Mask Or(Mask a, Mask b) { return static_cast<Mask>(a | b); }
inline Vec Blend(Mask m, Vec yes, Vec no) { return _mm512_mask_blend_ps(m, no, yes); }
inline uint32_t MaskBits(Mask m) { return m; }
inline float ReduceAdd(Vec v) { return _mm512_reduce_add_ps(v); }
inline void ReduceAdd4(const Vec (&v)[4], float* out) {
  const auto halves = [](Vec a, Vec b) {
    return Add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const Vec first = halves(v[0], v[1]), second = halves(v[2], v[3]);
  Vec sums =
      Add(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd));
  sums = Add(sums, _mm512_permute_ps(sums, 0x4e));
  sums = Add(sums, _mm512_permute_ps(sums, 0xb1));
  // Not a masked store, which a load would wait for.
  _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, sums)));
}
inline float ReduceMax(Vec v) { return _mm512_reduce_max_ps(v); }
inline float ReduceMin(Vec v) { return _mm512_reduce_min_ps(v); }
inline Vec Scale(Vec v, Vec n) { return _mm512_scalef_ps(v, n); }
inline Vec ShiftExponent(Vec v, Vec n) {
  const __m512i by = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), by));
}
inline Vec Split(Vec v, Vec* mantissa) {
  const __m512i bits = _mm512_castps_si512(v);
  *mantissa = _mm512_castsi512_ps(_mm512_or_si512(
      _mm512_and_si512(bits, _mm512_set1_epi32(0x007fffff)), _mm512_set1_epi32(0x3f000000)));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(bits, 23), _mm512_set1_epi32(126)));
}

#else  // NEON

using Vec = float32x4_t;
using Mask = uint32x4_t;
inline constexpr size_t kLanes = 4;

inline Vec Set(float x) { return vdupq_n_f32(x); }
inline Vec Load(const float* p) { return vld1q_f32(p); }
inline void Store(float* p, Vec v) { vst1q_f32(p, v); }
inline Vec LoadN(const float* p, size_t n) {
  float lanes[4] = {};
  for (size_t i = 0; i < n && i < 4; ++i) lanes[i] = p[i];
  return vld1q_f32(lanes);
}
inline void StoreN(float* p, Vec v, size_t n) {
  float lanes[4];
  vst1q_f32(lanes, v);
  for (size_t i = 0; i < n && i < 4; ++i) p[i] = lanes[i];
}
inline Vec Add(Vec a, Vec b) { return vaddq_f32(a, b); }
inline Vec Sub(Vec a, Vec b) { return vsubq_f32(a, b); }
inline Vec Mul(Vec a, Vec b) { return vmulq_f32(a, b); }
inline Vec Div(Vec a, Vec b) { return vdivq_f32(a, b); }
inline Vec Fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
inline Vec Fnma(Vec a, Vec b, Vec c) { return vfmsq_f32(c, a, b); }
inline Vec Min(Vec a, Vec b) { return vminq_f32(a, b); }
inline Vec Max(Vec a, Vec b) { return vmaxq_f32(a, b); }
inline Vec Abs(Vec a) { return vabsq_f32(a); }
inline Vec Sqrt(Vec a) { return vsqrtq_f32(a); }
inline Vec Round(Vec a) { return vrndnq_f32(a); }
inline Mask Less(Vec a, Vec b) { return vcltq_f32(a, b); }
inline Mask LessEqual(Vec a, Vec b) { return vcleq_f32(a, b); }
inline Mask Greater(Vec a, Vec b) { return vcgtq_f32(a, b); }
inline Mask GreaterEqual(Vec a, Vec b) { return vcgeq_f32(a, b); }
inline Mask Equal(Vec a, Vec b) { return vceqq_f32(a, b); }
inline Mask And(Mask a, Mask b) { return vandq_u32(a, b); }
inline Mask Or(Mask a, Mask b) { return vorrq_u32(a, b); }
inline Vec Blend(Mask m, Vec yes, Vec no) { return vbslq_f32(m, yes, no); }
inline uint32_t MaskBits(Mask m) {
  const uint32_t weights[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m, vld1q_u32(weights)));
}
inline float ReduceAdd(Vec v) { return vaddvq_f32(v); }
inline float ReduceMax(Vec v) { return vmaxvq_f32(v); }
inline float ReduceMin(Vec v) { return vminvq_f32(v); }
inline Vec Scale(Vec v, Vec n) {
  const int32x4_t whole = vcvtq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
  const int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23);
  return vmulq_f32(vmulq_f32(v, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
}
inline Vec ShiftExponent(Vec v, Vec n) {
  const int32x4_t by = vshlq_n_s32(vcvtq_s32_f32(n), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), by));
}
inline Vec Split(Vec v, Vec* mantissa) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  *mantissa = vreinterpretq_f32_u32(
      vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x007fffff)), vdupq_n_u32(0x3f000000)));
  return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(bits, 23)), vdupq_n_s32(126)));
}

#endif

inline Vec Zero() { return Set(0.0f); }

#if PRISMREC_SIMD_ID == 1 || PRISMREC_SIMD_ID == 4
inline void ReduceAdd4(const Vec (&v)[4], float* out) {
  for (int i = 0; i < 4; ++i) out[i] = ReduceAdd(v[i]);
}
#endif

// LoadN with `fill` in the lanes beyond the n-th.
inline Vec LoadN(const float* p, size_t n, float fill) {
  float lanes[kLanes];
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = i < n ? p[i] : fill;
  return Load(lanes);
}

inline constexpr float kLog2E = 1.44269504f;
// ln 2 in two parts; the first has few enough bits that a whole multiple of it is exact.
inline constexpr float kLn2High = 0.693359375f;
inline constexpr float kLn2Low = -2.1219444e-4f;

// exp(x), within 2 ulp where the result is normal; 0 and infinity beyond the range, NaN for NaN.
// x = n ln 2 + r with |r| <= ln(2) / 2; exp(r) = 1 + r + r^2 p(r), p interpolated at Chebyshev
// nodes.
inline Vec Exp(Vec x) {
  static constexpr float kP[] = {1.9891981e-4f, 1.3934541e-3f, 8.3333105e-3f,
                                 4.1666456e-2f, 0.16666667f,   0.5f};
  const Vec clamped = Max(Min(x, Set(90.0f)), Set(-110.0f));
  const Vec n = Round(Mul(clamped, Set(kLog2E)));
  const Vec r = Fnma(n, Set(kLn2Low), Fnma(n, Set(kLn2High), clamped));
  Vec p = Set(kP[0]);
  for (int i = 1; i < 6; ++i) p = Fma(p, r, Set(kP[i]));
  const Vec value = Scale(Add(Fma(Mul(r, r), p, r), Set(1.0f)), n);
  return Blend(Equal(x, x), value, x);
}

// 2^x within 2 ulp for x in [-126, 126]; below, a value of at most 2^-126, from -127 on 0. Nothing
// is said of NaN and of larger x. 2^x = 2^n (1 + r p(r)), n = round(x), p minimax.
inline Vec Exp2Near(Vec x) {
  static constexpr float kP[] = {1.5353362e-4f, 1.3398875e-3f, 9.6184369e-3f,
                                 5.5503324e-2f, 0.24022648f,   0.69314718f};
  const Vec clamped = Max(x, Set(-127.0f));
  const Vec n = Round(clamped);
  const Vec r = Sub(clamped, n);
  Vec p = Set(kP[0]);
  for (int i = 1; i < 6; ++i) p = Fma(p, r, Set(kP[i]));
  return ShiftExponent(Fma(p, r, Set(1.0f)), n);
}

// log(x), within 2 ulp; -infinity for 0, NaN below 0 and for NaN.
// x = m 2^e with m in [sqrt(1/2), sqrt(2)), f = m - 1; log(m) = f - f^2 / 2 + f^3 p(f).
inline Vec Log(Vec x) {
  static constexpr float kP[] = {6.9716118e-2f, -0.11479734f, 0.1168542f,
                                 -0.12425687f,  0.14249058f,  -0.16667803f,
                                 0.20000716f,   -0.24999997f, 0.33333331f};
  const Mask subnormal = Less(x, Set(1.17549435e-38f));
  const Vec normal = Blend(subnormal, Mul(x, Set(33554432.0f)), x);  // 2^25
  Vec m;
  Vec e = Split(normal, &m);
  e = Sub(e, Blend(subnormal, Set(25.0f), Zero()));
  const Mask low = Less(m, Set(0.70710678f));
  m = Blend(low, Add(m, m), m);
  e = Sub(e, Blend(low, Set(1.0f), Zero()));
  const Vec f = Sub(m, Set(1.0f));
  const Vec square = Mul(f, f);
  Vec p = Set(kP[0]);
  for (int i = 1; i < 9; ++i) p = Fma(p, f, Set(kP[i]));
  Vec tail = Mul(Mul(square, f), p);
  tail = Fma(e, Set(kLn2Low), tail);
  tail = Fnma(square, Set(0.5f), tail);
  Vec value = Fma(e, Set(kLn2High), Add(f, tail));
  const Vec infinity = Set(__builtin_inff());
  value = Blend(Equal(x, infinity), x, value);
  value = Blend(Equal(x, Zero()), Sub(Zero(), infinity), value);
  return Blend(GreaterEqual(x, Zero()), value, Set(__builtin_nanf("")));
}

}  // namespace prismrec::PRISMREC_SIMD_NS

#endif  // PRISMREC_SIMD_VEC_INL_H_
