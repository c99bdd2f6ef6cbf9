// One kernel for the statistics of the rows and one for gradients; see ../README.md.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_KERNELS_CUH_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_KERNELS_CUH_

#include <cfloat>

#include "cuda/tile.cuh"

namespace prismrec::contrastive_loss {

using cuda::kTile;
using cuda::kTileParts;
using cuda::kTileThreads;
using cuda::TileColumn;
using cuda::TileRow;
using cuda::TileValues;

// Row i against the columns, all on the device.
struct DeviceProblem {
  cuda::SweepShape shape;
  float inverse_temperature;
  // Pairs (column i is the positive of row i): [columns] added to the logits, nullable.
  const float* shift;
  // [rows] and [columns], null together: of the columns that are no positives, those with the row's id are left out.
  const uint32_t* row_ids;
  const uint32_t* column_ids;
  // Supervised, [rows]; label -1: none.
  const int32_t* groups;
  const int32_t* labels;
  // Supervised: rows of other groups are candidates.
  bool batch;
  // [tiles of rows] the columns that a tile of rows meets; nullable: all.
  const int2* ranges;
};

// [rows] each.
struct Statistics {
  // Log-sum-exp over all candidates; infinity for a row that is not counted.
  float* normaliser;
  // Share of the positives: pairs: what is left of 1, as a negative number; supervised: -1 / their number.
  float* positive_weight;
  float* loss;
};

enum class Relation { kNone, kNegative, kPositive };

// What a relation hangs on, of one row or column.
struct Identity {
  uint32_t id;
  int32_t group;
  int32_t label;
};

template <bool kPairs>
__device__ __forceinline__ Identity IdentityOf(const DeviceProblem& problem, const uint32_t* ids, int i, int count) {
  Identity identity{0, 0, -1};
  if (i >= count) return identity;
  if (ids != nullptr) identity.id = ids[i];
  if constexpr (!kPairs) {
    identity.group = problem.groups[i];
    identity.label = problem.labels[i];
  }
  return identity;
}

template <bool kPairs>
__device__ __forceinline__ Relation RelationOf(const DeviceProblem& problem, int row, const Identity& of_row, int column,
                                               const Identity& of_column) {
  if (column == row) return kPairs ? Relation::kPositive : Relation::kNone;
  if constexpr (!kPairs) {
    const bool together = of_row.group == of_column.group;
    if (together && of_row.label == of_column.label && of_row.label != -1) return Relation::kPositive;
    if (!together && !problem.batch) return Relation::kNone;
  }
  return problem.row_ids != nullptr && of_row.id == of_column.id ? Relation::kNone : Relation::kNegative;
}

__device__ __forceinline__ float Logit(const DeviceProblem& problem, float product, int column) {
  const float logit = product * problem.inverse_temperature;
  return problem.shift != nullptr ? logit + problem.shift[column] : logit;
}

// A sum of exponentials relative to the largest so far.
struct RunningSum {
  float top = -FLT_MAX;
  float sum = 0;

  __device__ __forceinline__ void Add(float logit) {
    if (logit > top) {
      sum = sum * __expf(top - logit) + 1.0f;
      top = logit;
    } else {
      sum += __expf(logit - top);
    }
  }
  // With that of another lane; all lanes of the warp take part.
  __device__ __forceinline__ void Merge(int lane_bits) {
    const float other_top = __shfl_xor_sync(cuda::kFullWarp, top, lane_bits);
    const float other_sum = __shfl_xor_sync(cuda::kFullWarp, sum, lane_bits);
    const float largest = fmaxf(top, other_top);
    sum = sum * __expf(top - largest) + other_sum * __expf(other_top - largest);
    top = largest;
  }
};

// Grid: tiles of rows.
template <int kDim, bool kTensor, bool kPairs>
__global__ void __launch_bounds__(kTileThreads, 2) StatisticsKernel(DeviceProblem problem, Statistics statistics) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  const int first_row = static_cast<int>(blockIdx.x) * kTile;
  const int begin = problem.ranges != nullptr ? problem.ranges[blockIdx.x].x : 0;
  const int end = problem.ranges != nullptr ? problem.ranges[blockIdx.x].y : problem.shape.column_count;
  const int rows = problem.shape.row_count;
  // Of this thread's two rows.
  const Identity identities[2] = {IdentityOf<kPairs>(problem, problem.row_ids, first_row + TileRow(0), rows),
                                  IdentityOf<kPairs>(problem, problem.row_ids, first_row + TileRow(2), rows)};
  RunningSum sums[2];
  float positive_logits[2] = {0, 0};
  int positives[2] = {0, 0};
  cuda::SweepTiles<kDim, kTensor>(
      shared, problem.shape, first_row, begin, end, 0, [&](int first_column, const TileValues& values, const float*) {
#pragma unroll
        for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int row = first_row + TileRow(i);
            const int column = first_column + TileColumn(part, i);
            if (row >= rows || column >= end) continue;
            const Identity other = IdentityOf<kPairs>(problem, problem.column_ids, column, end);
            const Relation relation = RelationOf<kPairs>(problem, row, identities[i / 2], column, other);
            if (relation == Relation::kNone) continue;
            const float logit = Logit(problem, values[part][i], column);
            if (relation == Relation::kPositive) {
              positive_logits[i / 2] += logit;
              ++positives[i / 2];
              // A pair's positive is kept apart, so that what is left of 1 is exact for rows that have converged.
              if constexpr (kPairs) continue;
            }
            sums[i / 2].Add(logit);
          }
        }
      });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int bits = 1; bits <= 2; bits *= 2) {
      sums[half].Merge(bits);
      positive_logits[half] += __shfl_xor_sync(cuda::kFullWarp, positive_logits[half], bits);
      positives[half] += __shfl_xor_sync(cuda::kFullWarp, positives[half], bits);
    }
    const int row = first_row + TileRow(half * 2);
    if (cuda::Lane() % 4 != 0 || row >= rows) continue;
    const float normaliser = sums[half].sum > 0 ? sums[half].top + logf(sums[half].sum) : -FLT_MAX;
    if constexpr (kPairs) {
      // log(1 + exp(x)) for x = the negatives' log-sum-exp over the positive's logit.
      const float x = normaliser - positive_logits[half];
      const bool finite = fabsf(positive_logits[half]) <= FLT_MAX;
      const float loss = !finite ? INFINITY : x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
      statistics.loss[row] = loss;
      statistics.normaliser[row] = positive_logits[half] + loss;
      statistics.positive_weight[row] = x > 0 ? -1.0f / (1.0f + expf(-x)) : -expf(x) / (1.0f + expf(x));
    } else {
      const bool counted = positives[half] > 0;
      const float mean = counted ? positive_logits[half] / static_cast<float>(positives[half]) : 0.0f;
      statistics.loss[row] = counted ? normaliser - mean : 0.0f;
      statistics.normaliser[row] = counted ? normaliser : INFINITY;
      statistics.positive_weight[row] = counted ? -1.0f / static_cast<float>(positives[half]) : 0.0f;
    }
  }
}

// Whose gradient a block sums up: that of a tile of rows, of columns, or of rows that are columns too.
enum class Owner { kRows, kColumns, kBoth };

// Derivative of a row's loss with respect to one of its logits.
template <bool kPairs>
__device__ __forceinline__ float Slope(const Statistics& statistics, int row, Relation relation, float logit) {
  const float positive = statistics.positive_weight[row];
  if (kPairs && relation == Relation::kPositive) return positive;
  const float share = __expf(logit - statistics.normaliser[row]);
  return relation == Relation::kPositive ? share + positive : share;
}

// gradient [owners, stride] = (or +=, where `add`) scale * sum over the others of the slopes times their vectors.
// Grid: tiles of owners x slices of kDim dimensions. `shape` has the owners for its rows.
template <int kDim, bool kTensor, Owner kOwner>
__global__ void __launch_bounds__(kTileThreads, 2)
    GradientKernel(DeviceProblem problem, cuda::SweepShape shape, Statistics statistics, float scale, bool add,
                   float* gradient) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  constexpr bool kPairs = kOwner != Owner::kBoth;
  constexpr bool kColumns = kOwner == Owner::kColumns;
  cuda::SharedMemory shared;
  const int first_owner = static_cast<int>(blockIdx.x) * kTile;
  const int slice = static_cast<int>(blockIdx.y) * kDim;
  const bool ranged = problem.ranges != nullptr;
  const int begin = ranged ? problem.ranges[blockIdx.x].x : 0;
  const int end = ranged ? problem.ranges[blockIdx.x].y : shape.column_count;
  const int owners = shape.row_count;
  const uint32_t* owner_ids = kColumns ? problem.column_ids : problem.row_ids;
  const uint32_t* other_ids = kColumns ? problem.row_ids : problem.column_ids;
  const Identity identities[2] = {IdentityOf<kPairs>(problem, owner_ids, first_owner + TileRow(0), owners),
                                  IdentityOf<kPairs>(problem, owner_ids, first_owner + TileRow(2), owners)};
  float product[kDim / 8][4];
  cuda::Clear(product);
  cuda::SweepTiles<kDim, kTensor>(
      shared, shape, first_owner, begin, end, slice, [&](int first_other, TileValues& values, const float* others) {
#pragma unroll
        for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int owner = first_owner + TileRow(i);
            const int other = first_other + TileColumn(part, i);
            float slope = 0;
            if (owner < owners && other < end) {
              const int row = kColumns ? other : owner;
              const int column = kColumns ? owner : other;
              // Who is a candidate of whom is mutual.
              const Identity of_other = IdentityOf<kPairs>(problem, other_ids, other, end);
              const Relation relation = RelationOf<kPairs>(problem, owner, identities[i / 2], other, of_other);
              if (relation != Relation::kNone) {
                const float logit = Logit(problem, values[part][i], column);
                slope = Slope<kPairs>(statistics, row, relation, logit);
                if constexpr (kOwner == Owner::kBoth) {
                  slope += Slope<kPairs>(statistics, column, relation, logit);
                }
              }
            }
            values[part][i] = slope;
          }
        }
        cuda::AddProduct<kDim, kTensor>(values, others, product);
      });
#pragma unroll
  for (int part = 0; part < kDim / 8; ++part) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int owner = first_owner + TileRow(i);
      const int column = slice + TileColumn(part, i);
      if (owner >= owners || column >= shape.stride) continue;
      float* to = gradient + static_cast<size_t>(owner) * shape.stride + column;
      *to = add ? __fmaf_rn(scale, product[part][i], *to) : scale * product[part][i];
    }
  }
}

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_CUDA_KERNELS_CUH_
