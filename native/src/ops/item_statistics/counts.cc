// Co-occurrence and mutual information, one row of the result at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "ops/item_statistics/item_statistics.h"
#include "ops/item_statistics/transpose.h"
#include "runtime/thread_pool.h"

namespace prismrec::item_statistics {
namespace {

// Rows of a result that belong to one chunk of work: few enough that an uneven spread of counts
// over the items (popular ones come first) is evened out.
constexpr size_t kRowsPerChunk = 32;

// What a loop on one thread goes through before it looks at the cancel flag.
constexpr size_t kRowsPerPoll = 32;
constexpr size_t kEntriesPerPoll = 1 << 16;

// Entries of the rows that a worker keeps together until all are there.
constexpr size_t kBlock = size_t{1} << 20;

size_t ChunksOf(size_t rows) { return (rows + kRowsPerChunk - 1) / kRowsPerChunk; }

struct Entries {
  LargeVector<uint32_t> indices;
  LargeVector<float> values;

  void Push(uint32_t index, double value) {
    indices.push_back(index);
    values.push_back(static_cast<float>(value));
  }
};

// The rows of one chunk on their way into a sparse matrix.
struct Part {
  std::vector<uint32_t> lengths;
  std::shared_ptr<const Entries> block;
  size_t begin = 0, size = 0;  // where in `block`
};

// Makes the parts of one worker. They lie together in large blocks, which take no time to give back
// where an operation is cancelled.
class PartMaker {
 public:
  void Push(uint32_t index, double value) { entries_.Push(index, value); }
  void EndRow() {
    lengths_.push_back(static_cast<uint32_t>(entries_.indices.size() - row_));
    row_ = entries_.indices.size();
  }
  Part Take() {
    const size_t size = entries_.indices.size();
    if (block_ == nullptr || block_->indices.size() + size > capacity_) {
      capacity_ = std::max(size, std::min(kBlock, 2 * capacity_));
      block_ = std::make_shared<Entries>();
      block_->indices.reserve(capacity_);
      block_->values.reserve(capacity_);
    }
    Part part{std::move(lengths_), block_, block_->indices.size(), size};
    block_->indices.insert(block_->indices.end(), entries_.indices.begin(),
                           entries_.indices.end());
    block_->values.insert(block_->values.end(), entries_.values.begin(), entries_.values.end());
    lengths_.clear();
    entries_.indices.clear();
    entries_.values.clear();
    row_ = 0;
    return part;
  }

 private:
  std::vector<uint32_t> lengths_;
  Entries entries_;  // of the part under way
  size_t row_ = 0;   // where its last row begins
  std::shared_ptr<Entries> block_;
  size_t capacity_ = 0;
};

Status Join(std::vector<Part>& parts, const CancelFlag& cancel, CsrMatrix* out) {
  size_t nnz = 0;
  for (const Part& part : parts) nnz += part.size;
  if (nnz > std::numeric_limits<uint32_t>::max()) {
    return OutOfMemory("the co-occurrence matrix has too many entries", "at most 2^32 - 1",
                       std::to_string(nnz), "Leave out rare items or very long histories.");
  }
  out->indptr.assign(1, 0);
  out->indices.resize(nnz);
  out->values.resize(nnz);
  std::vector<size_t> starts(parts.size());
  for (size_t p = 0; p < parts.size(); ++p) {
    starts[p] = out->indptr.back();
    for (uint32_t length : parts[p].lengths) out->indptr.push_back(out->indptr.back() + length);
  }
  ThreadPool::Global().ParallelFor(parts.size(), cancel, [&](size_t p, int) {
    const Part part = std::move(parts[p]);
    const auto from = static_cast<std::ptrdiff_t>(part.begin);
    const auto to = static_cast<std::ptrdiff_t>(starts[p]);
    std::copy_n(part.block->indices.begin() + from, part.size, out->indices.begin() + to);
    std::copy_n(part.block->values.begin() + from, part.size, out->values.begin() + to);
  });
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

// Adds row `item` of X' diag(w) X to `row` [cols]: users in ascending order, so that the order of
// additions does not depend on who computes it. Calls first(other) when an entry leaves 0.
// Cancelled: unfinished.
template <class T, class First>
void AddRow(const CsrView& x, const CsrView& users_of, const float* weights, size_t item,
            const CancelFlag& cancel, T* row, First first) {
  for (size_t at = users_of.indptr[item]; at < users_of.indptr[item + 1]; ++at) {
    if (at % kRowsPerPoll == 0 && cancel.Cancelled()) return;
    const size_t user = users_of.indices[at];
    const T weight = weights == nullptr ? T{1} : static_cast<T>(weights[user]);
    for (size_t place = x.indptr[user]; place < x.indptr[user + 1]; ++place) {
      const uint32_t other = x.indices[place];
      first(other);
      row[other] += weight;
    }
  }
}

}  // namespace

CsrMatrix Transpose(const CsrView& matrix, const CancelFlag& cancel) {
  CsrMatrix out;
  const size_t nnz = matrix.nnz();
  out.indptr.assign(matrix.cols + 1, 0);
  out.indices.resize(nnz);
  if (matrix.values != nullptr) out.values.resize(nnz);
  for (size_t i = 0; i < nnz; ++i) {
    if (i % kEntriesPerPoll == 0 && cancel.Cancelled()) return out;
    ++out.indptr[matrix.indices[i] + 1];
  }
  for (size_t c = 0; c < matrix.cols; ++c) out.indptr[c + 1] += out.indptr[c];
  std::vector<uint32_t> next(out.indptr.begin(), out.indptr.end() - 1);
  for (size_t r = 0; r < matrix.rows; ++r) {
    if (r % kRowsPerPoll == 0 && cancel.Cancelled()) return out;
    for (size_t i = matrix.indptr[r]; i < matrix.indptr[r + 1]; ++i) {
      const uint32_t to = next[matrix.indices[i]]++;
      out.indices[to] = static_cast<uint32_t>(r);
      if (matrix.values != nullptr) out.values[to] = matrix.values[i];
    }
  }
  return out;
}

namespace {

// Row by row of X' diag(w) X: push(maker, item, touched, row) adds to the result, `touched` being
// the columns whose entry in `row` counts, ascending.
template <class Push>
Status ForEachCountRow(const CsrView& x, const float* weights, const CancelFlag& cancel,
                       CsrMatrix* out, Push push) {
  if (Status status = CheckCsr(x, cancel); !status.ok()) return status;
  const CsrMatrix transposed = Transpose(x, cancel);
  if (cancel.Cancelled()) return Cancelled();
  const CsrView users_of = View(transposed, x.cols, x.rows);
  ThreadPool& pool = ThreadPool::Global();
  struct Scratch {
    std::vector<double> row;
    std::vector<uint8_t> seen;
    std::vector<uint32_t> touched;
    PartMaker maker;
  };
  std::vector<Scratch> scratch(pool.threads());
  std::vector<Part> parts(ChunksOf(x.cols));
  pool.ParallelFor(parts.size(), cancel, [&](size_t chunk, int worker) {
    auto& [row, seen, touched, maker] = scratch[worker];
    row.resize(x.cols);
    seen.resize(x.cols);
    const size_t end = std::min(x.cols, (chunk + 1) * kRowsPerChunk);
    for (size_t item = chunk * kRowsPerChunk; item < end && !cancel.Cancelled(); ++item) {
      touched.clear();
      AddRow(x, users_of, weights, item, cancel, row.data(), [&](uint32_t other) {
        if (seen[other] == 0) {
          seen[other] = 1;
          touched.push_back(other);
        }
      });
      std::sort(touched.begin(), touched.end());
      push(maker, item, touched, row.data());
      maker.EndRow();
      for (uint32_t other : touched) {
        row[other] = 0.0;
        seen[other] = 0;
      }
    }
    parts[chunk] = maker.Take();
  });
  if (cancel.Cancelled()) return Cancelled();
  scratch.clear();
  return Join(parts, cancel, out);
}

}  // namespace

Status Cooccurrence(const CooccurrenceArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  return ForEachCountRow(
      args.rows, args.weights, cancel, out,
      [](PartMaker& maker, size_t, const std::vector<uint32_t>& touched, const double* row) {
        for (uint32_t other : touched) maker.Push(other, row[other]);
      });
}

Status ItemNeighbours(const ItemNeighboursArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  return ForEachCountRow(
      args.rows, nullptr, cancel, out,
      [&args](PartMaker& maker, size_t item, const std::vector<uint32_t>& touched,
              const double* row) {
        const double norm = args.squared_norms[item];
        std::vector<std::pair<double, uint32_t>> scored;  // of minus the similarity
        scored.reserve(touched.size());
        for (uint32_t other : touched) {
          if (other == item) continue;
          scored.push_back({-row[other] / std::sqrt(norm * args.squared_norms[other]), other});
        }
        const size_t kept = std::min(args.neighbours, scored.size());
        std::partial_sort(scored.begin(), scored.begin() + kept, scored.end());
        for (size_t i = 0; i < kept; ++i) maker.Push(scored[i].second, -scored[i].first);
      });
}

Status Gram(const GramArgs& args, const CancelFlag& cancel) {
  const CsrView& x = args.rows;
  if (Status status = CheckCsr(x, cancel); !status.ok()) return status;
  const CsrMatrix transposed = Transpose(x, cancel);
  if (cancel.Cancelled()) return Cancelled();
  const CsrView users_of = View(transposed, x.cols, x.rows);
  ThreadPool& pool = ThreadPool::Global();
  std::vector<std::vector<double>> scratch(pool.threads());
  pool.ParallelFor(ChunksOf(x.cols), cancel, [&](size_t chunk, int worker) {
    std::vector<double>& row = scratch[worker];
    const size_t end = std::min(x.cols, (chunk + 1) * kRowsPerChunk);
    for (size_t item = chunk * kRowsPerChunk; item < end && !cancel.Cancelled(); ++item) {
      row.assign(x.cols, 0.0);
      AddRow(x, users_of, args.weights, item, cancel, row.data(), [](uint32_t) {});
      row[item] += args.ridge;
      float* const to = args.out + item * x.cols;
      for (size_t j = 0; j < x.cols; ++j) to[j] = static_cast<float>(row[j]);
    }
  });
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

Status Ppmi(const PpmiArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  const CsrView& counts = args.counts;
  if (Status status = CheckCsr(counts, cancel); !status.ok()) return status;
  const size_t items = counts.rows;
  const auto value = [&counts](size_t e) {
    return counts.values == nullptr ? 1.0 : static_cast<double>(counts.values[e]);
  };
  for (size_t e = 0; e < counts.nnz(); ++e) {
    if (e % kEntriesPerPoll == 0 && cancel.Cancelled()) return Cancelled();
    if (!(value(e) >= 0.0 && std::isfinite(value(e)))) {
      return NonFinite("a count is not a finite number from 0", "counts >= 0",
                       std::to_string(value(e)) + " at entry " + std::to_string(e));
    }
  }
  ThreadPool& pool = ThreadPool::Global();
  // The tiny start keeps items without a neighbour away from a division by 0.
  std::vector<double> marginal(items, 1e-9), smooth(items);
  pool.ParallelFor(ChunksOf(items), cancel, [&](size_t chunk, int) {
    const size_t end = std::min(items, (chunk + 1) * kRowsPerChunk);
    for (size_t i = chunk * kRowsPerChunk; i < end; ++i) {
      for (size_t e = counts.indptr[i]; e < counts.indptr[i + 1]; ++e) {
        if (counts.indices[e] != i) marginal[i] += value(e);
      }
      smooth[i] = std::pow(marginal[i], args.smoothing);
    }
  });
  double total = 0.0;
  for (double s : smooth) total += s;
  std::vector<Part> parts(ChunksOf(items));
  std::vector<PartMaker> makers(pool.threads());
  pool.ParallelFor(parts.size(), cancel, [&](size_t chunk, int worker) {
    PartMaker& maker = makers[worker];
    const size_t end = std::min(items, (chunk + 1) * kRowsPerChunk);
    for (size_t i = chunk * kRowsPerChunk; i < end && !cancel.Cancelled(); ++i) {
      for (size_t e = counts.indptr[i]; e < counts.indptr[i + 1]; ++e) {
        const uint32_t j = counts.indices[e];
        if (j == i || value(e) == 0.0) continue;
        const double information = std::log(value(e) * total / (marginal[i] * smooth[j]));
        if (information > 0.0) maker.Push(j, information);
      }
      maker.EndRow();
    }
    parts[chunk] = maker.Take();
  });
  if (cancel.Cancelled()) return Cancelled();
  makers.clear();
  return Join(parts, cancel, out);
}

}  // namespace prismrec::item_statistics
