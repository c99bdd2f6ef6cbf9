// The columns that belong to single rows (targets, candidates of a row's own), and what puts everything together.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_CUDA_ENTRIES_CUH_
#define PRISMREC_OPS_SOFTMAX_LOSS_CUDA_ENTRIES_CUH_

#include <cfloat>
#include <cmath>

#include "cuda/kernel.cuh"
#include "ops/softmax_loss/cuda/problem.cuh"

namespace prismrec::softmax_loss {

inline constexpr int kEntryThreads = 128;
inline constexpr int kEntryWarps = kEntryThreads / cuda::kWarpSize;
// Dimensions that a warp sums up at a time, in registers.
inline constexpr int kLaneDims = 4;
inline constexpr int kWarpDims = kLaneDims * cuda::kWarpSize;

// A warp to one of the entries [first, first + count): its logits with the slots of its row.
__global__ void __launch_bounds__(kEntryThreads, 8)
    EntryLogitsKernel(DeviceProblem problem, Entries entries, uint32_t first, uint32_t count) {
  const uint32_t nth = blockIdx.x * kEntryWarps + static_cast<uint32_t>(cuda::WarpIndex());
  if (nth >= count) return;
  const uint32_t entry = first + nth;
  const int row = static_cast<int>(entries.row[entry]);
  const int2 slots = problem.row_slots[row];
  const int size = entries.Count(row);
  const float shift = entries.shift[entry];
  const float* item = problem.items + static_cast<size_t>(entries.item[entry]) * problem.stride;
  float* to = entries.Of(row) + (entry - entries.row_begin[row]);
  for (int slot = slots.x; slot < slots.y; ++slot, to += size) {
    const float* interest = problem.slots + static_cast<size_t>(slot) * problem.stride;
    float sum = 0;
#pragma unroll 1
    for (int k = cuda::Lane() * 4; k < problem.stride; k += cuda::kWarpSize * 4) {
      const float4 a = cuda::Load4(interest + k);
      const float4 b = cuda::Load4(item + k);
      sum = __fmaf_rn(a.x, b.x, sum);
      sum = __fmaf_rn(a.y, b.y, sum);
      sum = __fmaf_rn(a.z, b.z, sum);
      sum = __fmaf_rn(a.w, b.w, sum);
    }
    sum = cuda::WarpSum(sum);
    if (cuda::Lane() == 0) *to = shift == -INFINITY ? -INFINITY : sum + shift + problem.offsets[slot];
  }
}

// The block's sum or maximum, the same in every thread; `scratch` has a float for each warp.
template <bool kMax>
__device__ __forceinline__ float BlockReduce(float* scratch, float value) {
  value = kMax ? cuda::WarpMax(value) : cuda::WarpSum(value);
  __syncthreads();
  if (cuda::Lane() == 0) scratch[cuda::WarpIndex()] = value;
  __syncthreads();
  value = scratch[0];
#pragma unroll
  for (int warp = 1; warp < kEntryWarps; ++warp) value = kMax ? fmaxf(value, scratch[warp]) : value + scratch[warp];
  return value;
}

// An entry's logits, `size` apart.
struct EntryScore {
  float best;  // the largest
  float sum;   // of the exponentials relative to it; readout max: 1
};
__device__ __forceinline__ EntryScore ScoreOf(const float* logits, int count, int size, bool max) {
  EntryScore score{logits[0], 1.0f};
  for (int j = 1; j < count; ++j) score.best = fmaxf(score.best, logits[static_cast<size_t>(j) * size]);
  if (max) return score;
  score.sum = 0;
  for (int j = 0; j < count; ++j) score.sum += expf(logits[static_cast<size_t>(j) * size] - score.best);
  return score;
}

// A block to a row, from entries.first_row on. `partial` [parts, slots]: what StatisticsKernel found. Writes the row's
// loss, and with gradients the statistics of its slots (see GradientKernel) and its entries' derivatives.
__global__ void __launch_bounds__(kEntryThreads, 8)
    FinishRowsKernel(DeviceProblem problem, Entries entries, const float2* partial, int parts, bool gradients,
                     float2* statistics, float* losses) {
  cuda::SharedMemory shared;
  float* const scratch = shared.Take<float>(kEntryWarps);
  const int row = entries.first_row + static_cast<int>(blockIdx.x);
  const int2 slots = problem.row_slots[row];
  const int count = slots.y - slots.x;
  const int size = entries.Count(row);
  float* const logits = entries.Of(row);
  const float* const target_share = entries.target_share + entries.row_begin[row];
  const int thread = static_cast<int>(threadIdx.x);

  float top = -FLT_MAX;
  for (int part = 0; part < parts; ++part) {
    for (int j = thread; j < count; j += kEntryThreads) {
      top = fmaxf(top, partial[static_cast<size_t>(part) * problem.slot_count + slots.x + j].x);
    }
  }
  for (int n = thread; n < size; n += kEntryThreads) {
    float best = logits[n];
    int winner = 0;
    for (int j = 1; j < count; ++j) {
      const float logit = logits[static_cast<size_t>(j) * size + n];
      if (logit > best) {
        best = logit;
        winner = j;
      }
    }
    top = fmaxf(top, best);
    for (int j = 0; problem.max && j < count; ++j) {
      if (j != winner) logits[static_cast<size_t>(j) * size + n] = -INFINITY;
    }
  }
  top = BlockReduce<true>(scratch, top);

  float sum = 0;
  // Relative to the largest logit, so that nothing is lost of the loss of a row that has converged.
  float target_score = 0;
  for (int part = 0; part < parts; ++part) {
    for (int j = thread; j < count; j += kEntryThreads) {
      const float2 found = partial[static_cast<size_t>(part) * problem.slot_count + slots.x + j];
      sum = __fmaf_rn(found.y, expf(found.x - top), sum);
    }
  }
  for (int n = thread; n < size; n += kEntryThreads) {
    for (int j = 0; j < count; ++j) sum += expf(logits[static_cast<size_t>(j) * size + n] - top);
    const float share = target_share[n];
    if (share == 0) continue;
    const EntryScore score = ScoreOf(logits + n, count, size, problem.max);
    target_score = __fmaf_rn(share, score.best - top + logf(score.sum), target_score);
  }
  sum = BlockReduce<false>(scratch, sum);
  target_score = BlockReduce<false>(scratch, target_score);
  if (thread == 0) losses[row] = logf(sum) - target_score;
  if (!gradients) return;

  const float inverse = 1.0f / sum;
  for (int j = thread; j < count; j += kEntryThreads) statistics[slots.x + j] = make_float2(top, inverse);
  for (int n = thread; n < size; n += kEntryThreads) {
    const float share = target_share[n];
    const EntryScore score = share == 0 ? EntryScore{0, 1} : ScoreOf(logits + n, count, size, problem.max);
    const float weight = share / score.sum;
    for (int j = 0; j < count; ++j) {
      float& logit = logits[static_cast<size_t>(j) * size + n];
      const float slope = expf(logit - top) * inverse;
      logit = share == 0 ? slope : slope - weight * expf(logit - score.best);
    }
  }
}

// sum += weight * the lane's dimensions of a row, from `first` on.
__device__ __forceinline__ void AddRow(const float* row, int first, int stride, float weight, float (&sum)[kLaneDims]) {
#pragma unroll
  for (int i = 0; i < kLaneDims; ++i) {
    const int k = first + i * cuda::kWarpSize + cuda::Lane();
    if (k < stride) sum[i] = __fmaf_rn(weight, row[k], sum[i]);
  }
}

// to[0 .. dim) = (or +=, where `add`) scale * sum, from `first` on.
__device__ __forceinline__ void StoreRow(const float (&sum)[kLaneDims], int first, int dim, float scale, bool add,
                                         float* to) {
#pragma unroll
  for (int i = 0; i < kLaneDims; ++i) {
    const int k = first + i * cuda::kWarpSize + cuda::Lane();
    if (k < dim) to[k] = add ? __fmaf_rn(scale, sum[i], to[k]) : scale * sum[i];
  }
}

// What the tiles gave to `owners` rows, in parts that are to be added up.
struct Dense {
  const float* gradient;  // [parts, owners, stride]
  const float* sums;      // [parts, owners]
  int parts;
  int owners;

  __device__ __forceinline__ size_t At(int part, int owner) const {
    return static_cast<size_t>(part) * owners + owner;
  }
};

// A warp to one of the slots [first, first + count): its gradient, for the pair that it holds.
__global__ void __launch_bounds__(kEntryThreads, 8)
    InterestGradientKernel(DeviceProblem problem, Entries entries, Dense dense, int first, int count, float scale,
                           int dim, const uint32_t* slot_pair, float* gradient, float* offset_gradient) {
  const int nth = static_cast<int>(blockIdx.x) * kEntryWarps + cuda::WarpIndex();
  if (nth >= count) return;
  const int slot = first + nth;
  const int row = problem.slot_row[slot];
  if (row < 0) return;
  const int size = entries.Count(row);
  const float* weights = entries.Of(row) + static_cast<size_t>(slot - problem.row_slots[row].x) * size;
  const uint32_t* items = entries.item + entries.row_begin[row];
  const size_t pair = slot_pair[slot];
  for (int k = 0; k < problem.stride; k += kWarpDims) {
    float sum[kLaneDims] = {0, 0, 0, 0};
    for (int part = 0; part < dense.parts; ++part) {
      AddRow(dense.gradient + dense.At(part, slot) * problem.stride, k, problem.stride, 1.0f, sum);
    }
    for (int n = 0; n < size; ++n) {
      if (weights[n] == 0) continue;
      AddRow(problem.items + static_cast<size_t>(items[n]) * problem.stride, k, problem.stride, weights[n], sum);
    }
    StoreRow(sum, k, dim, scale, false, gradient + pair * dim);
  }
  float sum = 0;
  for (int n = cuda::Lane(); n < size; n += cuda::kWarpSize) sum += weights[n];
  sum = cuda::WarpSum(sum);
  for (int part = 0; part < dense.parts; ++part) sum += dense.sums[dense.At(part, slot)];
  if (cuda::Lane() == 0) offset_gradient[pair] = scale * sum;
}

// Entries of one item: list[begin .. end).
struct Segment {
  uint32_t begin;
  uint32_t end;
};

// A warp to a segment: gradient [segments, stride] and sums [segments] of the derivatives.
__global__ void __launch_bounds__(kEntryThreads, 8)
    SegmentKernel(DeviceProblem problem, Entries entries, const uint32_t* list, const Segment* segments, int count,
                  float* gradient, float* sums) {
  const int nth = static_cast<int>(blockIdx.x) * kEntryWarps + cuda::WarpIndex();
  if (nth >= count) return;
  const Segment segment = segments[nth];
  float total = 0;
  for (int k = 0; k < problem.stride; k += kWarpDims) {
    float sum[kLaneDims] = {0, 0, 0, 0};
    for (uint32_t n = segment.begin; n < segment.end; ++n) {
      const uint32_t entry = list[n];
      const int row = static_cast<int>(entries.row[entry]);
      const int2 slots = problem.row_slots[row];
      const int size = entries.Count(row);
      const float* weight = entries.Of(row) + (entry - entries.row_begin[row]);
      for (int slot = slots.x; slot < slots.y; ++slot, weight += size) {
        if (*weight == 0) continue;
        AddRow(problem.slots + static_cast<size_t>(slot) * problem.stride, k, problem.stride, *weight, sum);
        if (k == 0) total += *weight;
      }
    }
    StoreRow(sum, k, problem.stride, 1.0f, false, gradient + static_cast<size_t>(nth) * problem.stride);
  }
  if (cuda::Lane() == 0) sums[nth] = total;
}

// A warp to one of `count` items: what the tiles gave (items that are columns) and its segments
// [segment_begin[item], segment_begin[item + 1]), to row item_order[item] (null: item) of the answer.
__global__ void __launch_bounds__(kEntryThreads, 8)
    ItemGradientKernel(Dense dense, const uint32_t* segment_begin, const float* segment_gradient,
                       const float* segment_sums, int count, int stride, float scale, int dim, bool add,
                       const uint32_t* item_order, float* gradient, float* bias_gradient) {
  const int item = static_cast<int>(blockIdx.x) * kEntryWarps + cuda::WarpIndex();
  if (item >= count) return;
  const uint32_t begin = segment_begin[item];
  const uint32_t end = segment_begin[item + 1];
  const int parts = item < dense.owners ? dense.parts : 0;
  if (add && begin == end) return;
  const size_t to = item_order != nullptr ? item_order[item] : static_cast<size_t>(item);
  for (int k = 0; k < stride; k += kWarpDims) {
    float sum[kLaneDims] = {0, 0, 0, 0};
    for (int part = 0; part < parts; ++part) {
      AddRow(dense.gradient + dense.At(part, item) * stride, k, stride, 1.0f, sum);
    }
    for (uint32_t n = begin; n < end; ++n) {
      AddRow(segment_gradient + static_cast<size_t>(n) * stride, k, stride, 1.0f, sum);
    }
    StoreRow(sum, k, dim, scale, add, gradient + to * dim);
  }
  if (cuda::Lane() != 0) return;
  float sum = 0;
  for (int part = 0; part < parts; ++part) sum += dense.sums[dense.At(part, item)];
  for (uint32_t n = begin; n < end; ++n) sum += segment_sums[n];
  bias_gradient[to] = add ? __fmaf_rn(scale, sum, bias_gradient[to]) : scale * sum;
}

// Sets `bit` of *flags where a value is not finite.
__global__ void __launch_bounds__(kEntryThreads, 8)
    CheckFiniteKernel(const float* values, size_t count, unsigned bit, unsigned* flags) {
  const size_t step = static_cast<size_t>(gridDim.x) * kEntryThreads;
  bool finite = true;
  for (size_t i = static_cast<size_t>(blockIdx.x) * kEntryThreads + threadIdx.x; i < count; i += step) {
    finite = finite && fabsf(values[i]) <= FLT_MAX;
  }
  if (!finite) atomicOr(flags, bit);
}

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_CUDA_ENTRIES_CUH_
