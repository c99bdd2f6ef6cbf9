#include "ops/softmax_loss/tile.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "gemm/pack.h"

namespace prismrec::softmax_loss {
namespace {

// Few rows do not pay for packing: their product reads its factors where they lie, this many
// columns at a time, so that a strip of rows of 64 dimensions stays in the first-level cache.
constexpr size_t kDirectColumns = 128;

thread_local Workspace winner_memory;

// Takes the row's removed columns out of x; corrects its largest logits, where they are wanted.
void Remove(const Problem& problem, const Rows& rows, size_t row, const Tile& tile, float* x,
            float* tops) {
  const Plan& plan = problem.plan;
  const auto all = plan.removed.begin();
  const auto begin = std::lower_bound(all + static_cast<std::ptrdiff_t>(plan.row_removed[row]),
                                      all + static_cast<std::ptrdiff_t>(plan.row_removed[row + 1]),
                                      tile.column);
  const auto end =
      std::lower_bound(begin, all + static_cast<std::ptrdiff_t>(plan.row_removed[row + 1]),
                       tile.column + tile.width);
  if (begin == end) return;
  for (size_t j = 0; j < rows.pairs(row); ++j, x += tile.stride) {
    bool gone = false;
    for (auto at = begin; at < end; ++at) {
      float& logit = x[*at - tile.column];
      gone = gone || (tops != nullptr && logit == tops[j]);
      logit = kNegativeInfinity;
    }
    if (gone) tops[j] = problem.spans.maximum(x, tile.width);
  }
}

// The exponentials of the largest of each column's logits; 0 for the others.
double Winners(const Problem& problem, size_t pairs, const Tile& tile, const float* top,
               bool products, float* x, double* pair_sums) {
  const Spans& spans = problem.spans;
  float* const best = winner_memory.Reserve<float>(2 * tile.width);
  float* const winner = best + tile.width;
  std::fill(best, best + tile.width, kNegativeInfinity);
  std::fill(winner, winner + tile.width, 0.0f);
  for (size_t j = 0; j < pairs; ++j) {
    spans.take_better(x + j * tile.stride, static_cast<float>(j), best, winner, tile.width);
  }
  const double total = top == nullptr ? spans.exp_sum_near(best, tile.width)
                                      : spans.exp_sum(best, *top, tile.width);
  for (size_t j = 0; products && j < pairs; ++j) {
    pair_sums[j] += spans.route(best, winner, static_cast<float>(j), x + j * tile.stride,
                                tile.width);
  }
  return total;
}

}  // namespace

void Logits(const Problem& problem, Rows* rows, const Tile& tile, float* tops) {
  const size_t pair0 = rows->pair(tile.row0);
  problem.spans.logits({rows->pair(tile.row1) - pair0, tile.width, problem.dim(), tile.interests,
                        tile.packed, tile.shift, rows->offsets(pair0), tile.x, tile.stride, tops});
  for (size_t row = tile.row0; row < tile.row1; ++row) {
    const size_t at = rows->pair(row) - pair0;
    float* const x = tile.x + at * tile.stride;
    Remove(problem, *rows, row, tile, x, tops == nullptr ? nullptr : tops + at);
    if (!problem.sampled()) rows->KeepTargets(row, tile.column, tile.width, x, tile.stride);
  }
}

void Exponentials(const Problem& problem, const Rows& rows, const Tile& tile, const float* tops,
                  bool products, double* row_sums, double* pair_sums) {
  const Spans& spans = problem.spans;
  const size_t pair0 = rows.pair(tile.row0);
  for (size_t row = tile.row0; row < tile.row1; ++row) {
    const size_t at = rows.pair(row) - pair0;
    float* x = tile.x + at * tile.stride;
    // Where all columns are gone.
    const float top = tops == nullptr ? 0.0f : std::max(tops[row - tile.row0], -FLT_MAX);
    double total = 0;
    if (problem.args.readout == Readout::kMax) {
      total = Winners(problem, rows.pairs(row), tile, tops == nullptr ? nullptr : &top, products, x,
                      pair_sums + at);
    } else {
      for (size_t j = 0; j < rows.pairs(row); ++j, x += tile.stride) {
        const double sum = tops == nullptr ? spans.exp_sum_near(x, tile.width)
                                           : spans.exp_sum(x, top, tile.width);
        pair_sums[at + j] += sum;
        total += sum;
      }
    }
    row_sums[row - tile.row0] += total;
  }
}

void InterestProduct(const Problem& problem, const Rows& rows, const Tile& tile, bool first,
                     float* product) {
  const gemm::Kernel& kernel = *problem.spans.kernel;
  const size_t pairs = rows.pair(tile.row1) - rows.pair(tile.row0);
  const size_t dim = problem.dim();
  if (pairs < kernel.mr) {
    for (size_t from = 0; from < tile.width; from += kDirectColumns) {
      kernel.direct_rows({pairs, dim, std::min(kDirectColumns, tile.width - from), tile.x + from,
                          tile.stride, 1, tile.columns + from * dim, dim, product, dim, 1.0f,
                          first && from == 0 ? 0.0f : 1.0f});
    }
    return;
  }
  gemm::Block block{};
  block.m = pairs;
  block.n = dim;
  block.k = tile.width;
  block.a = tile.x;
  block.a_row = tile.stride;
  block.b = tile.plain;
  block.c = product;
  block.ldc = dim;
  block.alpha = 1.0f;
  block.beta = first ? 0.0f : 1.0f;
  kernel.block(block);
}

void PackColumns(const Problem& problem, const float* columns, size_t width, float* packed,
                 float* plain) {
  const gemm::Kernel& kernel = *problem.spans.kernel;
  const size_t dim = problem.dim();
  if (packed != nullptr) gemm::PackColumns(kernel, columns, dim, width, dim, packed);
  if (plain != nullptr) gemm::PackColumnsOfPlain(kernel, columns, dim, dim, width, plain);
}

}  // namespace prismrec::softmax_loss
