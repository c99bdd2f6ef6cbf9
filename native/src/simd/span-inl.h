// Loops over contiguous floats that several operations share, on the abstract vector of vec-inl.h.
// Included by per-ISA translation units only.
#ifndef PRISMREC_SIMD_SPAN_INL_H_
#define PRISMREC_SIMD_SPAN_INL_H_

#include <cstddef>

#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS {

constexpr float kNegativeInfinity = -__builtin_huge_valf();

// Single-precision partial sums run over at most this many elements before they go into a double.
constexpr size_t kSumBlock = 1024;

// x[i] += bias[i] + offset (bias nullable); returns the maximum, -infinity for n = 0.
inline float ShiftMax(float* x, const float* bias, float offset, size_t n) {
  const Vec shift = Set(offset);
  Vec top0 = Set(kNegativeInfinity);
  Vec top1 = top0;
  size_t i = 0;
  if (bias == nullptr) {
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      const Vec a = Add(Load(x + i), shift);
      const Vec b = Add(Load(x + i + kLanes), shift);
      Store(x + i, a);
      Store(x + i + kLanes, b);
      top0 = Max(top0, a);
      top1 = Max(top1, b);
    }
  } else {
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      const Vec a = Add(Load(x + i), Add(Load(bias + i), shift));
      const Vec b = Add(Load(x + i + kLanes), Add(Load(bias + i + kLanes), shift));
      Store(x + i, a);
      Store(x + i + kLanes, b);
      top0 = Max(top0, a);
      top1 = Max(top1, b);
    }
  }
  float top = ReduceMax(Max(top0, top1));
  for (; i < n; ++i) {
    x[i] += (bias == nullptr ? 0.0f : bias[i]) + offset;
    if (x[i] > top) top = x[i];
  }
  return top;
}

// The largest, -infinity for n = 0.
inline float Maximum(const float* x, size_t n) {
  Vec most = Set(kNegativeInfinity);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = Max(most, Load(x + i));
  float top = ReduceMax(most);
  for (; i < n; ++i) {
    if (x[i] > top) top = x[i];
  }
  return top;
}

// x[i] = exponential(x[i]), of whole vectors and what fills none; returns the sum.
template <bool kColumns, class Exponential>
inline double ExpSumImpl(float* x, float* column_sum, size_t n, Exponential exponential) {
  double total = 0;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
    Vec sum0 = Set(0.0f);
    Vec sum1 = Set(0.0f);
    size_t i = begin;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      const Vec a = exponential(Load(x + i));
      const Vec b = exponential(Load(x + i + kLanes));
      Store(x + i, a);
      Store(x + i + kLanes, b);
      sum0 = Add(sum0, a);
      sum1 = Add(sum1, b);
      if (kColumns) {
        Store(column_sum + i, Add(Load(column_sum + i), a));
        Store(column_sum + i + kLanes, Add(Load(column_sum + i + kLanes), b));
      }
    }
    total += ReduceAdd(Add(sum0, sum1));
    while (i < end) {
      const size_t lanes = end - i < kLanes ? end - i : kLanes;
      StoreN(x + i, exponential(LoadN(x + i, lanes)), lanes);
      for (size_t k = i; k < i + lanes; ++k) {
        total += x[k];
        if (kColumns) column_sum[k] += x[k];
      }
      i += lanes;
    }
  }
  return total;
}

// x[i] = exp(x[i] - top); returns the sum.
inline double ExpSum(float* x, float top, size_t n) {
  const Vec shift = Set(top);
  return ExpSumImpl<false>(x, nullptr, n, [shift](Vec v) { return Exp(Sub(v, shift)); });
}

// x[i] = exp(x[i]), where no x[i] is NaN or above 80; returns the sum.
inline double ExpSumNear(float* x, size_t n) {
  const Vec scale = Set(kLog2E);
  return ExpSumImpl<false>(x, nullptr, n, [scale](Vec v) { return Exp2Near(Mul(v, scale)); });
}

// ExpSum, and column_sum[i] += x[i].
inline double ExpSumColumns(float* x, float top, float* column_sum, size_t n) {
  const Vec shift = Set(top);
  return ExpSumImpl<true>(x, column_sum, n, [shift](Vec v) { return Exp(Sub(v, shift)); });
}

// y[i] += a * x[i]
inline void Axpy(float a, const float* x, float* y, size_t n) {
  const Vec factor = Set(a);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(y + i, Fma(factor, Load(x + i), Load(y + i)));
  for (; i < n; ++i) y[i] += a * x[i];
}

// x[i] *= a
inline void Scale(float a, float* x, size_t n) {
  const Vec factor = Set(a);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(x + i, Mul(factor, Load(x + i)));
  for (; i < n; ++i) x[i] *= a;
}

inline float Dot(const float* x, const float* y, size_t n) {
  Vec sum = Set(0.0f);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum = Fma(Load(x + i), Load(y + i), sum);
  float total = ReduceAdd(sum);
  for (; i < n; ++i) total += x[i] * y[i];
  return total;
}

// x[i] += a
inline void AddConstant(float a, float* x, size_t n) {
  const Vec term = Set(a);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store(x + i, Add(Load(x + i), term));
  for (; i < n; ++i) x[i] += a;
}

inline double Sum(const float* x, size_t n) {
  double total = 0;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
    Vec sum = Set(0.0f);
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) sum = Add(sum, Load(x + i));
    total += ReduceAdd(sum);
    for (; i < end; ++i) total += x[i];
  }
  return total;
}

inline bool AllFinite(const float* x, size_t n) {
  // 0 * x is 0 for a finite x and NaN for any other.
  const Vec zero = Set(0.0f);
  Vec sum = zero;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum = Fma(zero, Load(x + i), sum);
  float total = ReduceAdd(sum);
  for (; i < n; ++i) total += 0.0f * x[i];
  return total == 0.0f;
}

}  // namespace prismrec::PRISMREC_SIMD_NS

#endif  // PRISMREC_SIMD_SPAN_INL_H_
