// The spans, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles this
// file in its own translation unit and namespace; nothing here may call an inline function shared
// with other units.
#include "ops/softmax_loss/cpu/spans.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::softmax_loss {

inline void TakeBetter(const float* x, float who, float* best, float* winner, size_t n) {
  const Vec self = Set(who);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec value = Load(x + i);
    const Vec held = Load(best + i);
    const auto better = Less(held, value);
    Store(best + i, Blend(better, value, held));
    Store(winner + i, Blend(better, self, Load(winner + i)));
  }
  for (; i < n; ++i) {
    if (x[i] > best[i]) {
      best[i] = x[i];
      winner[i] = who;
    }
  }
}

inline double Route(const float* g, const float* winner, float who, float* out, size_t n) {
  const Vec self = Set(who);
  const Vec zero = Set(0.0f);
  double total = 0;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
    Vec sum = zero;
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const Vec value = Blend(Equal(Load(winner + i), self), Load(g + i), zero);
      Store(out + i, value);
      sum = Add(sum, value);
    }
    total += ReduceAdd(sum);
    for (; i < end; ++i) {
      out[i] = winner[i] == who ? g[i] : 0.0f;
      total += out[i];
    }
  }
  return total;
}

constexpr prismrec::softmax_loss::Spans kSpans = {
    ShiftMax, ExpSum, ExpSumColumns, TakeBetter, Route, Axpy, Scale, Dot, AllFinite,
};

}  // namespace prismrec::PRISMREC_SIMD_NS::softmax_loss
