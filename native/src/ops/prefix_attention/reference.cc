#include <algorithm>
#include <cmath>

#include "ops/prefix_attention/prefix_attention.h"

namespace prismrec::prefix_attention::reference {

void Forward(const Problem& p, const float* logits, double* weights) {
  std::fill(weights, weights + p.users * p.position_count * p.interests() * p.length, 0.0);
  for (size_t i = 0; i < p.users * p.position_count; ++i) {
    const size_t b = i / p.position_count;
    if (p.positions[i] < 0) continue;
    for (size_t j = 0; j < p.interests(); ++j) {
      const size_t row = b * p.logit_rows() + std::min(j, p.collaborative);
      double* out = weights + (i * p.interests() + j) * p.length;
      const auto visible = [&](size_t t) {
        return j < p.collaborative ||
               p.clusters[b * p.length + t] == static_cast<int>(j - p.collaborative);
      };
      double total = 0;
      for (size_t t = static_cast<size_t>(p.positions[i]); t < p.lengths[b]; ++t) {
        if (!visible(t)) continue;
        out[t] = std::exp(static_cast<double>(logits[row * p.length + t]));
        total += out[t];
      }
      for (size_t t = 0; t < p.length && total > 0; ++t) out[t] /= total;
    }
  }
}

}  // namespace prismrec::prefix_attention::reference
