#include "ops/dynamic_routing/routing.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gemm/gemm.h"
#include "ops/dynamic_routing/plan.h"
#include "runtime/workspace.h"

namespace prismrec::dynamic_routing {
namespace {

// Rows of a gradient's product: they and a map's part stay in the second-level cache.
constexpr size_t kGradientRows = 128;
// Events and their gradients lie apart, so they are asked for this long before their turn.
constexpr size_t kEventsAhead = 6;

// Kept from call to call: a training step would otherwise spend its time on fresh pages.
thread_local Workspace prediction_memory;
thread_local Workspace partial_memory;
thread_local Workspace row_memory;

// Asks for a matrix [rows, cols], rows `ld` apart, a bit at a time while something else goes on.
class Prefetcher {
 public:
  Prefetcher(const float* matrix, size_t rows, size_t cols, size_t ld)
      : row_(matrix), rows_(rows), cols_(cols), ld_(ld) {}

  // Some cache lines of it, as long as there are any.
  void Next() {
    for (int line = 0; line < kLinesAtOnce && rows_ > 0; ++line) {
      __builtin_prefetch(row_ + col_);
      col_ += kLine;
      if (col_ < cols_) continue;
      col_ = 0;
      row_ += ld_;
      --rows_;
    }
  }

 private:
  static constexpr size_t kLine = 64 / sizeof(float);
  static constexpr int kLinesAtOnce = 8;

  const float* row_;
  size_t rows_;
  const size_t cols_, ld_;
  size_t col_ = 0;
};

// The segment's events times their map, for some predictions.
void Predict(const Kernels& kernels, const Problem& problem, const ForwardPlan& plan,
             const ForwardPlan::Product& product, float* predictions) {
  const Layout& layout = plan.layout;
  const Layout::Segment& segment = layout.segments[product.segment];
  const size_t dim = problem.dim;
  const size_t rows = segment.end - segment.begin;
  const float* const map = problem.map(segment.map) + product.begin * dim;
  float* const packed = row_memory.Reserve<float>(rows * dim);
  Prefetcher ahead(map, dim, (product.end - product.begin) * dim, problem.map_cols());
  const size_t* const sources = &layout.sources[segment.begin];
  for (size_t i = 0; i < rows; ++i) {
    ahead.Next();
    if (i + kEventsAhead < rows) {
      Prefetcher(problem.event(sources[i + kEventsAhead]), 1, dim, dim).Next();
    }
    std::memcpy(packed + i * dim, problem.event(sources[i]), dim * sizeof(float));
  }
  // As one product where they lie side by side.
  const size_t step = plan.apart ? 1 : problem.predictions();
  for (size_t p = product.begin; p < product.end; p += step) {
    GemmArgs gemm;
    gemm.m = rows;
    gemm.n = step * dim;
    gemm.k = dim;
    gemm.a = packed;
    gemm.lda = dim;
    gemm.b = problem.map(segment.map) + p * dim;
    gemm.ldb = problem.map_cols();
    gemm.c = predictions + p * plan.prediction_stride(dim) + segment.begin * gemm.n;
    gemm.ldc = gemm.n;
    SgemmSerial(gemm, *kernels.gemm);
  }
}

// A backward pass, wave by wave. What is the first to reach a map or an event is written, so that
// nothing has to be cleared before.
class Gradients {
 public:
  Gradients(const Kernels& kernels, const BackwardArgs& args, ThreadPool& pool,
            const CancelFlag& cancel)
      : kernels_(kernels),
        args_(args),
        problem_(args.problem),
        pool_(pool),
        cancel_(cancel),
        many_threads_(pool.threads() > kFewThreads),
        active_(args.problem),
        dsums_(args.problem.users * args.problem.interests * args.problem.dim),
        written_(args.problem.map_count * args.problem.predictions()) {}

  Status Run() {
    const size_t users_at_once = UsersAtOnce(problem_.users, many_threads_);
    Loop((problem_.users + users_at_once - 1) / users_at_once, [&](size_t n) {
      const size_t end = std::min(problem_.users, (n + 1) * users_at_once);
      for (size_t user = n * users_at_once; user < end; ++user) Squash(user);
    });
    for (const Wave& wave : BackwardWaves(problem_, active_)) {
      if (cancel_.Cancelled()) break;
      RunWave(BackwardPlan(problem_, wave, active_, many_threads_));
    }
    std::vector<size_t> unmet;
    for (size_t i = 0; i < written_.size(); ++i) {
      if (written_[i] == 0) unmet.push_back(i);
    }
    Loop(unmet.size(), [&](size_t n) {
      const size_t predictions = problem_.predictions();
      float* const dmap = args_.map_gradient + unmet[n] / predictions * problem_.map_size() +
                          unmet[n] % predictions * problem_.dim;
      for (size_t i = 0; i < problem_.dim; ++i) {
        std::fill_n(dmap + i * problem_.map_cols(), problem_.dim, 0.0f);
      }
    });
    return cancel_.Cancelled() ? Cancelled() : Status::Ok();
  }

 private:
  using Product = BackwardPlan::Product;

  template <class Fn>
  void Loop(size_t tasks, Fn&& fn) {
    pool_.ParallelFor(tasks, cancel_, [&](size_t n, int) { fn(n); });
  }

  // The gradients of a user's sums, and of what has none: padding, and events without any.
  void Squash(size_t user) {
    const size_t dim = problem_.dim;
    uint32_t reached = 0;
    for (size_t k = 0; k < problem_.interests; ++k) {
      const size_t i = user * problem_.interests + k;
      const float* const dvector = args_.vector_gradient + i * dim;
      if (std::all_of(dvector, dvector + dim, [](float g) { return g == 0.0f; })) continue;
      active_.interests[i] = 1;
      ++reached;
      kernels_.squash_gradient(args_.sums + i * dim, dvector, &dsums_[i * dim], dim);
    }
    active_.predictions[user] = problem_.shared ? std::min<uint32_t>(1, reached) : reached;
    const size_t first = reached == 0 ? 0 : problem_.lengths[user];
    float* const events = args_.event_gradient + user * problem_.length * dim;
    std::fill(events + first * dim, events + problem_.length * dim, 0.0f);
  }

  void RunWave(const BackwardPlan& plan) {
    const size_t dim = problem_.dim, segments = plan.layout.segments.size();
    const size_t rows = plan.layout.sources.size();
    summed_ = active_.summed();
    to_events_ =
        summed_ ? prediction_memory.Reserve<float>(problem_.predictions() * rows * dim) : nullptr;
    // Segments of one map sum into parts of their own, which are then added in order.
    const bool parts = problem_.map_count == 1 && segments > 1;
    to_map_ = parts ? partial_memory.Reserve<float>(segments * problem_.map_size()) : nullptr;
    Loop(plan.tasks(), [&](size_t n) {
      for (size_t i = plan.first_products[n]; i < plan.first_products[n + 1]; ++i) {
        Multiply(plan.layout, plan.products[i]);
      }
    });
    if (parts) {
      // In the order of the segments.
      std::vector<Product> products;
      for (const Product& product : plan.products) {
        if (product.to_map) products.push_back(product);
      }
      std::sort(products.begin(), products.end(),
                [](const Product& a, const Product& b) { return a.segment < b.segment; });
      const std::vector<uint8_t> before = written_;
      Loop(dim, [&](size_t i) {
        std::vector<uint8_t> written = before;
        for (const Product& product : products) AddPart(product, i, &written);
      });
      for (const Product& product : products) written_[product.prediction] = 1;
    }
    if (!summed_) return;
    const size_t step = RowsAtOnce(rows);
    Loop((rows + step - 1) / step, [&](size_t n) {
      AddEvents(plan.layout, n * step, std::min(rows, (n + 1) * step));
    });
  }

  float* EventGradient(const Layout& layout, size_t row) const {
    return args_.event_gradient + layout.sources[row] * problem_.dim;
  }

  // For a prediction of a segment (or for all interests that share it) the rows that are handed a
  // gradient are gathered, then dx += du W' and dW += x' du.
  void Multiply(const Layout& layout, const Product& product) {
    const size_t dim = problem_.dim, p = product.prediction;
    const Layout::Segment& segment = layout.segments[product.segment];
    float* const memory = row_memory.Reserve<float>(3 * kGradientRows * dim);
    const Rows rows{memory, memory + kGradientRows * dim, memory + 2 * kGradientRows * dim};
    const float* const map = problem_.map(segment.map) + p * dim;
    float* dmap = args_.map_gradient + segment.map * problem_.map_size() + p * dim;
    bool fresh = true;
    if (to_map_ != nullptr) {
      dmap = to_map_ + product.segment * problem_.map_size() + p * dim;
    } else if (product.to_map) {
      uint8_t& written = written_[segment.map * problem_.predictions() + p];
      fresh = written == 0;
      written = 1;
    }
    Prefetcher ahead(map, product.to_events ? dim : 0, dim, problem_.map_cols());
    size_t places[kGradientRows];
    for (size_t row = segment.begin; row < segment.end;) {
      size_t count = 0;
      for (; row < segment.end && count < kGradientRows; ++row) {
        if (fresh) ahead.Next();
        if (active_.Reaches(problem_, layout.row_users[row], p)) places[count++] = row;
      }
      if (count == 0) break;
      Gather(layout, product, places, count, rows);
      if (product.to_events) ToEvents(layout, p, places, count, rows, map);
      if (!product.to_map) continue;
      ToMap(count, rows, fresh, dmap);
      fresh = false;
    }
  }

  struct Rows {
    float *x, *du, *dx;  // [kGradientRows, d]
  };

  // x = the events at `places`, du = what their interests hand down to the prediction.
  void Gather(const Layout& layout, const Product& product, const size_t* places, size_t count,
              const Rows& rows) const {
    const size_t dim = problem_.dim;
    const size_t first = problem_.shared ? 0 : product.prediction;
    const size_t last = problem_.shared ? problem_.interests : first + 1;
    for (size_t i = 0; i < count; ++i) {
      if (i + kEventsAhead < count) {
        const size_t next = places[i + kEventsAhead];
        if (product.to_map) Prefetcher(problem_.event(layout.sources[next]), 1, dim, dim).Next();
        if (product.to_events && !summed_) {
          Prefetcher(EventGradient(layout, next), 1, dim, dim).Next();
        }
      }
      const size_t source = layout.sources[places[i]];
      const size_t user = layout.row_users[places[i]];
      const size_t position = source - user * problem_.length;
      bool any = false;
      for (size_t k = first; k < last; ++k) {
        const size_t interest = user * problem_.interests + k;
        if (active_.interests[interest] == 0) continue;
        const float coefficient = args_.coefficients[interest * problem_.length + position];
        const auto add = any ? kernels_.axpy : kernels_.scaled;
        add(coefficient, &dsums_[interest * dim], rows.du + i * dim, dim);
        any = true;
      }
      if (!product.to_map) continue;
      std::memcpy(rows.x + i * dim, problem_.event(source), dim * sizeof(float));
    }
  }

  void ToEvents(const Layout& layout, size_t p, const size_t* places, size_t count,
                const Rows& rows, const float* map) const {
    const size_t dim = problem_.dim;
    // Where several predictions are added up, each has its own copy of the packed rows.
    float* const own = summed_ ? to_events_ + p * layout.sources.size() * dim : nullptr;
    const bool in_place = summed_ && places[count - 1] - places[0] + 1 == count;
    GemmArgs gemm;
    gemm.m = count;
    gemm.n = dim;
    gemm.k = dim;
    gemm.a = rows.du;
    gemm.lda = dim;
    gemm.b = map;
    gemm.ldb = problem_.map_cols();
    gemm.trans_b = true;
    gemm.c = in_place ? own + places[0] * dim : rows.dx;
    gemm.ldc = dim;
    SgemmSerial(gemm, *kernels_.gemm);
    if (in_place) return;
    for (size_t i = 0; i < count; ++i) {
      float* const to = summed_ ? own + places[i] * dim : EventGradient(layout, places[i]);
      std::memcpy(to, rows.dx + i * dim, dim * sizeof(float));
    }
  }

  void ToMap(size_t count, const Rows& rows, bool fresh, float* dmap) const {
    const size_t dim = problem_.dim;
    // Both factors lie as the loop reads them: nothing to pack.
    gemm::Direct product{};
    product.m = product.n = dim;
    product.k = count;
    product.a = rows.x;
    product.a_row = 1;
    product.a_col = dim;
    product.b = rows.du;
    product.ldb = dim;
    product.c = dmap;
    product.ldc = problem_.map_cols();
    product.alpha = 1.0f;
    product.beta = fresh ? 0.0f : 1.0f;
    kernels_.gemm->direct_rows(product);
  }

  // Row i of a segment's part of the only map's gradient.
  void AddPart(const Product& product, size_t i, std::vector<uint8_t>* written) const {
    const size_t dim = problem_.dim;
    const size_t at = i * problem_.map_cols() + product.prediction * dim;
    const float* const part = to_map_ + product.segment * problem_.map_size() + at;
    uint8_t& met = (*written)[product.prediction];
    const auto add = met != 0 ? kernels_.axpy : kernels_.scaled;
    add(1.0f, part, args_.map_gradient + at, dim);
    met = 1;
  }

  // Adds up what the predictions of packed rows [begin, end) have handed down.
  void AddEvents(const Layout& layout, size_t begin, size_t end) const {
    const size_t dim = problem_.dim, rows = layout.sources.size();
    for (size_t row = begin; row < end; ++row) {
      if (row + kEventsAhead < end) {
        Prefetcher(EventGradient(layout, row + kEventsAhead), 1, dim, dim).Next();
      }
      float* const to = EventGradient(layout, row);
      bool any = false;
      for (size_t p = 0; p < problem_.predictions(); ++p) {
        if (!active_.Reaches(problem_, layout.row_users[row], p)) continue;
        const auto add = any ? kernels_.axpy : kernels_.scaled;
        add(1.0f, to_events_ + (p * rows + row) * dim, to, dim);
        any = true;
      }
    }
  }

  const Kernels& kernels_;
  const BackwardArgs& args_;
  const Problem& problem_;
  ThreadPool& pool_;
  const CancelFlag& cancel_;
  const bool many_threads_;
  Active active_;
  std::vector<float> dsums_;  // [B, K, d]
  std::vector<uint8_t> written_;  // [M, predictions] whether the map's gradient has been
  bool summed_ = false;
  float* to_events_ = nullptr;  // [predictions, rows, d] where events sum over several
  float* to_map_ = nullptr;     // [segments, d, map_cols] where they share one map
};

}  // namespace

Status Forward(const Kernels& kernels, const ForwardArgs& args, ThreadPool& pool,
               const CancelFlag& cancel) {
  const Problem& problem = args.problem;
  const size_t interest_size = problem.interests * problem.dim;
  const size_t row_stride = (problem.length + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  const bool many_threads = pool.threads() > kFewThreads;
  for (const Wave& wave : Waves(problem)) {
    const ForwardPlan plan(problem, wave, many_threads);
    const Layout& layout = plan.layout;
    float* const predictions =
        prediction_memory.Reserve<float>(layout.sources.size() * problem.map_cols());
    pool.ParallelFor(plan.products.size(), cancel, [&](size_t n, int) {
      Predict(kernels, problem, plan, plan.products[n], predictions);
    });
    const size_t row_size = plan.apart ? problem.dim : problem.map_cols();
    const size_t interest_stride = problem.shared ? 0 : plan.prediction_stride(problem.dim);
    std::vector<size_t> event_offsets(problem.length);
    for (size_t t = 0; t < problem.length; ++t) {
      event_offsets[t] = layout.position_rows[t] * row_size;
    }
    const size_t users_at_once = UsersAtOnce(wave.users, many_threads);
    pool.ParallelFor((wave.users + users_at_once - 1) / users_at_once, cancel, [&](size_t n, int) {
      float* const scratch = row_memory.Reserve<float>(2 * problem.interests * row_stride);
      const size_t end = std::min(wave.users, (n + 1) * users_at_once);
      for (size_t b = n * users_at_once; b < end; ++b) {
        const size_t user = wave.first + b;
        float* const coefficients = args.coefficients + user * problem.interests * problem.length;
        std::fill(coefficients, coefficients + problem.interests * problem.length, 0.0f);
        float* const sums = args.sums + user * interest_size;
        float* const vectors = args.vectors + user * interest_size;
        if (problem.lengths[user] == 0) {
          std::fill(sums, sums + interest_size, 0.0f);
          std::fill(vectors, vectors + interest_size, 0.0f);
          continue;
        }
        kernels.route({problem.lengths[user], problem.interests, problem.dim, args.iterations,
                       predictions + layout.user_rows[b] * row_size, event_offsets.data(),
                       interest_stride, args.initial, problem.length, scratch, sums, vectors,
                       coefficients});
      }
    });
    if (cancel.Cancelled()) return Cancelled();
  }
  return Status::Ok();
}

Status Backward(const Kernels& kernels, const BackwardArgs& args, ThreadPool& pool,
                const CancelFlag& cancel) {
  return Gradients(kernels, args, pool, cancel).Run();
}

}  // namespace prismrec::dynamic_routing
