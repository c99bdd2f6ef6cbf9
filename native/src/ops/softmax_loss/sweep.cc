// A block of rows gets the logits of all its interests against a tile of items, in a panel that
// stays in the cache. Where one tile holds all items, the statistics and both gradients come from
// that one panel (6 N d operations a pair); larger catalogs take a first sweep over the tiles for
// the statistics and a second, which recomputes them, for the gradients. Rows are cut into chunks
// whose number depends on the shapes alone; each has its own sum of the item gradient, and these
// are added in order: the same bits whatever the number of threads.
#include "ops/softmax_loss/sweep.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gemm/gemm.h"
#include "gemm/pack.h"
#include "ops/softmax_loss/plan.h"
#include "runtime/workspace.h"

namespace prismrec::softmax_loss {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr size_t kPanelFloats = size_t{1} << 20;
// Rows of a panel: enough for the products to run at full speed, few enough for the panel to stay
// near.
constexpr size_t kPanelRows = 128;
// A panel of fewer rows makes the products slower than recomputing a tile does.
constexpr size_t kFewestPanelRows = 32;
constexpr size_t kMostChunks = 16;
// A chunk of fewer blocks spends too much on its own item gradient, unless threads would stand
// idle.
constexpr size_t kChunkBlocks = 4;
constexpr size_t kFewChunks = 4;
constexpr size_t kPartialFloats = size_t{1} << 23;
// Columns are packed once a call up to this size, else tile by tile.
constexpr size_t kPackedFloats = size_t{1} << 22;
// Of columns, a thread at a time.
constexpr size_t kPanelsAtOnce = 8;
// The weights of rows with candidates of their own are kept this much at a time.
constexpr size_t kWaveFloats = size_t{1} << 20;
// Columns of the panel that stay in the second-level cache for both products.
constexpr size_t kProductColumns = 512;
// Few rows do not pay for packing: both products then read their factors where they lie, this many
// columns at a time, so that a strip of rows of at most that length stays in the first-level cache.
constexpr size_t kDirectPairs = 64;
constexpr size_t kDirectColumns = 128;
constexpr size_t kDirectRowBytes = 256;

constexpr size_t kLine = 64 / sizeof(float);

// To whole cache lines.
constexpr size_t Aligned(size_t floats) { return (floats + kLine - 1) / kLine * kLine; }

// What one thread works in, from one chunk to the next.
struct Buffers {
  float* panel = nullptr;              // [block pairs, stride]
  float* panel_top = nullptr;          // [block pairs]: the largest of the panel's row
  float* packed_interests = nullptr;   // panels of the block's interests
  float* packed_tile = nullptr;        // panels of the tile's columns, where no others are kept
  float* own_columns = nullptr;        // [tile, d], candidates of the row's own
  float* own_shift = nullptr;          // [tile], candidates of the row's own
  float* own_scaled = nullptr;         // candidates of the row's own: `scaled`, in the wave
  // The tile's columns [width, d], what is added to their logits (nullable), their panels.
  const float* columns = nullptr;
  const float* shift = nullptr;
  const float* packed = nullptr;
  float* target_logit = nullptr;       // [block pairs, most_targets]
  float* share = nullptr;              // [most_pairs]
  float* best = nullptr;               // [tile], readout max
  float* winner = nullptr;             // [tile], readout max
  float* column_sum = nullptr;         // [tile]
  float* scaled = nullptr;             // [block pairs, d]: interests times their row's scale
  float* interest_gradient = nullptr;  // [block pairs, d]
  std::vector<double> pair_sum;        // [block pairs]
  std::vector<double> sum;             // [block rows]
  std::vector<float> top;              // [block rows]
};

// Kept from call to call: a training step would otherwise spend its time on fresh pages.
thread_local Workspace block_memory;
thread_local Workspace partial_memory;
thread_local Workspace packed_memory;

class Sweeper {
 public:
  Sweeper(const Spans& spans, const Args& args, const Plan& plan, Outputs* outputs,
          ThreadPool& pool, const CancelFlag& cancel)
      : spans_(spans),
        args_(args),
        plan_(plan),
        outputs_(outputs),
        pool_(pool),
        cancel_(cancel),
        dim_(args.dim()) {}

  Status Run();

 private:
  bool sampled() const { return args_.candidates != nullptr; }
  bool per_row() const { return args_.candidates_per_row; }
  size_t counted() const { return plan_.rows.size(); }
  const float* Item(uint32_t item) const { return args_.items.data + item * dim_; }

  void Gather();
  bool ItemsFinite() const;
  void Shape();
  Buffers MakeBuffers() const;
  void CopyColumns(const uint32_t* items, const float* added, float sign, size_t count,
                   float* vectors, float* shift) const;
  void Chunk(size_t chunk);
  void Waves();
  void Columns(size_t row, size_t tile0, size_t width, Buffers* work);
  void Block(size_t row0, size_t row1, bool first, float* items, float* bias, Buffers* work);
  void Logits(size_t pair0, size_t pair1, size_t width, Buffers* work);
  float Prepare(size_t row, size_t pair0, size_t tile0, size_t width, Buffers* work);
  double Weights(size_t row, size_t pair0, size_t width, float top, bool columns, Buffers* work);
  void SampledTargets(size_t row, size_t pair0, Buffers* work);
  void Finish(size_t row, size_t row0, size_t pair0, Buffers* work);
  float Shares(size_t row, size_t pair0, size_t target, Buffers* work);
  void Correct(size_t row, size_t row0, size_t pair0, size_t tile0, size_t width, float* bias,
               Buffers* work);
  void SampledGradients(size_t row, size_t row0, size_t pair0, float* items, float* bias,
                        Buffers* work);
  void Products(size_t pair0, size_t pair1, size_t tile0, size_t width, bool first, float* items,
                Buffers* work);
  void Product(bool direct, const gemm::Direct& product) const;
  float ScaleOf(double sum) const {
    return static_cast<float>(1.0 / (sum * static_cast<double>(counted())));
  }
  void Reduce();

  const Spans& spans_;
  const Args& args_;
  const Plan& plan_;
  Outputs* const outputs_;
  ThreadPool& pool_;
  const CancelFlag& cancel_;
  const size_t dim_;

  float* interests_ = nullptr;           // [pairs, d], the present ones
  float* offsets_ = nullptr;             // [pairs]
  const float* columns_ = nullptr;       // [plan.columns, d]
  const float* column_shift_ = nullptr;  // [plan.columns] bias; sampled: with the weight
  const float* packed_ = nullptr;        // panels of columns_, nullable
  bool columns_finite_ = true;

  size_t tile_ = 0;
  size_t stride_ = 0;  // of the panel's rows: tile_ rounded up to whole panels of columns
  size_t block_pairs_ = 0;
  std::vector<size_t> chunk_rows_;  // chunk c: counted rows [chunk_rows_[c], chunk_rows_[c + 1])
  // [columns + target_items, d] and [columns + target_items] for each chunk
  std::vector<float*> item_partials_, bias_partials_;
};

// The interests that are present, and the columns all rows share: their vectors and their panels.
void Sweeper::Gather() {
  const gemm::Kernel& kernel = *spans_.kernel;
  const size_t pairs = plan_.pairs.size();
  const size_t candidates = sampled() && !per_row() ? plan_.columns : 0;
  size_t panels = per_row() ? 0 : gemm::PackedFloats(plan_.columns, kernel.nr, dim_);
  if (counted() == 0 || panels > kPackedFloats) panels = 0;
  const size_t vectors = Aligned(pairs * dim_) + Aligned(pairs);
  float* const candidate_vectors =
      packed_memory.Reserve<float>(vectors + Aligned(candidates * (dim_ + 1)) + panels) + vectors;
  interests_ = candidate_vectors - vectors;
  offsets_ = interests_ + Aligned(pairs * dim_);
  for (size_t p = 0; p < plan_.pairs.size(); ++p) {
    std::memcpy(&interests_[p * dim_], args_.interests.data + plan_.pairs[p] * dim_,
                dim_ * sizeof(float));
    offsets_[p] = args_.offsets == nullptr ? 0.0f : args_.offsets[plan_.pairs[p]];
  }
  if (per_row()) return;
  columns_ = args_.items.data;
  column_shift_ = args_.item_bias;
  float* const shift = candidate_vectors + candidates * dim_;
  if (sampled()) {
    columns_ = candidate_vectors;
    column_shift_ = shift;
  }
  float* const packed = candidate_vectors + Aligned(candidates * (dim_ + 1));
  if (panels > 0) packed_ = packed;
  const size_t step = kPanelsAtOnce * kernel.nr;
  std::vector<uint8_t> finite((plan_.columns + step - 1) / step, 1);
  pool_.ParallelFor(finite.size(), cancel_, [&](size_t part, int) {
    const size_t from = part * step;
    const size_t count = std::min(step, plan_.columns - from);
    if (sampled()) {
      CopyColumns(plan_.column_items.data() + from, plan_.column_weights.data() + from, 1.0f, count,
                  candidate_vectors + from * dim_, shift + from);
    }
    finite[part] = spans_.all_finite(columns_ + from * dim_, count * dim_) &&
                   (column_shift_ == nullptr || spans_.all_finite(column_shift_ + from, count));
    if (panels > 0) {
      gemm::PackColumns(kernel, columns_ + from * dim_, dim_, count, dim_, packed + from * dim_);
    }
  });
  columns_finite_ = std::find(finite.begin(), finite.end(), 0) == finite.end();
}

// The vectors of items and what their logits get: bias + sign * added.
void Sweeper::CopyColumns(const uint32_t* items, const float* added, float sign, size_t count,
                          float* vectors, float* shift) const {
  // They lie all over the table, so they are asked for before their turn.
  constexpr size_t kAhead = 8;
  for (size_t s = 0; s < count; ++s) {
    if (s + kAhead < count) {
      for (size_t i = 0; i < dim_; i += kLine) __builtin_prefetch(Item(items[s + kAhead]) + i);
    }
    std::memcpy(vectors + s * dim_, Item(items[s]), dim_ * sizeof(float));
    shift[s] = (args_.item_bias == nullptr ? 0.0f : args_.item_bias[items[s]]) +
               (added == nullptr ? 0.0f : sign * added[s]);
  }
}

// Of a sampled loss what it reads alone, so that it does not cost as much as the catalog is large.
bool Sweeper::ItemsFinite() const {
  const auto finite = [&](uint32_t item) {
    return spans_.all_finite(Item(item), dim_) &&
           (args_.item_bias == nullptr || std::isfinite(args_.item_bias[item]));
  };
  const auto all = [&](const std::vector<uint32_t>& items) {
    return std::all_of(items.begin(), items.end(), finite);
  };
  if (per_row()) return all(plan_.gradient_items);
  return columns_finite_ && all(plan_.target_items);
}

void Sweeper::Shape() {
  const size_t columns = std::max<size_t>(1, plan_.columns);
  const size_t nr = spans_.kernel->nr;
  if (per_row()) {
    block_pairs_ = plan_.most_pairs;
    tile_ = columns;
    stride_ = (tile_ + nr - 1) / nr * nr;
    return;
  }
  // Few rows are cut finer, so that they are a block for each of several threads.
  const size_t share = (plan_.pairs.size() + kFewChunks - 1) / kFewChunks;
  const size_t rows_at_once = std::min(kPanelRows, std::max(kFewestPanelRows, share));
  block_pairs_ = std::max(plan_.most_pairs, std::min(rows_at_once, kPanelFloats / columns));
  if (block_pairs_ < kFewestPanelRows) block_pairs_ = kPanelRows;
  tile_ = std::min(columns, std::max<size_t>(1, kPanelFloats / block_pairs_ / nr) * nr);
  // An odd number of cache lines, so that a column of the panel spreads over the whole first-level
  // cache.
  stride_ = Aligned((tile_ + nr - 1) / nr * nr);
  if (stride_ / kLine % 2 == 0) stride_ += kLine;

  const size_t partial = (columns + plan_.target_items.size()) * (dim_ + 1);
  const size_t affordable = std::max<size_t>(2, kPartialFloats / partial);
  const size_t blocks = (plan_.pairs.size() + block_pairs_ - 1) / block_pairs_;
  const size_t wanted = std::max(std::min(blocks, kFewChunks), blocks / kChunkBlocks);
  const size_t chunks = std::max<size_t>(1, std::min({kMostChunks, affordable, wanted, counted()}));
  chunk_rows_.push_back(0);
  for (size_t c = 1; c < chunks; ++c) {
    const size_t pair = plan_.pairs.size() * c / chunks;
    const auto at = std::lower_bound(plan_.row_pairs.begin(), plan_.row_pairs.end(), pair);
    const size_t row = static_cast<size_t>(at - plan_.row_pairs.begin());
    if (row > chunk_rows_.back() && row < counted()) chunk_rows_.push_back(row);
  }
  chunk_rows_.push_back(counted());
  if (!outputs_->gradients()) return;
  if (counted() == 0) return;
  const size_t rows = columns + plan_.target_items.size();
  const size_t stride = Aligned(rows * dim_) + Aligned(rows);
  float* next = partial_memory.Reserve<float>(stride * (chunk_rows_.size() - 1));
  for (size_t c = 0; c + 1 < chunk_rows_.size(); ++c, next += stride) {
    item_partials_.push_back(next);
    bias_partials_.push_back(next + Aligned(rows * dim_));
  }
}

Status Sweeper::Run() {
  Gather();
  if (!ItemsFinite()) {
    return NonFinite(
        "items or itemBias hold a value that is not finite", "finite values", "NaN or infinity",
        "A diverging learning rate is the usual cause; look at the step before this one.");
  }
  if (!spans_.all_finite(interests_, plan_.pairs.size() * dim_) ||
      !spans_.all_finite(offsets_, plan_.pairs.size())) {
    return NonFinite("interests or offsets hold a value that is not finite",
                     "finite values, or offset -Infinity", "NaN or infinity",
                     "A diverging learning rate is the usual cause; look at the step before.");
  }
  Shape();
  std::fill(outputs_->row_losses, outputs_->row_losses + args_.rows(), 0.0f);
  outputs_->counted_rows = counted();
  if (outputs_->gradients()) {
    std::fill(outputs_->interest_gradient,
              outputs_->interest_gradient + args_.interests.rows * dim_, 0.0f);
    std::fill(outputs_->offset_gradient, outputs_->offset_gradient + args_.interests.rows, 0.0f);
  }
  if (per_row()) {
    Waves();
  } else if (counted() > 0) {
    pool_.ParallelFor(chunk_rows_.size() - 1, cancel_, [&](size_t chunk, int) { Chunk(chunk); });
  }
  if (cancel_.Cancelled()) return Cancelled();

  double total = 0;
  for (const uint32_t row : plan_.rows) total += outputs_->row_losses[row];
  outputs_->loss = counted() == 0 ? 0 : total / static_cast<double>(counted());
  if (!std::isfinite(outputs_->loss)) {
    return NonFinite(
        "the softmax loss is not finite", "logits that fit float32", std::to_string(outputs_->loss),
        "A diverging learning rate is the usual cause; look at the step before this one.");
  }
  if (outputs_->gradients() && !per_row()) Reduce();
  return cancel_.Cancelled() ? Cancelled() : Status::Ok();
}

Buffers Sweeper::MakeBuffers() const {
  Buffers made;
  const gemm::Kernel& kernel = *spans_.kernel;
  const bool max = args_.readout == Readout::kMax;
  const bool gradients = outputs_->gradients();
  const std::pair<float**, size_t> parts[] = {
      {&made.panel, block_pairs_ * stride_},
      {&made.panel_top, block_pairs_},
      {&made.packed_interests, gemm::PackedFloats(block_pairs_, kernel.mr, dim_)},
      {&made.packed_tile, packed_ == nullptr ? gemm::PackedFloats(tile_, kernel.nr, dim_) : 0},
      {&made.own_columns, per_row() ? tile_ * dim_ : 0},
      {&made.own_shift, per_row() ? tile_ : 0},
      {&made.target_logit, block_pairs_ * plan_.most_targets},
      {&made.share, plan_.most_pairs},
      {&made.best, max ? tile_ : 0},
      {&made.winner, max ? tile_ : 0},
      {&made.column_sum, gradients ? tile_ : 0},
      {&made.scaled, gradients && !per_row() ? block_pairs_ * dim_ : 0},
      {&made.interest_gradient, gradients ? block_pairs_ * dim_ : 0},
  };
  size_t total = 0;
  for (const auto& [place, size] : parts) total += Aligned(size);
  float* next = block_memory.Reserve<float>(total);
  for (const auto& [place, size] : parts) {
    *place = next;
    next += Aligned(size);
  }
  return made;
}

void Sweeper::Chunk(size_t chunk) {
  Buffers work = MakeBuffers();
  float* items = nullptr;
  float* bias = nullptr;
  if (outputs_->gradients()) {
    items = item_partials_[chunk];
    bias = bias_partials_[chunk];
    // The columns' part of `items` is written, not added to, by the chunk's first block.
    const size_t targets = plan_.target_items.size();
    std::fill(items + plan_.columns * dim_, items + (plan_.columns + targets) * dim_, 0.0f);
    std::fill(bias, bias + plan_.columns + targets, 0.0f);
  }
  const size_t end = chunk_rows_[chunk + 1];
  bool first = true;
  for (size_t row = chunk_rows_[chunk]; row < end;) {
    if (cancel_.Cancelled()) return;
    size_t row1 = row + 1;
    while (row1 < end && plan_.row_pairs[row1 + 1] - plan_.row_pairs[row] <= block_pairs_) ++row1;
    Block(row, row1, first, items, bias, &work);
    row = row1;
    first = false;
  }
}

// Rows with candidates of their own, some at a time: first each row alone, its derivatives by the
// logits into the wave, then each item alone, from the rows that name it, in their order.
// The wave holds for each row [most_pairs, entries] derivatives, the row's interests times its
// scale [most_pairs, d], and the bias gradient [entries].
void Sweeper::Waves() {
  const size_t entries = plan_.row_entries;
  const size_t scaled_at = Aligned(plan_.most_pairs * entries);
  const size_t bias_at = scaled_at + Aligned(plan_.most_pairs * dim_);
  const size_t stride = bias_at + Aligned(entries);
  const size_t wave_rows = std::max<size_t>(1, kWaveFloats / std::max<size_t>(1, stride));
  const bool gradients = outputs_->gradients();
  const size_t slots = plan_.gradient_items.size();
  float* wave = nullptr;
  std::vector<size_t> next;
  if (gradients) {
    wave = partial_memory.Reserve<float>(std::min(wave_rows, counted()) * stride);
    next.assign(plan_.slot_begin.begin(), plan_.slot_begin.end());
    outputs_->gradient_rows = slots;
    std::copy(plan_.gradient_items.begin(), plan_.gradient_items.end(), outputs_->item_ids);
    std::fill_n(outputs_->item_gradient, slots * dim_, 0.0f);
    std::fill_n(outputs_->bias_gradient, slots, 0.0f);
  }
  for (size_t row0 = 0; row0 < counted() && !cancel_.Cancelled(); row0 += wave_rows) {
    const size_t row1 = std::min(counted(), row0 + wave_rows);
    // A few rows at a time: what they work in is laid out anew for each part.
    constexpr size_t kRowsAtOnce = 8;
    const size_t parts = (row1 - row0 + kRowsAtOnce - 1) / kRowsAtOnce;
    pool_.ParallelFor(parts, cancel_, [&](size_t part, int) {
      Buffers work = MakeBuffers();
      const size_t end = std::min(row1, row0 + (part + 1) * kRowsAtOnce);
      for (size_t row = row0 + part * kRowsAtOnce; row < end; ++row) {
        float* const weights = gradients ? wave + (row - row0) * stride : nullptr;
        work.own_scaled = gradients ? weights + scaled_at : nullptr;
        float* const bias = gradients ? weights + bias_at : nullptr;
        if (gradients) std::fill_n(bias, entries, 0.0f);
        Block(row, row + 1, true, weights, bias, &work);
      }
    });
    if (!gradients) continue;
    constexpr size_t kSlotsAtOnce = 512;
    pool_.ParallelFor((slots + kSlotsAtOnce - 1) / kSlotsAtOnce, cancel_, [&](size_t part, int) {
      const size_t end = std::min(slots, (part + 1) * kSlotsAtOnce);
      for (size_t slot = part * kSlotsAtOnce; slot < end; ++slot) {
        for (; next[slot] < plan_.slot_begin[slot + 1]; ++next[slot]) {
          const size_t row = plan_.slot_entries[next[slot]] / entries;
          if (row >= row1) break;
          const size_t entry = plan_.slot_entries[next[slot]] % entries;
          const float* const weights = wave + (row - row0) * stride;
          outputs_->bias_gradient[slot] += weights[bias_at + entry];
          for (size_t p = 0; p < plan_.row_pairs[row + 1] - plan_.row_pairs[row]; ++p) {
            const float weight = weights[p * entries + entry];
            if (weight == 0.0f) continue;
            spans_.axpy(weight, weights + scaled_at + p * dim_,
                        outputs_->item_gradient + slot * dim_, dim_);
          }
        }
      }
    });
  }
}

void Sweeper::Block(size_t row0, size_t row1, bool first, float* items, float* bias,
                    Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  const size_t pair1 = plan_.row_pairs[row1];
  const size_t pairs = pair1 - pair0;
  const bool gradients = outputs_->gradients();
  const bool one_tile = tile_ == plan_.columns;
  work->pair_sum.assign(pairs, 0.0);
  work->sum.assign(row1 - row0, 0.0);
  work->top.assign(row1 - row0, kNegativeInfinity);
  gemm::PackRows(*spans_.kernel, &interests_[pair0 * dim_], dim_, pairs, dim_,
                 work->packed_interests);

  if (sampled()) {
    for (size_t row = row0; row < row1; ++row) {
      SampledTargets(row, pair0, work);
      for (size_t p = plan_.row_pairs[row] - pair0; p < plan_.row_pairs[row + 1] - pair0; ++p) {
        for (size_t t = 0; t < plan_.row_targets[row + 1] - plan_.row_targets[row]; ++t) {
          work->top[row - row0] =
              std::max(work->top[row - row0], work->target_logit[p * plan_.most_targets + t]);
        }
      }
    }
  }
  for (size_t tile0 = 0; tile0 < plan_.columns; tile0 += tile_) {
    const size_t width = std::min(tile_, plan_.columns - tile0);
    if (cancel_.Cancelled()) return;
    Columns(row0, tile0, width, work);
    Logits(pair0, pair1, width, work);
    for (size_t row = row0; row < row1; ++row) {
      float& top = work->top[row - row0];
      double& sum = work->sum[row - row0];
      const float higher = std::max(top, Prepare(row, pair0, tile0, width, work));
      if (higher > top) sum *= std::exp(static_cast<double>(top) - higher);
      top = higher;
      sum += Weights(row, pair0, width, std::max(top, -FLT_MAX), gradients && one_tile, work);
      if (!one_tile) continue;
      Finish(row, row0, pair0, work);
      if (gradients) Correct(row, row0, pair0, tile0, width, bias, work);
    }
    if (one_tile && gradients) Products(pair0, pair1, tile0, width, first, items, work);
  }
  if (!one_tile) {
    for (size_t row = row0; row < row1; ++row) Finish(row, row0, pair0, work);
    std::fill(work->pair_sum.begin(), work->pair_sum.end(), 0.0);
    for (size_t tile0 = 0; gradients && tile0 < plan_.columns; tile0 += tile_) {
      const size_t width = std::min(tile_, plan_.columns - tile0);
      if (cancel_.Cancelled()) return;
      Columns(row0, tile0, width, work);
      Logits(pair0, pair1, width, work);
      for (size_t row = row0; row < row1; ++row) {
        Prepare(row, pair0, tile0, width, work);
        Weights(row, pair0, width, work->top[row - row0], true, work);
        Correct(row, row0, pair0, tile0, width, bias, work);
      }
      Products(pair0, pair1, tile0, width, first, items, work);
    }
  }
  if (!gradients) return;
  for (size_t row = row0; row < row1; ++row) {
    if (sampled()) SampledGradients(row, row0, pair0, items, bias, work);
    const float scale = ScaleOf(work->sum[row - row0]);
    for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
      const size_t out = plan_.pairs[pair];
      spans_.axpy(scale, &work->interest_gradient[(pair - pair0) * dim_],
                  outputs_->interest_gradient + out * dim_, dim_);
      outputs_->offset_gradient[out] = static_cast<float>(scale * work->pair_sum[pair - pair0]);
    }
  }
}

// Points `work` at the tile's columns.
void Sweeper::Columns(size_t row, size_t tile0, size_t width, Buffers* work) {
  if (per_row()) {
    const size_t first = plan_.rows[row] * plan_.columns;
    CopyColumns(args_.candidates + first, args_.log_q == nullptr ? nullptr : args_.log_q + first,
                -1.0f, plan_.columns, work->own_columns, work->own_shift);
    work->columns = work->own_columns;
    work->shift = work->own_shift;
  } else {
    work->columns = columns_ + tile0 * dim_;
    work->shift = column_shift_ == nullptr ? nullptr : column_shift_ + tile0;
  }
  work->packed = work->packed_tile;
  if (packed_ != nullptr) {
    work->packed = packed_ + tile0 * dim_;
  } else {
    gemm::PackColumns(*spans_.kernel, work->columns, dim_, width, dim_, work->packed_tile);
  }
}

// panel = interests x columns^T + bias + offsets
void Sweeper::Logits(size_t pair0, size_t pair1, size_t width, Buffers* work) {
  spans_.logits({pair1 - pair0, width, dim_, work->packed_interests, work->packed, work->shift,
                 &offsets_[pair0], work->panel, stride_, work->panel_top});
}

// Takes the row's removed columns out, keeps its targets' logits; returns the largest logit.
float Sweeper::Prepare(size_t row, size_t pair0, size_t tile0, size_t width, Buffers* work) {
  float top = kNegativeInfinity;
  for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
    float* x = &work->panel[(pair - pair0) * stride_];
    float largest = work->panel_top[pair - pair0];
    bool gone = false;
    for (size_t n = plan_.row_removed[row]; n < plan_.row_removed[row + 1]; ++n) {
      const size_t column = plan_.removed[n] - tile0;
      if (column >= width) continue;
      gone = gone || x[column] == largest;
      x[column] = kNegativeInfinity;
    }
    if (gone) largest = spans_.maximum(x, width);
    top = std::max(top, largest);
    if (sampled()) continue;
    float* logits = &work->target_logit[(pair - pair0) * plan_.most_targets];
    for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
      const size_t column = plan_.targets[t].column;
      if (column - tile0 < width) logits[t - plan_.row_targets[row]] = x[column - tile0];
    }
  }
  return top;
}

// Turns the row's logits into exp(logit - top), under readout max for the winning interest alone,
// and returns the sum.
double Sweeper::Weights(size_t row, size_t pair0, size_t width, float top, bool columns,
                        Buffers* work) {
  const size_t first = plan_.row_pairs[row];
  const size_t last = plan_.row_pairs[row + 1];
  double total = 0;
  if (args_.readout == Readout::kLogSumExp) {
    if (columns) std::fill(work->column_sum, work->column_sum + width, 0.0f);
    for (size_t pair = first; pair < last; ++pair) {
      float* x = &work->panel[(pair - pair0) * stride_];
      const double sum = columns ? spans_.exp_sum_columns(x, top, work->column_sum, width)
                                 : spans_.exp_sum(x, top, width);
      work->pair_sum[pair - pair0] += sum;
      total += sum;
    }
    return total;
  }
  std::fill(work->best, work->best + width, kNegativeInfinity);
  std::fill(work->winner, work->winner + width, 0.0f);
  for (size_t pair = first; pair < last; ++pair) {
    spans_.take_better(&work->panel[(pair - pair0) * stride_], static_cast<float>(pair - first),
                       work->best, work->winner, width);
  }
  total = spans_.exp_sum(work->best, top, width);
  if (!columns) return total;
  std::swap(work->column_sum, work->best);
  for (size_t pair = first; pair < last; ++pair) {
    work->pair_sum[pair - pair0] +=
        spans_.route(work->column_sum, work->winner, static_cast<float>(pair - first),
                     &work->panel[(pair - pair0) * stride_], width);
  }
  return total;
}

// Sampled: the targets are no columns of the panel; their logits are dot products.
void Sweeper::SampledTargets(size_t row, size_t pair0, Buffers* work) {
  for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
    float* logits = &work->target_logit[(pair - pair0) * plan_.most_targets];
    for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
      const Target& target = plan_.targets[t];
      logits[t - plan_.row_targets[row]] =
          spans_.dot(&interests_[pair * dim_], Item(target.item), dim_) + target.shift +
          offsets_[pair];
    }
  }
}

// Derivative of a target's score with respect to each of the row's interests, into work->share;
// returns the score.
float Sweeper::Shares(size_t row, size_t pair0, size_t target, Buffers* work) {
  const size_t first = plan_.row_pairs[row];
  const size_t count = plan_.row_pairs[row + 1] - first;
  const float* logits = &work->target_logit[(first - pair0) * plan_.most_targets + target];
  size_t winner = 0;
  for (size_t j = 1; j < count; ++j) {
    if (logits[j * plan_.most_targets] > logits[winner * plan_.most_targets]) winner = j;
  }
  const float best = logits[winner * plan_.most_targets];
  std::fill(work->share, work->share + count, 0.0f);
  work->share[winner] = 1.0f;
  if (args_.readout == Readout::kMax) return best;
  float sum = 0;
  for (size_t j = 0; j < count; ++j) {
    work->share[j] = std::exp(logits[j * plan_.most_targets] - best);
    sum += work->share[j];
  }
  for (size_t j = 0; j < count; ++j) work->share[j] /= sum;
  return best + std::log(sum);
}

void Sweeper::Finish(size_t row, size_t row0, size_t pair0, Buffers* work) {
  double& sum = work->sum[row - row0];
  const double top = work->top[row - row0];
  double target_mean = 0;
  for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
    const double score = Shares(row, pair0, t - plan_.row_targets[row], work);
    target_mean += plan_.targets[t].weight * score;
    if (sampled()) sum += std::exp(score - top);
  }
  outputs_->row_losses[plan_.rows[row]] = static_cast<float>(top + std::log(sum) - target_mean);
}

// Takes the targets' shares off the panel's weights and adds the row to the bias gradient.
void Sweeper::Correct(size_t row, size_t row0, size_t pair0, size_t tile0, size_t width,
                      float* bias, Buffers* work) {
  const double sum = work->sum[row - row0];
  spans_.axpy(ScaleOf(sum), work->column_sum, bias + tile0, width);
  if (sampled()) return;
  for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
    const Target& target = plan_.targets[t];
    const size_t column = target.column - tile0;
    if (column >= width) continue;
    Shares(row, pair0, t - plan_.row_targets[row], work);
    bias[target.column] -= target.weight / static_cast<float>(counted());
    for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
      const double part = sum * target.weight * work->share[pair - plan_.row_pairs[row]];
      work->panel[(pair - pair0) * stride_ + column] -= static_cast<float>(part);
      work->pair_sum[pair - pair0] -= part;
    }
  }
}

// Sampled: what the targets contribute, outside the panel.
void Sweeper::SampledGradients(size_t row, size_t row0, size_t pair0, float* items, float* bias,
                               Buffers* work) {
  const double sum = work->sum[row - row0];
  const float scale = ScaleOf(sum);
  for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
    const Target& target = plan_.targets[t];
    const double score = Shares(row, pair0, t - plan_.row_targets[row], work);
    const double weight = std::exp(score - work->top[row - row0]) - sum * target.weight;
    const size_t slot = plan_.columns + target.column;
    for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
      const double g = weight * work->share[pair - plan_.row_pairs[row]];
      work->pair_sum[pair - pair0] += g;
      bias[slot] += static_cast<float>(scale * g);
      spans_.axpy(static_cast<float>(g), Item(target.item),
                  &work->interest_gradient[(pair - pair0) * dim_], dim_);
      if (per_row()) {
        items[(pair - pair0) * plan_.row_entries + slot] = static_cast<float>(g);
      } else {
        spans_.axpy(static_cast<float>(scale * g), &interests_[pair * dim_], items + slot * dim_,
                    dim_);
      }
    }
  }
}

// interest_gradient (+)= panel x columns; items (+)= panel^T x scaled interests, or, where each row
// has columns of its own, items = panel.
void Sweeper::Products(size_t pair0, size_t pair1, size_t tile0, size_t width, bool first,
                       float* items, Buffers* work) {
  const size_t pairs = pair1 - pair0;
  float* const scaled_interests = per_row() ? work->own_scaled : work->scaled;
  if (tile0 == 0) {
    const auto at = std::upper_bound(plan_.row_pairs.begin(), plan_.row_pairs.end(), pair0);
    const size_t row0 = static_cast<size_t>(at - plan_.row_pairs.begin()) - 1;
    size_t row = row0;
    for (size_t pair = pair0; pair < pair1; ++pair) {
      while (plan_.row_pairs[row + 1] <= pair) ++row;
      float* scaled = scaled_interests + (pair - pair0) * dim_;
      std::memcpy(scaled, &interests_[pair * dim_], dim_ * sizeof(float));
      spans_.scale(ScaleOf(work->sum[row - row0]), scaled, dim_);
    }
  }
  for (size_t p = 0; per_row() && p < pairs; ++p) {
    std::memcpy(items + p * plan_.row_entries, work->panel + p * stride_, width * sizeof(float));
  }
  const bool direct = pairs <= kDirectPairs && dim_ * sizeof(float) <= kDirectRowBytes;
  const size_t step = direct ? kDirectColumns : kProductColumns;
  for (size_t column = 0; column < width; column += step) {
    const size_t count = std::min(step, width - column);
    const float* const weights = work->panel + column;
    const float* const columns = work->columns + column * dim_;
    const float beta = tile0 + column == 0 ? 0.0f : 1.0f;
    Product(direct, {pairs, dim_, count, weights, stride_, 1, columns, dim_,
                     work->interest_gradient, dim_, 1.0f, beta});
    if (per_row()) continue;
    Product(direct, {count, dim_, pairs, weights, 1, stride_, scaled_interests, dim_,
                     items + (tile0 + column) * dim_, dim_, 1.0f, first ? 0.0f : 1.0f});
  }
}

void Sweeper::Product(bool direct, const gemm::Direct& product) const {
  if (direct) return spans_.kernel->direct_rows(product);
  GemmArgs gemm;
  gemm.trans_a = product.a_row == 1;
  gemm.m = product.m;
  gemm.n = product.n;
  gemm.k = product.k;
  gemm.a = product.a;
  gemm.lda = gemm.trans_a ? product.a_col : product.a_row;
  gemm.b = product.b;
  gemm.ldb = product.ldb;
  gemm.beta = product.beta;
  gemm.c = product.c;
  gemm.ldc = product.ldc;
  SgemmSerial(gemm, *spans_.kernel);
}

void Sweeper::Reduce() {
  constexpr size_t kRowsAtOnce = 128;
  const size_t rows = sampled() ? plan_.gradient_items.size() : plan_.columns;
  outputs_->gradient_rows = rows;
  if (sampled()) {
    std::copy(plan_.gradient_items.begin(), plan_.gradient_items.end(), outputs_->item_ids);
  }
  pool_.ParallelFor((rows + kRowsAtOnce - 1) / kRowsAtOnce, cancel_, [&](size_t part, int) {
    const size_t begin = part * kRowsAtOnce;
    const size_t end = std::min(rows, begin + kRowsAtOnce);
    float* const items = outputs_->item_gradient + begin * dim_;
    float* const bias = outputs_->bias_gradient + begin;
    if (!sampled() && !item_partials_.empty()) {
      std::memcpy(items, &item_partials_[0][begin * dim_], (end - begin) * dim_ * sizeof(float));
      std::memcpy(bias, &bias_partials_[0][begin], (end - begin) * sizeof(float));
      for (size_t chunk = 1; chunk < item_partials_.size(); ++chunk) {
        spans_.axpy(1.0f, &item_partials_[chunk][begin * dim_], items, (end - begin) * dim_);
        spans_.axpy(1.0f, &bias_partials_[chunk][begin], bias, end - begin);
      }
      return;
    }
    std::fill(items, items + (end - begin) * dim_, 0.0f);
    std::fill(bias, bias + (end - begin), 0.0f);
    if (item_partials_.empty()) return;
    const auto add = [&](size_t slot, size_t row) {
      for (size_t chunk = 0; chunk < item_partials_.size(); ++chunk) {
        spans_.axpy(1.0f, &item_partials_[chunk][row * dim_], items + (slot - begin) * dim_, dim_);
        bias[slot - begin] += bias_partials_[chunk][row];
      }
    };
    for (size_t slot = begin; slot < end; ++slot) {
      const uint32_t column = plan_.slot_columns[slot];
      const uint32_t target = plan_.slot_targets[slot];
      if (column != kNoRow) add(slot, column);
      if (target != kNoRow) add(slot, plan_.columns + target);
    }
  });
}

}  // namespace

Status Sweep(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
             const CancelFlag& cancel) {
  const Plan plan = MakePlan(args);
  return Sweeper(spans, args, plan, outputs, pool, cancel).Run();
}

}  // namespace prismrec::softmax_loss
