// The spans, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles this
// file in its own translation unit and namespace; nothing here may call an inline function shared
// with other units.
#include "ops/contrastive_loss/cpu/spans.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss {

// fn(i, lanes) for the vectors of n floats, the last of them in part.
template <class Fn>
inline void EachVector(size_t n, Fn&& fn) {
  for (size_t i = 0; i < n; i += kLanes) fn(i, n - i < kLanes ? n - i : kLanes);
}

inline Vec LoadSome(const float* p, size_t lanes) {
  return lanes == kLanes ? Load(p) : LoadN(p, lanes);
}

inline void StoreSome(float* p, Vec v, size_t lanes) {
  if (lanes == kLanes) {
    Store(p, v);
  } else {
    StoreN(p, v, lanes);
  }
}

inline void RemoveEqual(float* x, const float* ids, float id, size_t n) {
  const Vec wanted = Set(id);
  const Vec removed = Set(kNegativeInfinity);
  EachVector(n, [&](size_t i, size_t lanes) {
    const Mask same = Equal(LoadSome(ids + i, lanes), wanted);
    StoreSome(x + i, Blend(same, removed, LoadSome(x + i, lanes)), lanes);
  });
}

inline void ScalePairs(float* x, float a, const float* b, size_t n) {
  const Vec own = Set(a);
  EachVector(n, [&](size_t i, size_t lanes) {
    StoreSome(x + i, Mul(LoadSome(x + i, lanes), Add(own, LoadSome(b + i, lanes))), lanes);
  });
}

inline void ExpPairs(float* x, float a, float top, const float* b, const float* tops, size_t n) {
  const Vec own = Set(a);
  const Vec own_top = Set(top);
  EachVector(n, [&](size_t i, size_t lanes) {
    const Vec logit = LoadSome(x + i, lanes);
    const Vec mine = Mul(own, Exp(Sub(logit, own_top)));
    const Vec theirs = Exp(Sub(logit, LoadSome(tops + i, lanes)));
    StoreSome(x + i, Fma(LoadSome(b + i, lanes), theirs, mine), lanes);
  });
}

constexpr prismrec::contrastive_loss::Spans kSpans = {
    ShiftMax, ExpSum,      ExpSumColumns, Sum,   RemoveEqual, ScalePairs,
    ExpPairs, AddConstant, Axpy,          Scale, Dot,         AllFinite,
};

}  // namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss
