// The first look at the items: marks those that one of a query's interests could bring onto its list; see ../README.md.
//
// A mark comes from a bound, so that a product may be wrong by what its margin says: a tensor core's factors are cut to
// TF32, one pass instead of the three that single precision takes. What is marked is scored again by ScoreKernel.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SCAN_CUH_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SCAN_CUH_

#include "cuda/tile.cuh"
#include "ops/similarity_search/cpu/panel.h"

namespace prismrec::similarity_search {

using Counter = unsigned long long;

inline constexpr int kPanel = static_cast<int>(kPanelItems);
inline constexpr int kTilePanels = 2;
inline constexpr int kTileItems = kTilePanels * kPanel;
inline constexpr int kTileParts = kTileItems / 8;
inline constexpr int kScanThreads = 128;
inline constexpr int kScanWarps = kScanThreads / cuda::kWarpSize;
// Rows of a block for each group of 16 that a warp has.
inline constexpr int kGroupRows = 16 * kScanWarps;
// Dimensions that pass through shared memory at a time.
inline constexpr int kSlice = 32;
// Tiles of a block at most: two threads judge each.
inline constexpr int kMostTiles = kScanThreads / 2;

// One TF32 product for one by FFMA, so that tensor cores pay off wherever there are any with TF32.
__host__ __device__ constexpr bool ScansWithTf32(int capability) { return capability >= 80; }

// Items by position, from a whole tile on. Places without an item are not allowed.
struct DeviceItems {
  float* rows = nullptr;       // [panels * kPanel, stride]
  uint32_t* ids = nullptr;     // [panels * kPanel]
  float* norms = nullptr;      // [panels], as the index has them
  float* bias = nullptr;       // [panels * kPanel], nullable
  float* bias_tops = nullptr;  // [panels], null with bias
  const uint32_t* allowed = nullptr;  // [panels]
  int panels = 0;  // even
  int stride = 0;
};

// The present interests of some queries.
struct QueryRows {
  const float* data;         // [count, stride]
  const float* norms;        // [count] at least the length
  const float* offsets;      // [count]
  const uint16_t* interests;  // [count]
  const uint32_t* queries;   // [count]
  float* limits;             // [count] what a product + bias must reach
  int count;
  int stride;
};

// |product of the scan - that of the score| <= relative (|h| + tiny) (|e| + tiny)
struct Margin {
  float relative, tiny;
};

// Panels that are looked at together, whole tiles.
struct Round {
  int first_panel;
  int panels;
};

// Where a row's four numbers lie in a slice in shared memory: what the lanes of a quarter warp read at once, four
// neighbours of two rows or one of rows 2 t, lies in different banks.
__device__ __forceinline__ int Place(int row, int quad) {
  return row * kSlice + ((quad ^ ((row & 1) << 2 | (row >> 1 & 3))) << 2);
}

template <int kRows>
__host__ __device__ constexpr int SliceFloats() {
  return kRows * kSlice;
}

// Dimensions [k, k + kSlice) of rows [first, first + kRows), zeros beyond either end. Asynchronous.
template <int kRows>
__device__ __forceinline__ void LoadSlice(float* slice, const float* rows, int count, int stride, int first, int k) {
  constexpr int kQuads = kSlice / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kQuads; i += kScanThreads) {
    const int row = i / kQuads;
    const int quad = i % kQuads;
    const bool valid = first + row < count && k + quad * 4 < stride;
    const float* from = valid ? rows + static_cast<size_t>(first + row) * stride + k + quad * 4 : rows;
    cuda::CpAsync16(slice + Place(row, quad), from, valid);
  }
}

__device__ __forceinline__ uint32_t CutToTf32(float x) { return __float_as_uint(x) & 0xffffe000u; }

// values += rows items^T over the first `depth` dimensions of a slice; laid out as cuda::TileValues are, for each group
// of the warp's rows.
template <int kGroups, bool kTensor>
__device__ __forceinline__ void AddSlice(const float* rows, const float* items, int depth,
                                         float (&values)[kGroups][kTileParts][4]) {
  const int group = cuda::Lane() / 4;
  const int member = cuda::Lane() % 4;
  const int first = cuda::WarpIndex() * 16 * kGroups + group;
  if constexpr (kTensor) {
#pragma unroll 1
    for (int k = 0; k < depth; k += 16) {
      // The order of the terms of a sum is free: a lane's four neighbours stand in for what two fragments ask of it.
      const int quad = k / 4 + member;
      uint32_t a[kGroups][2][4];
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        const float4 upper = cuda::Load4(rows + Place(first + g * 16, quad));
        const float4 lower = cuda::Load4(rows + Place(first + g * 16 + 8, quad));
        const float fragments[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int i = 0; i < 4; ++i) a[g][half][i] = CutToTf32(fragments[half][i]);
        }
      }
#pragma unroll
      for (int part = 0; part < kTileParts; ++part) {
        const float4 item = cuda::Load4(items + Place(part * 8 + group, quad));
        const uint32_t b[2][2] = {{CutToTf32(item.x), CutToTf32(item.y)}, {CutToTf32(item.z), CutToTf32(item.w)}};
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
          cuda::MmaTf32(values[g][part], a[g][0], b[0]);
          cuda::MmaTf32(values[g][part], a[g][1], b[1]);
        }
      }
    }
  } else {
#pragma unroll 1
    for (int k = 0; k < depth; k += 4) {
      const int quad = k / 4;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        const float4 own[2] = {cuda::Load4(rows + Place(first + g * 16, quad)),
                               cuda::Load4(rows + Place(first + g * 16 + 8, quad))};
#pragma unroll
        for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const float4 item = cuda::Load4(items + Place(part * 8 + member * 2 + i, quad));
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              float sum = values[g][part][half * 2 + i];
              sum = __fmaf_rn(own[half].x, item.x, sum);
              sum = __fmaf_rn(own[half].y, item.y, sum);
              sum = __fmaf_rn(own[half].z, item.z, sum);
              values[g][part][half * 2 + i] = __fmaf_rn(own[half].w, item.w, sum);
            }
          }
        }
      }
    }
  }
}

// What a block of the scan takes. `resident`: all slices of its rows stay.
template <int kGroups>
size_t ScanBytes(int stride, bool resident) {
  constexpr int kRows = kGroups * kGroupRows;
  const size_t slices = resident ? static_cast<size_t>((stride + kSlice - 1) / kSlice) : 2;
  return 2 * cuda::SharedBytes<float>(kRows) + cuda::SharedBytes<int>(kMostTiles) +
         cuda::SharedBytes<int>(kMostTiles + 1) + cuda::SharedBytes<float>(slices * SliceFloats<kRows>()) +
         cuda::SharedBytes<float>(2 * SliceFloats<kTileItems>());
}

// The tiles [first, first + count) of a round, at most kMostTiles, that hold an item that one of the rows could want:
// |<h, e>| <= |h| |e|. Fills list[0 .. kMostTiles) and puts their number behind it. `read` counts their pairs.
template <int kRows>
__device__ __forceinline__ void FindTiles(const DeviceItems& items, const Round& round, int first, int count,
                                          const float* limits, const float* norms, const Margin& margin, int rows,
                                          int* flags, int* list, Counter* read) {
  const int tile = static_cast<int>(threadIdx.x) / 2;
  const int side = static_cast<int>(threadIdx.x) % 2;
  int alive = 0;
  int allowed = 0;
  if (tile < count) {
    const int panel = round.first_panel + (first + tile) * kTilePanels;
    float top = items.bias_tops == nullptr ? 0.0f : -INFINITY;
#pragma unroll
    for (int p = 0; p < kTilePanels; ++p) {
      const uint32_t lanes = items.allowed[panel + p];
      allowed += __popc(lanes);
      if (lanes != 0 && items.bias_tops != nullptr) top = fmaxf(top, items.bias_tops[panel + p]);
    }
    if (allowed > 0) {
      const float norm = (items.norms[panel] + margin.tiny) * (1.0f + margin.relative);
      for (int row = side; row < kRows && alive == 0; row += 2) {
        alive = norms[row] * norm + top < limits[row] ? 0 : 1;
      }
    }
  }
  alive |= __shfl_xor_sync(cuda::kFullWarp, alive, 1);
  if (side == 0) flags[tile] = alive;
  const int wanted = cuda::WarpSum(side == 0 && alive != 0 ? allowed : 0);
  if (cuda::Lane() == 0 && wanted > 0) atomicAdd(read, static_cast<Counter>(wanted) * static_cast<Counter>(rows));
  __syncthreads();
  if (cuda::WarpIndex() == 0) {
    const int lane = cuda::Lane();
    const unsigned lower = __ballot_sync(cuda::kFullWarp, flags[lane] != 0);
    const unsigned upper = __ballot_sync(cuda::kFullWarp, flags[lane + cuda::kWarpSize] != 0);
    const unsigned below = (1u << lane) - 1;
    if ((lower >> lane & 1) != 0) list[__popc(lower & below)] = first + lane;
    if ((upper >> lane & 1) != 0) list[__popc(lower) + __popc(upper & below)] = first + lane + cuda::kWarpSize;
    if (lane == 0) list[kMostTiles] = __popc(lower) + __popc(upper);
  }
  __syncthreads();
}

// hits [queries, round.panels], zero before: bit i: item i of the panel may belong onto the query's list.
// Grid: tiles of rows x ranges of `tiles` tiles of items. `read` counts pairs of a row and an item.
template <int kGroups, bool kTensor>
__global__ void __launch_bounds__(kScanThreads, kGroups == 1 ? 4 : 3)
    ScanKernel(DeviceItems items, QueryRows rows, Round round, Margin margin, int tiles, bool resident, uint32_t* hits,
               Counter* read) {
  if constexpr (!cuda::kCompiled<kTensor, ScansWithTf32>) return;
  constexpr int kRows = kGroups * kGroupRows;
  const int first_row = static_cast<int>(blockIdx.x) * kRows;
  const int first_tile = static_cast<int>(blockIdx.y) * tiles;
  const int slices = (rows.stride + kSlice - 1) / kSlice;
  cuda::SharedMemory shared;
  float* limits = shared.Take<float>(kRows);
  float* norms = shared.Take<float>(kRows);
  int* flags = shared.Take<int>(kMostTiles);
  int* list = shared.Take<int>(kMostTiles + 1);
  float* own = shared.Take<float>((resident ? slices : 2) * SliceFloats<kRows>());
  float* others = shared.Take<float>(2 * SliceFloats<kTileItems>());

  for (int i = static_cast<int>(threadIdx.x); i < kRows; i += kScanThreads) {
    const bool valid = first_row + i < rows.count;
    limits[i] = valid ? rows.limits[first_row + i] : INFINITY;
    norms[i] = valid ? rows.norms[first_row + i] : 0.0f;
  }
  __syncthreads();
  FindTiles<kRows>(items, round, first_tile, min(tiles, round.panels / kTilePanels - first_tile), limits, norms, margin,
                   min(kRows, rows.count - first_row), flags, list, read);
  const int steps = list[kMostTiles] * slices;
  if (steps == 0) return;  // all threads

  // Of this thread's rows.
  float limit[kGroups][2];
  float slack[kGroups][2];
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (cuda::WarpIndex() * kGroups + g) * 16 + half * 8 + cuda::Lane() / 4;
      limit[g][half] = limits[row];
      slack[g][half] = norms[row] * margin.relative;
    }
  }
  const bool working = first_row + cuda::WarpIndex() * kGroups * 16 < rows.count;
  const int last_item = items.panels * kPanel;
  const auto load = [&](int step) {
    const int slice = step % slices;
    LoadSlice<kTileItems>(others + step % 2 * SliceFloats<kTileItems>(), items.rows, last_item, items.stride,
                          round.first_panel * kPanel + list[step / slices] * kTileItems, slice * kSlice);
    if (!resident) {
      LoadSlice<kRows>(own + step % 2 * SliceFloats<kRows>(), rows.data, rows.count, rows.stride, first_row,
                       slice * kSlice);
    }
  };
  for (int slice = 0; resident && slice < slices; ++slice) {
    LoadSlice<kRows>(own + slice * SliceFloats<kRows>(), rows.data, rows.count, rows.stride, first_row, slice * kSlice);
  }
  load(0);
  cuda::CpAsyncCommit();

  float values[kGroups][kTileParts][4];
  for (int step = 0; step < steps; ++step) {
    const int slice = step % slices;
    if (step + 1 < steps) load(step + 1);
    cuda::CpAsyncCommit();
    cuda::CpAsyncWait<1>();
    __syncthreads();
    if (slice == 0) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g) cuda::Clear(values[g]);
    }
    if (working) {
      AddSlice<kGroups, kTensor>(own + (resident ? slice : step % 2) * SliceFloats<kRows>(),
                                 others + step % 2 * SliceFloats<kTileItems>(),
                                 min(kSlice, rows.stride - slice * kSlice), values);
      if (slice == slices - 1) {
        const int tile_panel = list[step / slices] * kTilePanels;  // of the round
        const int panel = round.first_panel + tile_panel;
        const float norm = items.norms[panel] + margin.tiny;
        const float* bias = items.bias == nullptr ? nullptr : items.bias + static_cast<size_t>(panel) * kPanel;
        float least[kGroups][2];
        bool any = false;
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
#pragma unroll
          for (int half = 0; half < 2; ++half) least[g][half] = limit[g][half] - slack[g][half] * norm;
        }
        // "Not below", so that a product that overflowed on its way counts as a hit.
        const auto reaches = [&](int g, int part, int i) {
          const float shift = bias == nullptr ? 0.0f : bias[cuda::TileColumn(part, i)];
          return !(values[g][part][i] + shift < least[g][i / 2]);
        };
#pragma unroll
        for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
#pragma unroll
            for (int g = 0; g < kGroups; ++g) any |= reaches(g, part, i);
          }
        }
        if (any) {
#pragma unroll
          for (int g = 0; g < kGroups; ++g) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              // Bit 2 part + i: this thread's column i of the part.
              unsigned columns = 0;
#pragma unroll
              for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                  columns |= (reaches(g, part, half * 2 + i) ? 1u : 0u) << (part * 2 + i);
                }
              }
              if (columns == 0) continue;
              const int row = first_row + (cuda::WarpIndex() * kGroups + g) * 16 + half * 8 + cuda::Lane() / 4;
              if (row >= rows.count) continue;
              uint32_t* marks = hits + static_cast<size_t>(rows.queries[row]) * round.panels + tile_panel;
              for (; columns != 0; columns &= columns - 1) {
                const int bit = __ffs(static_cast<int>(columns)) - 1;
                const int column = cuda::TileColumn(bit / 2, bit % 2);
                const uint32_t mark = 1u << (column % kPanel);
                if ((items.allowed[panel + column / kPanel] & mark) != 0) atomicOr(marks + column / kPanel, mark);
              }
            }
          }
        }
      }
    }
    __syncthreads();
  }
  cuda::CpAsyncWait<0>();
}

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SCAN_CUH_
