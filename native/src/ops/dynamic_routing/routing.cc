#include "ops/dynamic_routing/routing.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gemm/gemm.h"
#include "ops/dynamic_routing/layout.h"
#include "runtime/workspace.h"

namespace prismrec::dynamic_routing {
namespace {

// Predictions held at a time: 16 MiB, half of a usual third-level cache.
constexpr size_t kPredictionFloats = size_t{1} << 22;
// Users a thread takes at a time.
constexpr size_t kUserGrain = 8;
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

// out [rows, map_cols] = events of the packed rows times their map
void Predict(const Kernels& kernels, const Problem& problem, const Layout& layout,
             const Layout::Segment& segment, float* out) {
  const size_t dim = problem.dim;
  const size_t rows = segment.end - segment.begin;
  float* const packed = row_memory.Reserve<float>(rows * dim);
  Prefetcher map(segment.map, dim, problem.map_cols(), problem.map_cols());
  const size_t* const sources = &layout.sources[segment.begin];
  for (size_t i = 0; i < rows; ++i) {
    map.Next();
    if (i + kEventsAhead < rows) {
      Prefetcher(problem.event(sources[i + kEventsAhead]), 1, dim, dim).Next();
    }
    std::memcpy(packed + i * dim, problem.event(sources[i]), dim * sizeof(float));
  }
  GemmArgs gemm;
  gemm.m = rows;
  gemm.n = problem.map_cols();
  gemm.k = dim;
  gemm.a = packed;
  gemm.lda = dim;
  gemm.b = segment.map;
  gemm.ldb = gemm.n;
  gemm.c = out;
  gemm.ldc = gemm.n;
  SgemmSerial(gemm, *kernels.gemm);
}

// One segment's share of the gradients: for every interest (or for all that share a prediction) the
// rows whose interest has a gradient are gathered, then dx += du W' and dW += x' du. What is the
// first to reach an event or a map is written, so that nothing has to be cleared before.
class SegmentGradient {
 public:
  SegmentGradient(const Kernels& kernels, const BackwardArgs& args, const Layout& layout,
                  const std::vector<float>& dsums, const std::vector<uint8_t>& active)
      : kernels_(kernels),
        args_(args),
        problem_(args.problem),
        layout_(layout),
        dsums_(dsums),
        active_(active) {}

  // dmap [d, map_cols]
  void Run(const Layout::Segment& segment, float* dmap) {
    const size_t dim = problem_.dim;
    float* const memory = row_memory.Reserve<float>(3 * kGradientRows * dim);
    x_ = memory;
    du_ = x_ + kGradientRows * dim;
    dx_ = du_ + kGradientRows * dim;
    begin_ = segment.begin;
    reached_.assign(segment.end - segment.begin, 0);
    for (size_t p = 0; p < problem_.predictions(); ++p) {
      const size_t column = p * dim;
      const size_t last = problem_.shared ? problem_.interests : p + 1;
      Prefetcher map(segment.map + column, dim, dim, problem_.map_cols());
      fresh_ = true;
      rows_.clear();
      for (size_t row = segment.begin; row < segment.end; ++row) {
        map.Next();
        if (HasGradient(row, p, last)) rows_.push_back(row);
      }
      for (size_t done = 0; done < rows_.size(); done += kGradientRows) {
        const size_t count = std::min(kGradientRows, rows_.size() - done);
        Gather(&rows_[done], count, p, last);
        Products(&rows_[done], count, segment.map + column, dmap + column);
      }
      for (size_t i = 0; fresh_ && i < dim; ++i) {
        std::fill_n(dmap + column + i * problem_.map_cols(), dim, 0.0f);
      }
    }
    for (size_t row = segment.begin; row < segment.end; ++row) {
      if (reached_[row - begin_] == 0) std::fill_n(EventGradient(row), dim, 0.0f);
    }
  }

 private:
  float* EventGradient(size_t row) const {
    return args_.event_gradient + layout_.sources[row] * problem_.dim;
  }

  size_t FirstInterest(size_t row) const {
    return layout_.sources[row] / problem_.length * problem_.interests;
  }

  // Whether one of interests [first, last) of the event's user has a gradient.
  bool HasGradient(size_t row, size_t first, size_t last) const {
    const uint8_t* const active = &active_[FirstInterest(row)];
    return std::any_of(active + first, active + last, [](uint8_t a) { return a != 0; });
  }

  // x = the events of the rows, du = what interests [first, last) hand down to their predictions.
  void Gather(const size_t* rows, size_t count, size_t first, size_t last) {
    const size_t dim = problem_.dim;
    for (size_t i = 0; i < count; ++i) {
      if (i + kEventsAhead < count) {
        const size_t next = rows[i + kEventsAhead];
        Prefetcher(problem_.event(layout_.sources[next]), 1, dim, dim).Next();
        Prefetcher(EventGradient(next), 1, dim, dim).Next();
      }
      const size_t source = layout_.sources[rows[i]];
      const size_t interests = FirstInterest(rows[i]);
      bool any = false;
      for (size_t k = first; k < last; ++k) {
        const size_t interest = interests + k;
        if (active_[interest] == 0) continue;
        const float coefficient =
            args_.coefficients[interest * problem_.length + source % problem_.length];
        const auto add = any ? kernels_.axpy : kernels_.scaled;
        add(coefficient, &dsums_[interest * dim], du_ + i * dim, dim);
        any = true;
      }
      std::memcpy(x_ + i * dim, problem_.event(source), dim * sizeof(float));
    }
  }

  void Products(const size_t* rows, size_t count, const float* map, float* dmap) {
    const size_t dim = problem_.dim;
    GemmArgs to_events;
    to_events.m = count;
    to_events.n = dim;
    to_events.k = dim;
    to_events.a = du_;
    to_events.lda = dim;
    to_events.b = map;
    to_events.ldb = problem_.map_cols();
    to_events.trans_b = true;
    to_events.c = dx_;
    to_events.ldc = dim;
    SgemmSerial(to_events, *kernels_.gemm);
    for (size_t i = 0; i < count; ++i) {
      float* const to = EventGradient(rows[i]);
      uint8_t& reached = reached_[rows[i] - begin_];
      if (reached == 0) {
        std::memcpy(to, dx_ + i * dim, dim * sizeof(float));
      } else {
        kernels_.axpy(1.0f, dx_ + i * dim, to, dim);
      }
      reached = 1;
    }
    // Both factors lie as the loop reads them: nothing to pack.
    gemm::Direct to_map{};
    to_map.m = to_map.n = dim;
    to_map.k = count;
    to_map.a = x_;
    to_map.a_row = 1;
    to_map.a_col = dim;
    to_map.b = du_;
    to_map.ldb = dim;
    to_map.c = dmap;
    to_map.ldc = problem_.map_cols();
    to_map.alpha = 1.0f;
    to_map.beta = fresh_ ? 0.0f : 1.0f;
    kernels_.gemm->direct_rows(to_map);
    fresh_ = false;
  }

  const Kernels& kernels_;
  const BackwardArgs& args_;
  const Problem& problem_;
  const Layout& layout_;
  const std::vector<float>& dsums_;
  const std::vector<uint8_t>& active_;
  float *x_ = nullptr, *du_ = nullptr, *dx_ = nullptr;  // [kGradientRows, d]
  std::vector<size_t> rows_;                            // of the segment, with a gradient
  size_t begin_ = 0;
  std::vector<uint8_t> reached_;  // the segment's rows whose gradient has been written
  bool fresh_ = true;             // the map's gradient has not been written
};

}  // namespace

Status Forward(const Kernels& kernels, const ForwardArgs& args, ThreadPool& pool,
               const CancelFlag& cancel) {
  const Problem& problem = args.problem;
  const size_t interest_size = problem.interests * problem.dim;
  const size_t cols = problem.map_cols();
  const size_t wave =
      std::max<size_t>(1, kPredictionFloats / std::max<size_t>(1, problem.length * cols));
  const size_t row_stride = (problem.length + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  for (size_t first = 0; first < problem.users; first += wave) {
    const size_t users = std::min(wave, problem.users - first);
    const Layout layout(problem, first, users);
    float* const predictions = prediction_memory.Reserve<float>(layout.sources.size() * cols);
    pool.ParallelFor(layout.segments.size(), cancel, [&](size_t s, int) {
      const Layout::Segment& segment = layout.segments[s];
      Predict(kernels, problem, layout, segment, predictions + segment.begin * cols);
    });
    std::vector<size_t> event_offsets(problem.length);
    for (size_t t = 0; t < problem.length; ++t) event_offsets[t] = layout.position_rows[t] * cols;
    pool.ParallelFor((users + kUserGrain - 1) / kUserGrain, cancel, [&](size_t chunk, int) {
      float* const scratch = row_memory.Reserve<float>(2 * problem.interests * row_stride);
      const size_t end = std::min(users, (chunk + 1) * kUserGrain);
      for (size_t b = chunk * kUserGrain; b < end; ++b) {
        const size_t user = first + b;
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
                       predictions + layout.user_rows[b] * cols, event_offsets.data(),
                       problem.shared ? 0 : problem.dim, args.initial, problem.length, scratch,
                       sums, vectors, coefficients});
      }
    });
    if (cancel.Cancelled()) return Cancelled();
  }
  return Status::Ok();
}

Status Backward(const Kernels& kernels, const BackwardArgs& args, ThreadPool& pool,
                const CancelFlag& cancel) {
  const Problem& problem = args.problem;
  const size_t dim = problem.dim;
  const size_t interests = problem.users * problem.interests;
  std::vector<float> dsums(interests * dim);
  std::vector<uint8_t> active(interests);
  for (size_t i = 0; i < interests; ++i) {
    const float* const dvector = args.vector_gradient + i * dim;
    if (std::all_of(dvector, dvector + dim, [](float g) { return g == 0.0f; })) continue;
    active[i] = 1;
    kernels.squash_gradient(args.sums + i * dim, dvector, &dsums[i * dim], dim);
  }

  const Layout layout(problem, 0, problem.users);
  const size_t count = layout.segments.size();
  const size_t map_size = problem.map_size();
  // Segments of one map sum into parts of their own, which are then added in order.
  const bool partial = problem.map_count == 1 && count > 1;
  float* const parts = partial ? partial_memory.Reserve<float>(count * map_size) : nullptr;
  // The maps that no segment has, or the one that all of them have.
  float* const covered = args.map_gradient + (partial ? 0 : count * map_size);
  std::fill(covered, args.map_gradient + problem.map_count * map_size, 0.0f);
  const size_t user_chunks = (problem.users + kUserGrain - 1) / kUserGrain;
  pool.ParallelFor(count + user_chunks, cancel, [&](size_t chunk, int) {
    if (chunk >= count) {
      // Events that are none.
      const size_t first = (chunk - count) * kUserGrain;
      for (size_t b = first; b < std::min(problem.users, first + kUserGrain); ++b) {
        float* const user = args.event_gradient + b * problem.length * dim;
        std::fill(user + problem.lengths[b] * dim, user + problem.length * dim, 0.0f);
      }
      return;
    }
    const Layout::Segment& segment = layout.segments[chunk];
    float* const dmap =
        partial ? parts + chunk * map_size : args.map_gradient + (segment.map - problem.maps);
    SegmentGradient(kernels, args, layout, dsums, active).Run(segment, dmap);
  });
  if (cancel.Cancelled()) return Cancelled();
  for (size_t s = 0; partial && s < count; ++s) {
    kernels.axpy(1.0f, parts + s * map_size, args.map_gradient, map_size);
  }
  return Status::Ok();
}

}  // namespace prismrec::dynamic_routing
