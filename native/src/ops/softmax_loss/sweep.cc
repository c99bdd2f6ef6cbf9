// A block of rows gets the logits of all its interests against a tile of items, in a panel that
// stays in the cache. Where one tile holds all items, the statistics and both gradients come from
// that one panel (6 N d operations a pair); larger catalogs take a first sweep over the tiles for
// the statistics and a second, which recomputes them, for the gradients. Within a tile some columns
// at a time become logits, exponentials, and the interests' share of a product, while they are
// close, unless the exponentials must wait for the row's maximum. Rows are cut into chunks
// whose number depends on the shapes alone; each has its own sum of the item gradient, and these
// are added in order: the same bits whatever the number of threads.
#include "ops/softmax_loss/sweep.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "gemm/cpu/table.h"
#include "gemm/pack.h"
#include "ops/softmax_loss/plan.h"
#include "runtime/workspace.h"

namespace prismrec::softmax_loss {
namespace {

constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
constexpr size_t kPanelFloats = size_t{1} << 20;
// Rows of a panel: enough for the products to run at full speed, few enough for the panel to stay
// near; whole tiles of 14, 6 or 4 rows.
constexpr size_t kPanelRows = 84;
// The same where a panel holds a tile of the columns: more, as these may have to be packed anew.
constexpr size_t kTiledRows = 168;
// A panel of fewer rows makes the products slower than recomputing a tile does.
constexpr size_t kFewestPanelRows = 32;
constexpr size_t kMostChunks = 16;
// A chunk of fewer blocks spends too much on its own item gradient, unless threads would stand
// idle.
constexpr size_t kChunkBlocks = 4;
constexpr size_t kFewChunks = 4;
constexpr size_t kPartialFloats = size_t{1} << 23;
// Columns are packed once a call up to this size of either form, else tile by tile.
constexpr size_t kPackedFloats = size_t{1} << 22;
// The weights of rows with candidates of their own are kept this much at a time.
constexpr size_t kWaveFloats = size_t{1} << 20;
// Columns of the panel, at most, that stay in the second-level cache from their logits to the
// interests' product.
constexpr size_t kChunkColumns = 512;
// Few rows do not pay for packing: their product reads its factors where they lie, this many
// columns at a time, so that a strip of rows of 64 dimensions stays in the first-level cache.
constexpr size_t kDirectColumns = 128;
// No logit further than this from 0: exponentials need no maximum, and sums of them keep their
// digits.
constexpr float kNearLogit = 40.0f;

constexpr size_t kLine = 64 / sizeof(float);

// To whole cache lines.
constexpr size_t Aligned(size_t floats) { return (floats + kLine - 1) / kLine * kLine; }

// What one thread works in, from one chunk to the next.
struct Buffers {
  float* panel = nullptr;             // [block pairs, stride]
  float* panel_top = nullptr;         // [block pairs]: the largest of the panel's row
  float* packed_interests = nullptr;  // panels of the block's interests
  float* packed_tile = nullptr;       // panels of the tile's columns, where no others are kept,
  float* plain_tile = nullptr;        // and as the other factor
  float* own_columns = nullptr;       // [tile, d], candidates of the row's own
  float* own_shift = nullptr;         // [tile], candidates of the row's own
  // The tile's columns [width, d], what is added to their logits (nullable), their panels, and
  // those of each chunk as the other factor.
  const float* columns = nullptr;
  const float* shift = nullptr;
  const float* packed = nullptr;
  const float* plain = nullptr;
  float* target_logit = nullptr;       // [block pairs, most_targets]
  float* share = nullptr;              // [most_pairs]
  float* best = nullptr;               // [chunk columns], readout max
  float* winner = nullptr;             // [chunk columns], readout max
  float* scaled = nullptr;             // [block pairs, d]: interests times their row's scale
  float* packed_scaled = nullptr;      // panels of them as columns
  float* interest_gradient = nullptr;  // [block pairs, d]
  std::vector<double> pair_sum;        // [block pairs]
  std::vector<double> sum;             // [block rows]
  std::vector<float> top;              // [block rows]
  bool near = false;                   // exponentials are relative to 0, and so are the tops
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
  // Of one chunk of columns, or of as many interests.
  size_t PlainFloats(size_t count) const {
    return Aligned(gemm::PackedFloats(dim_, spans_.kernel->nr, count));
  }

  void Gather();
  bool ItemsFinite() const;
  void Shape();
  Buffers MakeBuffers() const;
  void CopyColumns(const uint32_t* items, const float* added, float sign, size_t count,
                   float* vectors, float* shift) const;
  void Chunk(size_t chunk);
  void Waves();
  void PackPlain(const float* columns, size_t width, float* plain) const;
  void Columns(size_t row, size_t pairs, size_t tile0, size_t width, Buffers* work);
  void Block(size_t row0, size_t row1, bool first, float* items, float* bias, Buffers* work);
  void SampledTargets(size_t row0, size_t row1, Buffers* work);
  void Pass(size_t row0, size_t row1, size_t tile0, size_t width, bool sums, bool product,
            Buffers* work);
  void Logits(size_t row0, size_t row1, size_t tile0, size_t column, size_t width, Buffers* work);
  void Exponentials(size_t row0, size_t row1, size_t tile0, size_t column, size_t width, bool sums,
                    bool product, Buffers* work);
  float Prepare(size_t row, size_t pair0, size_t tile0, size_t column0, size_t width,
                Buffers* work);
  double Weights(size_t row, size_t pair0, size_t column, size_t width, float top, bool keep,
                 Buffers* work);
  void Finish(size_t row, size_t row0, size_t pair0, Buffers* work);
  float Shares(size_t row, size_t pair0, size_t target, Buffers* work);
  void Correct(size_t row, size_t row0, size_t pair0, size_t tile0, size_t width, Buffers* work);
  void SampledGradients(size_t row, size_t row0, size_t pair0, float* items, float* bias,
                        Buffers* work);
  void InterestProduct(size_t pairs, size_t tile0, size_t column, size_t width, Buffers* work);
  void ScaleInterests(size_t row0, size_t row1, Buffers* work);
  void ItemProduct(size_t row0, size_t row1, size_t tile0, size_t width, bool first, float* items,
                   float* bias, Buffers* work);
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
  const float* plain_ = nullptr;         // and of each chunk of them as the other factor, nullable
  bool columns_finite_ = true;
  bool near_ = false;  // no logit of shared columns is further than kNearLogit from 0

  size_t chunk_ = 0;  // columns that pass together: whole panels, and whole tiles as rows
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
  const size_t together = std::lcm(kernel.mr, kernel.nr);
  chunk_ = kChunkColumns / together * together;
  size_t panels = per_row() ? 0 : gemm::PackedFloats(plan_.columns, kernel.nr, dim_);
  size_t plain = (plan_.columns + chunk_ - 1) / chunk_ * PlainFloats(chunk_);
  if (counted() == 0 || panels > kPackedFloats) panels = 0;
  if (panels == 0 || plain > kPackedFloats || !outputs_->gradients()) plain = 0;
  const size_t vectors = Aligned(pairs * dim_) + Aligned(pairs);
  float* const candidate_vectors =
      packed_memory.Reserve<float>(vectors + Aligned(candidates * (dim_ + 1)) + Aligned(panels) +
                                   plain) +
      vectors;
  interests_ = candidate_vectors - vectors;
  offsets_ = interests_ + Aligned(pairs * dim_);
  float longest = 0, farthest = 0;
  for (size_t p = 0; p < plan_.pairs.size(); ++p) {
    const float* const interest = args_.interests.data + plan_.pairs[p] * dim_;
    std::memcpy(&interests_[p * dim_], interest, dim_ * sizeof(float));
    offsets_[p] = args_.offsets == nullptr ? 0.0f : args_.offsets[plan_.pairs[p]];
    longest = std::max(longest, spans_.dot(interest, interest, dim_));
    farthest = std::max(farthest, std::fabs(offsets_[p]));
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
  float* const packed_plain = packed + Aligned(panels);
  if (panels > 0) packed_ = packed;
  if (plain > 0) plain_ = packed_plain;
  struct Part {
    bool finite = true;
    float longest = 0;  // square of the length
    float most_shift = 0;
  };
  std::vector<Part> parts((plan_.columns + chunk_ - 1) / chunk_);
  pool_.ParallelFor(parts.size(), cancel_, [&](size_t n, int) {
    const size_t from = n * chunk_;
    const size_t count = std::min(chunk_, plan_.columns - from);
    if (sampled()) {
      CopyColumns(plan_.column_items.data() + from, plan_.column_weights.data() + from, 1.0f, count,
                  candidate_vectors + from * dim_, shift + from);
    }
    const float* const columns = columns_ + from * dim_;
    Part part;
    part.finite = spans_.all_finite(columns, count * dim_) &&
                  (column_shift_ == nullptr || spans_.all_finite(column_shift_ + from, count));
    for (size_t i = 0; i < count; ++i) {
      const float* const column = columns + i * dim_;
      part.longest = std::max(part.longest, spans_.dot(column, column, dim_));
      if (column_shift_ == nullptr) continue;
      part.most_shift = std::max(part.most_shift, std::fabs(column_shift_[from + i]));
    }
    if (panels > 0) gemm::PackColumns(kernel, columns, dim_, count, dim_, packed + from * dim_);
    if (plain > 0) PackPlain(columns, count, packed_plain + n * PlainFloats(chunk_));
    parts[n] = part;
  });
  float longest_column = 0, most_shift = 0;
  for (const Part& part : parts) {
    columns_finite_ = columns_finite_ && part.finite;
    longest_column = std::max(longest_column, part.longest);
    most_shift = std::max(most_shift, part.most_shift);
  }
  farthest += most_shift + std::sqrt(longest) * std::sqrt(longest_column);
  near_ = farthest <= kNearLogit;
}

// The panels of each chunk of `columns` as the right factor of the interests' product.
void Sweeper::PackPlain(const float* columns, size_t width, float* plain) const {
  for (size_t column = 0; column < width; column += chunk_, plain += PlainFloats(chunk_)) {
    gemm::PackColumnsOfPlain(*spans_.kernel, columns + column * dim_, dim_, dim_,
                             std::min(chunk_, width - column), plain);
  }
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
  const size_t mr = spans_.kernel->mr, nr = spans_.kernel->nr;
  if (per_row()) {
    block_pairs_ = plan_.most_pairs;
    tile_ = columns;
    stride_ = (tile_ + nr - 1) / nr * nr;
    return;
  }
  // Few rows are cut finer, so that they are a block for each of several threads.
  const size_t share = (plan_.pairs.size() + kFewChunks - 1) / kFewChunks;
  const size_t rows_at_once = std::min(kPanelRows, std::max(kFewestPanelRows, share));
  const size_t most_rows = kPanelFloats / columns;
  if (most_rows >= std::max(plan_.most_pairs, kFewestPanelRows)) {
    const size_t whole_tiles = (most_rows + mr - 1) / mr * mr;
    block_pairs_ = std::max(plan_.most_pairs, std::min(rows_at_once, whole_tiles));
    tile_ = columns;
  } else {
    block_pairs_ = std::max(plan_.most_pairs, kTiledRows);
    tile_ = std::min(columns, std::max<size_t>(1, kPanelFloats / block_pairs_ / chunk_) * chunk_);
  }
  // An odd number of cache lines, so that a column of the panel spreads over the whole first-level
  // cache.
  stride_ = Aligned((tile_ + nr - 1) / nr * nr);
  if (stride_ / kLine % 2 == 0) stride_ += kLine;

  const size_t partial = (columns + plan_.target_items.size()) * (dim_ + 1);
  const size_t affordable = std::max<size_t>(2, kPartialFloats / partial);
  const size_t blocks = (plan_.pairs.size() + block_pairs_ - 1) / block_pairs_;
  const size_t wanted = std::max(std::min(blocks, kFewChunks), blocks / kChunkBlocks);
  // A power of 2, which as many threads share evenly.
  size_t chunks = 1;
  while (chunks < std::min(kMostChunks, wanted) && 2 * chunks <= affordable) chunks *= 2;
  chunks = std::max<size_t>(1, std::min(chunks, counted()));
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
  const size_t tile_chunks = (tile_ + chunk_ - 1) / chunk_;
  const bool plain = gradients && plain_ == nullptr && block_pairs_ >= kernel.mr;
  const std::pair<float**, size_t> parts[] = {
      {&made.panel, (block_pairs_ + kernel.mr) * stride_},
      {&made.panel_top, block_pairs_},
      {&made.packed_interests, gemm::PackedFloats(block_pairs_, kernel.mr, dim_)},
      {&made.packed_tile, packed_ == nullptr ? gemm::PackedFloats(tile_, kernel.nr, dim_) : 0},
      {&made.plain_tile, plain ? tile_chunks * PlainFloats(chunk_) : 0},
      {&made.own_columns, per_row() ? tile_ * dim_ : 0},
      {&made.own_shift, per_row() ? tile_ : 0},
      {&made.target_logit, block_pairs_ * plan_.most_targets},
      {&made.share, plan_.most_pairs},
      {&made.best, max ? chunk_ : 0},
      {&made.winner, max ? chunk_ : 0},
      {&made.scaled, gradients && !per_row() ? block_pairs_ * dim_ : 0},
      {&made.packed_scaled, gradients && !per_row() ? PlainFloats(block_pairs_) : 0},
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
  // Blocks of about the same size, in whole tiles.
  const size_t mr = spans_.kernel->mr;
  const size_t pairs = plan_.row_pairs[end] - plan_.row_pairs[chunk_rows_[chunk]];
  const size_t blocks = (pairs + block_pairs_ - 1) / block_pairs_;
  const size_t even = ((pairs + blocks - 1) / blocks + mr - 1) / mr * mr;
  const size_t most_pairs = std::min(block_pairs_, even);
  bool first = true;
  for (size_t row = chunk_rows_[chunk]; row < end;) {
    if (cancel_.Cancelled()) return;
    size_t row1 = row + 1;
    while (row1 < end && plan_.row_pairs[row1 + 1] - plan_.row_pairs[row] <= most_pairs) ++row1;
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
        work.scaled = gradients ? weights + scaled_at : nullptr;
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
  work->near = near_;
  gemm::PackRows(*spans_.kernel, &interests_[pair0 * dim_], dim_, pairs, dim_,
                 work->packed_interests);
  if (sampled()) SampledTargets(row0, row1, work);
  if (work->near) work->top.assign(row1 - row0, 0.0f);

  for (size_t tile0 = 0; tile0 < plan_.columns; tile0 += tile_) {
    const size_t width = std::min(tile_, plan_.columns - tile0);
    if (cancel_.Cancelled()) return;
    Columns(row0, pairs, tile0, width, work);
    Pass(row0, row1, tile0, width, true, gradients && one_tile, work);
  }
  for (size_t row = row0; row < row1; ++row) Finish(row, row0, pair0, work);
  if (!gradients) return;
  ScaleInterests(row0, row1, work);
  if (!one_tile) std::fill(work->pair_sum.begin(), work->pair_sum.end(), 0.0);
  for (size_t tile0 = 0; tile0 < plan_.columns; tile0 += tile_) {
    const size_t width = std::min(tile_, plan_.columns - tile0);
    if (cancel_.Cancelled()) return;
    if (!one_tile) {
      Columns(row0, pairs, tile0, width, work);
      Pass(row0, row1, tile0, width, false, true, work);
    }
    for (size_t row = row0; row < row1 && !sampled(); ++row) {
      Correct(row, row0, pair0, tile0, width, work);
    }
    ItemProduct(row0, row1, tile0, width, first, items, bias, work);
  }
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

// Points `work` at the tile's columns, for a block of `pairs` interests.
void Sweeper::Columns(size_t row, size_t pairs, size_t tile0, size_t width, Buffers* work) {
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
  work->plain = work->plain_tile;
  if (plain_ != nullptr) {
    work->plain = plain_ + tile0 / chunk_ * PlainFloats(chunk_);
  } else if (outputs_->gradients() && pairs >= spans_.kernel->mr) {
    PackPlain(work->columns, width, work->plain_tile);
  }
}

// The tile's exponentials, their sums if wanted, and their product with the columns if wanted.
void Sweeper::Pass(size_t row0, size_t row1, size_t tile0, size_t width, bool sums, bool product,
                   Buffers* work) {
  // Relative to 0, or known from another pass.
  const bool at_once = work->near || !sums;
  for (size_t column = 0; column < width; column += chunk_) {
    const size_t count = std::min(chunk_, width - column);
    Logits(row0, row1, tile0, column, count, work);
    if (at_once) Exponentials(row0, row1, tile0, column, count, sums, product, work);
  }
  for (size_t column = 0; !at_once && column < width; column += chunk_) {
    const size_t count = std::min(chunk_, width - column);
    Exponentials(row0, row1, tile0, column, count, sums, product, work);
  }
}

// panel = interests x columns^T + bias + offsets; keeps the rows' largest, unless they are known.
void Sweeper::Logits(size_t row0, size_t row1, size_t tile0, size_t column, size_t width,
                     Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  const float* const shift = work->shift == nullptr ? nullptr : work->shift + column;
  spans_.logits({plan_.row_pairs[row1] - pair0, width, dim_, work->packed_interests,
                 work->packed + column * dim_, shift, &offsets_[pair0], work->panel + column,
                 stride_, work->near ? nullptr : work->panel_top});
  for (size_t row = row0; row < row1; ++row) {
    const float higher = Prepare(row, pair0, tile0, column, width, work);
    float& top = work->top[row - row0];
    if (work->near || !(higher > top)) continue;
    work->sum[row - row0] *= std::exp(static_cast<double>(top) - higher);
    top = higher;
  }
}

// Takes the row's removed columns out, keeps its targets' logits; returns the largest logit, unless
// the block's are near.
float Sweeper::Prepare(size_t row, size_t pair0, size_t tile0, size_t column0, size_t width,
                       Buffers* work) {
  const size_t first = tile0 + column0;
  const auto removed = plan_.removed.begin();
  const auto gone_begin = std::lower_bound(removed + plan_.row_removed[row],
                                           removed + plan_.row_removed[row + 1], first);
  const auto gone_end =
      std::lower_bound(gone_begin, removed + plan_.row_removed[row + 1], first + width);
  float top = kNegativeInfinity;
  for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
    float* x = &work->panel[(pair - pair0) * stride_ + column0];
    float largest = work->near ? 0.0f : work->panel_top[pair - pair0];
    bool gone = false;
    for (auto at = gone_begin; at < gone_end; ++at) {
      float& logit = x[*at - first];
      gone = gone || logit == largest;
      logit = kNegativeInfinity;
    }
    if (gone && !work->near) largest = spans_.maximum(x, width);
    top = std::max(top, largest);
    if (sampled()) continue;
    float* logits = &work->target_logit[(pair - pair0) * plan_.most_targets];
    for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
      const size_t column = plan_.targets[t].column;
      if (column - first < width) logits[t - plan_.row_targets[row]] = x[column - first];
    }
  }
  return top;
}

void Sweeper::Exponentials(size_t row0, size_t row1, size_t tile0, size_t column, size_t width,
                           bool sums, bool product, Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  for (size_t row = row0; row < row1; ++row) {
    const double sum = Weights(row, pair0, column, width, std::max(work->top[row - row0], -FLT_MAX),
                               product, work);
    if (sums) work->sum[row - row0] += sum;
  }
  if (product) InterestProduct(plan_.row_pairs[row1] - pair0, tile0, column, width, work);
}

// Turns the row's logits into exp(logit - top), under readout max for the winning interest alone,
// and returns the sum.
double Sweeper::Weights(size_t row, size_t pair0, size_t column, size_t width, float top, bool keep,
                        Buffers* work) {
  const size_t first = plan_.row_pairs[row];
  const size_t last = plan_.row_pairs[row + 1];
  const auto exp_sum = [&](float* x) {
    return work->near ? spans_.exp_sum_near(x, width) : spans_.exp_sum(x, top, width);
  };
  double total = 0;
  if (args_.readout == Readout::kLogSumExp) {
    for (size_t pair = first; pair < last; ++pair) {
      const double sum = exp_sum(&work->panel[(pair - pair0) * stride_ + column]);
      work->pair_sum[pair - pair0] += sum;
      total += sum;
    }
    return total;
  }
  std::fill(work->best, work->best + width, kNegativeInfinity);
  std::fill(work->winner, work->winner + width, 0.0f);
  for (size_t pair = first; pair < last; ++pair) {
    spans_.take_better(&work->panel[(pair - pair0) * stride_ + column],
                       static_cast<float>(pair - first), work->best, work->winner, width);
  }
  total = exp_sum(work->best);
  if (!keep) return total;
  for (size_t pair = first; pair < last; ++pair) {
    work->pair_sum[pair - pair0] +=
        spans_.route(work->best, work->winner, static_cast<float>(pair - first),
                     &work->panel[(pair - pair0) * stride_ + column], width);
  }
  return total;
}

// The targets are no columns of the panel: their logits are dot products.
void Sweeper::SampledTargets(size_t row0, size_t row1, Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  for (size_t row = row0; row < row1; ++row) {
    for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
      float* logits = &work->target_logit[(pair - pair0) * plan_.most_targets];
      for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
        const Target& target = plan_.targets[t];
        const float logit = spans_.dot(&interests_[pair * dim_], Item(target.item), dim_) +
                            target.shift + offsets_[pair];
        logits[t - plan_.row_targets[row]] = logit;
        work->top[row - row0] = std::max(work->top[row - row0], logit);
        work->near = work->near && std::fabs(logit) <= kNearLogit;
      }
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

// Takes the targets' shares off the panel's weights, and off what came of them.
void Sweeper::Correct(size_t row, size_t row0, size_t pair0, size_t tile0, size_t width,
                      Buffers* work) {
  const double sum = work->sum[row - row0];
  for (size_t t = plan_.row_targets[row]; t < plan_.row_targets[row + 1]; ++t) {
    const Target& target = plan_.targets[t];
    const size_t column = target.column - tile0;
    if (column >= width) continue;
    Shares(row, pair0, t - plan_.row_targets[row], work);
    for (size_t pair = plan_.row_pairs[row]; pair < plan_.row_pairs[row + 1]; ++pair) {
      const double part = sum * target.weight * work->share[pair - plan_.row_pairs[row]];
      work->panel[(pair - pair0) * stride_ + column] -= static_cast<float>(part);
      work->pair_sum[pair - pair0] -= part;
      spans_.axpy(static_cast<float>(-part), work->columns + column * dim_,
                  &work->interest_gradient[(pair - pair0) * dim_], dim_);
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

// interest_gradient (+)= panel x columns, few rows with the columns where they lie.
void Sweeper::InterestProduct(size_t pairs, size_t tile0, size_t column, size_t width,
                              Buffers* work) {
  const gemm::Kernel& kernel = *spans_.kernel;
  if (pairs < kernel.mr) {
    for (size_t from = 0; from < width; from += kDirectColumns) {
      const size_t at = column + from;
      kernel.direct_rows({pairs, dim_, std::min(kDirectColumns, width - from), work->panel + at,
                          stride_, 1, work->columns + at * dim_, dim_, work->interest_gradient,
                          dim_, 1.0f, tile0 + at == 0 ? 0.0f : 1.0f});
    }
    return;
  }
  gemm::Block product{};
  product.m = pairs;
  product.n = dim_;
  product.k = width;
  product.a = work->panel + column;
  product.a_row = stride_;
  product.b = work->plain + column / chunk_ * PlainFloats(chunk_);
  product.c = work->interest_gradient;
  product.ldc = dim_;
  product.alpha = 1.0f;
  product.beta = tile0 + column == 0 ? 0.0f : 1.0f;
  kernel.block(product);
}

// The interests times what their row's derivatives are scaled by.
void Sweeper::ScaleInterests(size_t row0, size_t row1, Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  const size_t pairs = plan_.row_pairs[row1] - pair0;
  std::memcpy(work->scaled, &interests_[pair0 * dim_], pairs * dim_ * sizeof(float));
  for (size_t row = row0; row < row1; ++row) {
    const size_t first = plan_.row_pairs[row];
    spans_.scale(ScaleOf(work->sum[row - row0]), work->scaled + (first - pair0) * dim_,
                 (plan_.row_pairs[row + 1] - first) * dim_);
  }
  if (per_row()) return;
  gemm::PackColumnsOfPlain(*spans_.kernel, work->scaled, dim_, dim_, pairs, work->packed_scaled);
}

// items (+)= panel^T x scaled interests, or, where each row has columns of its own, items = panel;
// bias += panel^T x scales.
void Sweeper::ItemProduct(size_t row0, size_t row1, size_t tile0, size_t width, bool first,
                          float* items, float* bias, Buffers* work) {
  const size_t pair0 = plan_.row_pairs[row0];
  const size_t pairs = plan_.row_pairs[row1] - pair0;
  for (size_t column = 0; column < width; column += chunk_) {
    const size_t count = std::min(chunk_, width - column);
    const float* const weights = work->panel + column;
    for (size_t row = row0; row < row1; ++row) {
      const float scale = ScaleOf(work->sum[row - row0]);
      for (size_t p = plan_.row_pairs[row] - pair0; p < plan_.row_pairs[row + 1] - pair0; ++p) {
        spans_.axpy(scale, weights + p * stride_, bias + tile0 + column, count);
      }
    }
    if (per_row()) {
      for (size_t p = 0; p < pairs; ++p) {
        std::memcpy(items + p * plan_.row_entries + column, weights + p * stride_,
                    count * sizeof(float));
      }
      continue;
    }
    gemm::Block product{};
    product.m = count;
    product.n = dim_;
    product.k = pairs;
    product.a = weights;
    product.a_row = 1;
    product.a_col = stride_;
    product.b = work->packed_scaled;
    product.c = items + (tile0 + column) * dim_;
    product.ldc = dim_;
    product.alpha = 1.0f;
    product.beta = first ? 0.0f : 1.0f;
    product.rows_first = true;
    spans_.kernel->block(product);
  }
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
