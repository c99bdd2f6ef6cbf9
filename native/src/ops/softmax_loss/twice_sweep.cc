// Catalogs whose exponentials fit no panel: a first sweep over the columns for the statistics, a
// second, which computes the exponentials again, for the gradients. A task owns a group of columns
// and meets all rows of a wave with them, a tile at a time.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "ops/softmax_loss/shared.h"

namespace prismrec::softmax_loss {
namespace {

thread_local Workspace wave_memory;
thread_local Workspace tile_memory;

class TwiceSweep {
 public:
  TwiceSweep(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared)
      : problem_(problem), g_(geometry), rows_(rows), shared_(shared) {
    row_sums_.resize(g_.groups * g_.wave_rows);
    pair_sums_.resize(g_.groups * g_.wave_pairs);
    const bool gradients = problem.gradients();
    LayOut(&wave_memory,
           {{&row_tops_, g_.groups * g_.wave_rows},
            {&products_, gradients ? g_.groups * g_.wave_pairs * problem.dim() : 0}});
  }

  void Run(const Wave& wave, bool first) {
    Loop(g_.groups, [&](size_t group) { Statistics(wave, group); });
    EachRow(wave, [&](size_t row) { FinishRow(wave, row); });
    if (!problem_.gradients()) return;
    const std::vector<Shared::Segment> segments = shared_->Segments(wave);
    Loop(g_.groups, [&](size_t group) { Gradients(wave, segments, group, first); });
    EachRow(wave, [&](size_t row) { FinishGradient(wave, row); });
  }

 private:
  struct Scratch {
    float *x, *tops, *packed, *plain;
  };

  template <class Fn>
  void Loop(size_t tasks, Fn&& fn) {
    problem_.pool.ParallelFor(tasks, problem_.cancel, [&](size_t n, int) { fn(n); });
  }
  template <class Fn>
  void EachRow(const Wave& wave, Fn&& fn) {
    Loop(Geometry::RowTasks(wave), [&](size_t n) {
      const size_t row0 = wave.row0 + n * Geometry::RowsAtOnce(wave);
      const size_t row1 = std::min(wave.row1, row0 + Geometry::RowsAtOnce(wave));
      for (size_t row = row0; row < row1; ++row) fn(row);
    });
  }

  // The exponentials of as many rows as share a segment stay until the columns' gradient has
  // taken them.
  Scratch Memory(size_t places, bool gradients) const {
    Scratch made{};
    LayOut(&tile_memory, {{&made.x, places * g_.stride + kLine},
                          {&made.tops, g_.block_places},
                          {&made.packed, shared_->packed_floats()},
                          {&made.plain, gradients ? shared_->plain_floats() : 0}});
    return made;
  }

  Tile TileOf(size_t b, size_t column, size_t width, const Scratch& work, float* x) const {
    Tile tile{};
    tile.row0 = g_.blocks[b].row0;
    tile.row1 = g_.blocks[b].row1;
    tile.column = column;
    tile.width = width;
    tile.interests = shared_->interests(b);
    tile.columns = shared_->columns(column);
    tile.shift = shared_->shift(column);
    tile.packed = work.packed;
    tile.plain = work.plain;
    tile.x = x;
    tile.stride = g_.stride;
    return tile;
  }

  // Sums of exponentials that are relative to the largest logit met so far.
  void Statistics(const Wave& wave, size_t group) {
    const Scratch work = Memory(g_.block_places, false);
    float* const tops = row_tops_ + group * g_.wave_rows;
    double* const sums = &row_sums_[group * g_.wave_rows];
    double* const pair_sums = &pair_sums_[group * g_.wave_pairs];
    std::fill_n(sums, g_.wave_rows, 0.0);
    std::fill_n(tops, g_.wave_rows, kNegativeInfinity);
    const Geometry::Span columns = g_.Group(group);
    for (size_t column = columns.begin; column < columns.end; column += g_.chunk) {
      if (problem_.cancel.Cancelled()) return;
      const size_t width = std::min(g_.chunk, columns.end - column);
      PackColumns(problem_, shared_->columns(column), width, work.packed, nullptr);
      for (size_t b = wave.block0; b < wave.block1; ++b) {
        const Block& block = g_.blocks[b];
        const Tile tile = TileOf(b, column, width, work, work.x);
        const bool near = shared_->near(b);
        Logits(problem_, rows_, tile, near ? nullptr : work.tops);
        for (size_t row = block.row0; !near && row < block.row1; ++row) {
          const float* const own = work.tops + rows_->pair(row) - block.pair0;
          const float higher = *std::max_element(own, own + rows_->pairs(row));
          float& top = tops[row - wave.row0];
          if (!(higher > top)) continue;
          sums[row - wave.row0] *= std::exp(static_cast<double>(top) - higher);
          top = higher;
        }
        Exponentials(problem_, *rows_, tile, near ? nullptr : tops + block.row0 - wave.row0, false,
                     sums + block.row0 - wave.row0, pair_sums + block.pair0 - wave.pair0);
      }
    }
  }

  bool Near(const Wave& wave, size_t row) const {
    size_t b = wave.block0;
    while (row >= g_.blocks[b].row1) ++b;
    return shared_->near(b);
  }

  void FinishRow(const Wave& wave, size_t row) {
    const bool near = Near(wave, row);
    const size_t at = row - wave.row0;
    float top = near ? 0.0f : rows_->TargetTop(row);
    for (size_t group = 0; !near && group < g_.groups; ++group) {
      top = std::max(top, row_tops_[group * g_.wave_rows + at]);
    }
    double sum = 0;
    for (size_t group = 0; group < g_.groups; ++group) {
      const double part = row_sums_[group * g_.wave_rows + at];
      if (part == 0) continue;
      const double relative = double{row_tops_[group * g_.wave_rows + at]} - top;
      sum += near ? part : part * std::exp(relative);
    }
    rows_->Finish(row, top, sum);
    if (problem_.gradients()) shared_->Scale(wave, row);
  }

  void Gradients(const Wave& wave, const std::vector<Shared::Segment>& segments, size_t group,
                 bool first) {
    size_t places = 0;
    for (const Shared::Segment& segment : segments) places = std::max(places, segment.places);
    const Scratch work = Memory(places, true);
    std::vector<float> tops(g_.wave_rows);
    for (size_t row = wave.row0; row < wave.row1; ++row) tops[row - wave.row0] = rows_->top(row);
    std::vector<double> row_sums(g_.wave_rows);
    double* const pair_sums = &pair_sums_[group * g_.wave_pairs];
    std::fill_n(pair_sums, g_.wave_pairs, 0.0);
    const Geometry::Span columns = g_.Group(group);
    for (size_t column = columns.begin; column < columns.end; column += g_.chunk) {
      if (problem_.cancel.Cancelled()) return;
      const size_t width = std::min(g_.chunk, columns.end - column);
      PackColumns(problem_, shared_->columns(column), width, work.packed, work.plain);
      size_t b = wave.block0;
      for (const Shared::Segment& segment : segments) {
        for (; b < wave.block1 && g_.blocks[b].place < segment.place + segment.places; ++b) {
          const Block& block = g_.blocks[b];
          float* const x = work.x + (block.place - segment.place) * g_.stride;
          const Tile tile = TileOf(b, column, width, work, x);
          const bool near = shared_->near(b);
          Logits(problem_, rows_, tile, nullptr);
          Exponentials(problem_, *rows_, tile, near ? nullptr : &tops[block.row0 - wave.row0], true,
                       &row_sums[block.row0 - wave.row0], pair_sums + block.pair0 - wave.pair0);
          for (size_t place = block.pairs; place < block.places; ++place) {
            std::fill_n(x + place * g_.stride, width, 0.0f);
          }
          const size_t cell = group * g_.wave_pairs + block.pair0 - wave.pair0;
          InterestProduct(problem_, *rows_, tile, column == columns.begin,
                          products_ + cell * problem_.dim());
          for (size_t row = block.row0; !problem_.sampled() && row < block.row1; ++row) {
            rows_->TakeTargets(row, column, width,
                               x + (rows_->pair(row) - block.pair0) * g_.stride, g_.stride);
          }
        }
        shared_->ColumnProduct(segment, work.x, column, width,
                               first && &segment == &segments.front());
      }
    }
  }

  void FinishGradient(const Wave& wave, size_t row) {
    const size_t dim = problem_.dim(), pairs = rows_->pairs(row);
    const size_t cell = rows_->pair(row) - wave.pair0;
    // Into group 0's.
    for (size_t group = 1; group < g_.groups; ++group) {
      const size_t other = group * g_.wave_pairs + cell;
      for (size_t j = 0; j < pairs; ++j) pair_sums_[cell + j] += pair_sums_[other + j];
      problem_.spans.axpy(1.0f, products_ + other * dim, products_ + cell * dim, pairs * dim);
    }
    rows_->Gradient(row, &pair_sums_[cell], products_ + cell * dim);
  }

  const Problem& problem_;
  const Geometry& g_;
  Rows* const rows_;
  Shared* const shared_;
  float* row_tops_ = nullptr;      // [groups, wave rows] largest logit
  float* products_ = nullptr;      // [groups, wave pairs, d] exponentials times columns
  std::vector<double> row_sums_;   // [groups, wave rows] of exponentials
  std::vector<double> pair_sums_;  // [groups, wave pairs]
};

}  // namespace

void SweepTwice(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared) {
  TwiceSweep sweep(problem, geometry, rows, shared);
  for (const Wave& wave : geometry.waves) {
    if (problem.cancel.Cancelled()) return;
    sweep.Run(wave, &wave == &geometry.waves.front());
  }
}

}  // namespace prismrec::softmax_loss
