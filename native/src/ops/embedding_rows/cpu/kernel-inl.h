// Spans of floats: Adam on the abstract vector, sums of squares in double.
#include "ops/embedding_rows/cpu/spans.h"
#include "ops/embedding_rows/embedding_rows.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::embedding_rows {

using prismrec::embedding_rows::AdamFactors;

struct AdamVectors {
  Vec beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, rate, inverse_root, keep, scale;
};

inline void AdamStep(const AdamVectors& f, Vec gradient, Vec* value, Vec* m, Vec* v) {
  const Vec g = Mul(gradient, f.scale);
  *m = Fma(f.beta1, *m, Mul(f.one_minus_beta1, g));
  *v = Fma(f.beta2, *v, Mul(f.one_minus_beta2, Mul(g, g)));
  const Vec denominator = Fma(Sqrt(*v), f.inverse_root, f.epsilon);
  *value = Sub(Mul(*value, f.keep), Div(Mul(f.rate, *m), denominator));
}

void AdamSpan(const AdamFactors& factors, float* values, float* m, float* v, const float* gradients,
              size_t n) {
  const AdamVectors f = {Set(factors.beta1),         Set(factors.one_minus_beta1),
                         Set(factors.beta2),         Set(factors.one_minus_beta2),
                         Set(factors.epsilon),       Set(factors.rate),
                         Set(factors.inverse_root),  Set(factors.keep),
                         Set(factors.gradient_scale)};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec value = Load(values + i), first = Load(m + i), second = Load(v + i);
    AdamStep(f, Load(gradients + i), &value, &first, &second);
    Store(values + i, value);
    Store(m + i, first);
    Store(v + i, second);
  }
  if (i < n) {
    const size_t r = n - i;
    Vec value = LoadN(values + i, r), first = LoadN(m + i, r), second = LoadN(v + i, r);
    AdamStep(f, LoadN(gradients + i, r), &value, &first, &second);
    StoreN(values + i, value, r);
    StoreN(m + i, first, r);
    StoreN(v + i, second, r);
  }
}

double SquaredSum(const float* x, size_t n) {
  // As many sums as two of the widest vectors hold, joined in order.
  constexpr size_t kSums = 16;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (size_t lane = 0; lane < kSums; ++lane) {
      const double value = x[i + lane];
      sums[lane] += value * value;
    }
  }
  for (; i < n; ++i) sums[0] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

const prismrec::embedding_rows::Spans kSpans = {AdamSpan, SquaredSum};

}  // namespace prismrec::PRISMREC_SIMD_NS::embedding_rows
