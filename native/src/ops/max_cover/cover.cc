#include "ops/max_cover/cover.h"

#include <algorithm>

#include "runtime/thread_pool.h"

namespace prismrec::max_cover {
namespace {

// Sets become bits where a word of them stands for this many entries: half the indices' memory, and
// several times as fast.
constexpr size_t kDenseEntriesPerWord = 4;
// Sets per chunk of work while the bits are set.
constexpr size_t kDenseChunk = 64;

}  // namespace

Cover::Cover(const Problem& problem, const CancelFlag& cancel)
    : sets_(problem.args->sets), count_common_(problem.count_common) {
  if (problem.args->repeats > 1) {
    left_.assign(sets_.cols, static_cast<uint16_t>(problem.args->repeats));
  }
  if (problem.unit == 0) {
    units_ = problem.units;
    return;
  }
  const size_t words = sets_.cols / 64 + 1;
  if (sets_.nnz() / kDenseEntriesPerWord < sets_.rows * words) {
    counts_.resize(sets_.cols);
    for (uint32_t i = 0; i < sets_.cols; ++i) counts_[i] = problem.UnitsOf(i) > 0;
    return;
  }
  open_.assign(words, 0);
  for (uint32_t i = 0; i < sets_.cols; ++i) {
    open_[i / 64] |= static_cast<uint64_t>(problem.UnitsOf(i) > 0) << i % 64;
  }
  row_words_ = words;
  rows_.resize(sets_.rows * words);
  const size_t chunks = (sets_.rows + kDenseChunk - 1) / kDenseChunk;
  ThreadPool::Global().ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    const size_t last = std::min(sets_.rows, (chunk + 1) * kDenseChunk);
    for (size_t s = chunk * kDenseChunk; s < last; ++s) {
      std::fill_n(rows_.data() + s * words, words, uint64_t{0});
      for (size_t e = sets_.indptr[s]; e < sets_.indptr[s + 1]; ++e) {
        const uint32_t element = sets_.indices[e];
        rows_[s * words + element / 64] |= uint64_t{1} << element % 64;
      }
    }
  });
}

int64_t Cover::GainOf(uint32_t set) const {
  if (row_words_ > 0) {
    const uint64_t* row = rows_.data() + set * row_words_;
    return static_cast<int64_t>(count_common_(row, open_.data(), row_words_));
  }
  const uint32_t* const end = sets_.indices + sets_.indptr[set + 1];
  const uint32_t* at = sets_.indices + sets_.indptr[set];
  if (!counts_.empty()) {
    uint64_t even = 0, odd = 0;
    for (; at + 1 < end; at += 2) {
      even += counts_[at[0]];
      odd += counts_[at[1]];
    }
    if (at < end) even += counts_[*at];
    return static_cast<int64_t>(even + odd);
  }
  // Whole numbers below 2^53: their sum is exact in any order.
  double even = 0, odd = 0;
  for (; at + 1 < end; at += 2) {
    even += units_[at[0]];
    odd += units_[at[1]];
  }
  if (at < end) even += units_[*at];
  return static_cast<int64_t>(even + odd);
}

}  // namespace prismrec::max_cover
