// A panel of rows gets its logits against a tile of the block's columns and stays in the cache.
// Where one tile holds the block, statistics and both gradients come from that one panel (6 n d
// operations a row); larger blocks take a first sweep over the tiles for the statistics and a
// second, which recomputes them, for the gradients. A small block is one task, the rows of a large
// one are cut into tasks whose number depends on the shapes alone, each with its own sum of the
// column gradient; these are added in order: the same bits whatever the number of threads.
#include "ops/contrastive_loss/sweep.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include "gemm/gemm.h"
#include "runtime/workspace.h"

namespace prismrec::contrastive_loss {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr size_t kPanelFloats = size_t{1} << 20;
constexpr size_t kPanelRows = 128;
constexpr size_t kFewestPanelRows = 32;
// Blocks of up to this many rows are one task.
constexpr size_t kSmallBlock = 256;
constexpr size_t kMostTasks = 8;
constexpr size_t kPartialFloats = size_t{1} << 22;

struct Task {
  Block block;  // `rows`: those of the task
  bool owns;    // the whole block, so the column gradient needs no partial
};

// What one thread works in, for one panel.
struct Buffers {
  float* panel = nullptr;                 // [panel rows, tile]
  float* scaled = nullptr;                // [panel rows, d]
  float* gradient = nullptr;              // [panel rows, d]
  std::vector<double> sum, positive_sum;  // [panel rows]
  std::vector<float> top;                 // [panel rows]
};

// Kept from call to call: a training step would otherwise spend its time on fresh pages.
thread_local Workspace panel_memory;
thread_local Workspace partial_memory;

class Sweeper {
 public:
  Sweeper(const Spans& spans, const Problem& problem, double* losses, float* row_gradient,
          float* column_gradient)
      : spans_(spans),
        p_(problem),
        losses_(losses),
        row_gradient_(row_gradient),
        column_gradient_(column_gradient) {}

  Status Run(ThreadPool& pool, const CancelFlag& cancel);

 private:
  void Plan();
  void RunTask(size_t index, const CancelFlag& cancel);
  void Panel(const Range& rows, const Range& columns, float* column_gradient, Buffers* work);
  void Logits(const Range& rows, const Range& tile, size_t stride, Buffers* work) const;
  void Prepare(size_t row, const Range& tile, float* x, size_t at, Buffers* work) const;
  void Correct(size_t row, const Range& tile, float* x, double part) const;
  void Products(const Range& rows, const Range& tile, size_t stride, bool first,
                float* column_gradient, Buffers* work) const;
  float ScaleOf(double sum) const { return static_cast<float>(p_.weight / sum); }

  // Calls fn(begin, end) for the pieces of the row's positives inside the tile.
  template <class Fn>
  void EachPositiveRun(size_t row, const Range& tile, Fn&& fn) const {
    const size_t begin = std::max(p_.positives[row].begin, tile.begin);
    const size_t end = std::min(p_.positives[row].end, tile.end);
    if (begin >= end) return;
    if (!p_.without_self || row < begin || row >= end) {
      fn(begin, end);
      return;
    }
    if (begin < row) fn(begin, row);
    if (row + 1 < end) fn(row + 1, end);
  }

  const Spans& spans_;
  const Problem& p_;
  double* const losses_;
  float* const row_gradient_;
  float* const column_gradient_;
  std::vector<Task> tasks_;
  // [columns of the block, d] for each task that does not own its block
  std::vector<float*> partials_;
};

void Sweeper::Plan() {
  for (const Block& block : p_.blocks) {
    const size_t rows = block.rows.size();
    if (rows == 0 || block.columns.size() == 0) continue;
    if (rows <= kSmallBlock) {
      tasks_.push_back({block, true});
      continue;
    }
    const size_t affordable = std::max<size_t>(2, kPartialFloats / (block.columns.size() * p_.dim));
    const size_t parts = std::min({kMostTasks, affordable, rows / kPanelRows});
    for (size_t part = 0; part < parts; ++part) {
      const Range mine{block.rows.begin + rows * part / parts,
                       block.rows.begin + rows * (part + 1) / parts};
      tasks_.push_back({{mine, block.columns}, parts == 1});
    }
  }
}

Status Sweeper::Run(ThreadPool& pool, const CancelFlag& cancel) {
  Plan();
  partials_.assign(tasks_.size(), nullptr);
  if (column_gradient_ != nullptr) {
    size_t total = 0;
    for (const Task& task : tasks_) total += task.owns ? 0 : task.block.columns.size() * p_.dim;
    float* next = partial_memory.Reserve<float>(total);
    for (size_t t = 0; t < tasks_.size(); ++t) {
      if (tasks_[t].owns) continue;
      partials_[t] = next;
      next += tasks_[t].block.columns.size() * p_.dim;
    }
  }
  pool.ParallelFor(tasks_.size(), cancel, [&](size_t task, int) { RunTask(task, cancel); });
  if (cancel.Cancelled()) return Cancelled();
  if (column_gradient_ == nullptr) return Status::Ok();
  for (size_t t = 0; t < tasks_.size(); ++t) {
    if (tasks_[t].owns) continue;
    constexpr size_t kAtOnce = 1 << 14;
    float* out = column_gradient_ + tasks_[t].block.columns.begin * p_.dim;
    const float* partial = partials_[t];
    const size_t size = tasks_[t].block.columns.size() * p_.dim;
    pool.ParallelFor((size + kAtOnce - 1) / kAtOnce, cancel, [&](size_t part, int) {
      const size_t begin = part * kAtOnce;
      spans_.axpy(1.0f, partial + begin, out + begin, std::min(kAtOnce, size - begin));
    });
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

void Sweeper::RunTask(size_t index, const CancelFlag& cancel) {
  Buffers work;
  const Task& task = tasks_[index];
  const size_t columns = task.block.columns.size();
  float* column_gradient = nullptr;
  if (column_gradient_ != nullptr) {
    if (task.owns) {
      column_gradient = column_gradient_ + task.block.columns.begin * p_.dim;
    } else {
      column_gradient = partials_[index];
      std::fill(column_gradient, column_gradient + columns * p_.dim, 0.0f);
    }
  }
  size_t step = std::min(kPanelRows, kPanelFloats / columns);
  if (step < kFewestPanelRows) step = kPanelRows;
  for (size_t row = task.block.rows.begin; row < task.block.rows.end; row += step) {
    if (cancel.Cancelled()) return;
    Panel({row, std::min(row + step, task.block.rows.end)}, task.block.columns, column_gradient,
          &work);
  }
}

void Sweeper::Panel(const Range& rows, const Range& columns, float* column_gradient,
                    Buffers* work) {
  const size_t stride = std::min(columns.size(), kPanelFloats / rows.size());
  const bool one_tile = stride == columns.size();
  const bool gradients = column_gradient != nullptr;
  const size_t panel = rows.size() * stride;
  const size_t side = gradients ? rows.size() * p_.dim : 0;
  work->panel = panel_memory.Reserve<float>(panel + 2 * side);
  work->scaled = work->panel + panel;
  work->gradient = work->scaled + side;
  work->sum.assign(rows.size(), 0.0);
  work->positive_sum.assign(rows.size(), 0.0);
  work->top.assign(rows.size(), -FLT_MAX);

  const auto finish = [&](size_t row) {
    const size_t at = row - rows.begin;
    const size_t count = p_.PositiveCount(row);
    if (count == 0) return;
    losses_[row] += work->top[at] + std::log(work->sum[at]) -
                    work->positive_sum[at] / static_cast<double>(count);
  };
  const auto correct = [&](size_t row, const Range& tile) {
    const size_t at = row - rows.begin;
    float* x = &work->panel[at * stride];
    const size_t count = p_.PositiveCount(row);
    if (count == 0) {
      std::fill(x, x + tile.size(), 0.0f);
    } else {
      Correct(row, tile, x, work->sum[at] / static_cast<double>(count));
    }
  };
  for (size_t begin = columns.begin; begin < columns.end; begin += stride) {
    const Range tile{begin, std::min(begin + stride, columns.end)};
    Logits(rows, tile, stride, work);
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const size_t at = row - rows.begin;
      float* x = &work->panel[at * stride];
      const float before = work->top[at];
      Prepare(row, tile, x, at, work);
      work->sum[at] *= std::exp(static_cast<double>(before) - work->top[at]);
      work->sum[at] += spans_.exp_sum(x, work->top[at], tile.size());
      if (!one_tile) continue;
      finish(row);
      if (gradients) correct(row, tile);
    }
    if (one_tile && gradients) Products(rows, tile, stride, true, column_gradient, work);
  }
  if (!one_tile) {
    for (size_t row = rows.begin; row < rows.end; ++row) finish(row);
    for (size_t begin = columns.begin; gradients && begin < columns.end; begin += stride) {
      const Range tile{begin, std::min(begin + stride, columns.end)};
      Logits(rows, tile, stride, work);
      for (size_t row = rows.begin; row < rows.end; ++row) {
        const size_t at = row - rows.begin;
        float* x = &work->panel[at * stride];
        Prepare(row, tile, x, at, work);
        spans_.exp_sum(x, work->top[at], tile.size());
        correct(row, tile);
      }
      Products(rows, tile, stride, begin == columns.begin,
               column_gradient + (begin - columns.begin) * p_.dim, work);
    }
  }
  if (!gradients) return;
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const size_t at = row - rows.begin;
    if (p_.PositiveCount(row) == 0) continue;
    spans_.axpy(ScaleOf(work->sum[at]) * p_.inverse_temperature, &work->gradient[at * p_.dim],
                row_gradient_ + row * p_.dim, p_.dim);
  }
}

void Sweeper::Logits(const Range& rows, const Range& tile, size_t stride, Buffers* work) const {
  GemmArgs gemm;
  gemm.trans_b = true;
  gemm.m = rows.size();
  gemm.n = tile.size();
  gemm.k = p_.dim;
  gemm.alpha = p_.inverse_temperature;
  gemm.a = p_.rows + rows.begin * p_.dim;
  gemm.lda = p_.dim;
  gemm.b = p_.columns + tile.begin * p_.dim;
  gemm.ldb = p_.dim;
  gemm.c = work->panel;
  gemm.ldc = stride;
  SgemmSerial(gemm);
}

// Takes what is no candidate out of the row's logits x, raises the row's top, and adds up its
// positives.
void Sweeper::Prepare(size_t row, const Range& tile, float* x, size_t at, Buffers* work) const {
  if (p_.without_self && row >= tile.begin && row < tile.end)
    x[row - tile.begin] = kNegativeInfinity;
  if (!p_.row_removed.empty()) {
    for (size_t n = p_.row_removed[row]; n < p_.row_removed[row + 1]; ++n) {
      const size_t column = p_.removed[n] - tile.begin;
      if (column < tile.size()) x[column] = kNegativeInfinity;
    }
  }
  const float* shift = p_.shift == nullptr ? nullptr : p_.shift + tile.begin;
  work->top[at] = std::max(work->top[at], spans_.shift_max(x, shift, 0.0f, tile.size()));
  EachPositiveRun(row, tile, [&](size_t begin, size_t end) {
    work->positive_sum[at] += spans_.sum(x + (begin - tile.begin), end - begin);
  });
}

// Takes the positives' share off the weights.
void Sweeper::Correct(size_t row, const Range& tile, float* x, double part) const {
  EachPositiveRun(row, tile, [&](size_t begin, size_t end) {
    spans_.add_constant(static_cast<float>(-part), x + (begin - tile.begin), end - begin);
  });
}

// gradient (+)= panel x columns; column_gradient (the tile's) += panel^T x rows scaled by weight
// over sum
void Sweeper::Products(const Range& rows, const Range& tile, size_t stride, bool first,
                       float* column_gradient, Buffers* work) const {
  GemmArgs gemm;
  gemm.m = rows.size();
  gemm.n = p_.dim;
  gemm.k = tile.size();
  gemm.a = work->panel;
  gemm.lda = stride;
  gemm.b = p_.columns + tile.begin * p_.dim;
  gemm.ldb = p_.dim;
  gemm.c = work->gradient;
  gemm.ldc = p_.dim;
  gemm.beta = first ? 0.0f : 1.0f;
  SgemmSerial(gemm);

  if (first) {
    for (size_t row = rows.begin; row < rows.end; ++row) {
      const size_t at = row - rows.begin;
      float* scaled = &work->scaled[at * p_.dim];
      const float scale =
          p_.PositiveCount(row) == 0 ? 0.0f : ScaleOf(work->sum[at]) * p_.inverse_temperature;
      std::memcpy(scaled, p_.rows + row * p_.dim, p_.dim * sizeof(float));
      spans_.scale(scale, scaled, p_.dim);
    }
  }
  gemm = GemmArgs();
  gemm.trans_a = true;
  gemm.m = tile.size();
  gemm.n = p_.dim;
  gemm.k = rows.size();
  gemm.a = work->panel;
  gemm.lda = stride;
  gemm.b = work->scaled;
  gemm.ldb = p_.dim;
  gemm.c = column_gradient;
  gemm.ldc = p_.dim;
  gemm.beta = 1.0f;
  SgemmSerial(gemm);
}

}  // namespace

Status Sweep(const Spans& spans, const Problem& problem, double* losses, float* row_gradient,
             float* column_gradient, ThreadPool& pool, const CancelFlag& cancel) {
  return Sweeper(spans, problem, losses, row_gradient, column_gradient).Run(pool, cancel);
}

}  // namespace prismrec::contrastive_loss
