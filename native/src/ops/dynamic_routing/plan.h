// How the passes are cut into tasks. No sum depends on the number of threads.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_PLAN_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compute/work.h"
#include "ops/dynamic_routing/dynamic_routing.h"
#include "ops/dynamic_routing/layout.h"

namespace prismrec::dynamic_routing {

// Users [first, first + users), whose predictions, or what each says of the events' gradients, are
// held at a time.
struct Wave {
  size_t first, users;
};

std::vector<Wave> Waves(const Problem& problem);

// Users that a task routes, or whose gradients it takes through the squash.
size_t UsersAtOnce(size_t users, bool many_threads);
// Packed rows that a task gathers or adds up.
size_t RowsAtOnce(size_t rows);

struct ForwardPlan {
  // Predictions [begin, end) of a segment's events.
  struct Product {
    size_t segment, begin, end;
  };

  // For few threads (compute/work.h) a segment is one task: cut, its events are gathered once for
  // each part.
  ForwardPlan(const Problem& problem, const Wave& wave, bool many_threads);

  // Floats from one prediction of an event to the next.
  size_t prediction_stride(size_t dim) const { return apart ? layout.sources.size() * dim : dim; }

  Layout layout;
  // Whether each prediction has its own rows [p, rows, d], or an event's lie side by side.
  bool apart;
  std::vector<Product> products;  // the largest first
};

// For many threads.
Work WorkOfForward(const Problem& problem, size_t iterations);

// Which interests have a gradient.
struct Active {
  explicit Active(const Problem& problem)
      : interests(problem.users * problem.interests), predictions(problem.users) {}

  // Whether prediction p of a user is handed a gradient.
  bool Reaches(const Problem& problem, size_t user, size_t p) const {
    return problem.shared ? predictions[user] > 0 : interests[user * problem.interests + p] != 0;
  }
  // Whether some event gets its gradient from several predictions.
  bool summed() const;

  std::vector<uint8_t> interests;     // [B, K]
  std::vector<uint32_t> predictions;  // [B] how many of a user's have one
};

struct BackwardPlan {
  // What a prediction of a segment's events hands down to the events, to the map, or to both.
  struct Product {
    size_t segment, prediction;
    size_t rows;  // of the segment, with a gradient: at least 1
    bool to_events, to_map;

    size_t cost() const { return rows * (size_t{to_events} + size_t{to_map}); }
  };

  // For few threads a segment is one task, whose products share what is near.
  BackwardPlan(const Problem& problem, const Wave& wave, const Active& active, bool many_threads);

  Layout layout;
  std::vector<Product> products;
  // Task n takes the products from first_products[n] to the next task's; the largest first.
  std::vector<size_t> first_products;

  size_t tasks() const { return first_products.size() - 1; }
};

// The waves of a backward pass: all users at once where nothing has to be summed.
std::vector<Wave> BackwardWaves(const Problem& problem, const Active& active);
// For many threads.
Work WorkOfBackward(const Problem& problem, const Active& active);

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_PLAN_H_
