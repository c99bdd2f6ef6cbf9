// A wave of rows against all columns at once, its exponentials in one panel. Tasks of a block of
// rows and a chunk of columns turn logits into exponentials, sum them and multiply them with the
// columns, while the tile is close; then each row adds up what its tiles have found; then tasks of
// columns alone take their gradient from the panel. Every sum has one owner.
#include <algorithm>
#include <vector>

#include "ops/softmax_loss/shared.h"

namespace prismrec::softmax_loss {
namespace {

thread_local Workspace wave_memory;
thread_local Workspace pack_memory;

class KeptSweep {
 public:
  KeptSweep(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared)
      : problem_(problem), g_(geometry), rows_(rows), shared_(shared) {
    const size_t cells = g_.groups * g_.wave_pairs;
    row_sums_.resize(g_.groups * g_.wave_rows);
    pair_sums_.resize(cells);
    const bool gradients = problem.gradients();
    // Products read whole tiles and vectors.
    LayOut(&wave_memory,
           {{&panel_, g_.wave_places * g_.stride + kLine},
            {&tops_, cells},
            {&products_, gradients ? cells * problem.dim() : 0}});
  }

  void Run(const Wave& wave, bool first) {
    const size_t blocks = wave.block1 - wave.block0;
    const size_t tiles = g_.groups * blocks;
    // Exponentials that are not relative to 0 wait for the maxima of all columns.
    bool wait = false;
    for (size_t b = wave.block0; b < wave.block1; ++b) wait = wait || !shared_->near(b);
    if (wait) {
      Loop(tiles, [&](size_t n) {
        const size_t b = wave.block0 + n % blocks;
        if (!shared_->near(b)) MakeLogits(wave, b, n / blocks);
      });
    }
    Loop(tiles, [&](size_t n) { MakeTile(wave, wave.block0 + n % blocks, n / blocks); });
    Loop(Geometry::RowTasks(wave), [&](size_t n) {
      const size_t row0 = wave.row0 + n * Geometry::RowsAtOnce(wave);
      const size_t row1 = std::min(wave.row1, row0 + Geometry::RowsAtOnce(wave));
      for (size_t row = row0; row < row1; ++row) FinishRow(wave, row);
    });
    if (!problem_.gradients()) return;
    const std::vector<Shared::Segment> segments = shared_->Segments(wave);
    Loop(g_.GradientTasks(), [&](size_t n) {
      const Geometry::Span columns = g_.GradientColumns(n);
      for (const Shared::Segment& segment : segments) {
        shared_->ColumnProduct(segment, panel_ + segment.place * g_.stride + columns.begin,
                               columns.begin, columns.size(),
                               first && &segment == &segments.front());
      }
    });
  }

 private:
  template <class Fn>
  void Loop(size_t tasks, Fn&& fn) {
    problem_.pool.ParallelFor(tasks, problem_.cancel, [&](size_t n, int) { fn(n); });
  }

  // Of group 0; those of the next lie wave_pairs further.
  size_t Cell(const Wave& wave, size_t pair) const { return pair - wave.pair0; }

  Tile TileOf(size_t b, size_t group) const {
    const Block& block = g_.blocks[b];
    const Geometry::Span columns = g_.Group(group);
    Tile tile{};
    tile.row0 = block.row0;
    tile.row1 = block.row1;
    tile.column = columns.begin;
    tile.width = columns.size();
    tile.interests = shared_->interests(b);
    tile.columns = shared_->columns(columns.begin);
    tile.shift = shared_->shift(columns.begin);
    tile.packed = shared_->packed(columns.begin);
    tile.plain = shared_->plain(columns.begin);
    tile.x = panel_ + block.place * g_.stride + columns.begin;
    tile.stride = g_.stride;
    return tile;
  }

  // Packs what is not kept.
  void Pack(Tile* tile, bool logits, bool product) const {
    const bool packed = logits && tile->packed == nullptr;
    const bool plain = product && tile->plain == nullptr;
    if (!packed && !plain) return;
    float *panels = nullptr, *factor = nullptr;
    LayOut(&pack_memory, {{&panels, shared_->packed_floats()}, {&factor, shared_->plain_floats()}});
    PackColumns(problem_, tile->columns, tile->width, packed ? panels : nullptr,
                plain ? factor : nullptr);
    if (packed) tile->packed = panels;
    if (plain) tile->plain = factor;
  }

  void MakeLogits(const Wave& wave, size_t b, size_t group) {
    Tile tile = TileOf(b, group);
    Pack(&tile, true, false);
    Logits(problem_, rows_, tile,
           tops_ + group * g_.wave_pairs + Cell(wave, g_.blocks[b].pair0));
  }

  // What the row's exponentials are relative to where they are not near 0.
  float TopOf(const Wave& wave, size_t row) const {
    float top = rows_->TargetTop(row);
    for (size_t group = 0; group < g_.groups; ++group) {
      const float* const tops = tops_ + group * g_.wave_pairs + Cell(wave, rows_->pair(row));
      top = std::max(top, *std::max_element(tops, tops + rows_->pairs(row)));
    }
    return top;
  }

  void MakeTile(const Wave& wave, size_t b, size_t group) {
    const Block& block = g_.blocks[b];
    const bool near = shared_->near(b), gradients = problem_.gradients();
    Tile tile = TileOf(b, group);
    Pack(&tile, near, gradients && block.pairs >= problem_.spans.kernel->mr);
    if (near) Logits(problem_, rows_, tile, nullptr);
    std::vector<float> tops;
    for (size_t row = block.row0; !near && row < block.row1; ++row) {
      tops.push_back(TopOf(wave, row));
    }
    const size_t cell = group * g_.wave_pairs + Cell(wave, block.pair0);
    double* const row_sums = &row_sums_[group * g_.wave_rows + block.row0 - wave.row0];
    std::fill_n(row_sums, block.row1 - block.row0, 0.0);
    std::fill_n(&pair_sums_[cell], block.pairs, 0.0);
    Exponentials(problem_, *rows_, tile, near ? nullptr : tops.data(), gradients, row_sums,
                 &pair_sums_[cell]);
    if (!gradients) return;
    for (size_t place = block.pairs; place < block.places; ++place) {
      std::fill_n(tile.x + place * tile.stride, tile.width, 0.0f);
    }
    InterestProduct(problem_, *rows_, tile, true, products_ + cell * problem_.dim());
  }

  void FinishRow(const Wave& wave, size_t row) {
    const Block& block = *std::find_if(
        g_.blocks.begin() + static_cast<std::ptrdiff_t>(wave.block0), g_.blocks.end(),
        [&](const Block& each) { return row < each.row1; });
    const bool near = shared_->near(static_cast<size_t>(&block - g_.blocks.data()));
    double sum = 0;
    for (size_t group = 0; group < g_.groups; ++group) {
      sum += row_sums_[group * g_.wave_rows + row - wave.row0];
    }
    rows_->Finish(row, near ? 0.0f : TopOf(wave, row), sum);
    if (!problem_.gradients()) return;
    const size_t dim = problem_.dim(), pairs = rows_->pairs(row);
    const size_t cell = Cell(wave, rows_->pair(row));
    if (!problem_.sampled()) {
      const size_t place = block.place + rows_->pair(row) - block.pair0;
      rows_->TakeTargets(row, 0, g_.columns, panel_ + place * g_.stride, g_.stride);
    }
    // Into group 0's.
    for (size_t group = 1; group < g_.groups; ++group) {
      const size_t other = group * g_.wave_pairs + cell;
      for (size_t j = 0; j < pairs; ++j) pair_sums_[cell + j] += pair_sums_[other + j];
      problem_.spans.axpy(1.0f, products_ + other * dim, products_ + cell * dim, pairs * dim);
    }
    shared_->Scale(wave, row);
    rows_->Gradient(row, &pair_sums_[cell], products_ + cell * dim);
  }

  const Problem& problem_;
  const Geometry& g_;
  Rows* const rows_;
  Shared* const shared_;
  float* panel_ = nullptr;          // [wave places, stride]
  float* tops_ = nullptr;           // [groups, wave pairs] largest logit
  float* products_ = nullptr;       // [groups, wave pairs, d] exponentials times columns
  std::vector<double> row_sums_;    // [groups, wave rows] of exponentials
  std::vector<double> pair_sums_;   // [groups, wave pairs]
};

}  // namespace

void SweepKept(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared) {
  KeptSweep sweep(problem, geometry, rows, shared);
  for (const Wave& wave : geometry.waves) {
    if (problem.cancel.Cancelled()) return;
    sweep.Run(wave, &wave == &geometry.waves.front());
  }
}

}  // namespace prismrec::softmax_loss
