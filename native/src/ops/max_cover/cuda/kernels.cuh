// Gains of sets, an inverted index, and picks that follow one another without the host; see ../README.md.
#ifndef PRISMREC_OPS_MAX_COVER_CUDA_KERNELS_CUH_
#define PRISMREC_OPS_MAX_COVER_CUDA_KERNELS_CUH_

#include "cuda/kernel.cuh"

namespace prismrec::max_cover {

constexpr int kThreads = 256;
constexpr int kMaxWarps = kThreads / cuda::kWarpSize;
// In more sets than this, an element's are walked by the whole grid instead of a warp.
constexpr uint32_t kLongList = 2048;
// The gain of a selected set: below 0, whatever is still subtracted from it.
constexpr long long kSelected = -(1LL << 62);

// A gain in units; its sign counts, but atomics are unsigned.
using Gain = unsigned long long;
__host__ __device__ constexpr long long Signed(Gain gain) { return static_cast<long long>(gain); }

// The sets, and what they have still to cover.
struct DeviceCover {
  const uint32_t* indptr;
  const uint32_t* indices;
  uint32_t sets;
  uint32_t elements;
  // [elements]; null: all weigh `unit`.
  const float* units;
  long long unit;
  // [elements] how often each still counts.
  uint32_t* left;
};

__device__ __forceinline__ long long UnitsOf(const DeviceCover& cover, uint32_t element) {
  return cover.units == nullptr ? cover.unit : static_cast<long long>(cover.units[element]);
}

// The sets that hold each element that weighs something: sets[first[i]] and the next count[i] - 1, in any order.
struct DeviceIndex {
  uint32_t* first;
  uint32_t* count;
  uint32_t* sets;
};

// What sets add now. Grid: sets; block: a warp, or more of them for large sets. `sets` null: sets [first_set, ...),
// each to its own place, else sets[i] to place i.
__global__ void __launch_bounds__(kThreads)
    GainsKernel(DeviceCover cover, const uint32_t* sets, uint32_t first_set, Gain* gains) {
  cuda::SharedMemory shared;
  Gain* parts = shared.Take<Gain>(kMaxWarps);
  const uint32_t set = sets != nullptr ? sets[blockIdx.x] : first_set + blockIdx.x;
  const size_t end = cover.indptr[set + 1];
  Gain sum = 0;
  for (size_t e = cover.indptr[set] + size_t{threadIdx.x}; e < end; e += blockDim.x) {
    const uint32_t element = cover.indices[e];
    if (cover.left[element] > 0) sum += static_cast<Gain>(UnitsOf(cover, element));
  }
  sum = cuda::WarpSum(sum);
  if (cuda::Lane() == 0) parts[cuda::WarpIndex()] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  const int warps = static_cast<int>(blockDim.x) / cuda::kWarpSize;
  for (int warp = 1; warp < warps; ++warp) sum += parts[warp];
  gains[sets != nullptr ? blockIdx.x : set] = sum;
}

// Three steps of an inverted index, of entries [first, first + number) each: how many sets an element has, room for
// them, and the sets. count is 0 on entry.
__global__ void __launch_bounds__(kThreads)
    CountKernel(DeviceCover cover, size_t first, size_t number, DeviceIndex index) {
  const size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= number) return;
  const uint32_t element = cover.indices[first + i];
  if (UnitsOf(cover, element) > 0) atomicAdd(&index.count[element], 1u);
}

// Takes room in the order in which warps arrive: where an element's sets lie decides nothing. Leaves count 0.
__global__ void __launch_bounds__(kThreads) RoomKernel(uint32_t elements, DeviceIndex index, uint32_t* used) {
  const size_t element = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  const uint32_t own = element < elements ? index.count[element] : 0;
  uint32_t until = own;
#pragma unroll
  for (int step = 1; step < cuda::kWarpSize; step *= 2) {
    const uint32_t before = __shfl_up_sync(cuda::kFullWarp, until, step);
    if (cuda::Lane() >= step) until += before;
  }
  uint32_t start = 0;
  if (cuda::Lane() == cuda::kWarpSize - 1) start = atomicAdd(used, until);
  start = __shfl_sync(cuda::kFullWarp, start, cuda::kWarpSize - 1);
  if (element >= elements) return;
  index.first[element] = start + until - own;
  index.count[element] = 0;
}

__global__ void __launch_bounds__(kThreads)
    FillKernel(DeviceCover cover, size_t first, size_t number, DeviceIndex index) {
  const size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= number) return;
  const uint32_t element = cover.indices[first + i];
  if (UnitsOf(cover, element) == 0) return;
  // The last set that begins at or before the entry; neighbours look at the same words.
  uint32_t low = 0;
  uint32_t high = cover.sets;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (cover.indptr[middle] <= first + i) {
      low = middle;
    } else {
      high = middle;
    }
  }
  index.sets[index.first[element] + atomicAdd(&index.count[element], 1u)] = low;
}

// A set and its worth; key 0: none. Keys are in the order of worths.
struct Best {
  long long key;
  unsigned long long set;  // wide, so that no byte is padding
};

__device__ __forceinline__ Best Better(Best a, Best b) {
  return b.key > a.key || (b.key == a.key && b.set < a.set) ? b : a;
}

__device__ __forceinline__ Best WarpBest(Best best) {
#pragma unroll
  for (int step = cuda::kWarpSize / 2; step > 0; step /= 2) {
    const Best other{__shfl_xor_sync(cuda::kFullWarp, best.key, step),
                     __shfl_xor_sync(cuda::kFullWarp, best.set, step)};
    best = Better(best, other);
  }
  return best;
}

constexpr size_t kBestBytes = cuda::SharedBytes<Best>(kMaxWarps);

// The same in every thread; a barrier is passed.
__device__ __forceinline__ Best BlockBest(Best best) {
  cuda::SharedMemory shared;
  Best* bests = shared.Take<Best>(kMaxWarps);
  best = WarpBest(best);
  if (cuda::Lane() == 0) bests[cuda::WarpIndex()] = best;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / cuda::kWarpSize;
  best = bests[0];
  for (int warp = 1; warp < warps; ++warp) best = Better(best, bests[warp]);
  return best;
}

struct GreedyState {
  double cost;
  uint32_t picks;
  // The set of the last pick.
  uint32_t picked;
  uint32_t long_lists;
  uint32_t done;
};

struct DeviceGreedy {
  DeviceCover cover;
  DeviceIndex index;
  Gain* gains;         // [sets]
  const float* costs;  // [sets], nullable
  double max_cost;
  long long least_gain;
  uint32_t limit;
  GreedyState* state;
  // Of every block that looks for the best.
  Best* bests;
  uint32_t* long_lists;
  // In the order of selection.
  uint32_t* picks;
  Gain* pick_gains;
};

__device__ __forceinline__ double CostOf(const DeviceGreedy& greedy, uint32_t set) {
  return greedy.costs == nullptr ? 1.0 : static_cast<double>(greedy.costs[set]);
}

// The best set of each block's share; with `history` [., sets], also what all sets would add, in the row of the number
// of picks since `first_pick`.
template <bool kRatio>
__global__ void __launch_bounds__(kThreads, 4) BestKernel(DeviceGreedy greedy, Gain* history, uint32_t first_pick) {
  if (greedy.state->done != 0) return;
  const double spent = greedy.state->cost;
  Gain* row = history == nullptr ? nullptr
                                 : history + static_cast<size_t>(greedy.state->picks - first_pick) * greedy.cover.sets;
  Best best{0, ~0ull};
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t s = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; s < greedy.cover.sets; s += step) {
    const long long gain = Signed(greedy.gains[s]);
    if (row != nullptr) row[s] = static_cast<Gain>(gain);
    if (gain < greedy.least_gain) continue;
    long long key = gain;
    if (greedy.costs != nullptr) {
      const double cost = CostOf(greedy, static_cast<uint32_t>(s));
      if (!(spent + cost <= greedy.max_cost)) continue;
      // Of positive numbers, the bits are in the numbers' order.
      if constexpr (kRatio) key = __double_as_longlong(static_cast<double>(gain) / cost);
    }
    best = Better(best, {key, s});
  }
  best = BlockBest(best);
  if (threadIdx.x == 0) greedy.bests[blockIdx.x] = best;
}

// Picks the best of all blocks, or ends the run. One block.
__global__ void __launch_bounds__(kThreads) PickKernel(DeviceGreedy greedy, uint32_t blocks) {
  if (greedy.state->done != 0) return;
  Best best{0, ~0ull};
  for (uint32_t i = threadIdx.x; i < blocks; i += blockDim.x) best = Better(best, greedy.bests[i]);
  best = BlockBest(best);
  if (threadIdx.x > 0) return;
  GreedyState state = *greedy.state;
  if (best.key == 0 || state.picks == greedy.limit) {
    state.done = 1;
  } else {
    const uint32_t set = static_cast<uint32_t>(best.set);
    greedy.picks[state.picks] = set;
    greedy.pick_gains[state.picks] = greedy.gains[set];
    greedy.gains[set] = static_cast<Gain>(kSelected);
    state.cost += CostOf(greedy, set);
    state.picks += 1;
    state.picked = set;
    state.long_lists = 0;
  }
  *greedy.state = state;
}

// Covers the elements of the last pick once more; the sets that hold those that now count no further lose their worth.
__global__ void __launch_bounds__(kThreads) CoverKernel(DeviceGreedy greedy) {
  if (greedy.state->done != 0) return;
  const DeviceCover& cover = greedy.cover;
  const uint32_t set = greedy.state->picked;
  const size_t begin = cover.indptr[set];
  const size_t end = cover.indptr[set + 1];
  const size_t warp = static_cast<size_t>(blockIdx.x) * (blockDim.x / cuda::kWarpSize) + cuda::WarpIndex();
  const size_t warps = static_cast<size_t>(gridDim.x) * (blockDim.x / cuda::kWarpSize);
  // A warp looks at its share of elements, at most 32 at a time, then walks the lists of those that are exhausted one by
  // one: of a small set, each has a warp of its own.
  const size_t share = min((end - begin + warps - 1) / warps, static_cast<size_t>(cuda::kWarpSize));
  for (size_t from = begin + warp * share; from < end; from += warps * share) {
    const size_t e = from + cuda::Lane();
    uint32_t first = 0;
    uint32_t count = 0;
    Gain units = 0;
    if (e < end && e < from + share) {
      const uint32_t element = cover.indices[e];
      const uint32_t left = cover.left[element];
      if (left > 0) cover.left[element] = left - 1;
      if (left == 1) {
        first = greedy.index.first[element];
        count = greedy.index.count[element];
        units = static_cast<Gain>(UnitsOf(cover, element));
        if (count > kLongList) {
          greedy.long_lists[atomicAdd(&greedy.state->long_lists, 1u)] = element;
          count = 0;
        }
      }
    }
    for (unsigned votes = __ballot_sync(cuda::kFullWarp, count > 0); votes != 0; votes &= votes - 1) {
      const int owner = __ffs(static_cast<int>(votes)) - 1;
      const uint32_t* sets = greedy.index.sets + __shfl_sync(cuda::kFullWarp, first, owner);
      const uint32_t number = __shfl_sync(cuda::kFullWarp, count, owner);
      const Gain loss = __shfl_sync(cuda::kFullWarp, units, owner);
      for (uint32_t i = cuda::Lane(); i < number; i += cuda::kWarpSize) atomicAdd(&greedy.gains[sets[i]], 0 - loss);
    }
  }
}

// The same for the long lists that CoverKernel has left.
__global__ void __launch_bounds__(kThreads) CoverLongKernel(DeviceGreedy greedy) {
  if (greedy.state->done != 0) return;
  const uint32_t lists = greedy.state->long_lists;
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (uint32_t list = 0; list < lists; ++list) {
    const uint32_t element = greedy.long_lists[list];
    const uint32_t* sets = greedy.index.sets + greedy.index.first[element];
    const size_t count = greedy.index.count[element];
    const Gain loss = static_cast<Gain>(UnitsOf(greedy.cover, element));
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
      atomicAdd(&greedy.gains[sets[i]], 0 - loss);
    }
  }
}

// Covers a set's elements once more, where no index follows. Grid: elements of the set.
__global__ void __launch_bounds__(kThreads) TakeKernel(DeviceCover cover, uint32_t set) {
  const size_t e = cover.indptr[set] + static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (e >= cover.indptr[set + 1]) return;
  uint32_t& left = cover.left[cover.indices[e]];
  if (left > 0) --left;
}

// Sets as the bound sees them: by what they add and by what they add per cost, in bins of the upper bits of a double.
struct DeviceOffers {
  const Gain* gains;
  const float* costs;  // nullable
  double max_cost;
  uint32_t sets;
};
constexpr int kBinShift = 48;  // an exponent and 4 bits of fraction
constexpr int kBins = 1 << (63 - kBinShift);
// What a set of the whole budget costs in a bin's sum.
constexpr double kBinCost = 2147483648.0;

__device__ __forceinline__ uint32_t BinOf(double worth) {
  return static_cast<uint32_t>(__double_as_longlong(worth) >> kBinShift);
}
__device__ __forceinline__ bool Offered(const DeviceOffers& offers, size_t set) {
  return set < offers.sets && Signed(offers.gains[set]) > 0 &&
         (offers.costs == nullptr || static_cast<double>(offers.costs[set]) <= offers.max_cost);
}

// counts [kBins] how many sets there are, by gain; costs [kBins], nullable: what they cost at least, by gain per cost.
__global__ void __launch_bounds__(kThreads) BinKernel(DeviceOffers offers, uint32_t* counts, Gain* costs) {
  const size_t set = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (!Offered(offers, set)) return;
  const double gain = static_cast<double>(Signed(offers.gains[set]));
  atomicAdd(&counts[BinOf(gain)], 1u);
  if (costs == nullptr) return;
  const double cost = static_cast<double>(offers.costs[set]);
  atomicAdd(&costs[BinOf(gain / cost)], static_cast<Gain>(cost / offers.max_cost * kBinCost));
}

// Appends the sets of the bins from `gain_bin` on, and of those from `ratio_bin` on; the host puts them in order.
__global__ void __launch_bounds__(kThreads)
    CollectKernel(DeviceOffers offers, uint32_t gain_bin, uint32_t ratio_bin, uint32_t* count, uint32_t* sets,
                  Gain* gains) {
  const size_t set = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (!Offered(offers, set)) return;
  const double gain = static_cast<double>(Signed(offers.gains[set]));
  if (BinOf(gain) < gain_bin) {
    if (ratio_bin == kBins || BinOf(gain / static_cast<double>(offers.costs[set])) < ratio_bin) return;
  }
  const uint32_t at = atomicAdd(count, 1u);
  sets[at] = static_cast<uint32_t>(set);
  gains[at] = offers.gains[set];
}

__global__ void __launch_bounds__(kThreads) SelectKernel(const uint32_t* picks, uint32_t count, Gain* gains) {
  const size_t i = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) gains[picks[i]] = static_cast<Gain>(kSelected);
}

}  // namespace prismrec::max_cover

#endif  // PRISMREC_OPS_MAX_COVER_CUDA_KERNELS_CUH_
