#include "ops/dynamic_routing/plan.h"

#include <algorithm>

namespace prismrec::dynamic_routing {
namespace {

// Predictions held at a time: 16 MiB, half of a usual third-level cache.
constexpr size_t kPredictionFloats = size_t{1} << 22;
// A loop has so many times the work of its longest task, enough for 48 threads beside what cannot
// be shared out, unless a task would have less than so many multiply-adds.
constexpr size_t kTasks = 58;
constexpr size_t kLeastWork = size_t{1} << 18;
constexpr size_t kMostUsers = 8;
constexpr size_t kMostRows = 128;
constexpr size_t kLeastRows = 16;

size_t Blocks(size_t x, size_t block) { return (x + block - 1) / block; }
double Real(size_t x) { return static_cast<double>(x); }

// Predictions that a task computes of its segment where there are many threads.
size_t PredictionsAtOnce(const Problem& problem, const Layout& layout) {
  size_t most = 0;
  for (const Layout::Segment& segment : layout.segments) {
    most = std::max(most, segment.end - segment.begin);
  }
  const size_t all = problem.predictions();
  size_t step = all;
  while (step > 1 && layout.sources.size() * all < kTasks * most * step &&
         most * problem.dim * problem.dim * step >= 2 * kLeastWork) {
    step = Blocks(step, 2);
  }
  return step;
}

// [segments, predictions] how many of a segment's rows are handed a gradient.
std::vector<size_t> ReachedRows(const Problem& problem, const Wave& wave, const Layout& layout,
                                const Active& active) {
  const size_t predictions = problem.predictions();
  std::vector<size_t> rows((layout.segments.size() + 1) * predictions);
  for (size_t b = 0; b < wave.users; ++b) {
    const size_t user = wave.first + b;
    const size_t begin = layout.user_rows[b], end = begin + problem.lengths[user];
    for (size_t p = 0; p < predictions; ++p) {
      if (begin == end || !active.Reaches(problem, user, p)) continue;
      if (problem.map_count != 1) {
        // One in each of the first segments: where that begins and ends.
        ++rows[p];
        --rows[problem.lengths[user] * predictions + p];
        continue;
      }
      for (size_t s = begin / layout.segments.front().end; s < layout.segments.size(); ++s) {
        const Layout::Segment& segment = layout.segments[s];
        if (segment.begin >= end) break;
        rows[s * predictions + p] += std::min(end, segment.end) - std::max(begin, segment.begin);
      }
    }
  }
  for (size_t i = predictions; problem.map_count != 1 && i < rows.size(); ++i) {
    rows[i] += rows[i - predictions];
  }
  return rows;
}

double LayoutWork(const Problem& problem, const Wave& wave, const Layout& layout) {
  return 8 * Real(wave.users) + Real(problem.length) + 4 * Real(layout.sources.size());
}

}  // namespace

std::vector<Wave> Waves(const Problem& problem) {
  const size_t floats = std::max<size_t>(1, problem.length * problem.map_cols());
  const size_t step = std::max<size_t>(1, kPredictionFloats / floats);
  std::vector<Wave> waves;
  for (size_t first = 0; first < problem.users; first += step) {
    waves.push_back({first, std::min(step, problem.users - first)});
  }
  return waves;
}

size_t UsersAtOnce(size_t users, bool many_threads) {
  return many_threads ? std::clamp<size_t>(users / kTasks, 1, kMostUsers) : kMostUsers;
}

size_t RowsAtOnce(size_t rows) { return std::clamp(rows / kTasks, kLeastRows, kMostRows); }

ForwardPlan::ForwardPlan(const Problem& problem, const Wave& wave, bool many_threads)
    : layout(problem, wave.first, wave.users) {
  const size_t step =
      many_threads ? PredictionsAtOnce(problem, layout) : problem.predictions();
  apart = step < problem.predictions();
  for (size_t s = 0; s < layout.segments.size(); ++s) {
    for (size_t p = 0; p < problem.predictions(); p += step) {
      products.push_back({s, p, std::min(problem.predictions(), p + step)});
    }
  }
}

Work WorkOfForward(const Problem& problem, size_t iterations) {
  const double dim = Real(problem.dim), interests = Real(problem.interests);
  Work work;
  // The check of lengths and of the interests.
  work.serial = Real(problem.users) * (1 + interests * dim);
  for (const Wave& wave : Waves(problem)) {
    const ForwardPlan plan(problem, wave, true);
    const Layout& layout = plan.layout;
    work.serial += LayoutWork(problem, wave, layout);
    std::vector<double>& predict = work.Add("predict");
    for (const ForwardPlan::Product& product : plan.products) {
      const Layout::Segment& segment = layout.segments[product.segment];
      const double rows = Real(segment.end - segment.begin);
      predict.push_back(rows * dim +
                        Real(product.end - product.begin) * (2 * rows + 1) * dim * dim);
    }
    std::vector<double>& route = work.Add("route");
    for (size_t b = 0; b < wave.users; b += UsersAtOnce(wave.users, true)) {
      route.push_back(0);
      for (size_t i = b; i < std::min(wave.users, b + UsersAtOnce(wave.users, true)); ++i) {
        const double events = Real(problem.lengths[wave.first + i]);
        route.back() +=
            interests * (Real(problem.length) + 4 * Real(iterations) * (dim + 1) * events);
      }
    }
  }
  return work;
}

bool Active::summed() const {
  return std::any_of(predictions.begin(), predictions.end(), [](uint32_t n) { return n > 1; });
}

std::vector<Wave> BackwardWaves(const Problem& problem, const Active& active) {
  if (active.summed()) return Waves(problem);
  return {{0, problem.users}};
}

BackwardPlan::BackwardPlan(const Problem& problem, const Wave& wave, const Active& active,
                           bool many_threads)
    : layout(problem, wave.first, wave.users) {
  const size_t predictions = problem.predictions();
  const std::vector<size_t> rows = ReachedRows(problem, wave, layout, active);
  size_t total = 0;
  for (size_t i = 0; i < layout.segments.size() * predictions; ++i) total += rows[i];
  // What has more rows becomes two tasks, each of which gathers what the predictions are handed.
  const size_t most = std::max(kLeastRows, total / kTasks);
  for (size_t i = 0; i < layout.segments.size() * predictions; ++i) {
    if (rows[i] == 0) continue;
    const size_t s = i / predictions, p = i % predictions;
    if (!many_threads || rows[i] <= most) {
      products.push_back({s, p, rows[i], true, true});
    } else {
      products.push_back({s, p, rows[i], true, false});
      products.push_back({s, p, rows[i], false, true});
    }
  }
  if (many_threads) {
    std::stable_sort(products.begin(), products.end(), [](const Product& a, const Product& b) {
      return a.cost() > b.cost();
    });
  }
  for (size_t n = 0; n < products.size(); ++n) {
    if (n == 0 || many_threads || products[n].segment != products[n - 1].segment) {
      first_products.push_back(n);
    }
  }
  first_products.push_back(products.size());
}

Work WorkOfBackward(const Problem& problem, const Active& active) {
  const double dim = Real(problem.dim), interests = Real(problem.interests);
  const size_t predictions = problem.predictions();
  Work work;
  // The check of lengths and of the gradients.
  work.serial = Real(problem.users) * (1 + interests * dim);
  std::vector<double>& squash = work.Add("squash");
  for (size_t first = 0; first < problem.users; first += UsersAtOnce(problem.users, true)) {
    squash.push_back(0);
    const size_t end = std::min(problem.users, first + UsersAtOnce(problem.users, true));
    for (size_t user = first; user < end; ++user) {
      squash.back() += interests * dim;
      for (size_t k = 0; k < problem.interests; ++k) {
        if (active.interests[user * problem.interests + k] != 0) squash.back() += 7 * dim;
      }
      const size_t written = active.predictions[user] == 0 ? 0 : problem.lengths[user];
      squash.back() += Real(problem.length - written) * dim;
    }
  }
  std::vector<uint8_t> written(problem.map_count * predictions);
  for (const Wave& wave : BackwardWaves(problem, active)) {
    const BackwardPlan plan(problem, wave, active, true);
    const Layout& layout = plan.layout;
    work.serial += LayoutWork(problem, wave, layout) + Real(wave.users) * interests;
    std::vector<double>& products = work.Add("products");
    for (const BackwardPlan::Product& product : plan.products) {
      const Layout::Segment& segment = layout.segments[product.segment];
      // Scans the segment; gathers; multiplies.
      products.push_back(Real(segment.end - segment.begin) +
                         Real(product.rows) * dim *
                             ((product.to_map ? 2 : 1) + (product.to_events ? 1 : 0)) +
                         Real(product.cost()) * 2 * dim * dim);
      written[segment.map * predictions + product.prediction] = 1;
    }
    if (problem.map_count == 1 && layout.segments.size() > 1) {
      work.Add("map").assign(problem.dim, Real(problem.map_cols() * layout.segments.size()));
    }
    if (!active.summed()) continue;
    std::vector<double>& events = work.Add("events");
    const size_t step = RowsAtOnce(layout.sources.size());
    for (size_t row = 0; row < layout.sources.size(); row += step) {
      events.push_back(0);
      for (size_t r = row; r < std::min(layout.sources.size(), row + step); ++r) {
        events.back() += active.predictions[layout.row_users[r]] * dim;
      }
    }
  }
  const auto unmet = static_cast<size_t>(std::count(written.begin(), written.end(), 0));
  work.Add("maps without events").assign(unmet, dim * dim);
  return work;
}

}  // namespace prismrec::dynamic_routing
