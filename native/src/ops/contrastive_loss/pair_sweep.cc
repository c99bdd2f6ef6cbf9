// A panel of rows against all columns, cut into chunks of columns that any thread may take. A chunk
// turns its logits into exponentials, sums them and multiplies them with its columns: the rows'
// gradient up to factors that are known when all chunks are done. Its exponentials stay where they
// are (the panel fits the cache) for the columns' gradient, which the same chunk takes from them
// when its turn comes for the next panel. So logits are computed once, 6 n c d operations in all;
// every sum has one owner and a fixed order, so the bits do not depend on the threads.
//
// Many threads take the same sums in smaller tasks: a chunk's exponentials by blocks of the panel's
// rows, and the columns' gradients in a loop of their own, a few columns at a time. Few threads would
// be slower by that: what a chunk needs twice is then no longer near.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "gemm/pack.h"
#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
// Logits no further from 0 need no maximum: sums of their exponentials, and what one is divided by
// the other, are far from the limits of single precision.
constexpr float kFarthest = 40;

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
        plan_(kernel.gemm, problem.row_count, problem.column_count, problem.dim),
        tile_(plan_.tile),
        chunks_(plan_.chunks),
        tasks_(plan_.tasks),
        panel_rows_(plan_.panel_rows) {}

  Status Run(ThreadPool& pool, const CancelFlag& cancel);

 private:
  struct Scratch {
    float* lanes;   // [panel rows][kMostLanes]
    float* packed;  // a chunk's columns, for the logits
    float* plain;   // and packed as the rows that the exponentials are multiplied with
  };

  // Floats of a chunk's columns in either packed form.
  size_t packed_size() const { return gemm::PackedFloats(tile_, gemm_.nr, p_.dim); }
  size_t plain_size() const { return gemm::PackedFloats(p_.dim, gemm_.nr, tile_); }
  Range Chunk(size_t chunk) const { return plan_.Chunk(chunk); }
  float* Exponentials(size_t chunk) const { return panel_ + chunk * panel_rows_ * tile_; }

  void Reserve();
  void Pack(size_t chunk, float* packed, float* plain) const;
  void PlaceRows(const Range& rows);
  bool Begin(const Range& rows) const;
  Scratch Memory() const;
  PairBlock Block(const Range& panel, const Range& part, const Range& columns,
                  const float* packed) const;
  template <class Fn>
  void EachBlock(const Range& panel, ThreadPool& pool, const CancelFlag& cancel, Fn&& fn) const;
  void Maxima(const Range& panel, const Range& part, size_t task) const;
  void Sweep(const Range& before, const Range& rows, size_t task, bool back) const;
  void ClearSums(const Range& part, size_t task) const;
  void Exponentiate(const Range& panel, const Range& part, size_t task, size_t chunk, bool first,
                    const float* ahead) const;
  void Finish(const Range& panel, const Range& rows) const;
  void ColumnGradient(const Range& rows, size_t chunk, const Range& part, bool ahead) const;

  const Spans& spans_;
  const gemm::Kernel& gemm_;
  const PairProblem& p_;
  double* const losses_;
  float* const row_gradient_;
  float* const column_gradient_;
  const PairPlan plan_;
  const size_t tile_, chunks_, tasks_, panel_rows_;
  float farthest_;  // of the columns from 0, shifts apart
  float most_shift_;
  bool near_;     // whether the panel's exponentials are relative to 0
  float* shift_;  // [chunks][tile] -infinity beyond the columns
  float* packed_;  // [chunks][packed_size()] the columns, kept as the logits take them
  float* plain_;   // [chunks][plain_size()] and as the products of the exponentials do
  // Of the panel under way.
  const float* row_data_;  // its rows, with room for whole tiles of them
  float* last_rows_;       // a copy of the last ones, which end where the matrix does
  float* panel_;      // [chunks][panel rows][tile] exponentials
  float* products_;   // [tasks][panel rows][d] exponentials times columns
  float* factors_;    // packed columns of [panel rows, d]: rows times what their gradients scale by
  float* tops_;       // [panel rows] what the exponentials are relative to
  float* scales_;     // [panel rows] what turns exponentials into gradients
  float* positive_;   // [panel rows] logit of the positive
  float* task_tops_;  // [tasks][panel rows]
  double* sums_;      // [tasks][panel rows] of the exponentials
};

Status PairSweep::Run(ThreadPool& pool, const CancelFlag& cancel) {
  const bool gradients = row_gradient_ != nullptr;
  Reserve();
  if (p_.keep_packed) {
    pool.ParallelFor(chunks_, cancel, [&](size_t chunk, int) {
      Pack(chunk, packed_ + chunk * packed_size(),
           gradients ? plain_ + chunk * plain_size() : nullptr);
    });
  }
  Range before;
  for (size_t begin = 0;; begin += panel_rows_) {
    const Range rows{std::min(begin, p_.row_count), std::min(begin + panel_rows_, p_.row_count)};
    if (rows.size() == 0 && !gradients) break;
    PlaceRows(rows);
    near_ = Begin(rows);
    const bool many_threads = pool.threads() > kFewThreads;
    if (!near_) {
      EachBlock(rows, pool, cancel,
                [&](const Range& part, size_t task) { Maxima(rows, part, task); });
      for (size_t i = 0; i < tasks_ * panel_rows_; ++i) {
        if (i % panel_rows_ >= rows.size()) continue;
        float& top = tops_[i % panel_rows_];
        top = std::max(top, task_tops_[i]);
      }
    }
    if (many_threads) {
      EachBlock(rows, pool, cancel, [&](const Range& part, size_t task) {
        ClearSums(part, task);
        const Range chunks = plan_.Chunks(task);
        for (size_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
          Exponentiate(rows, part, task, chunk, chunk == chunks.begin, nullptr);
        }
      });
    } else {
      // There and back: what the last panel used last is still in the cache.
      const bool back = begin / panel_rows_ % 2 == 1;
      pool.ParallelFor(tasks_, cancel, [&](size_t i, int) {
        Sweep(before, rows, back ? tasks_ - 1 - i : i, back);
      });
    }
    if (rows.size() == 0 || cancel.Cancelled()) break;
    const size_t step = plan_.finished_rows;
    pool.ParallelFor((rows.size() + step - 1) / step, cancel, [&](size_t part, int) {
      const size_t first = rows.begin + part * step;
      Finish(rows, {first, std::min(first + step, rows.end)});
    });
    if (many_threads && gradients) {
      const size_t parts = plan_.column_parts();
      pool.ParallelFor(chunks_ * parts, cancel, [&](size_t i, int) {
        const size_t width = Chunk(i / parts).size(), at = i % parts * plan_.column_step;
        if (at >= width) return;
        ColumnGradient(rows, i / parts, {at, std::min(at + plan_.column_step, width)}, false);
      });
    }
    before = rows;
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

// fn(rows of the panel, counted from its first, task) for all blocks of rows: of the whole panel
// where threads are few.
template <class Fn>
void PairSweep::EachBlock(const Range& panel, ThreadPool& pool, const CancelFlag& cancel,
                          Fn&& fn) const {
  const size_t step = pool.threads() > kFewThreads ? plan_.block_rows : panel_rows_;
  const size_t blocks = (panel.size() + step - 1) / step;
  pool.ParallelFor(blocks * tasks_, cancel, [&](size_t i, int) {
    const size_t at = i % blocks * step;
    fn(Range{at, std::min(at + step, panel.size())}, i / blocks);
  });
}

void PairSweep::ClearSums(const Range& part, size_t task) const {
  std::fill_n(sums_ + task * panel_rows_ + part.begin, part.size(), 0.0);
}

// The columns' gradients of the panel before, and the exponentials of this one.
void PairSweep::Sweep(const Range& before, const Range& rows, size_t task, bool back) const {
  const bool gradients = row_gradient_ != nullptr && before.size() > 0;
  const Range chunks = plan_.Chunks(task);
  const Range all{0, rows.size()};
  ClearSums(all, task);
  for (size_t step = 0; step < chunks.size(); ++step) {
    const size_t chunk = back ? chunks.end - 1 - step : chunks.begin + step;
    if (gradients) ColumnGradient(before, chunk, {0, Chunk(chunk).size()}, true);
    if (rows.size() == 0) continue;
    const float* next = nullptr;
    if (gradients && step + 1 < chunks.size()) next = Exponentials(back ? chunk - 1 : chunk + 1);
    Exponentiate(rows, all, task, chunk, step == 0, next);
  }
}

void PairSweep::Reserve() {
  const bool gradients = row_gradient_ != nullptr;
  const size_t panel = chunks_ * panel_rows_ * tile_;
  const size_t products = gradients ? tasks_ * panel_rows_ * p_.dim : 0;
  const size_t factors = gradients ? gemm::PackedFloats(p_.dim, gemm_.nr, panel_rows_) : 0;
  const size_t cells = tasks_ * panel_rows_;
  const size_t packed = p_.keep_packed ? chunks_ * packed_size() : 0;
  const size_t plain = p_.keep_packed && gradients ? chunks_ * plain_size() : 0;
  const size_t last_rows = panel_rows_ * p_.dim;
  const size_t floats = panel + products + factors + cells + 3 * panel_rows_ + chunks_ * tile_ +
                        last_rows + packed + plain;
  panel_ = shared_memory.Reserve<float>(floats + 2 * cells);
  sums_ = reinterpret_cast<double*>(panel_ + panel);
  shift_ = panel_ + panel + 2 * cells;
  products_ = shift_ + chunks_ * tile_;
  factors_ = products_ + products;
  task_tops_ = factors_ + factors;
  tops_ = task_tops_ + cells;
  positive_ = tops_ + panel_rows_;
  scales_ = positive_ + panel_rows_;
  last_rows_ = scales_ + panel_rows_;
  packed_ = last_rows_ + last_rows;
  plain_ = packed_ + packed;

  const size_t columns = p_.column_count;
  if (p_.shift == nullptr) {
    std::fill_n(shift_, columns, 0.0f);
  } else {
    std::copy_n(p_.shift, columns, shift_);
  }
  std::fill(shift_ + columns, shift_ + chunks_ * tile_, kNegativeInfinity);
  most_shift_ = 0;
  farthest_ = 0;
  for (size_t j = 0; j < columns; ++j) {
    const float* const column = p_.columns + j * p_.dim;
    most_shift_ = std::max(most_shift_, std::fabs(shift_[j]));
    farthest_ = std::max(farthest_, spans_.dot(column, column, p_.dim));
  }
  farthest_ = std::sqrt(farthest_) * p_.inverse_temperature;
}

void PairSweep::Pack(size_t chunk, float* packed, float* plain) const {
  const Range columns = Chunk(chunk);
  const float* const from = p_.columns + columns.begin * p_.dim;
  gemm::PackColumns(gemm_, from, p_.dim, columns.size(), p_.dim, packed);
  if (plain != nullptr) {
    gemm::PackColumnsOfPlain(gemm_, from, p_.dim, p_.dim, columns.size(), plain);
  }
}

void PairSweep::PlaceRows(const Range& rows) {
  row_data_ = p_.rows + rows.begin * p_.dim;
  if (rows.size() % gemm_.mr == 0) return;
  std::copy_n(row_data_, rows.size() * p_.dim, last_rows_);
  std::fill(last_rows_ + rows.size() * p_.dim, last_rows_ + panel_rows_ * p_.dim, 0.0f);
  row_data_ = last_rows_;
}

// The rows' positives; returns whether the exponentials may be relative to 0, which they then are,
// or else to maxima of which the positives are the first.
bool PairSweep::Begin(const Range& rows) const {
  bool bounded = true;
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const float* const h = p_.rows + row * p_.dim;
    positive_[row - rows.begin] =
        p_.inverse_temperature * spans_.dot(h, p_.columns + row * p_.dim, p_.dim) + shift_[row];
    const float length = std::sqrt(spans_.dot(h, h, p_.dim));
    bounded = bounded && length * farthest_ + most_shift_ <= kFarthest;
  }
  std::fill_n(tops_, panel_rows_, 0.0f);
  if (!bounded) std::copy_n(positive_, rows.size(), tops_);
  return bounded;
}

// `part` of the panel's rows, counted from its first.
PairBlock PairSweep::Block(const Range& panel, const Range& part, const Range& columns,
                           const float* packed) const {
  PairBlock block{};
  block.rows = part.size();
  block.columns = columns.size();
  block.dim = p_.dim;
  block.row = row_data_ + part.begin * p_.dim;
  block.column = packed;
  block.shift = shift_ + columns.begin;
  block.scale = p_.inverse_temperature;
  block.near = near_;
  if (p_.row_ids != nullptr) {
    block.row_ids = p_.row_ids + panel.begin + part.begin;
    block.column_ids = p_.column_ids + columns.begin;
  }
  block.own = static_cast<ptrdiff_t>(panel.begin + part.begin) -
              static_cast<ptrdiff_t>(columns.begin);
  return block;
}

// What a thread works with.
PairSweep::Scratch PairSweep::Memory() const {
  const size_t lanes = panel_rows_ * kMostLanes;
  const size_t packed = p_.keep_packed ? 0 : packed_size() + plain_size();
  Scratch work;
  work.lanes = scratch_memory.Reserve<float>(lanes + packed);
  work.packed = work.lanes + lanes;
  work.plain = work.packed + packed_size();
  return work;
}

void PairSweep::Maxima(const Range& panel, const Range& part, size_t task) const {
  const Scratch work = Memory();
  float* const tops = task_tops_ + task * panel_rows_ + part.begin;
  std::fill_n(tops, part.size(), kNegativeInfinity);
  const Range chunks = plan_.Chunks(task);
  for (size_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
    const float* packed = packed_ + chunk * packed_size();
    if (!p_.keep_packed) {
      Pack(chunk, work.packed, nullptr);
      packed = work.packed;
    }
    spans_.pair_maxima(Block(panel, part, Chunk(chunk), packed), work.lanes, tops);
  }
}

// `first` in its task; `ahead` is what the next chunk will read, nullable.
void PairSweep::Exponentiate(const Range& panel, const Range& part, size_t task, size_t chunk,
                             bool first, const float* ahead) const {
  const Scratch work = Memory();
  const Range columns = Chunk(chunk);
  const float* packed = packed_ + chunk * packed_size();
  const float* plain = plain_ + chunk * plain_size();
  if (!p_.keep_packed) {
    Pack(chunk, work.packed, row_gradient_ == nullptr ? nullptr : work.plain);
    packed = work.packed;
    plain = work.plain;
  }
  PairBlock block = Block(panel, part, columns, packed);
  block.ahead = ahead;
  const size_t cell = task * panel_rows_ + part.begin;
  float* const exponentials = Exponentials(chunk) + part.begin * tile_;
  spans_.pair_exponentials(block, tops_ + part.begin, exponentials, tile_, work.lanes,
                           sums_ + cell);
  if (row_gradient_ == nullptr) return;
  gemm::Block product{};
  product.m = (part.size() + gemm_.mr - 1) / gemm_.mr * gemm_.mr;
  product.n = p_.dim;
  product.k = columns.size();
  product.a = exponentials;
  product.a_row = tile_;
  product.b = plain;
  product.c = products_ + cell * p_.dim;
  product.ldc = p_.dim;
  product.alpha = 1.0f;
  product.beta = first ? 0.0f : 1.0f;
  gemm_.block(product);
}

// Statistics, losses and gradients of some rows, and what their columns need.
void PairSweep::Finish(const Range& panel, const Range& rows) const {
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const size_t at = row - panel.begin;
    double others = 0;
    for (size_t task = 0; task < tasks_; ++task) others += sums_[task * panel_rows_ + at];
    const double own = double{positive_[at]} - tops_[at];
    const double sum = others + std::exp(own);
    losses_[row] += std::log(sum) - own;
    if (row_gradient_ == nullptr) continue;
    const double scale = double{p_.weight} * p_.inverse_temperature / sum;
    scales_[at] = static_cast<float>(scale);
    const float pull = static_cast<float>(-scale * others);
    const float* const h = p_.rows + row * p_.dim;
    spans_.axpy(pull, p_.columns + row * p_.dim, row_gradient_ + row * p_.dim, p_.dim);
    spans_.axpy(pull, h, column_gradient_ + row * p_.dim, p_.dim);
    for (size_t d = 0; d < p_.dim; d += gemm_.nr) {
      float* const to = factors_ + d * panel.size() + at * gemm_.nr;
      const size_t count = std::min(gemm_.nr, p_.dim - d);
      std::copy_n(h + d, count, to);
      std::fill(to + count, to + gemm_.nr, 0.0f);
      spans_.scale(scales_[at], to, count);
    }
  }
  if (row_gradient_ == nullptr) return;
  // Task by task: their products are far apart, those of the rows in one are not.
  for (size_t task = 0; task < tasks_; ++task) {
    const float* const products = products_ + task * panel_rows_ * p_.dim;
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const size_t at = row - panel.begin;
      spans_.axpy(scales_[at], products + at * p_.dim, row_gradient_ + row * p_.dim, p_.dim);
    }
  }
}

// Of some columns of a chunk. `ahead`: the chunk's exponentials of the next panel come next.
void PairSweep::ColumnGradient(const Range& rows, size_t chunk, const Range& part,
                               bool ahead) const {
  const size_t first = Chunk(chunk).begin + part.begin;
  ColumnBlock block{};
  block.rows = rows.size();
  block.columns = part.size();
  block.dim = p_.dim;
  block.exponentials = Exponentials(chunk) + part.begin;
  block.stride = tile_;
  block.factors = factors_;
  block.gradient = column_gradient_ + first * p_.dim;
  if (ahead) {
    block.ahead =
        p_.keep_packed ? packed_ + chunk * packed_size() : p_.columns + first * p_.dim;
  }
  spans_.column_gradient(block);
}

}  // namespace

Status SweepPairs(const Kernel& kernel, const PairProblem& problem, double* losses,
                  float* row_gradient, float* column_gradient, ThreadPool& pool,
                  const CancelFlag& cancel) {
  if (problem.row_count == 0) return Status::Ok();
  return PairSweep(kernel, problem, losses, row_gradient, column_gradient).Run(pool, cancel);
}

}  // namespace prismrec::contrastive_loss
