// Logits are symmetric, so each pair of tiles of a block is met once: a first pass over the pairs
// sums the exponentials of a tile's rows and columns, a second one, which computes the tile again,
// weighs them and multiplies them with both sides' rows: 4 n c d operations, of which a block of a
// single tile, which needs no second pass, spends the same with its full square.
//
// A pass goes in rounds: round k pairs tile i with tile i + k of its block, so that each tile's
// rows are a left and a right side at most once in a round. Each side has its own sums, which
// therefore have one owner at a time and an order that does not depend on the threads.
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

// Tiles of one block; `alone`: its only one.
struct Pair {
  Range rows, columns;
  bool alone;

  bool diagonal() const { return rows.begin == columns.begin; }
};

// What one thread works in.
struct Scratch {
  float* tile;              // [tile, tile]
  float* packed;            // [tile, d]
  float* spread;            // [tile, Spread(d)]
  float* row;               // [tile]
  float* column_sums;       // [tile]
  float* column_positives;  // [tile]
};

thread_local Workspace scratch_memory;

class RowSweep {
 public:
  RowSweep(const Kernel& kernel, const RowProblem& problem, double* losses, float* gradient)
      : spans_(kernel.spans),
        gemm_(kernel.gemm),
        p_(problem),
        losses_(losses),
        gradient_(gradient),
        tile_(TileSize(kernel.gemm)),
        spread_(Spread(problem.dim)) {}

  Status Run(ThreadPool& pool, const CancelFlag& cancel);

 private:
  size_t Tiles(const Range& block) const { return (block.size() + tile_ - 1) / tile_; }
  std::vector<Pair> Round(size_t round) const;
  void Bound();
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
  void Statistics(const Pair& pair, Scratch* work);
  void SharedStatistics(const Pair& pair, Scratch* work);
  void OwnStatistics(const Range& rows, const Range& columns, Sums* sums, Scratch* work);
  void Finish(const Range& rows);
  void Gradient(const Pair& pair, Scratch* work);
  void Weigh(size_t row, const Range& columns, bool exponentials, float* x) const;
  void Product(const float* weights, size_t a_row, size_t a_col, const Range& out,
               const Range& columns, float* gradient, Scratch* work) const;

  const Spans& spans_;
  const gemm::Kernel& gemm_;
  const RowProblem& p_;
  double* const losses_;
  float* const gradient_;
  const size_t tile_, spread_;
  // No logit lies further than `bound_` from 0, and exponentials relative to it are accurate.
  bool bounded_ = false;
  float bound_ = 0;
  std::vector<Sums> left_, right_;  // [n]
  std::vector<float> weights_;      // [n] of the exponentials in a row
  std::vector<float> tops_;         // [n] what they are relative to
  // [n, d] from a tile's columns; empty where every block is one tile.
  std::vector<float> right_gradient_;
};

Status RowSweep::Run(ThreadPool& pool, const CancelFlag& cancel) {
  const size_t n = p_.row_count;
  size_t most_tiles = 0;
  for (const Range& block : p_.blocks) most_tiles = std::max(most_tiles, Tiles(block));
  Bound();
  left_.resize(n);
  weights_.resize(n);
  tops_.resize(n);
  if (gradient_ != nullptr) std::fill(gradient_, gradient_ + n * p_.dim, 0.0f);
  if (most_tiles > 1) {
    right_.resize(n);
    if (gradient_ != nullptr) right_gradient_.resize(n * p_.dim);
  }
  const size_t rounds = most_tiles / 2 + 1;
  for (size_t round = 0; round < rounds && !cancel.Cancelled(); ++round) {
    const std::vector<Pair> pairs = Round(round);
    pool.ParallelFor(pairs.size(), cancel, [&](size_t i, int) {
      Scratch work = Memory();
      Statistics(pairs[i], &work);
    });
  }
  if (most_tiles > 1) {
    for (const Range& block : p_.blocks) {
      if (Tiles(block) == 1) continue;
      pool.ParallelFor(Tiles(block), cancel, [&](size_t i, int) {
        const size_t begin = block.begin + i * tile_;
        Finish({begin, std::min(begin + tile_, block.end)});
      });
    }
    for (size_t round = 0; gradient_ != nullptr && round < rounds; ++round) {
      const std::vector<Pair> pairs = Round(round);
      pool.ParallelFor(pairs.size(), cancel, [&](size_t i, int) {
        if (pairs[i].alone) return;
        Scratch work = Memory();
        Gradient(pairs[i], &work);
      });
    }
    spans_.axpy(1.0f, right_gradient_.data(), gradient_, right_gradient_.size());
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

std::vector<Pair> RowSweep::Round(size_t round) const {
  std::vector<Pair> pairs;
  for (const Range& block : p_.blocks) {
    const size_t tiles = Tiles(block);
    if (2 * round > tiles || (round > 0 && tiles == 1)) continue;
    const auto tile = [&](size_t i) {
      const size_t begin = block.begin + i % tiles * tile_;
      return Range{begin, std::min(begin + tile_, block.end)};
    };
    const bool opposite = round > 0 && 2 * round == tiles;
    for (size_t i = 0; i < (opposite ? round : tiles); ++i) {
      pairs.push_back({tile(i), tile(i + round), tiles == 1});
    }
  }
  return pairs;
}

void RowSweep::Bound() {
  float longest = 0;
  for (size_t i = 0; i < p_.row_count; ++i) {
    const float* const row = p_.rows + i * p_.dim;
    longest = std::max(longest, spans_.dot(row, row, p_.dim));
  }
  bound_ = longest * p_.inverse_temperature;
  bounded_ = 2 * bound_ <= kMostSpread;
}

Scratch RowSweep::Memory() const {
  Scratch work{};
  work.tile = scratch_memory.Reserve<float>(tile_ * (tile_ + p_.dim + spread_ + 3) +
                                            gemm::kPackSlack);
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
    float* const strip = work->tile + (first - rows.begin) * tile_;
    const size_t count = std::min(gemm_.mr, rows.end - first);
    TileLogits(gemm_, p_.rows + first * p_.dim, count, work->packed, columns.size(), p_.dim,
               p_.inverse_temperature, strip, tile_);
    for (size_t row = first; row < first + count; ++row) {
      float* const x = strip + (row - first) * tile_;
      fn(row, x, Mask(row, columns, x));
    }
  }
}

void RowSweep::Statistics(const Pair& pair, Scratch* work) {
  if (bounded_) {
    SharedStatistics(pair, work);
  } else {
    OwnStatistics(pair.rows, pair.columns, left_.data(), work);
    if (!pair.diagonal()) OwnStatistics(pair.columns, pair.rows, right_.data(), work);
  }
  if (!pair.alone) return;
  Finish(pair.rows);
  if (gradient_ != nullptr) Gradient(pair, work);
}

// Leaves the exponentials in the tile.
void RowSweep::SharedStatistics(const Pair& pair, Scratch* work) {
  const size_t width = pair.columns.size();
  std::fill(work->column_sums, work->column_sums + width, 0.0f);
  std::fill(work->column_positives, work->column_positives + width, 0.0f);
  EachRow(pair.rows, pair.columns, work, [&](size_t row, float* x, double positives) {
    left_[row].positives += positives;
    if (pair.diagonal()) {
      left_[row].Add(bound_, spans_.exp_sum(x, bound_, width));
      return;
    }
    const Range run = Positives(row, pair.columns);
    const size_t at = run.begin - pair.columns.begin;
    spans_.axpy(1.0f, x + at, work->column_positives + at, run.size());
    left_[row].Add(bound_, spans_.exp_sum_columns(x, bound_, work->column_sums, width));
  });
  for (size_t j = 0; !pair.diagonal() && j < width; ++j) {
    Sums& sums = right_[pair.columns.begin + j];
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

void RowSweep::Finish(const Range& rows) {
  for (size_t row = rows.begin; row < rows.end; ++row) {
    Sums sums = left_[row];
    if (!right_.empty()) {
      sums.Add(right_[row].top, right_[row].sum);
      sums.positives += right_[row].positives;
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

void RowSweep::Gradient(const Pair& pair, Scratch* work) {
  if (pair.alone) {
    for (size_t row = pair.rows.begin; row < pair.rows.end; ++row) {
      Weigh(row, pair.columns, bounded_, work->tile + (row - pair.rows.begin) * tile_);
    }
  } else {
    EachRow(pair.rows, pair.columns, work,
            [&](size_t row, float* x, double) { Weigh(row, pair.columns, false, x); });
  }
  Product(work->tile, tile_, 1, pair.rows, pair.columns, gradient_, work);
  if (pair.diagonal()) return;
  Product(work->tile, 1, tile_, pair.columns, pair.rows, right_gradient_.data(), work);
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
                 ThreadPool& pool, const CancelFlag& cancel) {
  return RowSweep(kernel, problem, losses, gradient).Run(pool, cancel);
}

}  // namespace prismrec::contrastive_loss
