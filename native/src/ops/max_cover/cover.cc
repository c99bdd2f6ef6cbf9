#include "ops/max_cover/cover.h"

#include <algorithm>
#include <atomic>

#include "runtime/thread_pool.h"

namespace prismrec::max_cover {
namespace {

// Sets become bits where a word of them stands for this many entries: half the indices' memory, and
// several times as fast.
constexpr size_t kDenseEntriesPerWord = 4;
// Sets per chunk of work while the bits are set.
constexpr size_t kDenseChunk = 64;
// Entries, on average, per chunk of work while sets are packed: they stay in L2. How much work in
// all is worth a second thread.
constexpr size_t kPackEntries = size_t{1} << 15;
constexpr size_t kPackParallel = size_t{1} << 19;

// Writes down the set's entries that count and returns how many they are; their values make the
// gain. `to` may be where they are read: it is never ahead. Not inlined: a loop of its own keeps
// all it needs in registers.
template <class Gain>
[[gnu::noinline]] size_t PackSet(Cover::Range from, const uint8_t* counts, uint32_t* to,
                                 Gain* gain) {
  size_t size = 0;
  for (const uint32_t element : from) {
    to[size] = element;
    size += counts[element];
  }
  *gain = static_cast<Gain>(size);
  return size;
}
template <class Gain>
[[gnu::noinline]] size_t PackSet(Cover::Range from, const float* units, uint32_t* to, Gain* gain) {
  size_t size = 0;
  double sum = 0;
  for (const uint32_t element : from) {
    to[size] = element;
    size += units[element] > 0;
    sum += units[element];
  }
  *gain = static_cast<Gain>(sum);
  return size;
}

}  // namespace

Cover::Cover(const Problem& problem, const CancelFlag& cancel)
    : sets_(problem.args->sets), count_common_(problem.count_common) {
  if (problem.args->repeats > 1) {
    left_.assign(sets_.cols, static_cast<uint16_t>(problem.args->repeats));
  }
  words_ = sets_.nnz();
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
  words_ = 0;
  open_.assign(words, 0);
  for (uint32_t i = 0; i < sets_.cols; ++i) {
    open_[i / 64] |= static_cast<uint64_t>(problem.UnitsOf(i) > 0) << i % 64;
  }
  row_words_ = words;
  bits_.resize(sets_.rows * words);
  const size_t chunks = (sets_.rows + kDenseChunk - 1) / kDenseChunk;
  ThreadPool::Global().ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    const size_t last = std::min(sets_.rows, (chunk + 1) * kDenseChunk);
    for (size_t s = chunk * kDenseChunk; s < last; ++s) {
      std::fill_n(bits_.data() + s * words, words, uint64_t{0});
      for (size_t e = sets_.indptr[s]; e < sets_.indptr[s + 1]; ++e) {
        const uint32_t element = sets_.indices[e];
        bits_[s * words + element / 64] |= uint64_t{1} << element % 64;
      }
    }
  });
}

int64_t Cover::GainOf(uint32_t set) const {
  if (row_words_ > 0) {
    const uint64_t* row = bits_.data() + set * row_words_;
    return static_cast<int64_t>(count_common_(row, open_.data(), row_words_));
  }
  const Range entries = Entries(set);
  const uint32_t* const end = entries.last;
  const uint32_t* at = entries.first;
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

template <class Gain>
void Cover::Pack(const CancelFlag& cancel, Gain* gains) {
  if (counts_.empty()) {
    Pack(units_.data(), cancel, gains);
  } else {
    Pack(counts_.data(), cancel, gains);
  }
}
template void Cover::Pack(const CancelFlag& cancel, int32_t* gains);
template void Cover::Pack(const CancelFlag& cancel, int64_t* gains);

template <class Value, class Gain>
void Cover::Pack(const Value* values, const CancelFlag& cancel, Gain* gains) {
  const bool again = !packed_.empty();
  if (!again) {
    packed_.resize(sets_.nnz());
    rows_.resize(sets_.rows);
  }
  const size_t step = std::max<size_t>(1, kPackEntries * sets_.rows / sets_.nnz());
  const size_t chunks = (sets_.rows + step - 1) / step;
  const size_t tasks = PackWork() < kPackParallel ? 1 : chunks;
  std::atomic<size_t> words{0};
  ThreadPool::Global().ParallelFor(tasks, cancel, [&](size_t task, int) {
    LargeVector<uint32_t> left;
    for (size_t chunk = task; chunk < chunks && !cancel.Cancelled(); chunk += tasks) {
      const size_t begin = chunk * step, end = std::min(sets_.rows, begin + step);
      // Later times what is left stays in the chunk's place. How much of `packed_` the first time
      // takes, and so has pages of memory, is known once it is written down elsewhere.
      const size_t most = again ? 0 : sets_.indptr[end] - sets_.indptr[begin];
      left.resize(std::max(left.size(), most));
      uint32_t* const to = again ? packed_.data() + rows_[begin].first : left.data();
      size_t count = 0;
      for (size_t set = begin; set < end; ++set) {
        const Range from = again ? PackedEntries(set) : GivenEntries(set);
        const size_t size = gains[set] > 0 ? PackSet(from, values, to + count, gains + set) : 0;
        rows_[set].size = static_cast<uint32_t>(size);
        count += size;
      }
      const size_t taken = words.fetch_add(count, std::memory_order_relaxed);
      if (!again) std::copy_n(to, count, packed_.data() + taken);
      size_t first = again ? rows_[begin].first : taken;
      for (size_t set = begin; set < end; ++set) {
        rows_[set].first = static_cast<uint32_t>(first);
        first += rows_[set].size;
      }
    }
  });
  words_ = words;
}

}  // namespace prismrec::max_cover
