// One user's routing, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles
// this file in its own translation unit and namespace.
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

// sum[c] = sum over t of weights[t] * prediction(t)[c]
inline void WeightedSum(const Routing& r, const float* weights, const float* predictions,
                        float* sum) {
  size_t c = 0;
  for (; c + 4 * kLanes <= r.dim; c += 4 * kLanes) {
    Vec s0 = Zero(), s1 = Zero(), s2 = Zero(), s3 = Zero();
    for (size_t t = 0; t < r.count; ++t) {
      const Vec weight = Set(weights[t]);
      const float* u = predictions + r.event_offsets[t] + c;
      s0 = Fma(weight, Load(u), s0);
      s1 = Fma(weight, Load(u + kLanes), s1);
      s2 = Fma(weight, Load(u + 2 * kLanes), s2);
      s3 = Fma(weight, Load(u + 3 * kLanes), s3);
    }
    Store(sum + c, s0);
    Store(sum + c + kLanes, s1);
    Store(sum + c + 2 * kLanes, s2);
    Store(sum + c + 3 * kLanes, s3);
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
      WeightedSum(r, weights + k * stride, predictions, sum);
      const float factor = SquashFactor(Dot(sum, sum, r.dim));
      if (round < r.iterations) {
        for (size_t t = 0; t < r.count; ++t) {
          logits[k * stride + t] += factor * Dot(predictions + r.event_offsets[t], sum, r.dim);
        }
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

constexpr prismrec::dynamic_routing::Kernels kKernels = {Route, SquashGradient, Axpy};

}  // namespace prismrec::PRISMREC_SIMD_NS::dynamic_routing
