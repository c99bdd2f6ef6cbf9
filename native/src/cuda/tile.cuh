// Tiles of A B^T that stay in registers, for the losses and the search: 64 rows of A against 64 rows of B by a block of
// four warps, each with 16 rows. A tile is handed to a function, which may multiply it with B again, so that neither
// logits nor their derivatives are ever in memory.
//
// Matrices on the device have rows of `stride` floats, a multiple of 4, zero beyond their dimension.
//
// Products are 3xTF32 on tensor cores (each factor as the sum of two numbers of 11 bits, of the four products the
// smallest left out; the method of CUTLASS's example 27) or FFMA. A tensor core cuts its sums off instead of rounding
// them, so no sum runs there for more than four steps: then it is added to the true sum in the ordinary way, and the
// small terms have a sum of their own.
#ifndef PRISMREC_CUDA_TILE_CUH_
#define PRISMREC_CUDA_TILE_CUH_

#include <type_traits>

#include "cuda/runtime.cuh"

namespace prismrec::cuda {

// Three TF32 products beat one by FFMA where TF32 is over three times as fast: on data-centre GPUs (A100 and H100 8
// times, B200 more), not on the others (RTX 30, 40 and 50: as fast as FFMA).
__host__ __device__ constexpr bool FastTf32(int capability) {
  return capability == 80 || capability == 90 || capability == 100 || capability == 103;
}
// Whether this compilation is for a device that takes the kernels with (or without) tensor cores: the others stay empty.
// kRule: on which devices they pay off.
#if defined(__CUDA_ARCH__)
template <bool kTensor, bool (*kRule)(int) = FastTf32>
inline constexpr bool kCompiled = kTensor == kRule(__CUDA_ARCH__ / 10);
#else
template <bool kTensor, bool (*kRule)(int) = FastTf32>
inline constexpr bool kCompiled = true;
#endif

inline constexpr int kTile = 64;
inline constexpr int kTileThreads = 128;
// Groups of 8 columns in a tile.
inline constexpr int kTileParts = kTile / 8;

__host__ __device__ constexpr int PaddedStride(int dim) { return (dim + 3) / 4 * 4; }
// Rows in shared memory start 4 banks apart, so that a fragment's 32 lanes meet 32 banks.
template <int kDim>
__host__ __device__ constexpr int TileStride() {
  return kDim + 4;
}
template <int kDim>
__host__ __device__ constexpr size_t TileBytes() {
  return SharedBytes<float>(kTile * TileStride<kDim>());
}

// value[part][i] of a thread is the tile's element (TileRow(i), TileColumn(part, i)).
using TileValues = float[kTileParts][4];
__device__ __forceinline__ int TileRow(int i) { return WarpIndex() * 16 + Lane() / 4 + i / 2 * 8; }
__device__ __forceinline__ int TileColumn(int part, int i) { return part * 8 + Lane() % 4 * 2 + i % 2; }

template <int kParts>
__device__ __forceinline__ void Clear(float (&values)[kParts][4]) {
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
#pragma unroll
    for (int i = 0; i < 4; ++i) values[part][i] = 0;
  }
}

// x as the sum of two numbers that a tensor core reads exactly, but for 2^-23 of it.
struct Split {
  uint32_t high, low;
};
__device__ __forceinline__ Split SplitTf32(float x) {
  Split split;
  split.high = ToTf32(x);
  split.low = ToTf32(x - __uint_as_float(split.high));
  return split;
}

// A lane's part of the left factor in four steps of a tensor core's product.
struct SplitSteps {
  uint32_t high[4][4], low[4][4];
};
// element(step, i): the i-th number of the fragment (see MmaTf32), as for AddSteps.
template <class Element>
__device__ __forceinline__ SplitSteps SplitFactor(Element element) {
  SplitSteps factor;
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Split split = SplitTf32(element(step, i));
      factor.high[step][i] = split.high;
      factor.low[step][i] = split.low;
    }
  }
  return factor;
}
// sum += the product of four steps
template <class Element>
__device__ __forceinline__ void AddSteps(const SplitSteps& left, Element element, float (&sum)[4]) {
  float large[4] = {0, 0, 0, 0};
  float small[4] = {0, 0, 0, 0};
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const Split first = SplitTf32(element(step, 0));
    const Split second = SplitTf32(element(step, 1));
    const uint32_t high[2] = {first.high, second.high};
    const uint32_t low[2] = {first.low, second.low};
    MmaTf32(small, left.low[step], high);
    MmaTf32(small, left.high[step], low);
    MmaTf32(large, left.high[step], high);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sum[i] += large[i] + small[i];
}

// Columns [k, k + kDim) of rows [first, first + kTile), zeros beyond either end. Asynchronous.
template <int kDim>
__device__ __forceinline__ void LoadTile(float* tile, const float* rows, int count, int stride, int first, int k) {
  constexpr int kQuads = kDim / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kQuads; i += kTileThreads) {
    const int row = i / kQuads;
    const int column = i % kQuads * 4;
    const bool valid = first + row < count && k + column < stride;
    const float* from = valid ? rows + static_cast<size_t>(first + row) * stride + k + column : rows;
    CpAsync16(tile + row * TileStride<kDim>() + column, from, valid);
  }
}

// values += a b^T
template <int kDim, bool kTensor>
__device__ __forceinline__ void AddLogits(const float* a, const float* b, TileValues& values) {
  constexpr int kStride = TileStride<kDim>();
  const int group = Lane() / 4;
  const int member = Lane() % 4;
  if constexpr (kTensor) {
    const float* upper = a + (WarpIndex() * 16 + group) * kStride + member;
    const float* lower = upper + 8 * kStride;
#pragma unroll 1
    for (int k = 0; k < kDim; k += 32) {
      const SplitSteps left = SplitFactor(
          [&](int step, int i) { return (i % 2 == 0 ? upper : lower)[k + step * 8 + i / 2 * 4]; });
#pragma unroll
      for (int part = 0; part < kTileParts; ++part) {
        const float* column = b + (part * 8 + group) * kStride + k + member;
        AddSteps(left, [&](int step, int i) { return column[step * 8 + i * 4]; }, values[part]);
      }
    }
  } else {
    const float* upper = a + (WarpIndex() * 16 + group) * kStride;
    const float* lower = upper + 8 * kStride;
#pragma unroll 1
    for (int k = 0; k < kDim; k += 4) {
      const float4 rows[2] = {Load4(upper + k), Load4(lower + k)};
#pragma unroll
      for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float4 column = Load4(b + (part * 8 + member * 2 + i) * kStride + k);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float sum = values[part][half * 2 + i];
            sum = __fmaf_rn(rows[half].x, column.x, sum);
            sum = __fmaf_rn(rows[half].y, column.y, sum);
            sum = __fmaf_rn(rows[half].z, column.z, sum);
            values[part][half * 2 + i] = __fmaf_rn(rows[half].w, column.w, sum);
          }
        }
      }
    }
  }
}

// product += weights b, where weights is a tile in the registers and b the tile's 64 rows of B; product is laid out as
// a tile's values.
template <int kDim, bool kTensor>
__device__ __forceinline__ void AddProduct(const TileValues& weights, const float* b, float (&product)[kDim / 8][4]) {
  constexpr int kStride = TileStride<kDim>();
  const int group = Lane() / 4;
  const int member = Lane() % 4;
  if constexpr (kTensor) {
    // A thread's two columns of a part, 2 t and 2 t + 1, stand in for the fragment's t and t + 4: the order of the
    // terms of a sum is free as long as both factors keep to it.
#pragma unroll
    for (int k = 0; k < kTileParts; k += 4) {
      const SplitSteps left = SplitFactor([&](int step, int i) { return weights[k + step][i % 2 * 2 + i / 2]; });
#pragma unroll
      for (int part = 0; part < kDim / 8; ++part) {
        const float* column = b + (k * 8 + member * 2) * kStride + part * 8 + group;
        AddSteps(left, [&](int step, int i) { return column[(step * 8 + i) * kStride]; }, product[part]);
      }
    }
  } else {
#pragma unroll
    for (int k = 0; k < kTileParts; ++k) {
#pragma unroll
      for (int column = 0; column < 8; ++column) {
        const int owner = group * 4 + column / 2;
        const float upper = __shfl_sync(kFullWarp, weights[k][column % 2], owner);
        const float lower = __shfl_sync(kFullWarp, weights[k][2 + column % 2], owner);
        const float* row = b + (k * 8 + column) * kStride + member * 2;
#pragma unroll
        for (int part = 0; part < kDim / 8; ++part) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const float factor = row[part * 8 + i];
            product[part][i] = __fmaf_rn(upper, factor, product[part][i]);
            product[part][2 + i] = __fmaf_rn(lower, factor, product[part][2 + i]);
          }
        }
      }
    }
  }
}

// Shared memory that SweepTiles takes.
template <int kDim>
__host__ __device__ constexpr size_t SweepBytes() {
  return 3 * TileBytes<kDim>();
}

struct SweepShape {
  const float* rows;
  int row_count;
  const float* columns;
  int column_count;
  int stride;
};

// Meets the block's rows [first_row, first_row + kTile) with the columns [begin, end): calls
// visit(first_column, values, tile) for every tile, where values are the inner products and `tile` the 64 rows of B in
// shared memory, dimensions [slice, slice + kDim). Where kDim holds the whole dimension, the next tile is on its way
// while one is worked on; else chunks of it pass through. All threads of the block call this.
template <int kDim, bool kTensor, class Visit>
__device__ __forceinline__ void SweepTiles(SharedMemory& shared, const SweepShape& shape, int first_row, int begin,
                                           int end, int slice, Visit visit) {
  constexpr int kSize = kTile * TileStride<kDim>();
  float* own = shared.template Take<float>(kSize);
  float* current = shared.template Take<float>(kSize);
  float* next = shared.template Take<float>(kSize);
  const bool whole = shape.stride <= kDim;
  if (whole) {
    LoadTile<kDim>(own, shape.rows, shape.row_count, shape.stride, first_row, 0);
    LoadTile<kDim>(current, shape.columns, shape.column_count, shape.stride, begin, 0);
    CpAsyncCommit();
  }
  for (int column = begin; column < end; column += kTile) {
    TileValues values;
    Clear(values);
    if (whole) {
      if (column + kTile < end) {
        LoadTile<kDim>(next, shape.columns, shape.column_count, shape.stride, column + kTile, 0);
      }
      CpAsyncCommit();
      CpAsyncWait<1>();
      __syncthreads();
      AddLogits<kDim, kTensor>(own, current, values);
    } else {
      for (int k = 0; k < shape.stride; k += kDim) {
        LoadTile<kDim>(own, shape.rows, shape.row_count, shape.stride, first_row, k);
        LoadTile<kDim>(current, shape.columns, shape.column_count, shape.stride, column, k);
        CpAsyncCommit();
        CpAsyncWait<0>();
        __syncthreads();
        AddLogits<kDim, kTensor>(own, current, values);
        __syncthreads();
      }
      LoadTile<kDim>(current, shape.columns, shape.column_count, shape.stride, column, slice);
      CpAsyncCommit();
      CpAsyncWait<0>();
      __syncthreads();
    }
    visit(column, values, current);
    __syncthreads();
    if (whole) {
      float* used = current;
      current = next;
      next = used;
    }
  }
  CpAsyncWait<0>();
}

// Dimensions that a sweep holds at a time. Longer rows pass in chunks, and each slice of a gradient computes the logits
// anew: tiles of 128 dimensions would spare that, but spill registers and double the time to compile.
inline constexpr int kTileDim = 64;

// Calls body(dimensions of a tile, whether by tensor cores), both as constants.
template <class Body>
void WithTile(const DeviceTraits& device, Body body) {
  const std::integral_constant<int, kTileDim> dim;
  if (FastTf32(device.capability)) {
    body(dim, std::true_type());
  } else {
    body(dim, std::false_type());
  }
}

}  // namespace prismrec::cuda

#endif  // PRISMREC_CUDA_TILE_CUH_
