// Behaviour-to-interest dynamic routing with its bilinear maps: see README.md for the formulas.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_DYNAMIC_ROUTING_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_DYNAMIC_ROUTING_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace prismrec::dynamic_routing {

struct Problem {
  size_t users = 0;      // B
  size_t length = 0;     // T
  size_t interests = 0;  // K >= 1
  size_t dim = 0;        // d >= 1
  // [B] events of each user, at most T: those at positions 0 .. lengths[b] - 1.
  const uint32_t* lengths = nullptr;
  // [B, T, d]; what lies beyond a user's length is not read. With `rows` a table [table_rows, d].
  const float* events = nullptr;
  // [B, T], nullable: where in the table each event lies.
  const uint32_t* rows = nullptr;
  size_t table_rows = 0;
  // [map_count, d, predictions() * d]: one map for all positions, or one for each of at least T.
  const float* maps = nullptr;
  size_t map_count = 0;
  // Whether an event says the same to every interest, so that a map has d columns instead of K * d.
  bool shared = false;

  // Event b * T + t.
  const float* event(size_t at) const { return events + (rows == nullptr ? at : rows[at]) * dim; }
  size_t predictions() const { return shared ? 1 : interests; }
  size_t map_cols() const { return predictions() * dim; }
  size_t map_size() const { return dim * map_cols(); }
  const float* map(size_t position) const {
    return maps + (map_count == 1 ? 0 : position * map_size());
  }
};

// Every element of the outputs is written.
struct ForwardArgs {
  Problem problem;
  size_t iterations = 0;           // R >= 1
  const float* initial = nullptr;  // [K, T] logits of the first round
  float* vectors = nullptr;        // [B, K, d] interests; 0 for a user without events
  float* sums = nullptr;           // [B, K, d] the same before squashing
  float* coefficients = nullptr;   // [B, K, T] of the last round; 0 for padding
};

struct BackwardArgs {
  Problem problem;
  const float* coefficients = nullptr;     // [B, K, T] as forward gave them; held fixed
  const float* sums = nullptr;             // [B, K, d] as forward gave them
  const float* vector_gradient = nullptr;  // [B, K, d]; an interest whose row is 0 costs nothing
  float* event_gradient = nullptr;         // [B, T, d]; 0 for padding
  float* map_gradient = nullptr;           // as `maps`
};

// `variant` nullable: the best this machine runs. The binding has checked the lengths of arrays; the
// values of `lengths` are checked here. NON_FINITE for a vector or a vector's gradient that is not
// finite.
Status Forward(const char* variant, const ForwardArgs& args, const CancelFlag& cancel);
Status Backward(const char* variant, const BackwardArgs& args, const CancelFlag& cancel);

// The variants that this machine runs, the reference first.
std::vector<const char*> RunnableVariants();

namespace reference {

// The definition, in double precision.
Status Forward(const ForwardArgs& args, const CancelFlag& cancel);
Status Backward(const BackwardArgs& args, const CancelFlag& cancel);

}  // namespace reference

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_DYNAMIC_ROUTING_H_
