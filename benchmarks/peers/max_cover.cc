// Greedy max coverage, unit weights, in two textbook forms; both pick the lowest of the best sets.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <queue>
#include <vector>

namespace {

struct Sets {
  int64_t count, elements;
  const uint32_t* indptr;
  const uint32_t* indices;

  const uint32_t* begin(uint32_t set) const { return indices + indptr[set]; }
  const uint32_t* end(uint32_t set) const { return indices + indptr[set + 1]; }
  uint32_t size(uint32_t set) const { return indptr[set + 1] - indptr[set]; }
};

/// A heap of gains that may be out of date: a gain that is fresh at the top is the largest (Leskovec et al. 2007).
class Celf {
 public:
  explicit Celf(const Sets& sets) : sets_(sets), covered_(sets.elements), fresh_in_(sets.count) {
    heap_.reserve(sets.count);
    for (int64_t set = 0; set < sets.count; ++set) heap_.push_back(Key(sets.size(set), set));
    std::make_heap(heap_.begin(), heap_.end());
  }

  int64_t Run(int64_t budget, uint32_t* selected, int64_t* value) {
    *value = 0;
    for (int64_t round = 0; round < budget; ++round) {
      while (!heap_.empty() && fresh_in_[Set(heap_.front())] != round) Refresh(round);
      if (heap_.empty() || Gain(heap_.front()) == 0) return round;
      const uint32_t pick = Set(heap_.front());
      *value += Gain(heap_.front());
      selected[round] = pick;
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
      for (const uint32_t* e = sets_.begin(pick); e != sets_.end(pick); ++e) covered_[*e] = 1;
    }
    return budget;
  }

 private:
  // Gain above the inverted number, so that among equal gains the lowest set is on top.
  static uint64_t Key(uint64_t gain, uint32_t set) { return gain << 32 | static_cast<uint32_t>(~set); }
  static uint32_t Set(uint64_t key) { return ~static_cast<uint32_t>(key); }
  static int64_t Gain(uint64_t key) { return static_cast<int64_t>(key >> 32); }

  /// Recomputes the gain at the top and lets it sink to its place.
  void Refresh(int64_t round) {
    const uint32_t set = Set(heap_.front());
    uint64_t gain = 0;
    for (const uint32_t* e = sets_.begin(set); e != sets_.end(set); ++e) gain += !covered_[*e];
    fresh_in_[set] = static_cast<int32_t>(round);
    const uint64_t key = Key(gain, set);
    const size_t size = heap_.size();
    size_t hole = 0;
    for (size_t child = 1; child < size; child = 2 * hole + 1) {
      if (child + 1 < size && heap_[child + 1] > heap_[child]) ++child;
      if (heap_[child] <= key) break;
      heap_[hole] = heap_[child];
      hole = child;
    }
    heap_[hole] = key;
  }

  const Sets sets_;
  std::vector<uint8_t> covered_;
  std::vector<int32_t> fresh_in_;
  std::vector<uint64_t> heap_;
};

/// Exact gains, kept by decrements through an index from elements to sets; a bucket for each gain, emptied from above.
/// A set moves to its true bucket only when it is met in a former one.
class Buckets {
 public:
  explicit Buckets(const Sets& sets) : sets_(sets), gains_(sets.count), covered_(sets.elements) {
    holders_from_.resize(sets.elements + 1);
    const size_t entries = sets.indptr[sets.count];
    for (size_t i = 0; i < entries; ++i) ++holders_from_[sets.indices[i] + 1];
    std::partial_sum(holders_from_.begin(), holders_from_.end(), holders_from_.begin());
    holders_.resize(entries);
    std::vector<uint32_t> next(holders_from_.begin(), holders_from_.end() - 1);
    for (int64_t set = 0; set < sets.count; ++set) {
      for (const uint32_t* e = sets.begin(set); e != sets.end(set); ++e) holders_[next[*e]++] = set;
      gains_[set] = sets.size(set);
    }
    const uint32_t largest = sets.count == 0 ? 0 : *std::max_element(gains_.begin(), gains_.end());
    std::vector<std::vector<uint32_t>> members(largest + 1);
    for (int64_t set = 0; set < sets.count; ++set) members[gains_[set]].push_back(set);
    for (auto& bucket : members) buckets_.emplace_back(std::greater<uint32_t>(), std::move(bucket));
  }

  int64_t Run(int64_t budget, uint32_t* selected, int64_t* value) {
    *value = 0;
    int64_t picked = 0;
    for (size_t gain = buckets_.size(); gain-- > 1;) {
      auto& bucket = buckets_[gain];
      while (!bucket.empty()) {
        const uint32_t set = bucket.top();
        bucket.pop();
        if (gains_[set] != gain) {
          buckets_[gains_[set]].push(set);
          continue;
        }
        if (picked == budget) return picked;
        selected[picked++] = set;
        *value += gain;
        Cover(set);
      }
    }
    return picked;
  }

 private:
  void Cover(uint32_t set) {
    for (const uint32_t* e = sets_.begin(set); e != sets_.end(set); ++e) {
      if (covered_[*e]) continue;
      covered_[*e] = 1;
      for (uint32_t i = holders_from_[*e]; i < holders_from_[*e + 1]; ++i) --gains_[holders_[i]];
    }
  }

  const Sets sets_;
  std::vector<uint32_t> gains_;
  std::vector<uint8_t> covered_;
  std::vector<uint32_t> holders_from_, holders_;
  std::vector<std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<uint32_t>>> buckets_;
};

template <class Solver>
int64_t Solve(int64_t count, int64_t elements, int64_t budget, const uint32_t* indptr, const uint32_t* indices,
              uint32_t* selected, int64_t* value) {
  return Solver(Sets{count, elements, indptr, indices}).Run(budget, selected, value);
}

}  // namespace

extern "C" {

int64_t cover_celf(int64_t count, int64_t elements, int64_t budget, const uint32_t* indptr,
                   const uint32_t* indices, uint32_t* selected, int64_t* value) {
  return Solve<Celf>(count, elements, budget, indptr, indices, selected, value);
}

int64_t cover_bucket(int64_t count, int64_t elements, int64_t budget, const uint32_t* indptr,
                     const uint32_t* indices, uint32_t* selected, int64_t* value) {
  return Solve<Buckets>(count, elements, budget, indptr, indices, selected, value);
}

}  // extern "C"
