// Loops that the compiler turns into vectors of each instruction set.
#include "ops/prefix_attention/cpu/spans.h"

namespace prismrec::PRISMREC_SIMD_NS::prefix_attention {

void Scaled(const double* __restrict x, double by, float* __restrict out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(x[i] * by);
}

double Dot(const float* x, const float* y, size_t n) {
  // As many sums as two of the widest vectors hold, joined in order.
  constexpr size_t kSums = 16;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (size_t s = 0; s < kSums; ++s) {
      sums[s] += static_cast<double>(x[i + s]) * static_cast<double>(y[i + s]);
    }
  }
  for (; i < n; ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void AddSlopes(const float* __restrict weights, const float* __restrict dweights, double mean,
               float* __restrict slopes, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    slopes[i] += static_cast<float>(weights[i] * (dweights[i] - mean));
  }
}

const prismrec::prefix_attention::Spans kSpans = {Scaled, Dot, AddSlopes};

}  // namespace prismrec::PRISMREC_SIMD_NS::prefix_attention
