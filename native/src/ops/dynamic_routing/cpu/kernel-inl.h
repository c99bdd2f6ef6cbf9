// One user's routing, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles
// this file in its own translation unit and namespace.
#include "gemm/cpu/tile-inl.h"
#include "ops/dynamic_routing/cpu/kernels.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::dynamic_routing {

using prismrec::dynamic_routing::Routing;

// Keeps the square root of a zero vector's length differentiable.
constexpr float kSquashEpsilon = 1e-9f;

// weights[k, t] = softmax of logits[., t] over the interests; rows are `stride` apart.
inline void SoftmaxOverInterests(const float* logits, float* weights, size_t interests,
                                 size_t count, size_t stride) {
  for (size_t t = 0; t < count; t += kLanes) {
    Vec top = Load(logits + t);
    for (size_t k = 1; k < interests; ++k) top = Max(top, Load(logits + k * stride + t));
    Vec total = Zero();
    for (size_t k = 0; k < interests; ++k) {
      const Vec weight = Exp(Sub(Load(logits + k * stride + t), top));
      Store(weights + k * stride + t, weight);
      total = Add(total, weight);
    }
    for (size_t k = 0; k < interests; ++k) {
      float* weight = weights + k * stride + t;
      Store(weight, Div(Load(weight), total));
    }
  }
}

// Vectors of a prediction that registers hold at a time.
constexpr size_t kVecs = 8;
constexpr size_t kColumns = kVecs * kLanes;

// Events whose predictions are asked for before their turn: they lie apart, in the third-level
// cache.
constexpr size_t kEventsAhead = 4;

inline void Prefetch(const float* from, size_t floats) {
  constexpr size_t kLine = 64 / sizeof(float);
  for (size_t i = 0; i < floats; i += kLine) __builtin_prefetch(from + i);
}

// sum[c] = sum over t of weights[t] * prediction(t)[c]; `first`: nothing has been read yet.
inline void WeightedSum(const Routing& r, const float* weights, const float* predictions,
                        bool first, float* sum) {
  size_t c = 0;
  for (; c + kColumns <= r.dim; c += kColumns) {
    Vec s[kVecs];
#pragma GCC unroll 8
    for (size_t v = 0; v < kVecs; ++v) s[v] = Zero();
    for (size_t t = 0; t < r.count; ++t) {
      if (first && t + kEventsAhead < r.count) {
        Prefetch(predictions + r.event_offsets[t + kEventsAhead] + c, kColumns);
      }
      const Vec weight = Set(weights[t]);
      const float* u = predictions + r.event_offsets[t] + c;
#pragma GCC unroll 8
      for (size_t v = 0; v < kVecs; ++v) s[v] = Fma(weight, Load(u + v * kLanes), s[v]);
    }
#pragma GCC unroll 8
    for (size_t v = 0; v < kVecs; ++v) Store(sum + c + v * kLanes, s[v]);
  }
  for (; c < r.dim; c += kLanes) {
    const size_t lanes = r.dim - c < kLanes ? r.dim - c : kLanes;
    Vec s = Zero();
    for (size_t t = 0; t < r.count; ++t) {
      s = Fma(Set(weights[t]), LoadN(predictions + r.event_offsets[t] + c, lanes), s);
    }
    StoreN(sum + c, s, lanes);
  }
}

// logits[t] += factor * <prediction(t), sum>
inline void AddAgreement(const Routing& r, const float* predictions, const float* sum, float factor,
                         float* logits) {
  size_t c = 0;
  for (; c + kColumns <= r.dim; c += kColumns) {
    Vec s[kVecs];
#pragma GCC unroll 8
    for (size_t v = 0; v < kVecs; ++v) s[v] = Load(sum + c + v * kLanes);
    for (size_t t = 0; t < r.count; ++t) {
      const float* u = predictions + r.event_offsets[t] + c;
      Vec even = Mul(Load(u), s[0]);
      Vec odd = Mul(Load(u + kLanes), s[1]);
#pragma GCC unroll 8
      for (size_t v = 2; v < kVecs; v += 2) {
        even = Fma(Load(u + v * kLanes), s[v], even);
        odd = Fma(Load(u + (v + 1) * kLanes), s[v + 1], odd);
      }
      logits[t] += factor * ReduceAdd(Add(even, odd));
    }
  }
  if (c == r.dim) return;
  for (size_t t = 0; t < r.count; ++t) {
    logits[t] += factor * Dot(predictions + r.event_offsets[t] + c, sum + c, r.dim - c);
  }
}

// The factor of squash on a vector of squared length q.
inline float SquashFactor(float q) { return __builtin_sqrtf(q + kSquashEpsilon) / (1.0f + q); }

void Route(const Routing& r) {
  using prismrec::dynamic_routing::kRowMultiple;
  const size_t stride = (r.count + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  float* logits = r.scratch;
  float* weights = logits + r.interests * stride;
  for (size_t k = 0; k < r.interests; ++k) {
    for (size_t t = 0; t < stride; ++t) {
      logits[k * stride + t] = t < r.count ? r.initial[k * r.length + t] : 0.0f;
    }
  }
  for (size_t round = 1; round <= r.iterations; ++round) {
    SoftmaxOverInterests(logits, weights, r.interests, r.count, stride);
    for (size_t k = 0; k < r.interests; ++k) {
      const float* predictions = r.predictions + k * r.interest_stride;
      float* sum = r.sums + k * r.dim;
      WeightedSum(r, weights + k * stride, predictions, round == 1, sum);
      const float factor = SquashFactor(Dot(sum, sum, r.dim));
      if (round < r.iterations) {
        AddAgreement(r, predictions, sum, factor, logits + k * stride);
      } else {
        for (size_t c = 0; c < r.dim; ++c) r.vectors[k * r.dim + c] = factor * sum[c];
        for (size_t t = 0; t < r.count; ++t) {
          r.coefficients[k * r.length + t] = weights[k * stride + t];
        }
      }
    }
  }
}

// v = s f(q) with q = |s|^2 and f = sqrt(q + e) / (1 + q), so ds = f dv + 2 f'(q) <s, dv> s.
void SquashGradient(const float* sum, const float* dvector, float* dsum, size_t dim) {
  const float q = Dot(sum, sum, dim);
  const float root = __builtin_sqrtf(q + kSquashEpsilon);
  const float slope = ((1.0f + q) / root - 2.0f * root) / ((1.0f + q) * (1.0f + q));
  const float along = slope * Dot(sum, dvector, dim);
  const float factor = root / (1.0f + q);
  for (size_t c = 0; c < dim; ++c) dsum[c] = factor * dvector[c] + along * sum[c];
}

inline void Scaled(float a, const float* x, float* y, size_t n) {
  const Vec factor = Set(a);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Mul(factor, Load(x + i)));
  for (; i < n; ++i) y[i] = a * x[i];
}

constexpr prismrec::dynamic_routing::Kernels kKernels = {Route, SquashGradient, Axpy, Scaled,
                                                         tile::kKernel};

}  // namespace prismrec::PRISMREC_SIMD_NS::dynamic_routing
