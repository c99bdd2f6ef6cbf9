#include "ops/prefix_attention/prefix_attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/prefix_attention/cpu/spans.h"
#include "runtime/cancel.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace prismrec::prefix_attention {
namespace {

// Multiply-adds a thread should get at least.
constexpr size_t kGrain = 16384;
// Doubles reach 1e-308, so an old event keeps its weight unless it trails the newest by 700 in the
// logit.
constexpr double kFloor = 1e-300;

thread_local Workspace row_memory;

// body(b) for every user; what a user's result is does not depend on who computes it.
template <class Body>
void ForUsers(const Problem& problem, const Body& body) {
  const size_t work = std::max<size_t>(
      1, problem.position_count * problem.interests() * problem.length);
  const size_t grain = kGrain / work + 1;
  ThreadPool::Global().ParallelFor((problem.users + grain - 1) / grain, CancelFlag(),
                                   [&](size_t chunk, int) {
                                     const size_t end =
                                         std::min(problem.users, (chunk + 1) * grain);
                                     for (size_t b = chunk * grain; b < end; ++b) body(b);
                                   });
}

void ForwardUser(const Spans& spans, const Problem& p, size_t b, const float* logits, float* weights) {
  const size_t length = p.length;
  const size_t end = p.lengths[b];
  const int16_t* clusters = p.clusters + b * length;
  const size_t rows = p.cluster_count > 0 ? p.logit_rows() : p.collaborative;
  double* exponentials = row_memory.Reserve<double>((p.logit_rows() + p.interests()) * length);
  // running[j, t]: the sum of interest j's exponentials over the events t, t + 1, ...
  double* running = exponentials + p.logit_rows() * length;
  for (size_t r = 0; r < rows; ++r) {
    const float* row = logits + (b * p.logit_rows() + r) * length;
    const float top = end == 0 ? 0.0f : *std::max_element(row, row + end);
    for (size_t t = 0; t < end; ++t) {
      exponentials[r * length + t] = std::exp(static_cast<double>(row[t]) - top) + kFloor;
    }
  }
  for (size_t k = 0; k < p.collaborative; ++k) {
    double sum = 0;
    for (size_t t = end; t-- > 0;) running[k * length + t] = sum += exponentials[k * length + t];
  }
  const double* shared = exponentials + p.collaborative * length;
  for (size_t m = 0; m < p.cluster_count; ++m) {
    double sum = 0;
    for (size_t t = end; t-- > 0;) {
      if (clusters[t] == static_cast<int16_t>(m)) sum += shared[t];
      running[(p.collaborative + m) * length + t] = sum;
    }
  }
  for (size_t i = b * p.position_count; i < (b + 1) * p.position_count; ++i) {
    float* out = weights + i * p.interests() * length;
    std::fill(out, out + p.interests() * length, 0.0f);
    if (p.positions[i] < 0) continue;
    const size_t start = static_cast<size_t>(p.positions[i]);
    if (start >= end) continue;
    for (size_t k = 0; k < p.collaborative; ++k) {
      const double scale = 1 / running[k * length + start];
      const size_t at = k * length + start;
      spans.scaled(exponentials + at, scale, out + at, end - start);
    }
    for (size_t t = start; t < end; ++t) {
      if (!p.clustered(clusters[t])) continue;
      const size_t row = (p.collaborative + static_cast<size_t>(clusters[t])) * length;
      out[row + t] = static_cast<float>(shared[t] / running[row + start]);
    }
  }
}

// Softmax backward of every row, w (dw - <w, dw>), summed over positions and, for the shared row,
// clusters.
void BackwardUser(const Spans& spans, const Problem& p, size_t b, const float* weights,
                  const float* dweights, float* dlogits) {
  const size_t length = p.length;
  const size_t end = p.lengths[b];
  const int16_t* clusters = p.clusters + b * length;
  float* to = dlogits + b * p.logit_rows() * length;
  std::fill(to, to + p.logit_rows() * length, 0.0f);
  double* inner = row_memory.Reserve<double>(std::max<size_t>(1, p.cluster_count));
  for (size_t i = b * p.position_count; i < (b + 1) * p.position_count; ++i) {
    if (p.positions[i] < 0) continue;
    const size_t start = static_cast<size_t>(p.positions[i]);
    if (start >= end) continue;
    const float* w = weights + i * p.interests() * length;
    const float* dw = dweights + i * p.interests() * length;
    for (size_t k = 0; k < p.collaborative; ++k) {
      const size_t at = k * length + start;
      const double mean = spans.dot(w + at, dw + at, end - start);
      spans.add_slopes(w + at, dw + at, mean, to + at, end - start);
    }
    std::fill(inner, inner + p.cluster_count, 0.0);
    const auto place = [&](size_t t) {
      return (p.collaborative + static_cast<size_t>(clusters[t])) * length + t;
    };
    for (size_t t = start; t < end; ++t) {
      if (p.clustered(clusters[t])) {
        inner[clusters[t]] += static_cast<double>(w[place(t)]) * dw[place(t)];
      }
    }
    for (size_t t = start; t < end; ++t) {
      if (!p.clustered(clusters[t])) continue;
      to[p.collaborative * length + t] +=
          static_cast<float>(w[place(t)] * (dw[place(t)] - inner[clusters[t]]));
    }
  }
}

Status OutOfBounds(const char* what, size_t at, int64_t value, int64_t low, int64_t high) {
  return InvalidArgument(std::string(what) + "[" + std::to_string(at) + "] is out of bounds",
                         std::to_string(low) + " to " + std::to_string(high),
                         std::to_string(value));
}

}  // namespace

Status Check(const Problem& p) {
  const int64_t length = static_cast<int64_t>(p.length);
  for (size_t b = 0; b < p.users; ++b) {
    if (p.lengths[b] > p.length) return OutOfBounds("lengths", b, p.lengths[b], 0, length);
  }
  for (size_t i = 0; i < p.users * p.position_count; ++i) {
    if (p.positions[i] >= length) {
      return OutOfBounds("positions", i, p.positions[i], -1, length - 1);
    }
  }
  return Status::Ok();
}

void Forward(const Problem& problem, const float* logits, float* weights, const char* variant) {
  const Spans& spans = *Select(kVariants, variant)->fn;
  ForUsers(problem, [&](size_t b) { ForwardUser(spans, problem, b, logits, weights); });
}

void Backward(const Problem& problem, const float* weights, const float* dweights, float* dlogits,
              const char* variant) {
  const Spans& spans = *Select(kVariants, variant)->fn;
  ForUsers(problem, [&](size_t b) { BackwardUser(spans, problem, b, weights, dweights, dlogits); });
}

}  // namespace prismrec::prefix_attention
