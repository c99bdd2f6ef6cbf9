// The columns that all rows share, in tiles: a kernel for the statistics of the slots and one for gradients.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_CUDA_KERNELS_CUH_
#define PRISMREC_OPS_SOFTMAX_LOSS_CUDA_KERNELS_CUH_

#include <cfloat>
#include <climits>
#include <cmath>

#include "cuda/tile.cuh"
#include "ops/softmax_loss/cuda/problem.cuh"

namespace prismrec::softmax_loss {

using cuda::kTile;
using cuda::kTileParts;
using cuda::kTileThreads;
using cuda::kWarpSize;
using cuda::TileColumn;
using cuda::TileRow;
using cuda::TileValues;

// A warp's rows in a tile.
inline constexpr int kStrip = 16;
// KeepWinners sees half of a tile's columns at a time, so that it fits beside the tiles on sm_75.
inline constexpr int kScanColumns = kTile / 2;
inline constexpr int kScanStride = kScanColumns + 4;
inline constexpr size_t kScanBytes = cuda::SharedBytes<float>(kTile * kScanStride);

// Blocks own a tile of slots and meet columns, or (kColumns) own a tile of columns and meet slots.
//
// Walks the lists of what is removed along with the tiles. Two lanes to each of the warp's owners, one for either half
// of a tile of the others.
template <bool kColumns>
class Removed {
 public:
  __device__ __forceinline__ Removed(const DeviceProblem& problem, int first_owner, int begin) {
    const int owner = first_owner + cuda::WarpIndex() * kStrip + cuda::Lane() / 2;
    const uint32_t* list_begin = kColumns ? problem.column_removed_begin : problem.row_removed_begin;
    const int of = kColumns ? (owner < problem.column_count ? owner : -1) : problem.slot_row[owner];
    at_ = of >= 0 ? list_begin[of] : 0;
    end_ = of >= 0 ? list_begin[of + 1] : 0;
    for (uint32_t last = end_; at_ < last;) {
      const uint32_t middle = at_ + (last - at_) / 2;
      if (Range(problem, middle).y <= begin) {
        at_ = middle + 1;
      } else {
        last = middle;
      }
    }
    Read(problem);
  }

  // Bit c: the lane's owner leaves out the c-th other of the lane's half of the tile.
  __device__ __forceinline__ uint32_t Word(const DeviceProblem& problem, int first_other) {
    const int from = first_other + cuda::Lane() % 2 * 32;
    uint32_t word = 0;
#pragma unroll 1
    while (next_.x < first_other + kTile) {
      const int first = max(next_.x - from, 0);
      const int last = min(next_.y - from, 32);
      if (first < last) word |= 0xffffffffu >> (32 - (last - first)) << first;
      if (next_.y > first_other + kTile) break;  // goes on in the next tile
      ++at_;
      Read(problem);
    }
    return word;
  }

 private:
  // The others that the n-th element names.
  __device__ __forceinline__ static int2 Range(const DeviceProblem& problem, uint32_t n) {
    if (kColumns) return problem.row_slots[problem.column_removed[n]];
    const int column = static_cast<int>(problem.row_removed[n]);
    return make_int2(column, column + 1);
  }
  __device__ __forceinline__ void Read(const DeviceProblem& problem) {
    next_ = at_ < end_ ? Range(problem, at_) : make_int2(INT_MAX, INT_MAX);
  }

  uint32_t at_;
  uint32_t end_;
  int2 next_;
};

// Readout max: of the slots of a row, all but the best for a column are left out of it; the first wins ties. All
// threads of the block call this.
template <bool kColumns>
__device__ __forceinline__ void KeepWinners(const int* slot_row, float* scan, TileValues& values) {
  // Of the half of the columns that are in the scan.
  const auto for_each_own = [&](int half, auto visit) {
    if (kColumns && cuda::WarpIndex() / 2 != half) return;
#pragma unroll
    for (int part = 0; part < kTileParts; ++part) {
      if (!kColumns && part / (kTileParts / 2) != half) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int slot = kColumns ? TileColumn(part, i) : TileRow(i);
        const int column = kColumns ? TileRow(i) : TileColumn(part, i);
        visit(scan[slot * kScanStride + column % kScanColumns], values[part][i]);
      }
    }
  };
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {
    for_each_own(half, [](float& place, float& value) { place = value; });
    __syncthreads();
    // A warp to the rows that begin in a quarter of the slots, a lane to a column.
    float* const column = scan + cuda::Lane();
    const int stop = (cuda::WarpIndex() + 1) * kStrip;
    int slot = stop - kStrip;
    while (slot > 0 && slot < stop && slot_row[slot] == slot_row[slot - 1]) ++slot;
#pragma unroll 1
    while (slot < stop) {
      const int row = slot_row[slot];
      float best = column[slot * kScanStride];
      int winner = slot;
      int end = slot + 1;
#pragma unroll 1
      for (; end < kTile && slot_row[end] == row; ++end) {
        const float value = column[end * kScanStride];
        if (value > best) {
          best = value;
          winner = end;
        }
      }
#pragma unroll 1
      for (; slot < end; ++slot) {
        if (slot != winner) column[slot * kScanStride] = -INFINITY;
      }
    }
    __syncthreads();
    for_each_own(half, [](float& place, float& value) { value = place; });
    __syncthreads();
  }
}

// Turns the block's inner products with a tile of the others into logits, -infinity where a logit has no part in the
// softmax. `scan`: kScanBytes, for readout max.
template <bool kColumns>
__device__ __forceinline__ void FindLogits(const DeviceProblem& problem, Removed<kColumns>& removed, float* scan,
                                           int first_owner, int first_other, int end, TileValues& values) {
  const int owners = kColumns ? problem.column_count : problem.slot_count;
  const float* const owners_added = kColumns ? problem.shift : problem.offsets;
  const float* const others_added = kColumns ? problem.offsets : problem.shift;
  const int upper = first_owner + TileRow(0);
  const float own[2] = {upper < owners ? owners_added[upper] : 0.0f,
                        upper + 8 < owners ? owners_added[upper + 8] : 0.0f};
#pragma unroll
  for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int other = first_other + TileColumn(part, i);
      const float added = other < end ? others_added[other] : 0.0f;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // In the same order whoever owns the tile.
        float& value = values[part][half * 2 + i];
        value = value + (kColumns ? own[half] : added) + (kColumns ? added : own[half]);
        if (other >= end) value = -INFINITY;
      }
    }
  }
  const uint32_t word = removed.Word(problem, first_other);
  if (__any_sync(cuda::kFullWarp, word != 0)) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const uint32_t out = __shfl_sync(cuda::kFullWarp, word, half * kStrip + cuda::Lane() / 4 * 2 + side) >>
                             (cuda::Lane() % 4 * 2);
#pragma unroll
        for (int part = 0; part < kTileParts / 2; ++part) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& value = values[side * (kTileParts / 2) + part][half * 2 + i];
            if ((out >> (part * 8 + i) & 1) != 0) value = -INFINITY;
          }
        }
      }
    }
  }
  if (problem.max) KeepWinners<kColumns>(problem.slot_row + (kColumns ? first_other : first_owner), scan, values);
}

// The columns [begin, end) (or slots) that a block meets of those of a launch: its share is `per_split` of them.
struct Span {
  int begin;
  int end;
  int per_split;

  __device__ __forceinline__ int First(unsigned split) const { return begin + static_cast<int>(split) * per_split; }
  __device__ __forceinline__ int Last(unsigned split) const { return min(end, First(split) + per_split); }
};

// partial [splits, slots]: the largest logit of a slot with the split's columns, and the sum of the exponentials
// relative to it. Grid: tiles of slots x splits.
template <int kDim, bool kTensor>
__global__ void __launch_bounds__(kTileThreads, 2) StatisticsKernel(DeviceProblem problem, Span span, float2* partial) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  const int first_slot = static_cast<int>(blockIdx.x) * kTile;
  const int begin = span.First(blockIdx.y);
  const int end = span.Last(blockIdx.y);
  float* const scan = problem.max ? shared.Take<float>(kTile * kScanStride) : nullptr;
  Removed<false> removed(problem, first_slot, begin);
  float top[2] = {-FLT_MAX, -FLT_MAX};
  float sum[2] = {0, 0};
  const cuda::SweepShape shape{problem.slots, problem.slot_count, problem.items, problem.column_count,
                               problem.stride};
  cuda::SweepTiles<kDim, kTensor>(
      shared, shape, first_slot, begin, end, 0, [&](int first_column, TileValues& values, const float*) {
        FindLogits<false>(problem, removed, scan, first_slot, first_column, end, values);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float largest = top[half];
#pragma unroll
          for (int part = 0; part < kTileParts; ++part) {
            largest = fmaxf(largest, fmaxf(values[part][half * 2], values[part][half * 2 + 1]));
          }
          // The tile's sum by itself: the sum of all is of fewer terms, and closer.
          float tile = 0;
#pragma unroll
          for (int part = 0; part < kTileParts; ++part) {
            tile += __expf(values[part][half * 2] - largest) + __expf(values[part][half * 2 + 1] - largest);
          }
          sum[half] = __fmaf_rn(sum[half], __expf(top[half] - largest), tile);
          top[half] = largest;
        }
      });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int bits = 1; bits <= 2; bits *= 2) {
      const float other_top = __shfl_xor_sync(cuda::kFullWarp, top[half], bits);
      const float other_sum = __shfl_xor_sync(cuda::kFullWarp, sum[half], bits);
      const float largest = fmaxf(top[half], other_top);
      sum[half] = sum[half] * __expf(top[half] - largest) + other_sum * __expf(other_top - largest);
      top[half] = largest;
    }
    if (cuda::Lane() % 4 != 0) continue;
    partial[static_cast<size_t>(blockIdx.y) * problem.slot_count + first_slot + TileRow(half * 2)] =
        make_float2(top[half], sum[half]);
  }
}

// gradient [splits, owners, stride] = (or +=, where `add`) sum over the others of the derivatives of their row's loss
// times their vectors, and sums [splits, owners] of the derivatives themselves. statistics [slots]: the largest logit
// of the slot's row and the inverse of the sum of its exponentials relative to that.
// Grid: tiles of owners x slices of kDim dimensions x splits.
template <int kDim, bool kTensor, bool kColumns>
__global__ void __launch_bounds__(kTileThreads, 2)
    GradientKernel(DeviceProblem problem, Span span, const float2* statistics, bool add, float* gradient, float* sums) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  const int first_owner = static_cast<int>(blockIdx.x) * kTile;
  const int slice = static_cast<int>(blockIdx.y) * kDim;
  const int begin = span.First(blockIdx.z);
  const int end = span.Last(blockIdx.z);
  cuda::SweepShape shape{problem.slots, problem.slot_count, problem.items, problem.column_count, problem.stride};
  if (kColumns) shape = {shape.columns, shape.column_count, shape.rows, shape.row_count, shape.stride};
  float* const scan = problem.max ? shared.Take<float>(kTile * kScanStride) : nullptr;
  Removed<kColumns> removed(problem, first_owner, begin);
  float sum[2] = {0, 0};
  float product[kDim / 8][4];
  cuda::Clear(product);
  cuda::SweepTiles<kDim, kTensor>(
      shared, shape, first_owner, begin, end, slice, [&](int first_other, TileValues& values, const float* others) {
        FindLogits<kColumns>(problem, removed, scan, first_owner, first_other, end, values);
        float tile[2] = {0, 0};
#pragma unroll
        for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const float2 row =
                statistics[kColumns ? first_other + TileColumn(part, i) : first_owner + TileRow(i)];
            values[part][i] = __expf(values[part][i] - row.x) * row.y;
            tile[i / 2] += values[part][i];
          }
        }
        sum[0] += tile[0];
        sum[1] += tile[1];
        cuda::AddProduct<kDim, kTensor>(values, others, product);
      });
  const int owners = shape.row_count;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(cuda::kFullWarp, sum[half], 1);
    sum[half] += __shfl_xor_sync(cuda::kFullWarp, sum[half], 2);
    const int owner = first_owner + TileRow(half * 2);
    if (owner >= owners) continue;
    const size_t at = static_cast<size_t>(blockIdx.z) * owners + owner;
    if (slice == 0 && cuda::Lane() % 4 == 0) sums[at] = add ? sums[at] + sum[half] : sum[half];
#pragma unroll
    for (int part = 0; part < kDim / 8; ++part) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = slice + TileColumn(part, i);
        if (column >= shape.stride) continue;
        float* to = gradient + at * shape.stride + column;
        *to = add ? *to + product[part][half * 2 + i] : product[part][half * 2 + i];
      }
    }
  }
}

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_CUDA_KERNELS_CUH_
