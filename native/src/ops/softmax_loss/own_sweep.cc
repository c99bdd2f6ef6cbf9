// Rows with candidates of their own, some at a time: first each row alone, its derivatives by the
// logits into the wave, then each item alone, from the rows that name it, in their order.
// The wave holds for each row [most_pairs, entries] derivatives, the row's interests times its
// scale [most_pairs, d], and the bias gradient [entries].
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "gemm/pack.h"
#include "ops/softmax_loss/geometry.h"
#include "ops/softmax_loss/sweep.h"
#include "ops/softmax_loss/tile.h"

namespace prismrec::softmax_loss {
namespace {

// Candidates whose product with the exponentials is packed at a time.
constexpr size_t kChunkColumns = 480;

thread_local Workspace wave_memory;
thread_local Workspace row_memory;

class OwnSweep {
 public:
  OwnSweep(const Problem& problem, Rows* rows)
      : problem_(problem),
        plan_(problem.plan),
        g_(MakeOwnGeometry(problem.plan, problem.dim())),
        rows_(rows),
        dim_(problem.dim()) {}

  Status Run();

 private:
  struct Scratch {
    float *interests, *columns, *shift, *packed, *plain, *x, *tops, *products;
    size_t stride;
  };

  Status Gather();
  Scratch Memory() const;
  void CopyColumns(size_t row, const Scratch& work) const;
  void Row(size_t row, float* wave, const Scratch& work);
  void Keep(size_t row, const Scratch& work, float* wave) const;
  void Clear(size_t begin, size_t end) const {
    std::fill_n(problem_.outputs->item_gradient + begin * dim_, (end - begin) * dim_, 0.0f);
    std::fill_n(problem_.outputs->bias_gradient + begin, end - begin, 0.0f);
  }
  void Slot(size_t slot, size_t row0, size_t row1, const float* wave, size_t* next) const;

  const Problem& problem_;
  const Plan& plan_;
  const OwnGeometry g_;
  Rows* const rows_;
  const size_t dim_;
};

Status OwnSweep::Run() {
  Status status = Gather();
  if (!status.ok()) return status;
  const bool gradients = problem_.gradients();
  const size_t slots = plan_.gradient_items.size();
  float* wave = nullptr;
  std::vector<size_t> next;
  if (gradients) {
    wave = wave_memory.Reserve<float>(g_.wave_rows * g_.stride);
    next.assign(plan_.slot_begin.begin(), plan_.slot_begin.end());
    if (problem_.counted() == 0) Clear(0, slots);
  }
  const CancelFlag& cancel = problem_.cancel;
  for (size_t row0 = 0; row0 < problem_.counted() && !cancel.Cancelled(); row0 += g_.wave_rows) {
    const size_t row1 = std::min(problem_.counted(), row0 + g_.wave_rows);
    problem_.pool.ParallelFor(Blocks(row1 - row0, g_.rows_at_once), cancel, [&](size_t part, int) {
      const Scratch work = Memory();
      const size_t begin = row0 + part * g_.rows_at_once;
      for (size_t row = begin; row < std::min(row1, begin + g_.rows_at_once); ++row) {
        Row(row, gradients ? wave + (row - row0) * g_.stride : nullptr, work);
      }
    });
    if (!gradients) continue;
    problem_.pool.ParallelFor(Blocks(slots, g_.slots_at_once), cancel, [&](size_t part, int) {
      const size_t begin = part * g_.slots_at_once;
      const size_t end = std::min(slots, begin + g_.slots_at_once);
      if (row0 == 0) Clear(begin, end);
      for (size_t slot = begin; slot < end; ++slot) {
        Slot(slot, row0, row1, wave, &next[slot]);
      }
    });
  }
  return Status::Ok();
}

// What is read of the items alone, so that it does not cost as much as the catalog is large.
Status OwnSweep::Gather() {
  const std::vector<uint32_t>& items = plan_.gradient_items;
  const float* const bias = problem_.args.item_bias;
  const size_t parts = Blocks(items.size(), g_.slots_at_once);
  const size_t row_parts = Blocks(problem_.counted(), g_.rows_at_once);
  std::vector<char> items_finite(parts, 1), rows_finite(row_parts, 1);
  problem_.pool.ParallelFor(parts + row_parts, problem_.cancel, [&](size_t n, int) {
    if (n >= parts) {
      const size_t row0 = (n - parts) * g_.rows_at_once;
      const size_t row1 = std::min(problem_.counted(), row0 + g_.rows_at_once);
      rows_finite[n - parts] = rows_->Gather(row0, row1).finite ? 1 : 0;
      return;
    }
    const size_t begin = n * g_.slots_at_once;
    for (size_t i = begin; i < std::min(items.size(), begin + g_.slots_at_once); ++i) {
      const bool finite = problem_.spans.all_finite(problem_.Item(items[i]), dim_) &&
                          (bias == nullptr || std::isfinite(bias[items[i]]));
      if (!finite) items_finite[n] = 0;
    }
  });
  if (problem_.cancel.Cancelled()) return Cancelled();
  const auto all = [](const std::vector<char>& finite) {
    return std::find(finite.begin(), finite.end(), 0) == finite.end();
  };
  if (!all(items_finite)) return ItemsNotFinite();
  return all(rows_finite) ? Status::Ok() : InterestsNotFinite();
}

OwnSweep::Scratch OwnSweep::Memory() const {
  const gemm::Kernel& kernel = *problem_.spans.kernel;
  const bool gradients = problem_.gradients();
  const bool plain = gradients && plan_.most_pairs >= kernel.mr;
  Scratch made{};
  made.stride = RoundUp(plan_.columns, kernel.nr);
  LayOut(&row_memory,
         {{&made.interests, gemm::PackedFloats(plan_.most_pairs, kernel.mr, dim_)},
          {&made.columns, plan_.columns * dim_},
          {&made.shift, plan_.columns},
          {&made.packed, gemm::PackedFloats(plan_.columns, kernel.nr, dim_)},
          {&made.plain, plain ? gemm::PackedFloats(dim_, kernel.nr, kChunkColumns) : 0},
          {&made.x, (plan_.most_pairs + kernel.mr) * made.stride},
          {&made.tops, plan_.most_pairs},
          {&made.products, gradients ? plan_.most_pairs * dim_ : 0}});
  return made;
}

// The row's candidates and what their logits get.
void OwnSweep::CopyColumns(size_t row, const Scratch& work) const {
  constexpr size_t kAhead = 8;
  const Args& args = problem_.args;
  const size_t first = plan_.rows[row] * plan_.columns;
  const uint32_t* const items = args.candidates + first;
  for (size_t s = 0; s < plan_.columns; ++s) {
    if (s + kAhead < plan_.columns) {
      for (size_t i = 0; i < dim_; i += kLine) {
        __builtin_prefetch(problem_.Item(items[s + kAhead]) + i);
      }
    }
    std::memcpy(work.columns + s * dim_, problem_.Item(items[s]), dim_ * sizeof(float));
    work.shift[s] = (args.item_bias == nullptr ? 0.0f : args.item_bias[items[s]]) -
                    (args.log_q == nullptr ? 0.0f : args.log_q[first + s]);
  }
}

void OwnSweep::Row(size_t row, float* wave, const Scratch& work) {
  const gemm::Kernel& kernel = *problem_.spans.kernel;
  const size_t pairs = rows_->pairs(row);
  gemm::PackRows(kernel, rows_->interests(rows_->pair(row)), dim_, pairs, dim_, work.interests);
  CopyColumns(row, work);
  PackColumns(problem_, work.columns, plan_.columns, work.packed, nullptr);
  Tile tile{row,          row + 1,     0,           plan_.columns, work.interests, work.columns,
            work.shift,   work.packed, work.plain,  work.x,        work.stride};
  Logits(problem_, rows_, tile, work.tops);
  const float top = std::max(rows_->TargetTop(row), *std::max_element(work.tops, work.tops + pairs));
  double sum = 0;
  std::vector<double> pair_sums(pairs);
  Exponentials(problem_, *rows_, tile, &top, wave != nullptr, &sum, pair_sums.data());
  rows_->Finish(row, top, sum);
  if (wave == nullptr) return;
  Keep(row, work, wave);
  for (size_t column = 0; column < plan_.columns; column += kChunkColumns) {
    Tile part = tile;
    part.width = std::min(kChunkColumns, plan_.columns - column);
    part.x = tile.x + column;
    part.columns = tile.columns + column * dim_;
    if (pairs >= kernel.mr) {
      gemm::PackColumnsOfPlain(kernel, part.columns, dim_, dim_, part.width, work.plain);
    }
    InterestProduct(problem_, *rows_, part, column == 0, work.products);
  }
  rows_->Gradient(row, pair_sums.data(), work.products);
  // Those of the targets, which Gradient has left.
  const size_t targets = rows_->targets(row);
  float* const bias = wave + g_.bias_at;
  for (size_t j = 0; j < pairs; ++j) {
    for (size_t t = 0; t < targets; ++t) {
      const float g = rows_->target_logits(row)[j * targets + t];
      wave[j * plan_.row_entries + plan_.columns + t] = g;
      bias[plan_.columns + t] += rows_->scale(row) * g;
    }
  }
}

// The candidates' derivatives and the scaled interests.
void OwnSweep::Keep(size_t row, const Scratch& work, float* wave) const {
  const Spans& spans = problem_.spans;
  const float scale = rows_->scale(row);
  const size_t pairs = rows_->pairs(row);
  float* const scaled = wave + g_.scaled_at;
  float* const bias = wave + g_.bias_at;
  std::memcpy(scaled, rows_->interests(rows_->pair(row)), pairs * dim_ * sizeof(float));
  spans.scale(scale, scaled, pairs * dim_);
  std::fill_n(bias, plan_.row_entries, 0.0f);
  for (size_t j = 0; j < pairs; ++j) {
    const float* const weights = work.x + j * work.stride;
    std::memcpy(wave + j * plan_.row_entries, weights, plan_.columns * sizeof(float));
    spans.axpy(scale, weights, bias, plan_.columns);
  }
}

// Adds what rows [row0, row1) have for the slot; `next` is the first of its entries that are left.
void OwnSweep::Slot(size_t slot, size_t row0, size_t row1, const float* wave, size_t* next) const {
  const size_t entries = plan_.row_entries;
  for (; *next < plan_.slot_begin[slot + 1]; ++*next) {
    const size_t row = plan_.slot_entries[*next] / entries;
    if (row >= row1) break;
    const size_t entry = plan_.slot_entries[*next] % entries;
    const float* const weights = wave + (row - row0) * g_.stride;
    problem_.outputs->bias_gradient[slot] += weights[g_.bias_at + entry];
    for (size_t j = 0; j < rows_->pairs(row); ++j) {
      const float weight = weights[j * entries + entry];
      if (weight == 0.0f) continue;
      problem_.spans.axpy(weight, weights + g_.scaled_at + j * dim_,
                          problem_.outputs->item_gradient + slot * dim_, dim_);
    }
  }
}

}  // namespace

Status SweepOwn(const Problem& problem, Rows* rows) { return OwnSweep(problem, rows).Run(); }

}  // namespace prismrec::softmax_loss
