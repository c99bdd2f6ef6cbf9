// Predictions and both gradients as products of tiles, and the rounds of one user in a block; see ../README.md.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_KERNELS_CUH_
#define PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_KERNELS_CUH_

#include "cuda/tile.cuh"

namespace prismrec::dynamic_routing {

using cuda::kTile;
using cuda::kTileParts;
using cuda::kTileThreads;
using cuda::TileColumn;
using cuda::TileRow;
using cuda::TileValues;

constexpr int kTileFloats = kTile * cuda::TileStride<kTile>();
constexpr size_t kPanelBytes = cuda::TileBytes<kTile>();
constexpr size_t kTileRowBytes = cuda::SharedBytes<int2>(kTile);

constexpr int kRouteThreads = 256;
constexpr int kRouteWarps = kRouteThreads / cuda::kWarpSize;
// Interests whose inner products with an event a warp sums up at a time.
constexpr int kRouteInterests = 4;

// Keeps the square root of a zero vector's length differentiable.
constexpr float kSquashEpsilon = 1e-9f;

// Up to kTile events that meet one map: rows [begin, begin + count) of the list of events.
struct RowTile {
  int map;
  int begin;
  int count;
  // Predictions [first, last) are all of which one of these events has a gradient.
  int first;
  int last;
};

// A problem on the device.
struct DeviceBatch {
  int length;
  int interests;
  int dim;
  // Of a map: interests * dim, or dim where an event says the same to every interest.
  int columns;
  bool shared;
  const float* events;
  const float* maps;
  // The list of events, as user and position.
  const int2* rows;
  const RowTile* tiles;
};

// A tile's events; user -1 beyond their number. A barrier must follow.
__device__ __forceinline__ void LoadRows(const DeviceBatch& batch, const RowTile& tile, int2* rows) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < kTile) rows[i] = i < tile.count ? batch.rows[tile.begin + i] : make_int2(-1, 0);
}

__device__ __forceinline__ size_t EventOf(const DeviceBatch& batch, int2 row) {
  return static_cast<size_t>(row.x) * batch.length + row.y;
}

// Columns [column, column + kTile) of kTile rows, row i from start(i), which is null for a row of zeros; zeros from
// column `columns` on. Asynchronous. `wide`: all starts are a multiple of 16 bytes, and so is a row. `any` is an address
// of the same kind that is never read.
template <class Start>
__device__ __forceinline__ void LoadPanel(float* tile, const float* any, int column, int columns, bool wide,
                                          Start start) {
  constexpr int kStride = cuda::TileStride<kTile>();
  if (wide) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * (kTile / 4); i += kTileThreads) {
      const int row = i / (kTile / 4);
      const int c = i % (kTile / 4) * 4;
      const float* from = start(row);
      const bool valid = from != nullptr && column + c < columns;
      cuda::CpAsync16(tile + row * kStride + c, valid ? from + column + c : any, valid);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kTileThreads) {
      const int row = i / kTile;
      const int c = i % kTile;
      const float* from = start(row);
      const bool valid = from != nullptr && column + c < columns;
      cuda::CpAsync4(tile + row * kStride + c, valid ? from + column + c : any, valid);
    }
  }
}

__device__ __forceinline__ void LoadEvents(const DeviceBatch& batch, const int2* rows, int column, float* tile) {
  LoadPanel(tile, batch.events, column, batch.dim, batch.dim % 4 == 0, [&](int row) -> const float* {
    return rows[row].x < 0 ? nullptr : batch.events + EventOf(batch, rows[row]) * batch.dim;
  });
}

// Rows [first, first + kTile) of a map.
__device__ __forceinline__ void LoadMap(const DeviceBatch& batch, int map, int first, int column, float* tile) {
  const float* weights = batch.maps + static_cast<size_t>(map) * batch.dim * batch.columns;
  LoadPanel(tile, weights, column, batch.columns, batch.columns % 4 == 0, [&](int row) -> const float* {
    return first + row < batch.dim ? weights + static_cast<size_t>(first + row) * batch.columns : nullptr;
  });
}

__device__ __forceinline__ void Arrive() {
  cuda::CpAsyncCommit();
  cuda::CpAsyncWait<0>();
  __syncthreads();
}

// Columns [column, columns) of a tile whose rows are events, to(event) the first column of one in memory.
template <class To>
__device__ __forceinline__ void StoreEvents(const TileValues& values, const int2* rows, int column, int columns,
                                            To to) {
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const int2 row = rows[TileRow(i)];
    if (row.x < 0) continue;
    float* out = to(row);
#pragma unroll
    for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const int c = column + TileColumn(part, side);
        if (c < columns) out[c] = values[part][i + side];
      }
    }
  }
}

// predictions [., columns] of the events of a tile, that of event t of user b in row offsets[b] + t.
// Grid: tiles x columns by kTile.
template <bool kTensor>
__global__ void __launch_bounds__(kTileThreads)
    PredictKernel(DeviceBatch batch, const uint32_t* offsets, float* predictions) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  int2* rows = shared.Take<int2>(kTile);
  float* events = shared.Take<float>(kTileFloats);
  float* map = shared.Take<float>(kTileFloats);
  const RowTile tile = batch.tiles[blockIdx.x];
  const int column = static_cast<int>(blockIdx.y) * kTile;
  LoadRows(batch, tile, rows);
  TileValues product;
  cuda::Clear(product);
  for (int k = 0; k < batch.dim; k += kTile) {
    __syncthreads();
    LoadEvents(batch, rows, k, events);
    LoadMap(batch, tile.map, k, column, map);
    Arrive();
    TileValues values;
#pragma unroll
    for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        values[part][i] = events[TileRow(i) * cuda::TileStride<kTile>() + TileColumn(part, i)];
      }
    }
    cuda::AddProduct<kTile, kTensor>(values, map, product);
  }
  StoreEvents(product, rows, column, batch.columns, [&](int2 row) {
    return predictions + static_cast<size_t>(offsets[row.x] + row.y) * batch.columns;
  });
}

struct RouteArgs {
  int first_user;
  int length;
  // Of the longest of the users.
  int most;
  int interests;
  int dim;
  int columns;
  // From one interest's predictions to the next one's.
  int interest_stride;
  int iterations;
  const uint32_t* lengths;
  // [users] row of a user's first prediction.
  const uint32_t* offsets;
  const float* initial;
  const float* predictions;
  // [users, RouteScratch], where shared memory does not hold what a user needs.
  float* scratch;
  float* vectors;
  float* sums;
  float* coefficients;
};

// Logits, coefficients and factors of a user, in floats.
__host__ __device__ constexpr size_t RouteScratch(int interests, int most) {
  return static_cast<size_t>(interests) * (2 * static_cast<size_t>(most) + 1);
}
// Shared memory of a user whose predictions, too, are there.
__host__ __device__ constexpr size_t RouteBytes(int interests, int most, int dim, int columns) {
  return cuda::SharedBytes<float>(static_cast<size_t>(most) * columns) +
         cuda::SharedBytes<float>(static_cast<size_t>(interests) * dim) +
         cuda::SharedBytes<float>(RouteScratch(interests, most));
}

// All rounds of one user. Grid: users. kShared: what a user needs is in shared memory, else in global memory.
template <bool kShared>
__global__ void __launch_bounds__(kRouteThreads, kShared ? 4 : 2) RouteKernel(RouteArgs args) {
  cuda::SharedMemory shared;
  const int user = args.first_user + static_cast<int>(blockIdx.x);
  const int n = static_cast<int>(args.lengths[user]);
  const int interests = args.interests;
  const int dim = args.dim;
  const int columns = args.columns;
  const int thread = static_cast<int>(threadIdx.x);
  const size_t first_sum = static_cast<size_t>(user) * interests * dim;
  const float* predictions = args.predictions + static_cast<size_t>(args.offsets[user]) * columns;
  float* sums = args.sums + first_sum;
  float* logits;
  if constexpr (kShared) {
    float* own = shared.Take<float>(args.most * columns);
    sums = shared.Take<float>(interests * dim);
    logits = shared.Take<float>(static_cast<int>(RouteScratch(interests, args.most)));
    if (columns % 4 == 0) {
      for (int i = thread * 4; i < n * columns; i += kRouteThreads * 4) cuda::CpAsync16(own + i, predictions + i, true);
    } else {
      for (int i = thread; i < n * columns; i += kRouteThreads) cuda::CpAsync4(own + i, predictions + i, true);
    }
    predictions = own;
  } else {
    logits = args.scratch + blockIdx.x * RouteScratch(interests, args.most);
  }
  float* weights = logits + static_cast<size_t>(interests) * args.most;
  float* factors = weights + static_cast<size_t>(interests) * args.most;
  for (int k = cuda::WarpIndex(); k < interests; k += kRouteWarps) {
    for (int t = cuda::Lane(); t < n; t += cuda::kWarpSize) {
      logits[static_cast<size_t>(k) * n + t] = args.initial[static_cast<size_t>(k) * args.length + t];
    }
  }
  Arrive();
  for (int round = 1; round <= args.iterations; ++round) {
    for (int t = thread; t < n; t += kRouteThreads) {
      float top = logits[t];
      for (int k = 1; k < interests; ++k) top = fmaxf(top, logits[static_cast<size_t>(k) * n + t]);
      float total = 0;
      for (int k = 0; k < interests; ++k) {
        const float weight = expf(logits[static_cast<size_t>(k) * n + t] - top);
        weights[static_cast<size_t>(k) * n + t] = weight;
        total += weight;
      }
      for (int k = 0; k < interests; ++k) weights[static_cast<size_t>(k) * n + t] /= total;
    }
    __syncthreads();
    for (int i = thread; i < interests * dim; i += kRouteThreads) {
      const int k = i / dim;
      const float* weight = weights + static_cast<size_t>(k) * n;
      const float* prediction = predictions + static_cast<size_t>(k) * args.interest_stride + i % dim;
      float sum = 0;
#pragma unroll 4
      for (int t = 0; t < n; ++t) sum = __fmaf_rn(weight[t], prediction[static_cast<size_t>(t) * columns], sum);
      sums[i] = sum;
    }
    __syncthreads();
    for (int k = cuda::WarpIndex(); k < interests; k += kRouteWarps) {
      float squares = 0;
      for (int c = cuda::Lane(); c < dim; c += cuda::kWarpSize) {
        const float x = sums[static_cast<size_t>(k) * dim + c];
        squares = __fmaf_rn(x, x, squares);
      }
      squares = cuda::WarpSum(squares);
      if (cuda::Lane() == 0) factors[k] = sqrtf(squares + kSquashEpsilon) / (1.0f + squares);
    }
    __syncthreads();
    if (round == args.iterations) break;
    // A warp to an event, several interests at a time, so that their reductions overlap.
    for (int t = cuda::WarpIndex(); t < n; t += kRouteWarps) {
      const float* prediction = predictions + static_cast<size_t>(t) * columns;
      for (int first = 0; first < interests; first += kRouteInterests) {
        float products[kRouteInterests];
#pragma unroll
        for (int j = 0; j < kRouteInterests; ++j) products[j] = 0;
        for (int c = cuda::Lane(); c < dim; c += cuda::kWarpSize) {
#pragma unroll
          for (int j = 0; j < kRouteInterests; ++j) {
            const size_t k = static_cast<size_t>(min(first + j, interests - 1));
            products[j] = __fmaf_rn(prediction[k * args.interest_stride + c], sums[k * dim + c], products[j]);
          }
        }
#pragma unroll
        for (int step = cuda::kWarpSize / 2; step > 0; step /= 2) {
#pragma unroll
          for (int j = 0; j < kRouteInterests; ++j) {
            products[j] += __shfl_xor_sync(cuda::kFullWarp, products[j], step);
          }
        }
#pragma unroll
        for (int j = 0; j < kRouteInterests; ++j) {
          const int k = first + j;
          if (k < interests && cuda::Lane() == j) {
            float& logit = logits[static_cast<size_t>(k) * n + t];
            logit = __fmaf_rn(factors[k], products[j], logit);
          }
        }
      }
    }
    __syncthreads();
  }
  for (int i = thread; i < interests * dim; i += kRouteThreads) {
    args.vectors[first_sum + i] = factors[i / dim] * sums[i];
    if constexpr (kShared) args.sums[first_sum + i] = sums[i];
  }
  for (int k = cuda::WarpIndex(); k < interests; k += kRouteWarps) {
    float* out = args.coefficients + (static_cast<size_t>(user) * interests + k) * args.length;
    for (int t = cuda::Lane(); t < args.length; t += cuda::kWarpSize) {
      out[t] = t < n ? weights[static_cast<size_t>(k) * n + t] : 0.0f;
    }
  }
}

constexpr int kSquashThreads = 128;
constexpr int kSquashRows = kSquashThreads / cuda::kWarpSize;

// A warp to an interest: v = s f(q) with q = |s|^2 and f = sqrt(q + e) / (1 + q), so ds = f dv + 2 f'(q) <s, dv> s.
__global__ void __launch_bounds__(kSquashThreads)
    SquashGradientKernel(const float* sums, const float* vector_gradient, int count, int dim, float* sum_gradient) {
  const int interest = static_cast<int>(blockIdx.x) * kSquashRows + cuda::WarpIndex();
  if (interest >= count) return;
  const float* s = sums + static_cast<size_t>(interest) * dim;
  const float* dv = vector_gradient + static_cast<size_t>(interest) * dim;
  float q = 0;
  float product = 0;
  for (int c = cuda::Lane(); c < dim; c += cuda::kWarpSize) {
    q = __fmaf_rn(s[c], s[c], q);
    product = __fmaf_rn(s[c], dv[c], product);
  }
  q = cuda::WarpSum(q);
  product = cuda::WarpSum(product);
  const float root = sqrtf(q + kSquashEpsilon);
  const float along = ((1.0f + q) / root - 2.0f * root) / ((1.0f + q) * (1.0f + q)) * product;
  const float factor = root / (1.0f + q);
  for (int c = cuda::Lane(); c < dim; c += cuda::kWarpSize) {
    sum_gradient[static_cast<size_t>(interest) * dim + c] = __fmaf_rn(factor, dv[c], along * s[c]);
  }
}

struct RouteGradient {
  const float* coefficients;  // [users, interests, length]
  const float* sums;          // [users, interests, dim]: the gradient of the sums
};

// The predictions' gradient, columns [column, column + kTile) of a tile's events. A barrier must follow.
__device__ __forceinline__ void FillPredictionGradient(const DeviceBatch& batch, const RouteGradient& gradient,
                                                       const int2* rows, int column, float* tile) {
  const int own = static_cast<int>(threadIdx.x) % kTile;
  const int c = column + own;
  const int first = batch.shared ? 0 : c / batch.dim;
  const int last = batch.shared ? batch.interests : first + 1;
  const int component = batch.shared ? c : c - first * batch.dim;
  for (int row = static_cast<int>(threadIdx.x) / kTile; row < kTile; row += kTileThreads / kTile) {
    const int2 event = rows[row];
    float sum = 0;
    if (event.x >= 0 && c < batch.columns) {
      for (int k = first; k < last; ++k) {
        const size_t interest = static_cast<size_t>(event.x) * batch.interests + k;
        sum = __fmaf_rn(gradient.coefficients[interest * batch.length + event.y],
                        gradient.sums[interest * batch.dim + component], sum);
      }
    }
    tile[row * cuda::TileStride<kTile>() + own] = sum;
  }
}

// event_gradient [users, length, dim], rows of a tile's events. Grid: tiles x dimensions by kTile.
template <bool kTensor>
__global__ void __launch_bounds__(kTileThreads)
    EventGradientKernel(DeviceBatch batch, RouteGradient gradient, float* event_gradient) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  int2* rows = shared.Take<int2>(kTile);
  float* slopes = shared.Take<float>(kTileFloats);
  float* map = shared.Take<float>(kTileFloats);
  const RowTile tile = batch.tiles[blockIdx.x];
  const int slice = static_cast<int>(blockIdx.y) * kTile;
  LoadRows(batch, tile, rows);
  TileValues values;
  cuda::Clear(values);
  for (int column = tile.first * batch.dim / kTile * kTile; column < tile.last * batch.dim; column += kTile) {
    __syncthreads();
    LoadMap(batch, tile.map, slice, column, map);
    FillPredictionGradient(batch, gradient, rows, column, slopes);
    Arrive();
    cuda::AddLogits<kTile, kTensor>(slopes, map, values);
  }
  __syncthreads();
  StoreEvents(values, rows, slice, batch.dim, [&](int2 row) {
    return event_gradient + EventOf(batch, row) * batch.dim;
  });
}

// Tiles [begin, end) of one map, whose sum goes to `out` [dim, columns].
struct MapPart {
  int begin;
  int end;
  float* out;
};

// Sums over the events of a part, in their order. Grid: parts x columns by kTile x rows of the map by kTile.
template <bool kTensor>
__global__ void __launch_bounds__(kTileThreads)
    MapGradientKernel(DeviceBatch batch, RouteGradient gradient, const MapPart* parts) {
  if constexpr (!cuda::kCompiled<kTensor>) return;
  cuda::SharedMemory shared;
  int2* rows = shared.Take<int2>(kTile);
  float* slopes = shared.Take<float>(kTileFloats);
  float* events = shared.Take<float>(kTileFloats);
  const MapPart part_of_map = parts[blockIdx.x];
  const int column = static_cast<int>(blockIdx.y) * kTile;
  const int slice = static_cast<int>(blockIdx.z) * kTile;
  TileValues product;
  cuda::Clear(product);
  for (int t = part_of_map.begin; t < part_of_map.end; ++t) {
    const RowTile tile = batch.tiles[t];
    if (tile.last * batch.dim <= column || tile.first * batch.dim >= column + kTile) continue;
    __syncthreads();
    LoadRows(batch, tile, rows);
    __syncthreads();
    LoadEvents(batch, rows, slice, events);
    FillPredictionGradient(batch, gradient, rows, column, slopes);
    Arrive();
    TileValues values;
#pragma unroll
    for (int part = 0; part < kTileParts; ++part) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        values[part][i] = events[TileColumn(part, i) * cuda::TileStride<kTile>() + TileRow(i)];
      }
    }
    cuda::AddProduct<kTile, kTensor>(values, slopes, product);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = slice + TileRow(i);
#pragma unroll
    for (int part = 0; part < kTileParts; ++part) {
      const int c = column + TileColumn(part, i);
      if (row < batch.dim && c < batch.columns) {
        part_of_map.out[static_cast<size_t>(row) * batch.columns + c] = product[part][i];
      }
    }
  }
}

constexpr int kSumThreads = 256;

// Adds up the parts of a map, [maps, parts, size], in order. Grid: elements x maps.
__global__ void __launch_bounds__(kSumThreads)
    SumPartsKernel(const float* sums, const int* maps, int parts, size_t size, float* map_gradient) {
  const size_t i = static_cast<size_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  if (i >= size) return;
  const float* from = sums + static_cast<size_t>(blockIdx.y) * parts * size + i;
  float sum = 0;
  for (int part = 0; part < parts; ++part) sum += from[static_cast<size_t>(part) * size];
  map_gradient[static_cast<size_t>(maps[blockIdx.y]) * size + i] = sum;
}

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_CUDA_KERNELS_CUH_
