// Attention weights of interests at every predicted position of a history: see README.md.
#ifndef PRISMREC_OPS_PREFIX_ATTENTION_PREFIX_ATTENTION_H_
#define PRISMREC_OPS_PREFIX_ATTENTION_PREFIX_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "runtime/status.h"

namespace prismrec::prefix_attention {

struct Problem {
  size_t users = 0;                    // B
  size_t length = 0;                   // T
  size_t position_count = 0;           // P
  size_t collaborative = 0;            // K
  size_t cluster_count = 0;            // M
  const uint32_t* lengths = nullptr;   // [B] events of each user, newest first, at most T
  const int16_t* clusters = nullptr;   // [B, T] outside of 0 .. M - 1: none
  const int32_t* positions = nullptr;  // [B, P] newest event that a prediction sees, -1: unused

  size_t interests() const { return collaborative + cluster_count; }
  bool clustered(int16_t cluster) const {
    return cluster >= 0 && static_cast<size_t>(cluster) < cluster_count;
  }
  // Rows of logits of a user: one for each collaborative interest, one that clusters share.
  size_t logit_rows() const { return collaborative + 1; }
};

// Whether lengths and positions stay inside their bounds.
Status Check(const Problem& problem);

// weights [B, P, K + M, T] from logits [B, K + 1, T]; every element is written. `variant`: one that this
// machine runs, null for the best.
void Forward(const Problem& problem, const float* logits, float* weights,
             const char* variant = nullptr);

// dlogits [B, K + 1, T] from the weights that Forward gave and their gradient; every element is
// written.
void Backward(const Problem& problem, const float* weights, const float* dweights, float* dlogits,
              const char* variant = nullptr);

namespace reference {

// A softmax for each row by itself.
void Forward(const Problem& problem, const float* logits, double* weights);

}  // namespace reference

}  // namespace prismrec::prefix_attention

#endif  // PRISMREC_OPS_PREFIX_ATTENTION_PREFIX_ATTENTION_H_
