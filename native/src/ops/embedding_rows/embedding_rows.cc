#include "ops/embedding_rows/embedding_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "runtime/cancel.h"
#include "runtime/radix_sort.h"
#include "runtime/thread_pool.h"

namespace prismrec::embedding_rows {
namespace {

// Elements a thread should get at least.
constexpr size_t kGrain = 32768;

template <class Fn>
void ForRange(size_t total, size_t grain, Fn&& fn) {
  grain = std::max<size_t>(grain, 1);
  if (total <= grain) {
    if (total > 0) fn(size_t{0}, total);
    return;
  }
  ThreadPool::Global().ParallelFor(
      (total + grain - 1) / grain, CancelFlag(),
      [&](size_t chunk, int) { fn(chunk * grain, std::min(total, (chunk + 1) * grain)); });
}

// Up to so many elements, rows are copied or added sooner than another thread wakes up. In a
// scatter each thread reads all ids besides.
constexpr size_t kAlone = 1 << 18;
constexpr size_t kAloneScatter = 3 * kAlone;

// Rows of a large table lie all over memory: they are asked for this many rows before their turn.
constexpr size_t kRowsAhead = 4;

void Prefetch(const float* row, size_t cols) {
  constexpr size_t kLine = 64 / sizeof(float);
  for (size_t c = 0; c < cols; c += kLine) __builtin_prefetch(row + c);
}

size_t RowGrain(size_t cols) { return kGrain / std::max<size_t>(cols, 1) + 1; }

// The rows a thread should get of `count` that are written from `read` others.
size_t CopyGrain(size_t count, size_t read, size_t cols) {
  return read * cols <= kAlone ? count : RowGrain(cols);
}

}  // namespace

AdamFactors FactorsAt(const AdamOptions& options, uint64_t step) {
  const double t = static_cast<double>(step);
  AdamFactors f;
  f.beta1 = static_cast<float>(options.beta1);
  f.one_minus_beta1 = static_cast<float>(1 - options.beta1);
  f.beta2 = static_cast<float>(options.beta2);
  f.one_minus_beta2 = static_cast<float>(1 - options.beta2);
  f.epsilon = static_cast<float>(options.epsilon);
  f.rate = static_cast<float>(options.learning_rate / (1 - std::pow(options.beta1, t)));
  f.inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(options.beta2, t)));
  f.keep = static_cast<float>(1 - options.learning_rate * options.weight_decay);
  f.gradient_scale = static_cast<float>(options.gradient_scale);
  return f;
}

void Adam(const Spans& spans, const AdamFactors& factors, float* values, float* m, float* v,
          const float* gradients, size_t n) {
  ForRange(n, kGrain, [&](size_t begin, size_t end) {
    spans.adam(factors, values + begin, m + begin, v + begin, gradients + begin, end - begin);
  });
}

void LazyAdam(const Spans& spans, const AdamOptions& options, const LazyAdamArgs& args) {
  const AdamFactors shared = FactorsAt(options, args.step);
  ForRange(args.count, RowGrain(args.cols), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (i + kRowsAhead < end) {
        const size_t next = args.ids[i + kRowsAhead] * args.cols;
        Prefetch(args.table + next, args.cols);
        Prefetch(args.m + next, args.cols);
        Prefetch(args.v + next, args.cols);
      }
      const size_t row = args.ids[i];
      const uint32_t seen = ++args.steps[row];
      const size_t at = row * args.cols;
      const AdamFactors own = args.per_row ? FactorsAt(options, seen) : shared;
      spans.adam(own, args.table + at, args.m + at, args.v + at, args.gradients + i * args.cols,
                 args.cols);
    }
  });
}

void GatherRows(const Spans& spans, const float* table, const uint32_t* ids, float* out,
                size_t count, size_t cols) {
  ForRange(count, CopyGrain(count, count, cols), [&](size_t begin, size_t end) {
    spans.gather(table, ids + begin, out + begin * cols, end - begin, cols);
  });
}

void ScatterAddRows(const Spans& spans, float* table, size_t table_rows, const uint32_t* ids,
                    const float* rows, size_t count, size_t cols) {
  const size_t pieces = static_cast<size_t>(ThreadPool::Global().threads());
  if (pieces == 1 || count * cols <= kAloneScatter) {
    spans.scatter_add(table, ids, nullptr, rows, count, cols);
    return;
  }
  // Every piece owns a range of the table and reads all ids, so each row is summed in their order.
  ForRange(table_rows, (table_rows + pieces - 1) / pieces, [&](size_t begin, size_t end) {
    constexpr size_t kBlock = 1024;
    uint32_t positions[kBlock];
    for (size_t first = 0; first < count; first += kBlock) {
      // Whose an id is is as good as random: a branch on it would be mispredicted half the time.
      size_t mine = 0;
      for (size_t i = first; i < std::min(count, first + kBlock); ++i) {
        positions[mine] = static_cast<uint32_t>(i - first);
        mine += ids[i] - begin < end - begin ? 1 : 0;
      }
      spans.scatter_add(table, ids + first, positions, rows + first * cols, mine, cols);
    }
  });
}

RowGroups GroupRows(const uint32_t* ids, size_t count) {
  std::vector<IdAt> entries;
  entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] != kNoRow) entries.push_back({ids[i], static_cast<uint32_t>(i)});
  }
  RadixSort(&entries);
  RowGroups groups;
  groups.positions.reserve(entries.size());
  for (const IdAt& entry : entries) {
    if (groups.ids.empty() || groups.ids.back() != entry.id) {
      groups.ids.push_back(entry.id);
      groups.starts.push_back(static_cast<uint32_t>(groups.positions.size()));
    }
    groups.positions.push_back(entry.at);
  }
  groups.starts.push_back(static_cast<uint32_t>(groups.positions.size()));
  return groups;
}

std::vector<uint32_t> UniqueRows(const uint32_t* ids, size_t count, int32_t* inverse) {
  RowGroups groups = GroupRows(ids, count);
  std::fill(inverse, inverse + count, -1);
  for (size_t g = 0; g < groups.ids.size(); ++g) {
    for (size_t n = groups.starts[g]; n < groups.starts[g + 1]; ++n) {
      inverse[groups.positions[n]] = static_cast<int32_t>(g);
    }
  }
  return std::move(groups.ids);
}

void SumGroups(const Spans& spans, const RowGroups& groups, const std::vector<RowPart>& parts,
               float* out, size_t cols) {
  const auto row = [&](size_t position) {
    auto part = parts.begin();
    for (; position >= part->count; ++part) position -= part->count;
    return part->rows + position * cols;
  };
  const size_t grain = CopyGrain(groups.ids.size(), groups.positions.size(), cols);
  ForRange(groups.ids.size(), grain, [&](size_t begin, size_t end) {
    std::vector<const float*> rows;
    rows.reserve(groups.starts[end] - groups.starts[begin]);
    for (size_t n = groups.starts[begin]; n < groups.starts[end]; ++n) {
      rows.push_back(row(groups.positions[n]));
    }
    spans.sum_groups(rows.data(), &groups.starts[begin], out + begin * cols, end - begin, cols);
  });
}

double SquaredNorm(const Spans& spans, const std::vector<ArrayView<const float>>& arrays) {
  // Fixed blocks, joined in order: the same bits whatever the number of threads.
  std::vector<ArrayView<const float>> blocks;
  for (const ArrayView<const float>& x : arrays) {
    for (size_t i = 0; i < x.size; i += kGrain) {
      blocks.push_back({x.data + i, std::min(kGrain, x.size - i)});
    }
  }
  std::vector<double> partial(blocks.size());
  ForRange(blocks.size(), 1, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      partial[b] = spans.squared_sum(blocks[b].data, blocks[b].size);
    }
  });
  double total = 0;
  for (double sum : partial) total += sum;
  return total;
}

}  // namespace prismrec::embedding_rows
