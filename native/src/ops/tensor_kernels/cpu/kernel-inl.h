// The span kernels, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles
// this file in its own translation unit and namespace; nothing here may call an inline function
// shared with other units.
#include "ops/tensor_kernels/cpu/table.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::tensor_kernels {

using tensor::BinaryOp;
using tensor::CompareOp;
using tensor::MaskType;
using tensor::ReduceOp;
using tensor::Span;
using tensor::UnaryOp;

// ---- elementary functions -------------------------------------------------------------------

inline Vec Neg(Vec x) { return Sub(Set(0.0f), x); }

// Coefficients highest first.
template <int N>
inline Vec Polynomial(Vec t, const float (&c)[N]) {
  Vec sum = Set(c[0]);
  for (int i = 1; i < N; ++i) sum = Fma(sum, t, Set(c[i]));
  return sum;
}

// Chebyshev fits. |x| < 1: x * P(x^2), to 1e-9. Beyond: 1 - exp(-Q(|x|)), Q fitted to -log(erfc)
// on [1, 4], where erf rounds to 1; the error of Q counts times erfc, below 6e-8.
inline Vec Erf(Vec x) {
  static constexpr float kNear[] = {7.875875063e-5f,  -8.016864287e-4f, 5.189087423e-3f,
                                    -2.685421201e-2f, 0.1128359472f,    -0.3761262667f,
                                    1.128379166f};
  static constexpr float kFar[] = {1.327236181e-5f,  -3.169370225e-4f, 3.432351381e-3f,
                                   -2.260477224e-2f, 0.1032811176f,    0.6391412576f,
                                   1.125893652f,     7.658977797e-4f};
  const Vec magnitude = Abs(x);
  const Vec clamped = Min(magnitude, Set(4.0f));
  const Vec near = Mul(x, Polynomial(Mul(x, x), kNear));
  const Vec far = Sub(Set(1.0f), Exp(Neg(Polynomial(clamped, kFar))));
  const Vec signed_far = Blend(Less(x, Set(0.0f)), Neg(far), far);
  const Vec value = Blend(Less(magnitude, Set(1.0f)), near, signed_far);
  return Blend(Equal(x, x), value, x);
}

// |x| < 0.625: x + x^3 P(x^2), to 1e-8. Beyond: 1 - 2 / (exp(2|x|) + 1).
inline Vec Tanh(Vec x) {
  static constexpr float kNear[] = {-6.045165097e-3f, 2.096132911e-2f, -5.384326318e-2f,
                                    0.1333271885f, -0.3333332843f};
  const Vec magnitude = Abs(x);
  const Vec square = Mul(x, x);
  const Vec near = Fma(Mul(x, square), Polynomial(square, kNear), x);
  const Vec doubled = Mul(Min(magnitude, Set(20.0f)), Set(2.0f));
  const Vec far = Sub(Set(1.0f), Div(Set(2.0f), Add(Exp(doubled), Set(1.0f))));
  const Vec signed_far = Blend(Less(x, Set(0.0f)), Neg(far), far);
  const Vec value = Blend(Less(magnitude, Set(0.625f)), near, signed_far);
  return Blend(Equal(x, x), value, x);
}

inline Vec Sigmoid(Vec x) {
  // exp of a non-positive number cannot overflow.
  const Vec e = Exp(Neg(Abs(x)));
  const Vec low = Div(e, Add(e, Set(1.0f)));
  const Vec high = Div(Set(1.0f), Add(e, Set(1.0f)));
  return Blend(Less(x, Set(0.0f)), low, high);
}

// log(1 + x) without losing a small x: the rounding of u = 1 + x is undone by x / (u - 1).
inline Vec Log1p(Vec x) {
  const Vec one = Set(1.0f);
  const Vec u = Add(one, x);
  const Vec excess = Sub(u, one);
  const Vec exact = Mul(Log(u), Div(x, excess));
  const Vec value = Blend(Equal(excess, Set(0.0f)), x, exact);
  return Blend(Equal(u, Set(__builtin_inff())), x, value);
}

// exp(x) - 1: Taylor near zero (to 1e-9 relative at 0.35), the difference beyond.
inline Vec Expm1(Vec x) {
  static constexpr float kTaylor[] = {1.0f / 40320, 1.0f / 5040, 1.0f / 720, 1.0f / 120,
                                      1.0f / 24,    1.0f / 6,    0.5f,       1.0f};
  const Vec near = Mul(x, Polynomial(x, kTaylor));
  const Vec far = Sub(Exp(x), Set(1.0f));
  return Blend(Less(Abs(x), Set(0.35f)), near, far);
}

inline Vec Softplus(Vec x) { return Add(Max(x, Set(0.0f)), Log1p(Exp(Neg(Abs(x))))); }

inline Vec NormalDistribution(Vec x) {
  return Fma(Erf(Mul(x, Set(0.70710678f))), Set(0.5f), Set(0.5f));
}

// ---- spans ----------------------------------------------------------------------------------

template <class F>
inline void Map(const float* x, float* out, size_t n, F f) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(out + i, f(Load(x + i)));
  if (i < n) StoreN(out + i, f(LoadN(x + i, n - i)), n - i);
}

template <class F>
inline void Zip(Span span, const float* a, const float* b, float* out, size_t n, F f) {
  size_t i = 0;
  if (span == Span::kBoth) {
    for (; i + kLanes <= n; i += kLanes) Store(out + i, f(Load(a + i), Load(b + i)));
    if (i < n) StoreN(out + i, f(LoadN(a + i, n - i), LoadN(b + i, n - i)), n - i);
  } else if (span == Span::kScalarB) {
    const Vec s = Set(*b);
    for (; i + kLanes <= n; i += kLanes) Store(out + i, f(Load(a + i), s));
    if (i < n) StoreN(out + i, f(LoadN(a + i, n - i), s), n - i);
  } else {
    const Vec s = Set(*a);
    for (; i + kLanes <= n; i += kLanes) Store(out + i, f(s, Load(b + i)));
    if (i < n) StoreN(out + i, f(s, LoadN(b + i, n - i)), n - i);
  }
}

// A NaN on either side comes through, as in JavaScript's Math.max.
inline Vec MaxOrNan(Vec a, Vec b) { return Blend(Equal(a, a), Blend(Less(b, a), a, b), a); }
inline Vec MinOrNan(Vec a, Vec b) { return Blend(Equal(a, a), Blend(Less(a, b), a, b), a); }

inline void BinarySpan(BinaryOp op, Span span, const float* a, const float* b, float* out,
                       size_t n) {
  switch (op) {
    case BinaryOp::kAdd:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return Add(x, y); });
    case BinaryOp::kSub:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return Sub(x, y); });
    case BinaryOp::kMul:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return Mul(x, y); });
    case BinaryOp::kDiv:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return Div(x, y); });
    case BinaryOp::kMax:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return MaxOrNan(x, y); });
    case BinaryOp::kMin:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) { return MinOrNan(x, y); });
    case BinaryOp::kSquaredDifference:
      return Zip(span, a, b, out, n, [](Vec x, Vec y) {
        const Vec d = Sub(x, y);
        return Mul(d, d);
      });
    case BinaryOp::kPow:
      for (size_t i = 0; i < n; ++i) {
        out[i] =
            __builtin_powf(a[span == Span::kScalarA ? 0 : i], b[span == Span::kScalarB ? 0 : i]);
      }
      return;
    case BinaryOp::kCount:
      return;
  }
}

template <class F>
inline void CompareWith(Span span, const float* a, const float* b, uint8_t* out, size_t n, F f) {
  // Plain loops: the compiler vectorises them for the unit's instruction set.
  if (span == Span::kBoth) {
    for (size_t i = 0; i < n; ++i) out[i] = f(a[i], b[i]) ? 1 : 0;
  } else if (span == Span::kScalarB) {
    const float s = *b;
    for (size_t i = 0; i < n; ++i) out[i] = f(a[i], s) ? 1 : 0;
  } else {
    const float s = *a;
    for (size_t i = 0; i < n; ++i) out[i] = f(s, b[i]) ? 1 : 0;
  }
}

inline void CompareSpan(CompareOp op, Span span, const float* a, const float* b, uint8_t* out,
                        size_t n) {
  switch (op) {
    case CompareOp::kEqual:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x == y; });
    case CompareOp::kNotEqual:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x != y; });
    case CompareOp::kLess:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x < y; });
    case CompareOp::kLessEqual:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x <= y; });
    case CompareOp::kGreater:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x > y; });
    case CompareOp::kGreaterEqual:
      return CompareWith(span, a, b, out, n, [](float x, float y) { return x >= y; });
    case CompareOp::kCount:
      return;
  }
}

inline void UnarySpan(UnaryOp op, const float* x, float* out, size_t n, float p0, float p1) {
  switch (op) {
    case UnaryOp::kExp:
      return Map(x, out, n, [](Vec v) { return Exp(v); });
    case UnaryOp::kLog:
      return Map(x, out, n, [](Vec v) { return Log(v); });
    case UnaryOp::kLog1p:
      return Map(x, out, n, [](Vec v) { return Log1p(v); });
    case UnaryOp::kSqrt:
      return Map(x, out, n, [](Vec v) { return Sqrt(v); });
    case UnaryOp::kRsqrt:
      return Map(x, out, n, [](Vec v) { return Div(Set(1.0f), Sqrt(v)); });
    case UnaryOp::kSquare:
      return Map(x, out, n, [](Vec v) { return Mul(v, v); });
    case UnaryOp::kNeg:
      return Map(x, out, n, [](Vec v) { return Mul(v, Set(-1.0f)); });
    case UnaryOp::kAbs:
      return Map(x, out, n, [](Vec v) { return Abs(v); });
    case UnaryOp::kRelu:
      return Map(x, out, n, [](Vec v) { return Blend(Less(v, Set(0.0f)), Set(0.0f), v); });
    case UnaryOp::kTanh:
      return Map(x, out, n, [](Vec v) { return Tanh(v); });
    case UnaryOp::kSigmoid:
      return Map(x, out, n, [](Vec v) { return Sigmoid(v); });
    case UnaryOp::kErf:
      return Map(x, out, n, [](Vec v) { return Erf(v); });
    case UnaryOp::kSoftplus:
      return Map(x, out, n, [](Vec v) { return Softplus(v); });
    case UnaryOp::kElu:
      return Map(x, out, n, [](Vec v) { return Blend(Less(v, Set(0.0f)), Expm1(v), v); });
    case UnaryOp::kStep:
      return Map(x, out, n, [p0](Vec v) {
        const Vec step = Blend(Less(Set(0.0f), v), Set(1.0f), Set(p0));
        return Blend(Equal(v, v), step, v);
      });
    case UnaryOp::kClip:
      return Map(x, out, n, [p0, p1](Vec v) {
        const Vec high = Blend(Less(Set(p1), v), Set(p1), v);
        return Blend(Less(high, Set(p0)), Set(p0), high);
      });
    case UnaryOp::kReciprocal:
      return Map(x, out, n, [](Vec v) { return Div(Set(1.0f), v); });
    case UnaryOp::kGelu:
      return Map(x, out, n, [](Vec v) { return Mul(v, NormalDistribution(v)); });
    case UnaryOp::kExpm1:
      return Map(x, out, n, [](Vec v) { return Expm1(v); });
    case UnaryOp::kLeakyRelu:
      return Map(x, out, n, [p0](Vec v) { return Blend(Less(v, Set(0.0f)), Mul(v, Set(p0)), v); });
    case UnaryOp::kCount:
      return;
  }
}

// ---- reductions -----------------------------------------------------------------------------

// Four running vectors, joined pairwise: short dependency chains, and an error that grows with n /
// (4 * kLanes).
inline float SumRow(const float* x, size_t n) {
  Vec s0 = Set(0.0f), s1 = Set(0.0f), s2 = Set(0.0f), s3 = Set(0.0f);
  size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    s0 = Add(s0, Load(x + i));
    s1 = Add(s1, Load(x + i + kLanes));
    s2 = Add(s2, Load(x + i + 2 * kLanes));
    s3 = Add(s3, Load(x + i + 3 * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) s0 = Add(s0, Load(x + i));
  if (i < n) s1 = Add(s1, LoadN(x + i, n - i));
  return ReduceAdd(Add(Add(s0, s1), Add(s2, s3)));
}

inline float MaxRow(const float* x, size_t n) {
  float best = -__builtin_inff();
  size_t i = 0;
  if (n >= kLanes) {
    Vec v = Load(x);
    for (i = kLanes; i + kLanes <= n; i += kLanes) v = MaxOrNan(v, Load(x + i));
    float lanes[kLanes];
    Store(lanes, v);
    for (float lane : lanes) best = (lane > best || lane != lane) ? lane : best;
  }
  for (; i < n; ++i) best = (x[i] > best || x[i] != x[i]) ? x[i] : best;
  return best;
}

inline float ReduceRow(ReduceOp op, const float* x, size_t n) {
  switch (op) {
    case ReduceOp::kSum:
      return SumRow(x, n);
    case ReduceOp::kMax:
      return MaxRow(x, n);
    case ReduceOp::kMin: {
      float best = __builtin_inff();
      for (size_t i = 0; i < n; ++i) best = (x[i] < best || x[i] != x[i]) ? x[i] : best;
      return best;
    }
    case ReduceOp::kProd: {
      float product = 1.0f;
      for (size_t i = 0; i < n; ++i) product *= x[i];
      return product;
    }
    case ReduceOp::kCount:
      break;
  }
  return 0.0f;
}

inline void ReduceInto(ReduceOp op, const float* x, float* acc, size_t n) {
  switch (op) {
    case ReduceOp::kSum:
      return Zip(Span::kBoth, acc, x, acc, n, [](Vec a, Vec b) { return Add(a, b); });
    case ReduceOp::kMax:
      return Zip(Span::kBoth, acc, x, acc, n, [](Vec a, Vec b) { return MaxOrNan(a, b); });
    case ReduceOp::kMin:
      return Zip(Span::kBoth, acc, x, acc, n, [](Vec a, Vec b) { return MinOrNan(a, b); });
    case ReduceOp::kProd:
      return Zip(Span::kBoth, acc, x, acc, n, [](Vec a, Vec b) { return Mul(a, b); });
    case ReduceOp::kCount:
      return;
  }
}

// ---- rows -----------------------------------------------------------------------------------

inline void SoftmaxRow(const float* x, float* out, size_t n, bool log) {
  const float top = MaxRow(x, n);
  const Vec shift = Set(top);
  Map(x, out, n, [shift](Vec v) { return Exp(Sub(v, shift)); });
  const float sum = SumRow(out, n);
  if (log) {
    const Vec offset = Set(top + __builtin_logf(sum));
    Map(x, out, n, [offset](Vec v) { return Sub(v, offset); });
  } else {
    const Vec scale = Set(1.0f / sum);
    Map(out, out, n, [scale](Vec v) { return Mul(v, scale); });
  }
}

inline float Dot(const float* a, const float* b, size_t n) {
  Vec s0 = Set(0.0f), s1 = Set(0.0f);
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    s0 = Fma(Load(a + i), Load(b + i), s0);
    s1 = Fma(Load(a + i + kLanes), Load(b + i + kLanes), s1);
  }
  for (; i + kLanes <= n; i += kLanes) s0 = Fma(Load(a + i), Load(b + i), s0);
  if (i < n) s1 = Fma(LoadN(a + i, n - i), LoadN(b + i, n - i), s1);
  return ReduceAdd(Add(s0, s1));
}

inline void SoftmaxGradRow(const float* y, const float* dy, float* dx, size_t n, bool log) {
  if (log) {
    const Vec total = Set(SumRow(dy, n));
    Zip(Span::kBoth, y, dy, dx, n, [total](Vec p, Vec g) { return Sub(g, Mul(Exp(p), total)); });
  } else {
    const Vec mean = Set(Dot(y, dy, n));
    Zip(Span::kBoth, y, dy, dx, n, [mean](Vec p, Vec g) { return Mul(p, Sub(g, mean)); });
  }
}

// -infinity where the mask is 0.
template <class Mask>
inline void HideMasked(const float* x, const Mask* mask, float* out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = mask[i] != 0 ? x[i] : -__builtin_inff();
}

inline void MaskedSoftmaxRow(const float* x, const void* mask, MaskType type, float* out,
                             size_t n) {
  switch (type) {
    case MaskType::kUint8:
      HideMasked(x, static_cast<const uint8_t*>(mask), out, n);
      break;
    case MaskType::kInt32:
      HideMasked(x, static_cast<const int32_t*>(mask), out, n);
      break;
    case MaskType::kFloat:
      HideMasked(x, static_cast<const float*>(mask), out, n);
      break;
  }
  const float top = MaxRow(out, n);
  if (top == -__builtin_inff()) {
    for (size_t i = 0; i < n; ++i) out[i] = 0.0f;
    return;
  }
  const Vec shift = Set(top);
  const Vec never = Set(-__builtin_inff());
  Map(out, out, n,
      [shift, never](Vec v) { return Blend(Equal(v, never), Set(0.0f), Exp(Sub(v, shift))); });
  const Vec scale = Set(1.0f / SumRow(out, n));
  Map(out, out, n, [scale](Vec v) { return Mul(v, scale); });
}

inline void LayerNormRow(const float* x, const float* gamma, const float* beta, float* y,
                         float* mean, float* rstd, size_t n, float epsilon) {
  const float mu = SumRow(x, n) / static_cast<float>(n);
  const Vec center = Set(mu);
  // Two passes: the variance of the centred values does not cancel. y serves as scratch.
  Map(x, y, n, [center](Vec v) { return Sub(v, center); });
  const float variance = Dot(y, y, n) / static_cast<float>(n);
  const float r = 1.0f / __builtin_sqrtf(variance + epsilon);
  const Vec scale = Set(r);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Store(y + i, Fma(Mul(Load(y + i), scale), Load(gamma + i), Load(beta + i)));
  }
  if (i < n) {
    const size_t rest = n - i;
    StoreN(y + i,
           Fma(Mul(LoadN(y + i, rest), scale), LoadN(gamma + i, rest), LoadN(beta + i, rest)),
           rest);
  }
  *mean = mu;
  *rstd = r;
}

inline void LayerNormGradRow(const float* x, const float* gamma, float mean, float rstd,
                             const float* dy, float* dx, float* dgamma, float* dbeta, size_t n) {
  const Vec center = Set(mean);
  const Vec scale = Set(rstd);
  Vec sum_g = Set(0.0f), sum_gx = Set(0.0f);
  // dx holds gamma * dy in between.
  auto first = [&](Vec vx, Vec vg, Vec vdy, Vec vdgamma, Vec vdbeta, Vec* g, Vec* ndgamma,
                   Vec* ndbeta) {
    const Vec xhat = Mul(Sub(vx, center), scale);
    *g = Mul(vg, vdy);
    *ndgamma = Fma(vdy, xhat, vdgamma);
    *ndbeta = Add(vdbeta, vdy);
    sum_g = Add(sum_g, *g);
    sum_gx = Fma(*g, xhat, sum_gx);
  };
  Vec g, ndgamma, ndbeta;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    first(Load(x + i), Load(gamma + i), Load(dy + i), Load(dgamma + i), Load(dbeta + i), &g,
          &ndgamma, &ndbeta);
    Store(dx + i, g);
    Store(dgamma + i, ndgamma);
    Store(dbeta + i, ndbeta);
  }
  if (i < n) {
    const size_t r = n - i;
    first(LoadN(x + i, r), LoadN(gamma + i, r), LoadN(dy + i, r), LoadN(dgamma + i, r),
          LoadN(dbeta + i, r), &g, &ndgamma, &ndbeta);
    StoreN(dx + i, g, r);
    StoreN(dgamma + i, ndgamma, r);
    StoreN(dbeta + i, ndbeta, r);
  }
  const float inverse = 1.0f / static_cast<float>(n);
  const Vec mean_g = Set(ReduceAdd(sum_g) * inverse);
  const Vec mean_gx = Set(ReduceAdd(sum_gx) * inverse);
  Zip(Span::kBoth, dx, x, dx, n, [&](Vec vg, Vec vx) {
    const Vec xhat = Mul(Sub(vx, center), scale);
    return Mul(scale, Sub(Sub(vg, mean_g), Mul(xhat, mean_gx)));
  });
}

inline void GeluGradSpan(const float* x, const float* dy, float* dx, size_t n) {
  Zip(Span::kBoth, x, dy, dx, n, [](Vec v, Vec g) {
    const Vec density = Mul(Exp(Mul(Mul(v, v), Set(-0.5f))), Set(0.39894228f));
    return Mul(g, Fma(v, density, NormalDistribution(v)));
  });
}

// The same bijective avalanche hash as packages/core/src/tensor/dropout.ts.
inline uint32_t Mix(uint32_t h) {
  h = (h ^ (h >> 16)) * 0x7feb352du;
  h = (h ^ (h >> 15)) * 0x846ca68bu;
  return h ^ (h >> 16);
}

inline void DropoutSpan(const float* x, float* out, size_t first, size_t n, uint32_t key,
                        uint32_t threshold, float scale) {
  const uint32_t base = static_cast<uint32_t>(first);
  for (size_t i = 0; i < n; ++i) {
    const uint32_t hash = Mix(Mix(base + static_cast<uint32_t>(i)) ^ key);
    out[i] = x[i] * (hash < threshold ? 0.0f : scale);
  }
}

}  // namespace prismrec::PRISMREC_SIMD_NS::tensor_kernels

namespace prismrec::tensor {

const KernelTable PRISMREC_TENSOR_TABLE = {
    PRISMREC_SIMD_NS::tensor_kernels::BinarySpan,
    PRISMREC_SIMD_NS::tensor_kernels::CompareSpan,
    PRISMREC_SIMD_NS::tensor_kernels::UnarySpan,
    PRISMREC_SIMD_NS::tensor_kernels::ReduceRow,
    PRISMREC_SIMD_NS::tensor_kernels::ReduceInto,
    PRISMREC_SIMD_NS::tensor_kernels::SoftmaxRow,
    PRISMREC_SIMD_NS::tensor_kernels::SoftmaxGradRow,
    PRISMREC_SIMD_NS::tensor_kernels::MaskedSoftmaxRow,
    PRISMREC_SIMD_NS::tensor_kernels::LayerNormRow,
    PRISMREC_SIMD_NS::tensor_kernels::LayerNormGradRow,
    PRISMREC_SIMD_NS::tensor_kernels::GeluGradSpan,
    PRISMREC_SIMD_NS::tensor_kernels::DropoutSpan,
};

}  // namespace prismrec::tensor
