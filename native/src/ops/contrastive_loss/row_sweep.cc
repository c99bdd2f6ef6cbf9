// Logits are symmetric, so each pair of tiles of a block is met once: a first pass over the pairs
// sums the exponentials of a tile's rows and columns, a second one, which computes the tile again,
// weighs them and multiplies them with both sides' rows: 4 n c d operations, of which a block of a
// single tile, which needs no second pass, spends the same with its full square.
//
// A pass goes in rounds: round k pairs tile i with tile i + k of its block, so that each tile's
// rows are a left and a right side at most once in a round. Each side has its own sums, which
// therefore have one owner at a time and an order that does not depend on the threads. Where a round
// has few pairs, some go together, each with sums of its own (plan.h).
//
// Where no logit can be further than kMostSpread from the largest, all exponentials are relative to
// the same number and serve both sides. Elsewhere each side takes its own: the first pass then
// computes the transposed tile too (5 n c d), and the second takes two exponentials a logit.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "gemm/pack.h"
#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
// exp(-60) is far from the smallest float, so sums of such keep their accuracy.
constexpr float kMostSpread = 60.0f;
constexpr size_t kLine = 64 / sizeof(float);

// Distance of rows of a right factor that is read in place: an odd number of cache lines, so that
// a column of it spreads over the whole first-level cache.
size_t Spread(size_t dim) { return ((dim + 15) / 16 | 1) * 16; }

// Sums over a row's candidates, as far as they have been met.
struct Sums {
  float top = -FLT_MAX;  // what `sum` is relative to
  double sum = 0;
  double positives = 0;  // of the logits

  void Add(float other_top, double other_sum) {
    if (other_sum == 0) return;
    if (other_top > top) {
      if (sum != 0) sum *= std::exp(static_cast<double>(top) - other_top);
      top = other_top;
    } else if (other_top < top) {
      other_sum *= std::exp(static_cast<double>(other_top) - top);
    }
    sum += other_sum;
  }
};

using Pair = RowPlan::Pair;

// What one thread works in.
struct Scratch {
  float* tile;              // [tile, tile]
  size_t stride;            // of its rows
  float* packed;            // [tile, d]
  float* spread;            // [tile, Spread(d)]
  float* row;               // [tile]
  float* column_sums;       // [tile]
  float* column_positives;  // [tile]
};

thread_local Workspace scratch_memory;
thread_local Workspace sum_memory;
thread_local Workspace strip_memory;

class RowSweep {
 public:
  RowSweep(const Kernel& kernel, const RowProblem& problem, double* losses, float* gradient,
           float* spare)
      : spans_(kernel.spans),
        gemm_(kernel.gemm),
        p_(problem),
        losses_(losses),
        gradient_(gradient),
        spare_(spare),
        plan_(kernel.gemm, problem.row_count, problem.blocks),
        tile_(plan_.tile),
        spread_(Spread(problem.dim)) {}

  Status Run(ThreadPool& pool, const CancelFlag& cancel);

 private:
  template <class Fn>
  static void Loop(size_t tasks, ThreadPool& pool, const CancelFlag& cancel, Fn&& fn) {
    pool.ParallelFor(tasks, cancel, [&](size_t n, int) { fn(n); });
  }
  // The sums of all rows on the left or on the right.
  Sums* Left(size_t set) { return &sums_[2 * set * p_.row_count]; }
  Sums* Right(size_t set) { return &sums_[(2 * set + 1) * p_.row_count]; }
  float* LeftGradient(size_t set) const { return GradientSum(2 * set); }
  float* RightGradient(size_t set) const { return GradientSum(2 * set + 1); }
  // The gradient itself, the spare one, then those of the further sets.
  float* GradientSum(size_t i) const {
    if (i < 2) return i == 0 ? gradient_ : spare_;
    return more_ + (i - 2) * p_.row_count * p_.dim;
  }
  void RunAlone(ThreadPool& pool, const CancelFlag& cancel);
  float Longest(const Range& rows) const;
  void Bound(const std::vector<float>& longest);
  Scratch Memory() const;
  // The row's positives, and itself, among the columns.
  Range Positives(size_t row, const Range& columns) const {
    const Range& all = p_.positives[row];
    const size_t begin = std::clamp(all.begin, columns.begin, columns.end);
    return {begin, std::clamp(all.end, begin, columns.end)};
  }
  double Mask(size_t row, const Range& columns, float* x) const;
  template <class Fn>
  void EachRow(const Range& rows, const Range& columns, Scratch* work, Fn&& fn) const;
  void AloneStatistics(const Range& rows, const Range& block, Scratch* work);
  void AloneGradient(const Range& rows, const Range& block, Scratch* work) const;
  void Statistics(const Pair& pair, Scratch* work);
  void SharedStatistics(const Pair& pair, Scratch* work);
  void OwnStatistics(const Range& rows, const Range& columns, Sums* sums, Scratch* work);
  void Finish(const Range& rows, size_t sets);
  void Gradient(const Pair& pair, Scratch* work) const;
  void Weigh(size_t row, const Range& columns, bool exponentials, float* x) const;
  void Product(const float* weights, size_t a_row, size_t a_col, const Range& out,
               const Range& columns, float* gradient, Scratch* work) const;

  const Spans& spans_;
  const gemm::Kernel& gemm_;
  const RowProblem& p_;
  double* const losses_;
  float* const gradient_;
  float* const spare_;
  const RowPlan plan_;
  const size_t tile_, spread_;
  // No logit lies further than `bound_` from 0, and exponentials relative to it are accurate.
  bool bounded_ = false;
  float bound_ = 0;
  std::vector<Sums> sums_;      // [sets, 2, n]
  std::vector<float> weights_;  // [n] of the exponentials in a row
  std::vector<float> tops_;     // [n] what they are relative to
  float* more_ = nullptr;       // [2 sets - 2, n, d] the gradient's sums of the further sets
};

Status RowSweep::Run(ThreadPool& pool, const CancelFlag& cancel) {
  const size_t n = p_.row_count;
  sums_.resize(2 * plan_.sets * n);
  weights_.resize(n);
  tops_.resize(n);
  const bool gradients = gradient_ != nullptr, paired = !plan_.loops.empty();
  const size_t gradient_sums = !gradients ? 0 : paired ? 2 * plan_.sets : 1;
  const size_t step = RowsAtOnce(n, pool.threads() > kFewThreads);
  const size_t parts = (n + step - 1) / step;
  const auto part_of = [&](size_t part) {
    return Range{part * step, std::min(n, (part + 1) * step)};
  };
  if (gradient_sums > 2) more_ = sum_memory.Reserve<float>((gradient_sums - 2) * n * p_.dim);
  std::vector<float> longest(parts);
  Loop(parts, pool, cancel, [&](size_t part) {
    const Range rows = part_of(part);
    longest[part] = Longest(rows);
    for (size_t i = 0; i < gradient_sums; ++i) {
      std::fill_n(GradientSum(i) + rows.begin * p_.dim, rows.size() * p_.dim, 0.0f);
    }
  });
  Bound(longest);
  RunAlone(pool, cancel);
  for (const std::vector<Pair>& pairs : plan_.loops) {
    Loop(pairs.size(), pool, cancel, [&](size_t i) {
      Scratch work = Memory();
      Statistics(pairs[i], &work);
    });
  }
  if (paired && !cancel.Cancelled()) {
    Loop(plan_.finished.size(), pool, cancel,
         [&](size_t i) { Finish(plan_.finished[i], plan_.sets); });
    for (size_t loop = 0; gradients && loop < plan_.loops.size(); ++loop) {
      const std::vector<Pair>& pairs = plan_.loops[loop];
      Loop(pairs.size(), pool, cancel, [&](size_t i) {
        Scratch work = Memory();
        Gradient(pairs[i], &work);
      });
    }
    Loop(gradients ? parts : 0, pool, cancel, [&](size_t part) {
      const Range rows = part_of(part);
      const size_t at = rows.begin * p_.dim, floats = rows.size() * p_.dim;
      for (size_t i = 1; i < gradient_sums; ++i) {
        spans_.axpy(1.0f, GradientSum(i) + at, gradient_ + at, floats);
      }
    });
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

// Blocks of one tile, their full squares: by strips of rows for many threads, which meet between
// the statistics and the gradient.
void RowSweep::RunAlone(ThreadPool& pool, const CancelFlag& cancel) {
  if (pool.threads() <= kFewThreads || plan_.strips.empty()) {
    Loop(plan_.alone.size(), pool, cancel, [&](size_t i) {
      const Range& block = plan_.alone[i];
      Scratch work = Memory();
      AloneStatistics(block, block, &work);
      if (gradient_ != nullptr) AloneGradient(block, block, &work);
    });
    return;
  }
  const std::vector<RowPlan::Strip>& strips = plan_.strips;
  float* const kept = strip_memory.Reserve<float>(plan_.strip_floats);
  const auto each_strip = [&](auto fn) {
    Loop(strips.size(), pool, cancel, [&](size_t i) {
      Scratch work = Memory();
      work.tile = kept + strips[i].at;
      work.stride = strips[i].block.size();
      fn(strips[i], &work);
    });
  };
  each_strip([&](const RowPlan::Strip& strip, Scratch* work) {
    AloneStatistics(strip.rows, strip.block, work);
  });
  if (gradient_ == nullptr) return;
  each_strip([&](const RowPlan::Strip& strip, Scratch* work) {
    AloneGradient(strip.rows, strip.block, work);
  });
}

// The largest square of a row's length.
float RowSweep::Longest(const Range& rows) const {
  float longest = 0;
  for (size_t i = rows.begin; i < rows.end; ++i) {
    const float* const row = p_.rows + i * p_.dim;
    longest = std::max(longest, spans_.dot(row, row, p_.dim));
  }
  return longest;
}

void RowSweep::Bound(const std::vector<float>& longest) {
  bound_ = 0;
  for (const float square : longest) bound_ = std::max(bound_, square * p_.inverse_temperature);
  bounded_ = 2 * bound_ <= kMostSpread;
}

Scratch RowSweep::Memory() const {
  Scratch work{};
  work.tile = scratch_memory.Reserve<float>(tile_ * (tile_ + p_.dim + spread_ + 3) +
                                            gemm::kPackSlack);
  work.stride = tile_;
  work.spread = work.tile + tile_ * tile_;
  work.row = work.spread + tile_ * spread_;
  work.column_sums = work.row + tile_;
  work.column_positives = work.column_sums + tile_;
  work.packed = work.column_positives + tile_;
  return work;
}

// Takes what is no candidate out of the row's logits; returns the sum of the positives'.
double RowSweep::Mask(size_t row, const Range& columns, float* x) const {
  const Range run = Positives(row, columns);
  if (p_.ids != nullptr) {
    const float* const ids = p_.ids + columns.begin;
    const size_t end = run.end - columns.begin;
    spans_.remove_equal(x, ids, p_.ids[row], run.begin - columns.begin);
    spans_.remove_equal(x + end, ids + end, p_.ids[row], columns.size() - end);
  }
  const size_t self = row - columns.begin;
  if (self < columns.size()) x[self] = 0;
  const double sum = run.size() == 0 ? 0 : spans_.sum(x + run.begin - columns.begin, run.size());
  if (self < columns.size()) x[self] = kNegativeInfinity;
  return sum;
}

// Calls fn(row, logits, sum of the positives' logits) for the rows of a tile, which stays in
// work->tile.
template <class Fn>
void RowSweep::EachRow(const Range& rows, const Range& columns, Scratch* work, Fn&& fn) const {
  gemm::PackColumns(gemm_, p_.rows + columns.begin * p_.dim, p_.dim, columns.size(), p_.dim,
                    work->packed);
  for (size_t first = rows.begin; first < rows.end; first += gemm_.mr) {
    float* const strip = work->tile + (first - rows.begin) * work->stride;
    const size_t count = std::min(gemm_.mr, rows.end - first);
    TileLogits(gemm_, p_.rows + first * p_.dim, count, work->packed, columns.size(), p_.dim,
               p_.inverse_temperature, strip, work->stride);
    for (size_t row = first; row < first + count; ++row) {
      float* const x = strip + (row - first) * work->stride;
      fn(row, x, Mask(row, columns, x));
    }
  }
}

// Leaves exponentials in the tile where they are bounded, else logits.
void RowSweep::AloneStatistics(const Range& rows, const Range& block, Scratch* work) {
  if (bounded_) {
    EachRow(rows, block, work, [&](size_t row, float* x, double positives) {
      Left(0)[row].positives += positives;
      Left(0)[row].Add(bound_, spans_.exp_sum(x, bound_, block.size()));
    });
  } else {
    OwnStatistics(rows, block, Left(0), work);
  }
  Finish(rows, 0);
}

void RowSweep::AloneGradient(const Range& rows, const Range& block, Scratch* work) const {
  for (size_t row = rows.begin; row < rows.end; ++row) {
    Weigh(row, block, bounded_, work->tile + (row - rows.begin) * work->stride);
  }
  Product(work->tile, work->stride, 1, rows, block, gradient_, work);
}

void RowSweep::Statistics(const Pair& pair, Scratch* work) {
  if (bounded_) return SharedStatistics(pair, work);
  OwnStatistics(pair.rows, pair.columns, Left(pair.set), work);
  if (!pair.diagonal()) OwnStatistics(pair.columns, pair.rows, Right(pair.set), work);
}

void RowSweep::SharedStatistics(const Pair& pair, Scratch* work) {
  const size_t width = pair.columns.size();
  std::fill(work->column_sums, work->column_sums + width, 0.0f);
  std::fill(work->column_positives, work->column_positives + width, 0.0f);
  EachRow(pair.rows, pair.columns, work, [&](size_t row, float* x, double positives) {
    Sums& sums = Left(pair.set)[row];
    sums.positives += positives;
    if (pair.diagonal()) {
      sums.Add(bound_, spans_.exp_sum(x, bound_, width));
      return;
    }
    const Range run = Positives(row, pair.columns);
    const size_t at = run.begin - pair.columns.begin;
    spans_.axpy(1.0f, x + at, work->column_positives + at, run.size());
    sums.Add(bound_, spans_.exp_sum_columns(x, bound_, work->column_sums, width));
  });
  for (size_t j = 0; !pair.diagonal() && j < width; ++j) {
    Sums& sums = Right(pair.set)[pair.columns.begin + j];
    sums.positives += work->column_positives[j];
    sums.Add(bound_, work->column_sums[j]);
  }
}

// Leaves the logits in the tile.
void RowSweep::OwnStatistics(const Range& rows, const Range& columns, Sums* sums, Scratch* work) {
  EachRow(rows, columns, work, [&](size_t row, const float* x, double positives) {
    std::memcpy(work->row, x, columns.size() * sizeof(float));
    const float top =
        std::max(-FLT_MAX, spans_.shift_max(work->row, nullptr, 0.0f, columns.size()));
    sums[row].positives += positives;
    sums[row].Add(top, spans_.exp_sum(work->row, top, columns.size()));
  });
}

// From the left sums of the first set, and all others of `sets`.
void RowSweep::Finish(const Range& rows, size_t sets) {
  for (size_t row = rows.begin; row < rows.end; ++row) {
    Sums sums = Left(0)[row];
    for (size_t i = 1; i < 2 * sets; ++i) {
      const Sums& other = sums_[i * p_.row_count + row];
      sums.Add(other.top, other.sum);
      sums.positives += other.positives;
    }
    const size_t count = p_.PositiveCount(row);
    tops_[row] = sums.top;
    weights_[row] =
        count == 0 ? 0.0f
                   : static_cast<float>(double{p_.weight} * p_.inverse_temperature / sums.sum);
    losses_[row] = count == 0 ? 0.0
                              : sums.top + std::log(sums.sum) -
                                    sums.positives / static_cast<double>(count);
  }
}

void RowSweep::Gradient(const Pair& pair, Scratch* work) const {
  // What the products add to is long out of the cache: asked for a row at a time.
  const size_t lines = (p_.dim + kLine - 1) / kLine;
  const size_t columns = (pair.columns.size() + pair.rows.size() - 1) / pair.rows.size();
  EachRow(pair.rows, pair.columns, work, [&](size_t row, float* x, double) {
    Weigh(row, pair.columns, false, x);
    const float* const left = LeftGradient(pair.set) + row * p_.dim;
    for (size_t i = 0; i < lines; ++i) __builtin_prefetch(left + i * kLine, 1, 2);
    if (pair.diagonal()) return;
    const size_t at = (row - pair.rows.begin) * columns;
    const size_t count = at < pair.columns.size() ? std::min(columns, pair.columns.size() - at) : 0;
    const float* const right = RightGradient(pair.set) + (pair.columns.begin + at) * p_.dim;
    for (size_t i = 0; i < count * lines; ++i) __builtin_prefetch(right + i * kLine, 1, 2);
  });
  Product(work->tile, tile_, 1, pair.rows, pair.columns, LeftGradient(pair.set), work);
  if (pair.diagonal()) return;
  Product(work->tile, 1, tile_, pair.columns, pair.rows, RightGradient(pair.set), work);
}

// Logits, or their exponentials, become the slopes of the loss: of both rows' part in it.
void RowSweep::Weigh(size_t row, const Range& columns, bool exponentials, float* x) const {
  const float* const weights = &weights_[columns.begin];
  if (bounded_) {
    if (!exponentials) spans_.exp_sum(x, bound_, columns.size());
    spans_.scale_pairs(x, weights_[row], weights, columns.size());
  } else {
    spans_.exp_pairs(x, weights_[row], tops_[row], weights, &tops_[columns.begin], columns.size());
  }
  if (p_.PositiveCount(row) == 0) return;
  const Range run = Positives(row, columns);
  const float count = static_cast<float>(p_.PositiveCount(row));
  const float share = p_.weight * p_.inverse_temperature / count;
  spans_.add_constant(-2 * share, x + run.begin - columns.begin, run.size());
  if (row - columns.begin < columns.size()) x[row - columns.begin] = 0;
}

// gradient[out] += weights x rows[columns], weights[i, j] at weights[i * a_row + j * a_col].
void RowSweep::Product(const float* weights, size_t a_row, size_t a_col, const Range& out,
                       const Range& columns, float* gradient, Scratch* work) const {
  for (size_t j = 0; j < columns.size(); ++j) {
    std::memcpy(work->spread + j * spread_, p_.rows + (columns.begin + j) * p_.dim,
                p_.dim * sizeof(float));
  }
  gemm::Direct product{};
  product.m = out.size();
  product.n = p_.dim;
  product.k = columns.size();
  product.a = weights;
  product.a_row = a_row;
  product.a_col = a_col;
  product.b = work->spread;
  product.ldb = spread_;
  product.c = gradient + out.begin * p_.dim;
  product.ldc = p_.dim;
  product.alpha = product.beta = 1.0f;
  gemm_.direct_rows(product);
}

}  // namespace

Status SweepRows(const Kernel& kernel, const RowProblem& problem, double* losses, float* gradient,
                 float* spare, ThreadPool& pool, const CancelFlag& cancel) {
  return RowSweep(kernel, problem, losses, gradient, spare).Run(pool, cancel);
}

}  // namespace prismrec::contrastive_loss
