#include "ops/softmax_loss/shared.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gemm/pack.h"
#include "ops/softmax_loss/sweep.h"

namespace prismrec::softmax_loss {
namespace {

// Columns are packed once a call up to this size of either form, else when they are met.
constexpr size_t kPackedFloats = size_t{1} << 22;
// Rows of the product that is a column's gradient: they stay in the first-level cache.
constexpr size_t kSegmentPlaces = 252;

thread_local Workspace shared_memory;

}  // namespace

Shared::Shared(const Problem& problem, const Geometry& geometry, Rows* rows)
    : problem_(problem), geometry_(geometry), rows_(rows), near_(geometry.blocks.size()) {
  const gemm::Kernel& kernel = *problem.spans.kernel;
  const size_t dim = problem.dim(), columns = geometry.columns;
  packed_floats_ = Aligned(gemm::PackedFloats(geometry.chunk, kernel.nr, dim));
  plain_floats_ = Aligned(gemm::PackedFloats(dim, kernel.nr, geometry.chunk));
  size_t interests = 0;
  for (const Block& block : geometry.blocks) {
    interests_begin_.push_back(interests);
    interests += Aligned(gemm::PackedFloats(block.pairs, kernel.mr, dim));
  }
  const size_t copied = problem.sampled() ? columns : 0;
  size_t packed = gemm::PackedFloats(columns, kernel.nr, dim);
  size_t plain = Blocks(columns, geometry.chunk) * plain_floats_;
  if (!geometry.kept || packed > kPackedFloats) packed = 0;
  if (packed == 0 || plain > kPackedFloats || !problem.gradients()) plain = 0;
  const bool own = problem.gradients() && problem.sampled();
  const size_t factors =
      problem.gradients() ? RoundUp(dim, kernel.nr) * geometry.wave_places : 0;
  LayOut(&shared_memory, {{&interests_, interests},
                          {&vectors_, copied * dim},
                          {&shifts_, copied},
                          {&packed_, packed},
                          {&plain_, plain},
                          {&column_gradient_, own ? columns * dim : 0},
                          {&column_bias_gradient_, own ? columns : 0},
                          {&factors_, factors + gemm::kPackSlack},
                          {&scales_, geometry.wave_places}});
  columns_ = problem.sampled() ? vectors_ : problem.args.items.data;
  shift_ = problem.sampled() ? shifts_ : problem.args.item_bias;
  if (packed == 0) packed_ = nullptr;
  if (plain == 0) plain_ = nullptr;
  if (own) return;
  column_gradient_ = problem.outputs->item_gradient;
  column_bias_gradient_ = problem.outputs->bias_gradient;
}

// The vectors of shared candidates and what their logits get: bias and weight.
void Shared::CopyColumns(size_t begin, size_t end, float* vectors, float* shift) const {
  // They lie all over the table, so they are asked for before their turn.
  constexpr size_t kAhead = 8;
  const std::vector<uint32_t>& items = problem_.plan.column_items;
  const float* const bias = problem_.args.item_bias;
  const size_t dim = problem_.dim();
  for (size_t c = begin; c < end; ++c) {
    if (c + kAhead < end) {
      for (size_t i = 0; i < dim; i += kLine) {
        __builtin_prefetch(problem_.Item(items[c + kAhead]) + i);
      }
    }
    std::memcpy(vectors + c * dim, problem_.Item(items[c]), dim * sizeof(float));
    shift[c] = (bias == nullptr ? 0.0f : bias[items[c]]) + problem_.plan.column_weights[c];
  }
}

Status Shared::Gather() {
  const Spans& spans = problem_.spans;
  const size_t dim = problem_.dim();
  struct Facts {
    bool finite = true;
    float longest = 0;  // square of the length
    float most_shift = 0;
  };
  std::vector<Facts> of_columns(Blocks(geometry_.columns, geometry_.chunk));
  std::vector<Rows::Facts> of_rows(geometry_.blocks.size());
  problem_.pool.ParallelFor(of_columns.size() + of_rows.size(), problem_.cancel, [&](size_t n, int) {
    if (n >= of_columns.size()) {
      const size_t b = n - of_columns.size();
      const Block& block = geometry_.blocks[b];
      of_rows[b] = rows_->Gather(block.row0, block.row1);
      gemm::PackRows(*spans.kernel, rows_->interests(block.pair0), dim, block.pairs, dim,
                     interests_ + interests_begin_[b]);
      return;
    }
    const size_t from = n * geometry_.chunk;
    const size_t count = std::min(geometry_.chunk, geometry_.columns - from);
    if (problem_.sampled()) CopyColumns(from, from + count, vectors_, shifts_);
    Facts facts;
    facts.finite = spans.all_finite(columns(from), count * dim) &&
                   (shift_ == nullptr || spans.all_finite(shift_ + from, count));
    for (size_t c = from; c < from + count; ++c) {
      facts.longest = std::max(facts.longest, spans.dot(columns(c), columns(c), dim));
      if (shift_ != nullptr) facts.most_shift = std::max(facts.most_shift, std::fabs(shift_[c]));
    }
    if (packed_ != nullptr) {
      PackColumns(problem_, columns(from), count, packed_ + from * dim,
                  plain_ == nullptr ? nullptr : plain_ + n * plain_floats_);
    }
    of_columns[n] = facts;
  });
  if (problem_.cancel.Cancelled()) return Cancelled();
  bool items_finite = true, rows_finite = true;
  float longest_column = 0, most_shift = 0, longest = 0, farthest = 0;
  for (const Facts& facts : of_columns) {
    items_finite = items_finite && facts.finite;
    longest_column = std::max(longest_column, facts.longest);
    most_shift = std::max(most_shift, facts.most_shift);
  }
  for (const Rows::Facts& facts : of_rows) {
    items_finite = items_finite && facts.targets_finite;
    rows_finite = rows_finite && facts.finite;
    longest = std::max(longest, facts.longest);
    farthest = std::max(farthest, facts.farthest);
  }
  if (!items_finite) return ItemsNotFinite();
  if (!rows_finite) return InterestsNotFinite();
  const bool near =
      farthest + most_shift + std::sqrt(longest) * std::sqrt(longest_column) <= kNearLogit;
  for (size_t b = 0; b < near_.size(); ++b) near_[b] = near && of_rows[b].near_targets ? 1 : 0;
  return Status::Ok();
}

const Block& Shared::BlockOf(const Wave& wave, size_t row) const {
  const auto begin = geometry_.blocks.begin();
  const auto after = std::upper_bound(begin + static_cast<std::ptrdiff_t>(wave.block0),
                                      begin + static_cast<std::ptrdiff_t>(wave.block1), row,
                                      [](size_t r, const Block& block) { return r < block.row0; });
  return *(after - 1);
}

std::vector<Shared::Segment> Shared::Segments(const Wave& wave) const {
  std::vector<Segment> segments;
  for (size_t b = wave.block0; b < wave.block1; ++b) {
    const Block& block = geometry_.blocks[b];
    if (segments.empty() || segments.back().places + block.places > kSegmentPlaces) {
      const size_t dim = RoundUp(problem_.dim(), problem_.spans.kernel->nr);
      segments.push_back({block.place, 0, factors_ + block.place * dim, scales_ + block.place});
    }
    segments.back().places += block.places;
  }
  return segments;
}

void Shared::Scale(const Wave& wave, size_t row) {
  const size_t dim = problem_.dim(), nr = problem_.spans.kernel->nr;
  const Block& block = BlockOf(wave, row);
  Segment segment{};
  for (const Segment& each : Segments(wave)) {
    if (each.place <= block.place) segment = each;
  }
  const size_t first = rows_->pair(row) - block.pair0;
  const size_t last = row + 1 == block.row1 ? block.places : first + rows_->pairs(row);
  for (size_t at = first; at < last; ++at) {
    const bool own = at < block.pairs;
    const size_t place = block.place + at;
    scales_[place] = own ? rows_->scale(row) : 0.0f;
    for (size_t d = 0; d < dim; d += nr) {
      float* const to = factors_ + segment.place * RoundUp(dim, nr) + d * segment.places +
                        (place - segment.place) * nr;
      const size_t count = own ? std::min(nr, dim - d) : 0;
      std::copy_n(rows_->interests(block.pair0 + at) + d, count, to);
      std::fill(to + count, to + nr, 0.0f);
      problem_.spans.scale(scales_[place], to, count);
    }
  }
}

void Shared::ColumnProduct(const Segment& segment, const float* x, size_t column, size_t count,
                           bool first) const {
  const gemm::Kernel& kernel = *problem_.spans.kernel;
  const size_t dim = problem_.dim();
  gemm::Block product{};
  product.m = count;
  product.n = dim;
  product.k = segment.places;
  product.a = x;
  product.a_row = 1;
  product.a_col = geometry_.stride;
  product.b = segment.factors;
  product.c = column_gradient_ + column * dim;
  product.ldc = dim;
  product.alpha = 1.0f;
  product.beta = first ? 0.0f : 1.0f;
  product.rows_first = true;
  product.weights = segment.scales;
  product.row_sums = column_bias_gradient_ + column;
  kernel.block(product);
}

void Shared::Assemble() const {
  if (!problem_.sampled()) return;
  const Plan& plan = problem_.plan;
  const Spans& spans = problem_.spans;
  const size_t dim = problem_.dim();
  const size_t slots = plan.gradient_items.size(), step = SlotsAtOnce(slots);
  problem_.pool.ParallelFor(Blocks(slots, step), problem_.cancel, [&](size_t part, int) {
    for (size_t slot = part * step; slot < std::min(slots, (part + 1) * step); ++slot) {
      float* const item = problem_.outputs->item_gradient + slot * dim;
      float& bias = problem_.outputs->bias_gradient[slot];
      const uint32_t column = plan.slot_columns[slot], target = plan.slot_targets[slot];
      if (column != kNoRow) {
        std::memcpy(item, column_gradient_ + column * dim, dim * sizeof(float));
        bias = column_bias_gradient_[column];
      } else {
        std::fill_n(item, dim, 0.0f);
        bias = 0.0f;
      }
      if (target == kNoRow) continue;
      for (size_t n = plan.target_begin[target]; n < plan.target_begin[target + 1]; ++n) {
        const auto [row, at] = plan.target_places[n];
        const float scale = rows_->scale(row);
        for (size_t j = 0; j < rows_->pairs(row); ++j) {
          const float g = scale * rows_->target_logits(row)[j * rows_->targets(row) + at];
          bias += g;
          spans.axpy(g, rows_->interests(rows_->pair(row) + j), item, dim);
        }
      }
    }
  });
}

Status SweepShared(const Problem& problem, Rows* rows) {
  const Geometry geometry = MakeGeometry(*problem.spans.kernel, problem.plan);
  Shared shared(problem, geometry, rows);
  const Status status = shared.Gather();
  if (!status.ok()) return status;
  if (problem.gradients() && geometry.waves.empty()) {
    std::fill_n(shared.column_gradient(), geometry.columns * problem.dim(), 0.0f);
    std::fill_n(shared.column_bias_gradient(), geometry.columns, 0.0f);
  }
  (geometry.kept ? SweepKept : SweepTwice)(problem, geometry, rows, &shared);
  if (problem.gradients()) shared.Assemble();
  return Status::Ok();
}

}  // namespace prismrec::softmax_loss
