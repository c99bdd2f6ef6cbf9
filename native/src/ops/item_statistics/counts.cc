// Co-occurrence and mutual information, one row of the result at a time.
#include <algorithm>
#include <cmath>
#include <limits>
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
constexpr size_t kRowsPerPoll = 256;
constexpr size_t kEntriesPerPoll = 1 << 20;

size_t ChunksOf(size_t rows) { return (rows + kRowsPerChunk - 1) / kRowsPerChunk; }

// The rows of one chunk on their way into a sparse matrix.
struct Part {
  std::vector<uint32_t> lengths, indices;
  std::vector<float> values;

  void Push(uint32_t index, double value) {
    indices.push_back(index);
    values.push_back(static_cast<float>(value));
  }
};

Status Join(std::vector<Part>& parts, const CancelFlag& cancel, CsrMatrix* out) {
  size_t nnz = 0;
  for (const Part& part : parts) nnz += part.indices.size();
  if (nnz > std::numeric_limits<uint32_t>::max()) {
    return OutOfMemory("the co-occurrence matrix has too many entries", "at most 2^32 - 1",
                       std::to_string(nnz), "Leave out rare items or very long histories.");
  }
  out->indptr.assign(1, 0);
  out->indices.clear();
  out->values.clear();
  out->indices.reserve(nnz);
  out->values.reserve(nnz);
  for (Part& part : parts) {
    if (cancel.Cancelled()) return Cancelled();
    for (uint32_t length : part.lengths) out->indptr.push_back(out->indptr.back() + length);
    out->indices.insert(out->indices.end(), part.indices.begin(), part.indices.end());
    out->values.insert(out->values.end(), part.values.begin(), part.values.end());
    part = Part();
  }
  return Status::Ok();
}

// Adds row `item` of X' diag(w) X to `row` [cols]: users in ascending order, so that the order of
// additions does not depend on who computes it. Calls first(other) when an entry leaves 0.
template <class T, class First>
void AddRow(const CsrView& x, const CsrView& users_of, const float* weights, size_t item, T* row,
            First first) {
  for (size_t at = users_of.indptr[item]; at < users_of.indptr[item + 1]; ++at) {
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
  for (size_t i = 0; i < nnz; ++i) ++out.indptr[matrix.indices[i] + 1];
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

// Row by row of X' diag(w) X: push(part, item, touched, row) adds to the result, `touched` being
// the columns whose entry in `row` counts, ascending.
template <class Push>
Status ForEachCountRow(const CsrView& x, const float* weights, const CancelFlag& cancel,
                       CsrMatrix* out, Push push) {
  if (Status status = CheckCsr(x); !status.ok()) return status;
  const CsrMatrix transposed = Transpose(x, cancel);
  const CsrView users_of = View(transposed, x.cols, x.rows);
  ThreadPool& pool = ThreadPool::Global();
  struct Scratch {
    std::vector<double> row;
    std::vector<uint8_t> seen;
    std::vector<uint32_t> touched;
  };
  std::vector<Scratch> scratch(pool.threads());
  std::vector<Part> parts(ChunksOf(x.cols));
  pool.ParallelFor(parts.size(), cancel, [&](size_t chunk, int worker) {
    auto& [row, seen, touched] = scratch[worker];
    row.resize(x.cols);
    seen.resize(x.cols);
    Part& part = parts[chunk];
    const size_t end = std::min(x.cols, (chunk + 1) * kRowsPerChunk);
    for (size_t item = chunk * kRowsPerChunk; item < end && !cancel.Cancelled(); ++item) {
      touched.clear();
      AddRow(x, users_of, weights, item, row.data(), [&](uint32_t other) {
        if (seen[other] == 0) {
          seen[other] = 1;
          touched.push_back(other);
        }
      });
      std::sort(touched.begin(), touched.end());
      const size_t before = part.indices.size();
      push(part, item, touched, row.data());
      part.lengths.push_back(static_cast<uint32_t>(part.indices.size() - before));
      for (uint32_t other : touched) {
        row[other] = 0.0;
        seen[other] = 0;
      }
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  return Join(parts, cancel, out);
}

}  // namespace

Status Cooccurrence(const CooccurrenceArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  return ForEachCountRow(
      args.rows, args.weights, cancel, out,
      [](Part& part, size_t, const std::vector<uint32_t>& touched, const double* row) {
        for (uint32_t other : touched) part.Push(other, row[other]);
      });
}

Status ItemNeighbours(const ItemNeighboursArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  return ForEachCountRow(
      args.rows, nullptr, cancel, out,
      [&args](Part& part, size_t item, const std::vector<uint32_t>& touched, const double* row) {
        const double norm = args.squared_norms[item];
        std::vector<std::pair<double, uint32_t>> scored;  // of minus the similarity
        scored.reserve(touched.size());
        for (uint32_t other : touched) {
          if (other == item) continue;
          scored.push_back({-row[other] / std::sqrt(norm * args.squared_norms[other]), other});
        }
        const size_t kept = std::min(args.neighbours, scored.size());
        std::partial_sort(scored.begin(), scored.begin() + kept, scored.end());
        for (size_t i = 0; i < kept; ++i) part.Push(scored[i].second, -scored[i].first);
      });
}

Status Gram(const GramArgs& args, const CancelFlag& cancel) {
  const CsrView& x = args.rows;
  if (Status status = CheckCsr(x); !status.ok()) return status;
  const CsrMatrix transposed = Transpose(x, cancel);
  const CsrView users_of = View(transposed, x.cols, x.rows);
  ThreadPool& pool = ThreadPool::Global();
  std::vector<std::vector<double>> scratch(pool.threads());
  pool.ParallelFor(ChunksOf(x.cols), cancel, [&](size_t chunk, int worker) {
    std::vector<double>& row = scratch[worker];
    const size_t end = std::min(x.cols, (chunk + 1) * kRowsPerChunk);
    for (size_t item = chunk * kRowsPerChunk; item < end && !cancel.Cancelled(); ++item) {
      row.assign(x.cols, 0.0);
      AddRow(x, users_of, args.weights, item, row.data(), [](uint32_t) {});
      row[item] += args.ridge;
      float* const to = args.out + item * x.cols;
      for (size_t j = 0; j < x.cols; ++j) to[j] = static_cast<float>(row[j]);
    }
  });
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

Status Ppmi(const PpmiArgs& args, const CancelFlag& cancel, CsrMatrix* out) {
  const CsrView& counts = args.counts;
  if (Status status = CheckCsr(counts); !status.ok()) return status;
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
  pool.ParallelFor(parts.size(), cancel, [&](size_t chunk, int) {
    Part& part = parts[chunk];
    const size_t end = std::min(items, (chunk + 1) * kRowsPerChunk);
    for (size_t i = chunk * kRowsPerChunk; i < end; ++i) {
      const size_t before = part.indices.size();
      for (size_t e = counts.indptr[i]; e < counts.indptr[i + 1]; ++e) {
        const uint32_t j = counts.indices[e];
        if (j == i || value(e) == 0.0) continue;
        const double information = std::log(value(e) * total / (marginal[i] * smooth[j]));
        if (information > 0.0) part.Push(j, information);
      }
      part.lengths.push_back(static_cast<uint32_t>(part.indices.size() - before));
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  return Join(parts, cancel, out);
}

}  // namespace prismrec::item_statistics
