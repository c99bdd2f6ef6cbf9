// What a greedy run has covered, and the gains that follow from it.
#ifndef PRISMREC_OPS_MAX_COVER_COVER_H_
#define PRISMREC_OPS_MAX_COVER_COVER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/max_cover/max_cover.h"
#include "runtime/large_pages.h"

namespace prismrec::max_cover {

class Cover {
 public:
  // Cancelled: unfinished.
  Cover(const Problem& problem, const CancelFlag& cancel);

  struct Range {
    const uint32_t* first;
    const uint32_t* last;
    const uint32_t* begin() const { return first; }
    const uint32_t* end() const { return last; }
    size_t size() const { return static_cast<size_t>(last - first); }
  };
  // A set's elements but for some that count no further.
  Range Entries(size_t set) const {
    return packed_.empty() ? GivenEntries(set) : PackedEntries(set);
  }

  // In units; where all elements weigh the same, how many of them.
  int64_t GainOf(uint32_t set) const;
  // How many words of memory a gain takes: its cost.
  size_t WorkOf(uint32_t set) const { return row_words_ > 0 ? row_words_ : Entries(set).size(); }
  // The same of all sets on average.
  size_t MeanWork() const {
    return row_words_ > 0 ? row_words_ : words_ / std::max<size_t>(1, sets_.rows);
  }
  // Starts to load what GainOf will read.
  void Prefetch(uint32_t set) const {
    if (row_words_ > 0) return;
    constexpr size_t kMost = 128;
    const Range entries = Entries(set);
    const size_t size = std::min(entries.size(), kMost);
    for (size_t e = 0; e < size; e += 16) __builtin_prefetch(entries.first + e);
    if (size > 0) __builtin_prefetch(entries.first + size - 1);
  }

  // How many words of memory Pack takes; 0 where there is nothing to pack, as beside dense sets.
  size_t PackWork() const {
    // Beside its entries a set costs as much as so many.
    constexpr size_t kSet = 8;
    return words_ == 0 ? 0 : words_ + kSet * sets_.rows;
  }
  // Brings the gains of all sets up to date, those above 0, and moves the elements that still count
  // together: what is looked up later is less, and close. The other sets hold none from then on.
  // Cancelled: unfinished, not to be used.
  template <class Gain>
  void Pack(const CancelFlag& cancel, Gain* gains);

  bool Counts(uint32_t element) const {
    if (row_words_ > 0) return (open_[element / 64] >> element % 64 & 1) != 0;
    return counts_.empty() ? units_[element] > 0 : counts_[element] != 0;
  }
  // Covers a set's elements once more; calls exhausted(element) for those that count no further.
  template <class Exhausted>
  void Add(uint32_t set, Exhausted exhausted) {
    for (const uint32_t element : Entries(set)) {
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
  // What a packed set holds.
  struct Row {
    uint32_t first;
    uint32_t size;
  };
  Range GivenEntries(size_t set) const {
    return {sets_.indices + sets_.indptr[set], sets_.indices + sets_.indptr[set + 1]};
  }
  Range PackedEntries(size_t set) const {
    const uint32_t* const first = packed_.data() + rows_[set].first;
    return {first, first + rows_[set].size};
  }
  template <class Value, class Gain>
  void Pack(const Value* values, const CancelFlag& cancel, Gain* gains);

  const CsrView sets_;
  const CountCommon count_common_;
  // Where all elements weigh the same: 1 for each that still counts, as bits beside dense sets; else
  // what each still counts.
  std::vector<uint8_t> counts_;
  std::vector<uint64_t> open_;
  std::vector<float> units_;
  // How often each element still counts; empty where that is once.
  std::vector<uint16_t> left_;
  // The sets once they are packed: each chunk of them lies together.
  LargeVector<uint32_t> packed_;
  LargeVector<Row> rows_;
  // How many entries are left to pack.
  size_t words_ = 0;
  // Dense sets as bits, [S, row_words]; 0 words: the sets are read from the indices.
  size_t row_words_ = 0;
  LargeVector<uint64_t> bits_;
};

}  // namespace prismrec::max_cover

#endif  // PRISMREC_OPS_MAX_COVER_COVER_H_
