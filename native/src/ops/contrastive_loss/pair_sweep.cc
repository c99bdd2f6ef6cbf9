// A panel of rows against all columns, cut into chunks of columns that any thread may take. A chunk
// turns its logits into exponentials relative to each row's own maximum inside the chunk, sums them
// and multiplies them with its columns: the rows' gradient up to factors that are known when all
// chunks are done. Its exponentials stay where they are (the panel fits the cache) for the columns'
// gradient, which the same chunk takes from them when its turn comes for the next panel. So logits
// are computed once, 6 n c d operations in all; every sum has one owner and a fixed order, so the
// bits do not depend on the threads.
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
// Room for the panel, unless the rows themselves take more.
constexpr size_t kPanelFloats = 1700000;
// More rows bring no more reuse and take more of the second-level cache.
constexpr size_t kMostPanelRows = 96;
constexpr size_t kRowsAtOnce = 16;

thread_local Workspace shared_memory;
thread_local Workspace scratch_memory;

class PairSweep {
 public:
  PairSweep(const Kernel& kernel, const PairProblem& problem, double* losses, float* row_gradient,
            float* column_gradient)
      : spans_(kernel.spans),
        gemm_(kernel.gemm),
        p_(problem),
        losses_(losses),
        row_gradient_(row_gradient),
        column_gradient_(column_gradient),
        tile_(TileSize(kernel.gemm)),
        chunks_((problem.column_count + tile_ - 1) / tile_),
        spread_(Spread(problem.dim)) {
    const size_t columns = p_.column_count;
    const size_t affordable = std::max(kPanelFloats, columns * p_.dim / 4 * 3) / columns;
    const size_t step = std::min({kMostPanelRows, affordable, p_.row_count});
    panel_rows_ = (std::max<size_t>(step, 1) + gemm_.mr - 1) / gemm_.mr * gemm_.mr;
  }

  Status Run(ThreadPool& pool, const CancelFlag& cancel);

 private:
  Range Chunk(size_t chunk) const {
    return {chunk * tile_, std::min((chunk + 1) * tile_, p_.column_count)};
  }
  size_t PackedChunk() const { return gemm::PackedFloats(tile_, gemm_.nr, p_.dim); }
  float* Exponentials(size_t chunk) const { return panel_ + chunk * panel_rows_ * tile_; }

  void Exponentiate(const Range& rows, size_t chunk) const;
  void Finish(const Range& rows, size_t row) const;
  void ColumnGradient(const Range& rows, size_t chunk) const;

  const Spans& spans_;
  const gemm::Kernel& gemm_;
  const PairProblem& p_;
  double* const losses_;
  float* const row_gradient_;
  float* const column_gradient_;
  const size_t tile_, chunks_, spread_;
  size_t panel_rows_;
  float* packed_;  // [chunks] packed columns
  // Of the panel under way.
  float* panel_;     // [chunks][panel rows][tile]
  float* products_;  // [panel rows][chunks][d] exponentials times columns
  float* tops_;      // [panel rows][chunks] what exponentials are relative to; then factors
  float* positive_;  // [panel rows] logit of the positive
  float* scale_;     // [panel rows] what turns relative exponentials into gradients
  double* sums_;     // [panel rows][chunks] of the exponentials, less the positive's
};

Status PairSweep::Run(ThreadPool& pool, const CancelFlag& cancel) {
  const bool gradients = row_gradient_ != nullptr;
  const size_t panel = chunks_ * panel_rows_ * tile_;
  const size_t products = gradients ? panel_rows_ * chunks_ * p_.dim : 0;
  const size_t cells = panel_rows_ * chunks_;
  const size_t packed = chunks_ * PackedChunk();
  const size_t floats = panel + products + cells + 2 * panel_rows_ + packed;
  sums_ = shared_memory.Reserve<double>(cells + (floats + 1) / 2);
  panel_ = reinterpret_cast<float*>(sums_ + cells);
  products_ = panel_ + panel;
  tops_ = products_ + products;
  positive_ = tops_ + cells;
  scale_ = positive_ + panel_rows_;
  packed_ = scale_ + panel_rows_;

  Range before;
  for (size_t begin = 0;; begin += panel_rows_) {
    const Range rows{std::min(begin, p_.row_count), std::min(begin + panel_rows_, p_.row_count)};
    if (rows.size() == 0 && !gradients) break;
    pool.ParallelFor(chunks_, cancel, [&](size_t chunk, int) {
      if (gradients && before.size() > 0) ColumnGradient(before, chunk);
      if (rows.size() > 0) Exponentiate(rows, chunk);
    });
    if (rows.size() == 0 || cancel.Cancelled()) break;
    pool.ParallelFor((rows.size() + kRowsAtOnce - 1) / kRowsAtOnce, cancel, [&](size_t part, int) {
      const size_t first = rows.begin + part * kRowsAtOnce;
      for (size_t row = first; row < std::min(first + kRowsAtOnce, rows.end); ++row) {
        Finish(rows, row);
      }
    });
    before = rows;
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

void PairSweep::Exponentiate(const Range& rows, size_t chunk) const {
  const Range columns = Chunk(chunk);
  const float* const from = p_.columns + columns.begin * p_.dim;
  float* const packed = packed_ + chunk * PackedChunk();
  if (rows.begin == 0) {
    gemm::PackColumns(gemm_, from, p_.dim, columns.size(), p_.dim, packed);
  }
  const float* const shift = p_.shift == nullptr ? nullptr : p_.shift + columns.begin;
  for (size_t first = rows.begin; first < rows.end; first += gemm_.mr) {
    float* const strip = Exponentials(chunk) + (first - rows.begin) * tile_;
    const size_t count = std::min(gemm_.mr, rows.end - first);
    TileLogits(gemm_, p_.rows + first * p_.dim, count, packed, columns.size(), p_.dim,
               p_.inverse_temperature, strip, tile_);
    for (size_t row = first; row < first + count; ++row) {
      float* const x = strip + (row - first) * tile_;
      const size_t at = row - rows.begin;
      if (p_.row_ids != nullptr) {
        const float positive = row - columns.begin < columns.size() ? x[row - columns.begin] : 0;
        spans_.remove_equal(x, p_.column_ids + columns.begin, p_.row_ids[row], columns.size());
        if (row - columns.begin < columns.size()) x[row - columns.begin] = positive;
      }
      // The positive stays apart: what is left of 1 - its share would drown in rounding.
      if (row - columns.begin < columns.size()) {
        float& own = x[row - columns.begin];
        positive_[at] = own + (shift == nullptr ? 0.0f : shift[row - columns.begin]);
        own = kNegativeInfinity;
      }
      const float top = std::max(-FLT_MAX, spans_.shift_max(x, shift, 0.0f, columns.size()));
      tops_[at * chunks_ + chunk] = top;
      sums_[at * chunks_ + chunk] = spans_.exp_sum(x, top, columns.size());
    }
  }
  if (row_gradient_ == nullptr) return;
  float* const spread = scratch_memory.Reserve<float>(tile_ * spread_);
  for (size_t j = 0; j < columns.size(); ++j) {
    std::memcpy(spread + j * spread_, from + j * p_.dim, p_.dim * sizeof(float));
  }
  gemm::Direct product{};
  product.m = rows.size();
  product.n = p_.dim;
  product.k = columns.size();
  product.a = Exponentials(chunk);
  product.a_row = tile_;
  product.a_col = 1;
  product.b = spread;
  product.ldb = spread_;
  product.c = products_ + chunk * p_.dim;
  product.ldc = chunks_ * p_.dim;
  product.alpha = 1.0f;
  gemm_.direct_rows(product);
}

// Statistics, loss and gradient of a row, and what its columns need.
void PairSweep::Finish(const Range& rows, size_t row) const {
  const size_t at = row - rows.begin;
  float* const tops = tops_ + at * chunks_;
  const double* const sums = sums_ + at * chunks_;
  const float top = std::max(positive_[at], spans_.shift_max(tops, nullptr, 0.0f, chunks_));
  spans_.exp_sum(tops, top, chunks_);
  double others = 0;
  for (size_t chunk = 0; chunk < chunks_; ++chunk) others += sums[chunk] * double{tops[chunk]};
  const double own = double{positive_[at]} - top;
  const double sum = others + std::exp(own);
  losses_[row] += std::log(sum) - own;
  if (row_gradient_ == nullptr) return;
  const double scale = double{p_.weight} * p_.inverse_temperature / sum;
  scale_[at] = static_cast<float>(scale);
  float* const gradient = row_gradient_ + row * p_.dim;
  gemm::Direct product{};
  product.m = 1;
  product.n = p_.dim;
  product.k = chunks_;
  product.a = tops;
  product.a_row = chunks_;
  product.a_col = 1;
  product.b = products_ + at * chunks_ * p_.dim;
  product.ldb = p_.dim;
  product.c = gradient;
  product.ldc = p_.dim;
  product.alpha = scale_[at];
  product.beta = 1.0f;
  gemm_.direct_rows(product);
  const float pull = static_cast<float>(-scale * others);
  spans_.axpy(pull, p_.columns + row * p_.dim, gradient, p_.dim);
  spans_.axpy(pull, p_.rows + row * p_.dim, column_gradient_ + row * p_.dim, p_.dim);
}

void PairSweep::ColumnGradient(const Range& rows, size_t chunk) const {
  const Range columns = Chunk(chunk);
  float* const scaled = scratch_memory.Reserve<float>(panel_rows_ * spread_);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const size_t at = row - rows.begin;
    // The product reads down the columns, which no hardware foresees.
    const float* const x = Exponentials(chunk) + at * tile_;
    for (size_t j = 0; j < columns.size(); j += 16) __builtin_prefetch(x + j, 0, 2);
    float* const to = scaled + at * spread_;
    std::memcpy(to, p_.rows + row * p_.dim, p_.dim * sizeof(float));
    spans_.scale(scale_[at] * tops_[at * chunks_ + chunk], to, p_.dim);
  }
  gemm::Direct product{};
  product.m = columns.size();
  product.n = p_.dim;
  product.k = rows.size();
  product.a = Exponentials(chunk);
  product.a_row = 1;
  product.a_col = tile_;
  product.b = scaled;
  product.ldb = spread_;
  product.c = column_gradient_ + columns.begin * p_.dim;
  product.ldc = p_.dim;
  product.alpha = product.beta = 1.0f;
  gemm_.direct_rows(product);
}

}  // namespace

Status SweepPairs(const Kernel& kernel, const PairProblem& problem, double* losses,
                  float* row_gradient, float* column_gradient, ThreadPool& pool,
                  const CancelFlag& cancel) {
  if (problem.row_count == 0) return Status::Ok();
  return PairSweep(kernel, problem, losses, row_gradient, column_gradient).Run(pool, cancel);
}

}  // namespace prismrec::contrastive_loss
