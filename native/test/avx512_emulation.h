// The AVX-512 intrinsics that simd/vec-inl.h and the scan of codes use, in plain code, so that the AVX-512 variants are
// tested on machines that do not run them. Put before a source file by CMake's
// PRISMREC_EMULATE_AVX512; never part of the addon.
#ifndef PRISMREC_TEST_AVX512_EMULATION_H_
#define PRISMREC_TEST_AVX512_EMULATION_H_

#include <immintrin.h>

#include <cmath>
#include <cstring>

namespace prismrec::emulated {

using Floats = float __attribute__((vector_size(64)));
using Ints = int __attribute__((vector_size(64)));

inline Floats Set(float x) { return Floats{} + x; }
inline Ints Set(int x) { return Ints{} + x; }
inline Floats Load(__mmask16 mask, const float* p) {
  Floats v = {};
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i) & 1) v[i] = p[i];
  }
  return v;
}
inline void Store(float* p, __mmask16 mask, Floats v) {
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i) & 1) p[i] = v[i];
  }
}
inline Floats Load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void Store(float* p, Floats v) { std::memcpy(p, &v, sizeof(v)); }
template <class F>
inline Floats Map(F f) {
  Floats v;
  for (int i = 0; i < 16; ++i) v[i] = f(i);
  return v;
}
// A comparison with NaN, and hence min and max with one, answers with the second operand.
inline Floats Min(Floats a, Floats b) {
  return Map([&](int i) { return a[i] < b[i] ? a[i] : b[i]; });
}
inline Floats Max(Floats a, Floats b) {
  return Map([&](int i) { return a[i] > b[i] ? a[i] : b[i]; });
}
inline Floats Fma(Floats a, Floats b, Floats c) {
  const __m256 low =
      _mm256_fmadd_ps(*reinterpret_cast<const __m256*>(&a), *reinterpret_cast<const __m256*>(&b),
                      *reinterpret_cast<const __m256*>(&c));
  const __m256 high = _mm256_fmadd_ps(*(reinterpret_cast<const __m256*>(&a) + 1),
                                      *(reinterpret_cast<const __m256*>(&b) + 1),
                                      *(reinterpret_cast<const __m256*>(&c) + 1));
  Floats v;
  std::memcpy(&v, &low, 32);
  std::memcpy(reinterpret_cast<char*>(&v) + 32, &high, 32);
  return v;
}
inline __mmask16 Compare(Floats a, Floats b, int predicate) {
  unsigned mask = 0;
  for (int i = 0; i < 16; ++i) {
    const bool holds = predicate == _CMP_LT_OQ   ? a[i] < b[i]
                       : predicate == _CMP_LE_OQ ? a[i] <= b[i]
                       : predicate == _CMP_GT_OQ ? a[i] > b[i]
                       : predicate == _CMP_GE_OQ ? a[i] >= b[i]
                                                 : a[i] == b[i];
    mask |= static_cast<unsigned>(holds) << i;
  }
  return static_cast<__mmask16>(mask);
}
inline Floats Blend(__mmask16 mask, Floats no, Floats yes) {
  return Map([&](int i) { return (mask >> i) & 1 ? yes[i] : no[i]; });
}
template <class F>
inline float Reduce(Floats v, F f) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) v[i] = f(v[i], v[i + width]);
  }
  return v[0];
}
inline Floats Compress(__mmask16 mask, Floats v) {
  Floats out = {};
  for (int i = 0, to = 0; i < 16; ++i) {
    if ((mask >> i) & 1) out[to++] = v[i];
  }
  return out;
}
inline Ints Bits(Floats v) {
  Ints bits;
  std::memcpy(&bits, &v, sizeof(bits));
  return bits;
}
inline Floats FromBits(Ints bits) {
  Floats v;
  std::memcpy(&v, &bits, sizeof(v));
  return v;
}
inline Ints ShiftRight(Ints v, int by) {
  Ints out;
  for (int i = 0; i < 16; ++i) out[i] = static_cast<int>(static_cast<unsigned>(v[i]) >> by);
  return out;
}

inline Ints ToInts(Floats v) {
  Ints out;
  for (int i = 0; i < 16; ++i) out[i] = static_cast<int>(std::nearbyint(v[i]));
  return out;
}
// A 256-bit instruction for each half.
template <class F>
inline Ints Halves(Ints a, Ints b, F f) {
  __m256i x[2], y[2];
  std::memcpy(x, &a, sizeof(a));
  std::memcpy(y, &b, sizeof(b));
  for (int i = 0; i < 2; ++i) x[i] = f(x[i], y[i]);
  std::memcpy(&a, x, sizeof(a));
  return a;
}
inline Ints LoadInts(const void* p) {
  Ints v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void StoreInts(void* p, Ints v) { std::memcpy(p, &v, sizeof(v)); }

}  // namespace prismrec::emulated

#define __m512 prismrec::emulated::Floats
#define __m512i prismrec::emulated::Ints
#define _mm512_set1_ps prismrec::emulated::Set
#define _mm512_set1_epi32 prismrec::emulated::Set
#define _mm512_loadu_ps prismrec::emulated::Load
#define _mm512_storeu_ps prismrec::emulated::Store
#define _mm512_maskz_loadu_ps prismrec::emulated::Load
#define _mm512_mask_storeu_ps prismrec::emulated::Store
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_sub_ps(a, b) ((a) - (b))
#define _mm512_mul_ps(a, b) ((a) * (b))
#define _mm512_div_ps(a, b) ((a) / (b))
#define _mm512_fmadd_ps prismrec::emulated::Fma
#define _mm512_fnmadd_ps(a, b, c) prismrec::emulated::Fma(-(a), b, c)
#define _mm512_min_ps prismrec::emulated::Min
#define _mm512_max_ps prismrec::emulated::Max
#define _mm512_abs_ps(a) prismrec::emulated::Map([&](int i) { return std::fabs((a)[i]); })
#define _mm512_sqrt_ps(a) prismrec::emulated::Map([&](int i) { return std::sqrt((a)[i]); })
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps(a, mode) \
  prismrec::emulated::Map([&](int i) { return std::nearbyint((a)[i]); })
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask prismrec::emulated::Compare
#define _mm512_mask_blend_ps prismrec::emulated::Blend
#define _mm512_reduce_add_ps(a) \
  prismrec::emulated::Reduce(a, [](float x, float y) { return x + y; })
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, lanes) \
  prismrec::emulated::Map(                \
      [&](int i) { return (i < 8 ? (a) : (b))[(((lanes) >> (i / 4 * 2)) & 3) * 4 + i % 4]; })
#undef _mm512_permute_ps
#define _mm512_permute_ps(a, places) \
  prismrec::emulated::Map([&](int i) { return (a)[i / 4 * 4 + (((places) >> (i % 4 * 2)) & 3)]; })
#define _mm512_maskz_compress_ps prismrec::emulated::Compress
#define _mm512_castps512_ps128(a) _mm_setr_ps((a)[0], (a)[1], (a)[2], (a)[3])
#define _mm512_reduce_max_ps(a) \
  prismrec::emulated::Reduce(a, [](float x, float y) { return x > y ? x : y; })
#define _mm512_reduce_min_ps(a) \
  prismrec::emulated::Reduce(a, [](float x, float y) { return x < y ? x : y; })
#define _mm512_scalef_ps(a, n) \
  prismrec::emulated::Map([&](int i) { return std::ldexp((a)[i], static_cast<int>((n)[i])); })
#define _mm512_castps_si512 prismrec::emulated::Bits
#define _mm512_castsi512_ps prismrec::emulated::FromBits
#define _mm512_or_si512(a, b) ((a) | (b))
#define _mm512_and_si512(a, b) ((a) & (b))
#define _mm512_sub_epi32(a, b) ((a) - (b))
#define _mm512_add_epi32(a, b) ((a) + (b))
#define _mm512_loadu_si512 prismrec::emulated::LoadInts
#define _mm512_storeu_si512 prismrec::emulated::StoreInts
#define PRISMREC_BY_HALVES(a, b, f) \
  prismrec::emulated::Halves(a, b, [](__m256i x, __m256i y) { return f(x, y); })
#define _mm512_add_epi16(a, b) PRISMREC_BY_HALVES(a, b, _mm256_add_epi16)
#define _mm512_maddubs_epi16(a, b) PRISMREC_BY_HALVES(a, b, _mm256_maddubs_epi16)
#define _mm512_madd_epi16(a, b) PRISMREC_BY_HALVES(a, b, _mm256_madd_epi16)
#define _mm512_srli_epi16(a, by) \
  prismrec::emulated::Halves(a, a, [](__m256i x, __m256i) { return _mm256_srli_epi16(x, by); })
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 prismrec::emulated::ShiftRight
#undef _mm512_slli_epi32
#define _mm512_slli_epi32(a, by) ((a) << (by))
#define _mm512_cvtps_epi32(a) prismrec::emulated::ToInts(a)
#define _mm512_cvtepi32_ps(a) \
  prismrec::emulated::Map([&](int i) { return static_cast<float>((a)[i]); })

#endif  // PRISMREC_TEST_AVX512_EMULATION_H_
