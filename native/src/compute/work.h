// What an operation's plan hands to the pool: loops, one after the other, each of tasks that any
// threads may take. Counted from the ranges that the operation runs, so that a test can ask how
// many threads there is work for.
#ifndef PRISMREC_COMPUTE_WORK_H_
#define PRISMREC_COMPUTE_WORK_H_

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace prismrec {

// Up to so many threads, tasks whose sums are the same either way may be taken together: handing out
// more of them, or fetching what they have in common more often, would cost more than it brings.
inline constexpr int kFewThreads = 4;

// Floating-point operations; a number that is only moved, or whose exponential is taken, counts as
// one.
struct Work {
  struct Loop {
    const char* name;
    std::vector<double> tasks;
  };

  // What the calling thread does alone.
  double serial = 0;
  std::vector<Loop> loops;

  std::vector<double>& Add(const char* name) {
    loops.push_back({name, {}});
    return loops.back().tasks;
  }

  double Total() const {
    double total = serial;
    for (const Loop& loop : loops) {
      total = std::accumulate(loop.tasks.begin(), loop.tasks.end(), total);
    }
    return total;
  }

  // What no number of threads shortens: each loop takes as long as its longest task.
  double Span() const {
    double span = serial;
    for (const Loop& loop : loops) {
      if (!loop.tasks.empty()) span += *std::max_element(loop.tasks.begin(), loop.tasks.end());
    }
    return span;
  }

  double Width() const { return Total() / Span(); }
};

}  // namespace prismrec

#endif  // PRISMREC_COMPUTE_WORK_H_
