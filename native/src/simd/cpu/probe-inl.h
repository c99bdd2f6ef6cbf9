#include "simd/vec-inl.h"
#include "simd/vec_probe.h"

namespace prismrec::PRISMREC_SIMD_NS::probe {

template <class F>
inline void Map(const float* x, float* out, size_t n, F f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(out + i, f(Load(x + i)));
  if (i < n) StoreN(out + i, f(LoadN(x + i, n - i)), n - i);
}

inline void ExpAll(const float* x, float* out, size_t n) {
  Map(x, out, n, [](Vec v) { return Exp(v); });
}
inline void Exp2NearAll(const float* x, float* out, size_t n) {
  Map(x, out, n, [](Vec v) { return Exp2Near(v); });
}
inline void LogAll(const float* x, float* out, size_t n) {
  Map(x, out, n, [](Vec v) { return Log(v); });
}

inline void Arithmetic(const float* pa, const float* pb, const float* pc, float* out) {
  const Vec a = Load(pa), b = Load(pb), c = Load(pc);
  const Mask less = Less(a, b), equal = Equal(a, b);
  const Vec rows[] = {Add(a, b),
                      Sub(a, b),
                      Mul(a, b),
                      Div(a, b),
                      Fma(a, b, c),
                      Fnma(a, b, c),
                      Min(a, b),
                      Max(a, b),
                      Abs(a),
                      Sqrt(Abs(a)),
                      Round(a),
                      Blend(less, a, b),
                      Blend(LessEqual(a, b), a, c),
                      Blend(Greater(a, b), a, b),
                      Blend(GreaterEqual(a, b), a, c),
                      Blend(equal, a, c),
                      Blend(And(less, equal), a, c),
                      Blend(Or(less, equal), a, c)};
  for (size_t r = 0; r < simd_probe::kArithmeticRows; ++r) Store(out + r * kLanes, rows[r]);
}

inline void Reduce(const float* x, float* out) {
  const Vec v = Load(x);
  out[0] = ReduceAdd(v);
  out[1] = ReduceMax(v);
  out[2] = ReduceMin(v);
}

inline void ReduceFour(const float* x, float* out) {
  const Vec v[4] = {Load(x), Load(x + kLanes), Load(x + 2 * kLanes), Load(x + 3 * kLanes)};
  ReduceAdd4(v, out);
  for (int i = 0; i < 4; ++i) out[4 + i] = ReduceAdd(v[i]);
}

inline uint32_t LessBits(const float* a, const float* b) {
  return MaskBits(Less(Load(a), Load(b)));
}

inline void LoadFilled(const float* x, size_t n, float fill, float* out) {
  Store(out, LoadN(x, n, fill));
}

}  // namespace prismrec::PRISMREC_SIMD_NS::probe

namespace prismrec::simd_probe {

const Probe PRISMREC_PROBE = {
    PRISMREC_SIMD_NS::kLanes,
    PRISMREC_SIMD_NS::probe::ExpAll,
    PRISMREC_SIMD_NS::probe::Exp2NearAll,
    PRISMREC_SIMD_NS::probe::LogAll,
    PRISMREC_SIMD_NS::probe::Arithmetic,
    PRISMREC_SIMD_NS::probe::Reduce,
    PRISMREC_SIMD_NS::probe::ReduceFour,
    PRISMREC_SIMD_NS::probe::LessBits,
    PRISMREC_SIMD_NS::probe::LoadFilled,
};

}  // namespace prismrec::simd_probe
