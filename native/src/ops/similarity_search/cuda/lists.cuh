// From marked items to lists: scores in single precision, candidates, the best k of them in order.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_LISTS_CUH_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_LISTS_CUH_

#include "ops/similarity_search/cuda/scan.cuh"
#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {

inline constexpr int kListThreads = 128;
inline constexpr int kListWarps = kListThreads / cuda::kWarpSize;
// Words of marks that a block takes at most.
inline constexpr int kMostWords = 2 * kListThreads;
// Lanes that share a product; each sums every fourth piece of four dimensions.
inline constexpr int kProductLanes = 4;
// At most: a thread has eight of a run's candidates.
inline constexpr int kSortThreads = 512;
// Candidates that are sorted in shared memory.
inline constexpr int kRun = 4096;
inline constexpr int kRowTransposed = 32;
// Of a radix selection: digits of a key, and their values.
inline constexpr int kSelectThreads = 512;
inline constexpr int kDigitBits = 8;
inline constexpr int kDigits = 1 << kDigitBits;
inline constexpr int kPasses = 64 / kDigitBits;

// Candidates of each query, by a key that orders: score descending, then id ascending, is key descending. The list so
// far comes first.
struct Candidates {
  uint64_t* keys;       // [queries, capacity]
  uint32_t* interests;  // [queries, capacity]
};
struct Lists {
  Candidates candidates;
  size_t capacity;
  unsigned* counts;  // [queries] beyond the capacity: candidates are lost
  uint64_t* floors;  // [queries] candidates whose key is not above it have k better ones; 0: there are not yet k
};

struct Exclusions {
  const uint64_t* first;  // [queries + 1]
  const uint32_t* ids;    // ascending for each query
};

__device__ __forceinline__ uint64_t KeyOf(float score, uint32_t id) {
  uint32_t bits = __float_as_uint(score + 0.0f);  // -0 is 0
  bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(bits) << 32 | static_cast<uint32_t>(~id);
}

__device__ __forceinline__ float ScoreOf(uint64_t key) {
  const uint32_t bits = static_cast<uint32_t>(key >> 32);
  return __uint_as_float((bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits);
}

__device__ __forceinline__ uint32_t IdOf(uint64_t key) { return ~static_cast<uint32_t>(key); }

__device__ __forceinline__ bool Excluded(const Exclusions& exclusions, int query, uint32_t id) {
  if (exclusions.ids == nullptr) return false;
  uint64_t begin = exclusions.first[query];
  uint64_t end = exclusions.first[query + 1];
  while (begin < end) {
    const uint64_t middle = begin + (end - begin) / 2;
    const uint32_t found = exclusions.ids[middle];
    if (found == id) return true;
    if (found < id) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return false;
}

// Panels [d][kPanel] to rows [kPanel][stride] with zeros beyond d. Grid: panels x pieces of kRowTransposed dimensions.
__global__ void __launch_bounds__(kListThreads) TransposeKernel(const float* panels, int d, int stride, float* rows) {
  cuda::SharedMemory shared;
  constexpr int kStride = kPanel + 1;
  float* piece = shared.Take<float>(kRowTransposed * kStride);
  const size_t panel = blockIdx.x;
  const int first = static_cast<int>(blockIdx.y) * kRowTransposed;
  for (int x = cuda::WarpIndex(); x < kRowTransposed; x += kListWarps) {
    const float value = first + x < d ? panels[(panel * d + first + x) * kPanel + cuda::Lane()] : 0.0f;
    piece[x * kStride + cuda::Lane()] = value;
  }
  __syncthreads();
  if (first + cuda::Lane() >= stride) return;
  for (int i = cuda::WarpIndex(); i < kPanel; i += kListWarps) {
    rows[(panel * kPanel + i) * stride + first + cuda::Lane()] = piece[cuda::Lane() * kStride + i];
  }
}

// Scores the items that are marked in `hits` [queries, round.panels] (null: all that are allowed) and appends those
// above the query's floor to its candidates. Four lanes to an item, always the same order of additions.
// Grid: ranges of `words` panels x queries. `scored` counts pairs, nullable.
__global__ void __launch_bounds__(kListThreads)
    ScoreKernel(DeviceItems items, QueryRows rows, const int* first_row, Exclusions exclusions, Round round,
                const uint32_t* hits, int words, bool sums, Lists lists, Counter* scored) {
  const int query = static_cast<int>(blockIdx.y);
  const int first = first_row[query];
  const int last = first_row[query + 1];
  if (first == last) return;  // all threads
  cuda::SharedMemory shared;
  uint16_t* marked = shared.Take<uint16_t>(words * kPanel);
  int* totals = shared.Take<int>(kListWarps);
  const int begin = static_cast<int>(blockIdx.x) * words;
  const int end = min(begin + words, round.panels);

  uint32_t own[kMostWords / kListThreads];
  int count = 0;
#pragma unroll
  for (int n = 0; n < kMostWords / kListThreads; ++n) {
    const int panel = begin + n * kListThreads + static_cast<int>(threadIdx.x);
    own[n] = panel >= end      ? 0
             : hits == nullptr ? items.allowed[round.first_panel + panel]
                               : hits[static_cast<size_t>(query) * round.panels + panel];
    count += __popc(own[n]);
  }
  int upto = count;  // of this lane and those below
#pragma unroll
  for (int step = 1; step < cuda::kWarpSize; step *= 2) {
    const int other = __shfl_up_sync(cuda::kFullWarp, upto, step);
    if (cuda::Lane() >= step) upto += other;
  }
  if (cuda::Lane() == cuda::kWarpSize - 1) totals[cuda::WarpIndex()] = upto;
  __syncthreads();
  int at = upto - count;
  int total = 0;
#pragma unroll
  for (int warp = 0; warp < kListWarps; ++warp) {
    if (warp < cuda::WarpIndex()) at += totals[warp];
    total += totals[warp];
  }
#pragma unroll
  for (int n = 0; n < kMostWords / kListThreads; ++n) {
    for (uint32_t left = own[n]; left != 0; left &= left - 1) {
      const int bit = __ffs(static_cast<int>(left)) - 1;
      marked[at++] = static_cast<uint16_t>((n * kListThreads + static_cast<int>(threadIdx.x)) * kPanel + bit);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0 && total > 0 && scored != nullptr) {
    atomicAdd(scored, static_cast<Counter>(total) * static_cast<Counter>(last - first));
  }

  const int member = cuda::Lane() % kProductLanes;
  for (int base = 0; base < total; base += kListThreads / kProductLanes) {
    const int n = base + static_cast<int>(threadIdx.x) / kProductLanes;
    const size_t position =
        static_cast<size_t>(round.first_panel + begin) * kPanel + marked[n < total ? n : 0];
    const float* item = items.rows + position * items.stride;
    float top = 0;
    float sum = 1;
    int winner = first;
    for (int row = first; row < last; ++row) {
      const float* h = rows.data + static_cast<size_t>(row) * rows.stride;
      float product = 0;
      for (int x = member * 4; x < rows.stride; x += kProductLanes * 4) {
        const float4 a = cuda::Load4(h + x);
        const float4 b = cuda::Load4(item + x);
        product = __fmaf_rn(a.x, b.x, product);
        product = __fmaf_rn(a.y, b.y, product);
        product = __fmaf_rn(a.z, b.z, product);
        product = __fmaf_rn(a.w, b.w, product);
      }
#pragma unroll
      for (int step = 1; step < kProductLanes; step *= 2) {
        product += __shfl_xor_sync(cuda::kFullWarp, product, step);
      }
      const float term = product + rows.offsets[row];
      if (row == first) {
        top = term;
      } else if (term > top) {
        if (sums) sum = sum * expf(top - term) + 1.0f;
        top = term;
        winner = row;
      } else if (sums) {
        sum += expf(term - top);
      }
    }
    if (member != 0 || n >= total) continue;
    float score = sums ? top + logf(sum) : top;
    if (items.bias != nullptr) score += items.bias[position];
    const uint32_t id = items.ids[position];
    const uint64_t key = KeyOf(score, id);
    if (key <= lists.floors[query] || Excluded(exclusions, query, id)) continue;
    const unsigned slot = atomicAdd(lists.counts + query, 1u);
    if (slot >= lists.capacity) continue;
    lists.candidates.keys[query * lists.capacity + slot] = key;
    lists.candidates.interests[query * lists.capacity + slot] = rows.interests[winner];
  }
}

// Sorts runs of `run` candidates, best first. Grid: runs x queries.
__global__ void __launch_bounds__(kSortThreads) SortKernel(Lists lists, int run) {
  const size_t query = blockIdx.y;
  const size_t first = static_cast<size_t>(blockIdx.x) * run;
  const size_t count = min(static_cast<size_t>(lists.counts[query]), lists.capacity);
  if (first >= count) return;  // all threads
  const int own = static_cast<int>(min(count - first, static_cast<size_t>(run)));
  int size = 2;
  while (size < own) size *= 2;
  cuda::SharedMemory shared;
  uint64_t* keys = shared.Take<uint64_t>(run);
  uint32_t* interests = shared.Take<uint32_t>(run);
  const int threads = static_cast<int>(blockDim.x);
  uint64_t* all_keys = lists.candidates.keys + query * lists.capacity + first;
  uint32_t* all_interests = lists.candidates.interests + query * lists.capacity + first;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += threads) {
    keys[i] = i < own ? all_keys[i] : 0;  // below all candidates
    interests[i] = i < own ? all_interests[i] : 0;
  }
  // A bitonic sort.
  for (int length = 2; length <= size; length *= 2) {
    for (int step = length / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += threads) {
        const int low = (i & ~(step - 1)) * 2 + (i & (step - 1));
        const int high = low + step;
        const uint64_t a = keys[low];
        const uint64_t b = keys[high];
        if ((a < b) != ((low & length) == 0)) continue;
        keys[low] = b;
        keys[high] = a;
        const uint32_t interest = interests[low];
        interests[low] = interests[high];
        interests[high] = interest;
      }
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < own; i += threads) {
    all_keys[i] = keys[i];
    all_interests[i] = interests[i];
  }
}

// Merges neighbouring runs: a candidate's place is its own plus the number of better ones in the other run.
// Grid: candidates x queries.
__global__ void __launch_bounds__(kListThreads) MergeKernel(Lists lists, size_t run, Candidates to) {
  const size_t query = blockIdx.y;
  const size_t count = min(static_cast<size_t>(lists.counts[query]), lists.capacity);
  const size_t i = static_cast<size_t>(blockIdx.x) * kListThreads + threadIdx.x;
  if (i >= count) return;
  const size_t offset = query * lists.capacity;
  const uint64_t* keys = lists.candidates.keys + offset;
  const uint64_t key = keys[i];
  const size_t first = i / (2 * run) * (2 * run);
  const bool upper = i >= first + run;
  const size_t other = upper ? first : first + run;
  size_t begin = min(other, count);
  size_t end = min(other + run, count);
  while (begin < end) {
    const size_t middle = begin + (end - begin) / 2;
    if (keys[middle] > key) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  const size_t better = begin - min(other, count);
  const size_t place = first + (upper ? i - first - run : i - first) + better;
  to.keys[offset + place] = key;
  to.interests[offset + place] = lists.candidates.interests[offset + i];
}

// Before a pass, one for each digit from the top: those of a query's candidates whose key has the earlier digits of
// `prefix` (the others of it are 0). They are `count`, of which the best `left` are among the query's best k, behind
// all those with a larger prefix.
struct Bucket {
  uint64_t prefix;
  unsigned count;
  unsigned left;

  // Then the best k are the keys from `prefix` on.
  __device__ __forceinline__ bool Exact() const { return count == left; }
};

// What the launches of a selection by several blocks of a query tell each other.
struct Passes {
  Bucket* buckets;     // [kPasses, queries] before a pass
  unsigned* counts;    // [kPasses, queries, kDigits] of a pass, zero before
  unsigned* kept;      // [queries] zero before
  unsigned long long* floors;  // [queries] the largest number before
  int queries;

  __device__ __forceinline__ size_t At(int pass, int query) const {
    return static_cast<size_t>(pass) * queries + query;
  }
};

// A query's candidates [begin, end) of `count`, the share of a block.
struct Share {
  size_t count, begin, end;
};
__device__ __forceinline__ Share ShareOf(const Lists& lists, int query) {
  const size_t count = min(static_cast<size_t>(lists.counts[query]), lists.capacity);
  const size_t each = (count + gridDim.x - 1) / gridDim.x;
  return {count, min(blockIdx.x * each, count), min((blockIdx.x + 1) * each, count)};
}

__device__ __forceinline__ Bucket FirstBucket(size_t count, size_t k) {
  return {0, static_cast<unsigned>(count), static_cast<unsigned>(min(count, k))};
}

// Counts the bucket's keys by the pass's digit. Barriers must surround it.
__device__ __forceinline__ void CountDigits(const uint64_t* keys, const Share& share, const Bucket& bucket, int pass,
                                            unsigned* counts) {
  const int shift = 64 - kDigitBits - pass * kDigitBits;
  for (size_t i = share.begin + threadIdx.x; i < share.end; i += kSelectThreads) {
    const uint64_t key = keys[i];
    // The earlier digits, and this one.
    const uint64_t digits = (key ^ bucket.prefix) >> shift;
    if (digits < kDigits) atomicAdd(counts + digits, 1u);
  }
}

// The part of a bucket with the last key of the best k, from what a pass has counted. For a whole warp.
__device__ __forceinline__ Bucket Narrow(const Bucket& bucket, int pass, const unsigned* counts) {
  constexpr int kOwn = kDigits / cuda::kWarpSize;
  unsigned own[kOwn];
  unsigned from = 0;  // of this lane's digits and those above
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    own[i] = counts[cuda::Lane() * kOwn + i];
    from += own[i];
  }
  const unsigned mine = from;
#pragma unroll
  for (int step = 1; step < cuda::kWarpSize; step *= 2) {
    const unsigned other = __shfl_down_sync(cuda::kFullWarp, from, step);
    if (cuda::Lane() + step < cuda::kWarpSize) from += other;
  }
  const unsigned above = from - mine;
  const unsigned lanes = __ballot_sync(cuda::kFullWarp, above < bucket.left && bucket.left <= from);
  unsigned left = bucket.left - above;
  unsigned count = 0;
  int digit = 0;
#pragma unroll
  for (int i = kOwn - 1; i >= 0; --i) {
    if (count >= left) continue;
    left -= count;
    count = own[i];
    digit = cuda::Lane() * kOwn + i;
  }
  const int source = __ffs(static_cast<int>(lanes)) - 1;
  count = __shfl_sync(cuda::kFullWarp, count, source);
  left = __shfl_sync(cuda::kFullWarp, left, source);
  digit = __shfl_sync(cuda::kFullWarp, digit, source);
  return {bucket.prefix | static_cast<uint64_t>(digit) << (64 - kDigitBits - pass * kDigitBits), count, left};
}

// Moves the share's candidates from `least` on to `to`, wherever there is room next, and finds the least of them. The
// order is not repeatable, what is there is.
__device__ __forceinline__ void Keep(const Candidates& from, const Candidates& to, size_t offset, const Share& share,
                                     uint64_t least, unsigned* kept, unsigned long long* floor) {
  uint64_t below = 0;  // ~ of the least
  for (size_t first = share.begin + cuda::WarpIndex() * cuda::kWarpSize; first < share.end; first += kSelectThreads) {
    const size_t i = first + cuda::Lane();
    const uint64_t key = i < share.end ? from.keys[offset + i] : 0;
    const bool keep = i < share.end && key >= least;
    const unsigned lanes = __ballot_sync(cuda::kFullWarp, keep);
    unsigned slot = 0;
    if (cuda::Lane() == 0 && lanes != 0) slot = atomicAdd(kept, static_cast<unsigned>(__popc(lanes)));
    slot = __shfl_sync(cuda::kFullWarp, slot, 0);
    if (!keep) continue;
    below = max(below, ~key);
    const size_t at = offset + slot + __popc(lanes & ((1u << cuda::Lane()) - 1));
    to.keys[at] = key;
    to.interests[at] = from.interests[offset + i];
  }
  below = cuda::WarpMax(below);
  if (cuda::Lane() == 0 && below != 0) atomicMin(floor, static_cast<unsigned long long>(~below));
}

// Leaves the best k of a query's candidates, in any order, in `to`, and the last one's key for its floor: a radix
// selection, digit by digit from the top until no candidate is in question. Grid: 1 x queries.
__global__ void __launch_bounds__(kSelectThreads) SelectKernel(Lists lists, Candidates to, size_t k,
                                                               unsigned long long* floors) {
  const int query = static_cast<int>(blockIdx.y);
  const size_t offset = query * lists.capacity;
  cuda::SharedMemory shared;
  Bucket* bucket = shared.Take<Bucket>(1);
  unsigned* counts = shared.Take<unsigned>(kDigits);
  unsigned* kept = shared.Take<unsigned>(1);
  unsigned long long* floor = shared.Take<unsigned long long>(1);
  const Share share = ShareOf(lists, query);
  if (threadIdx.x == 0) {
    *bucket = FirstBucket(share.count, k);
    *kept = 0;
    *floor = ~0ull;
  }
  __syncthreads();
  for (int pass = 0; pass < kPasses && !bucket->Exact(); ++pass) {
    for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += kSelectThreads) counts[i] = 0;
    __syncthreads();
    CountDigits(lists.candidates.keys + offset, share, *bucket, pass, counts);
    __syncthreads();
    if (cuda::WarpIndex() == 0) {
      const Bucket narrower = Narrow(*bucket, pass, counts);
      __syncwarp(cuda::kFullWarp);
      if (cuda::Lane() == 0) *bucket = narrower;
    }
    __syncthreads();
  }
  Keep(lists.candidates, to, offset, share, bucket->prefix, kept, floor);
  __syncthreads();
  if (threadIdx.x == 0) floors[query] = *floor;
}

// The bucket before a pass: that before the last one, narrowed by what that one counted. For a whole block.
__device__ __forceinline__ Bucket BucketBefore(const Passes& passes, int pass, int query, const Share& share, size_t k,
                                               Bucket* shared) {
  if (cuda::WarpIndex() == 0) {
    Bucket bucket = pass == 0 ? FirstBucket(share.count, k) : passes.buckets[passes.At(pass - 1, query)];
    if (pass > 0 && !bucket.Exact()) {
      bucket = Narrow(bucket, pass - 1, passes.counts + passes.At(pass - 1, query) * kDigits);
    }
    if (cuda::Lane() == 0) *shared = bucket;
  }
  __syncthreads();
  return *shared;
}

// One digit of what SelectKernel does, by several blocks to a query. Grid: shares x queries.
__global__ void __launch_bounds__(kSelectThreads) CountDigitsKernel(Lists lists, size_t k, int pass, Passes passes) {
  const int query = static_cast<int>(blockIdx.y);
  cuda::SharedMemory shared;
  Bucket* piece = shared.Take<Bucket>(1);
  unsigned* counts = shared.Take<unsigned>(kDigits);
  for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += kSelectThreads) counts[i] = 0;
  const Share share = ShareOf(lists, query);
  const Bucket bucket = BucketBefore(passes, pass, query, share, k, piece);
  if (blockIdx.x == 0 && threadIdx.x == 0) passes.buckets[passes.At(pass, query)] = bucket;
  if (bucket.Exact()) return;  // all threads
  CountDigits(lists.candidates.keys + query * lists.capacity, share, bucket, pass, counts);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kDigits; i += kSelectThreads) {
    if (counts[i] != 0) atomicAdd(passes.counts + passes.At(pass, query) * kDigits + i, counts[i]);
  }
}

// What SelectKernel does when the digits are counted. Grid: shares x queries.
__global__ void __launch_bounds__(kSelectThreads) KeepKernel(Lists lists, Candidates to, size_t k, Passes passes) {
  const int query = static_cast<int>(blockIdx.y);
  cuda::SharedMemory shared;
  const Share share = ShareOf(lists, query);
  const Bucket bucket = BucketBefore(passes, kPasses, query, share, k, shared.Take<Bucket>(1));
  Keep(lists.candidates, to, query * lists.capacity, share, bucket.prefix, passes.kept + query, passes.floors + query);
}

// What scores can be off by, and what lies between a term and a score.
struct Slack {
  double largest_bias;
  double underflow;
  bool sums;
};

// A product + bias below it cannot be part of a score that reaches `threshold`: rounded down by more than the roundings
// of a score can add up to.
__device__ __forceinline__ float LimitOf(float threshold, float offset, int interests, const Slack& slack) {
  constexpr double kUnit = 1.0 / (1 << 24);
  const double count = interests;
  // A log-sum-exp lies at most log(count) above its largest term.
  const double above = slack.sums && interests > 1 ? log(count) * 1.00001 + 1e-5 + 5e-7 * count : 0.0;
  const double size = fabs(static_cast<double>(threshold)) + fabs(static_cast<double>(offset)) + above +
                      slack.largest_bias;
  const double limit = static_cast<double>(threshold) - static_cast<double>(offset) - above - 16 * kUnit * size -
                       slack.underflow;
  return nextafterf(static_cast<float>(limit), -INFINITY);
}

// Counts no more than the best k, which come first now, and raises the floors and limits. `selected`: the keys of the
// last ones, null where the candidates are sorted. A warp to a query.
__global__ void __launch_bounds__(kListThreads)
    CutKernel(Lists lists, QueryRows rows, const int* first_row, int queries, size_t k,
              const unsigned long long* selected, Slack slack, int* overflow) {
  const int query = static_cast<int>(blockIdx.x) * kListWarps + cuda::WarpIndex();
  if (query >= queries) return;
  const size_t found = lists.counts[query];
  const size_t count = min(found, lists.capacity);
  const uint64_t floor = count < k             ? 0
                         : selected != nullptr ? selected[query]
                                               : lists.candidates.keys[query * lists.capacity + k - 1];
  __syncwarp(cuda::kFullWarp);
  if (cuda::Lane() == 0) {
    lists.counts[query] = static_cast<unsigned>(min(count, k));
    lists.floors[query] = floor;
    if (found > lists.capacity) atomicOr(overflow, 1);
  }
  if (floor == 0) return;
  const int first = first_row[query];
  const int last = first_row[query + 1];
  for (int row = first + cuda::Lane(); row < last; row += cuda::kWarpSize) {
    rows.limits[row] = LimitOf(ScoreOf(floor), rows.offsets[row], last - first, slack);
  }
}

// Grid: places of all lists.
__global__ void __launch_bounds__(kListThreads)
    FinishKernel(Lists lists, size_t places, size_t k, uint32_t* ids, float* scores, uint16_t* interests) {
  const size_t i = static_cast<size_t>(blockIdx.x) * kListThreads + threadIdx.x;
  if (i >= places) return;
  const size_t query = i / k;
  const size_t n = i % k;
  const bool valid = n < lists.counts[query];
  const size_t at = query * lists.capacity + n;
  const uint64_t key = valid ? lists.candidates.keys[at] : 0;
  ids[i] = valid ? IdOf(key) : kNoItem;
  scores[i] = valid ? ScoreOf(key) : -INFINITY;
  interests[i] = valid ? static_cast<uint16_t>(lists.candidates.interests[at]) : 0;
}

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_LISTS_CUH_
