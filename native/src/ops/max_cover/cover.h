// What a greedy run has covered, and the gains that follow from it.
#ifndef PRISMREC_OPS_MAX_COVER_COVER_H_
#define PRISMREC_OPS_MAX_COVER_COVER_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ops/max_cover/max_cover.h"
#include "runtime/large_pages.h"

namespace prismrec::max_cover {

class Cover {
 public:
  // Cancelled: unfinished.
  Cover(const Problem& problem, const CancelFlag& cancel);

  // In units; where all elements weigh the same, how many of them.
  int64_t GainOf(uint32_t set) const;
  // How many words of memory a gain takes: its cost.
  size_t WorkOf(uint32_t set) const {
    return row_words_ > 0 ? row_words_ : sets_.indptr[set + 1] - sets_.indptr[set];
  }
  // Starts to load what GainOf will read.
  void Prefetch(uint32_t set) const {
    if (row_words_ > 0) return;
    constexpr size_t kMost = 128;
    const size_t from = sets_.indptr[set];
    const size_t to = std::min<size_t>(sets_.indptr[set + 1], from + kMost);
    for (size_t e = from; e < to; e += 16) __builtin_prefetch(sets_.indices + e);
    if (to > from) __builtin_prefetch(sets_.indices + to - 1);
  }
  bool Counts(uint32_t element) const {
    if (row_words_ > 0) return (open_[element / 64] >> element % 64 & 1) != 0;
    return counts_.empty() ? units_[element] > 0 : counts_[element] != 0;
  }
  // Covers a set's elements once more; calls exhausted(element) for those that count no further.
  template <class Exhausted>
  void Add(uint32_t set, Exhausted exhausted) {
    for (size_t e = sets_.indptr[set]; e < sets_.indptr[set + 1]; ++e) {
      const uint32_t element = sets_.indices[e];
      if (!Counts(element)) continue;
      if (!left_.empty() && --left_[element] > 0) continue;
      exhausted(element);
      if (row_words_ > 0) {
        open_[element / 64] &= ~(uint64_t{1} << element % 64);
      } else if (counts_.empty()) {
        units_[element] = 0;
      } else {
        counts_[element] = 0;
      }
    }
  }

 private:
  const CsrView sets_;
  const CountCommon count_common_;
  // Where all elements weigh the same: 1 for each that still counts, as bits beside dense sets; else
  // what each still counts.
  std::vector<uint8_t> counts_;
  std::vector<uint64_t> open_;
  std::vector<float> units_;
  // How often each element still counts; empty where that is once.
  std::vector<uint16_t> left_;
  // Dense sets as bits, [S, row_words]; 0 words: the sets are read from the indices.
  size_t row_words_ = 0;
  LargeVector<uint64_t> rows_;
};

}  // namespace prismrec::max_cover

#endif  // PRISMREC_OPS_MAX_COVER_COVER_H_
