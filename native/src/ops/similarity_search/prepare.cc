#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "ops/similarity_search/similarity_search.h"
#include "runtime/workspace.h"

namespace prismrec::similarity_search {
namespace {

// |<q, e>| <= |q| |e|, for partial sums too: below this nothing overflows on the way.
constexpr double kMaxScore = 3e38;

Status CheckQueriesByItems(const std::string& name, const Args& args, size_t rows, size_t cols) {
  const size_t count = args.query_count(), items = args.index->rows();
  if (rows == count && cols == items) return Status::Ok();
  return ShapeMismatch(name + " must have a row for each query and a column for each item",
                       std::to_string(count) + " x " + std::to_string(items),
                       std::to_string(rows) + " x " + std::to_string(cols));
}

Status CheckShapes(const Args& args) {
  const Index& items = *args.index;
  if (args.interests_per_query < 1 || args.interests_per_query > kMaxInterests) {
    return InvalidArgument("interestsPerQuery must be a positive whole number",
                           "1 to " + std::to_string(kMaxInterests),
                           std::to_string(args.interests_per_query));
  }
  if (args.queries.rows % args.interests_per_query != 0) {
    return ShapeMismatch("queries must hold interestsPerQuery rows for each query",
                         "a multiple of " + std::to_string(args.interests_per_query) + " rows",
                         std::to_string(args.queries.rows) + " rows");
  }
  if (args.queries.cols != items.cols()) {
    return ShapeMismatch("queries and items must share one dimension",
                         std::to_string(items.cols()) + " columns",
                         std::to_string(args.queries.cols) + " columns");
  }
  if (args.k < 1 || args.k > items.rows()) {
    return InvalidArgument("k must be a whole number of items of the index",
                           "1 to " + std::to_string(items.rows()), std::to_string(args.k));
  }
  if (args.exclude.indptr != nullptr) {
    Status status = CheckQueriesByItems("exclude", args, args.exclude.rows, args.exclude.cols);
    if (status.ok()) status = CheckCsr(args.exclude);
    if (!status.ok()) return status;
  }
  if (args.additive) {
    const Status status = CheckQueriesByItems("additive", args, args.additive.rows, args.additive.cols);
    if (!status.ok()) return status;
  }
  if (args.sparse_additive.indptr == nullptr) return Status::Ok();
  Status status = CheckQueriesByItems("additive", args, args.sparse_additive.rows, args.sparse_additive.cols);
  if (status.ok()) status = CheckCsr(args.sparse_additive);
  if (!status.ok()) return status;
  if (args.additive || (args.sparse_additive.values == nullptr && args.sparse_additive.nnz() > 0)) {
    return InvalidArgument("additive must be a matrix or rows of entries with values", "one of the two",
                           args.additive ? "both" : "entries without values");
  }
  return Status::Ok();
}

// Which positions hold an item that the filter allows.
void FillAllowed(const Index& index, const uint32_t* filter, ThreadPool& pool,
                 const CancelFlag& cancel, std::vector<uint32_t>* allowed) {
  allowed->assign(index.panels(), ~0u);
  if (index.rows() % kPanelItems != 0) allowed->back() = (1u << (index.rows() % kPanelItems)) - 1;
  if (filter == nullptr) return;
  constexpr size_t kPanelsPerChunk = 1024;
  pool.ParallelFor((allowed->size() + kPanelsPerChunk - 1) / kPanelsPerChunk, cancel, [&](size_t chunk, int) {
    const size_t end = std::min(allowed->size(), (chunk + 1) * kPanelsPerChunk);
    for (size_t p = chunk * kPanelsPerChunk; p < end; ++p) {
      const uint32_t* ids = index.ids() + p * kPanelItems;
      uint32_t lanes = 0;
      for (size_t i = 0; i < std::min(kPanelItems, index.rows() - p * kPanelItems); ++i) {
        lanes |= (filter[ids[i] / 32] >> (ids[i] % 32) & 1) << i;
      }
      (*allowed)[p] = lanes;
    }
  });
}

// Of the calling thread, for the searches that it runs.
thread_local Workspace additive_memory;

// A finite number's order by magnitude; above kFinite: NaN and infinity.
constexpr uint32_t kFinite = 0x7f7fffff;

uint32_t MagnitudeBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits & 0x7fffffffu;
}

// Notes the largest magnitude that is added to the next query, of its numbers additive[from .. from + count).
Status NoteLargest(uint32_t bits, const float* additive, size_t from, size_t count, Query* query) {
  for (size_t at = from; bits > kFinite && at < from + count; ++at) {
    if (std::isfinite(additive[at])) continue;
    return NonFinite("additive[" + std::to_string(at) + "] is not finite", "finite numbers",
                     std::to_string(additive[at]));
  }
  query->largest_additive.push_back(0);
  std::memcpy(&query->largest_additive.back(), &bits, sizeof(bits));
  return Status::Ok();
}

// Copies a matrix into the order of positions, where neighbours of a panel are neighbours.
Status FillAdditive(const Args& args, ThreadPool& pool, const CancelFlag& cancel, Query* query) {
  constexpr size_t kPanelsPerChunk = 512;
  const Index& index = *args.index;
  const size_t count = args.query_count(), panels = index.panels(), places = panels * kPanelItems;
  const size_t chunks = (panels + kPanelsPerChunk - 1) / kPanelsPerChunk;
  float* const additive = additive_memory.Reserve<float>(count * places + kPanelItems);
  std::fill_n(additive + count * places, kPanelItems, 0.0f);
  query->additive = additive;
  query->additive_tops.resize(count * panels);
  std::vector<uint32_t> most(count * chunks);
  pool.ParallelFor(count * chunks, cancel, [&](size_t n, int) {
    const size_t q = n / chunks, first = n % chunks * kPanelsPerChunk;
    const float* row = args.additive.row(q);
    for (size_t p = first; p < std::min(panels, first + kPanelsPerChunk); ++p) {
      const size_t valid = std::min(kPanelItems, index.rows() - p * kPanelItems);
      const uint32_t* ids = index.ids() + p * kPanelItems;
      float* out = additive + q * places + p * kPanelItems;
      for (size_t i = 0; i < valid; ++i) out[i] = row[ids[i]];
      std::fill(out + valid, out + kPanelItems, 0.0f);
      uint32_t largest = 0;
      for (size_t i = 0; i < kPanelItems; ++i) largest = std::max(largest, MagnitudeBits(out[i]));
      most[n] = std::max(most[n], largest);
      // By lanes, so that the compiler turns it into vector instructions.
      float tops[8];
      std::copy_n(out, 8, tops);
      for (size_t i = 8; i < kPanelItems; i += 8) {
        for (size_t lane = 0; lane < 8; ++lane) tops[lane] = std::max(tops[lane], out[i + lane]);
      }
      query->additive_tops[q * panels + p] = *std::max_element(tops, tops + 8);
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  for (size_t q = 0; q < count; ++q) {
    const uint32_t bits = *std::max_element(most.begin() + static_cast<std::ptrdiff_t>(q * chunks),
                                            most.begin() + static_cast<std::ptrdiff_t>((q + 1) * chunks));
    const Status status = NoteLargest(bits, args.additive.data, q * index.rows(), index.rows(), query);
    if (!status.ok()) return status;
  }
  return Status::Ok();
}

// Entries by position, which is how a search meets the items.
Status FillEntries(const Args& args, ThreadPool& pool, const CancelFlag& cancel, Query* query) {
  constexpr size_t kQueriesPerChunk = 16;
  const CsrView& rows = args.sparse_additive;
  const uint32_t* positions = args.index->positions();
  query->first_entry.assign(rows.indptr, rows.indptr + rows.rows + 1);
  query->entries.resize(rows.nnz());
  std::vector<uint32_t> most(rows.rows);
  std::vector<Query::Entry> repeated(rows.rows, {kNoItem, 0.0f});
  pool.ParallelFor((rows.rows + kQueriesPerChunk - 1) / kQueriesPerChunk, cancel, [&](size_t chunk, int) {
    for (size_t q = chunk * kQueriesPerChunk; q < std::min(rows.rows, (chunk + 1) * kQueriesPerChunk); ++q) {
      const auto begin = query->entries.begin() + rows.indptr[q], end = query->entries.begin() + rows.indptr[q + 1];
      for (size_t e = rows.indptr[q]; e < rows.indptr[q + 1]; ++e) {
        query->entries[e] = {positions[rows.indices[e]], rows.values[e]};
        most[q] = std::max(most[q], MagnitudeBits(rows.values[e]));
      }
      std::sort(begin, end, [](const Query::Entry& a, const Query::Entry& b) { return a.position < b.position; });
      const auto twin = std::adjacent_find(
          begin, end, [](const Query::Entry& a, const Query::Entry& b) { return a.position == b.position; });
      if (twin != end) repeated[q] = *twin;
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  for (size_t q = 0; q < rows.rows; ++q) {
    const size_t first = rows.indptr[q];
    const Status status = NoteLargest(most[q], rows.values, first, rows.indptr[q + 1] - first, query);
    if (!status.ok()) return status;
    if (repeated[q].position == kNoItem) continue;
    return InvalidArgument("additive has two entries of one column in row " + std::to_string(q), "each column once",
                           "column " + std::to_string(args.index->ids()[repeated[q].position]) + " twice");
  }
  return Status::Ok();
}

}  // namespace

Status Prepare(const Args& args, ThreadPool& pool, const CancelFlag& cancel, Query* query) {
  Status status = CheckShapes(args);
  if (!status.ok()) return status;
  const size_t d = args.queries.cols;
  const size_t count = args.query_count();
  query->index = args.index;
  query->k = args.k;
  query->readout = args.readout;
  query->query_count = count;

  query->first_row.assign(count + 1, 0);
  double largest_offset = 0;
  for (size_t r = 0; r < args.queries.rows; ++r) {
    const float offset = args.offsets == nullptr ? 0.0f : args.offsets[r];
    const size_t q = r / args.interests_per_query;
    if (offset == -std::numeric_limits<float>::infinity()) continue;
    if (!std::isfinite(offset)) {
      return NonFinite("offsets[" + std::to_string(r) + "] is neither finite nor -Infinity",
                       "finite numbers, -Infinity for an absent interest", std::to_string(offset));
    }
    largest_offset = std::max(largest_offset, std::fabs(static_cast<double>(offset)));
    ++query->first_row[q + 1];
    query->offsets.push_back(offset);
    query->interests.push_back(static_cast<uint16_t>(r % args.interests_per_query));
  }
  for (size_t q = 0; q < count; ++q) query->first_row[q + 1] += query->first_row[q];

  query->rows.resize(query->offsets.size() * d);
  double largest_norm = 0;
  for (size_t q = 0; q < count; ++q) {
    for (size_t packed = query->first_row[q]; packed < query->first_row[q + 1]; ++packed) {
      const size_t r = q * args.interests_per_query + query->interests[packed];
      const float* row = args.queries.row(r);
      double square = 0;
      for (size_t x = 0; x < d; ++x) {
        if (!std::isfinite(row[x])) {
          return NonFinite("queries[" + std::to_string(r * d + x) + "] is not finite",
                           "finite numbers", std::to_string(row[x]));
        }
        square += static_cast<double>(row[x]) * row[x];
      }
      const double norm = std::sqrt(square);
      float* copy = query->rows.data() + packed * d;
      if (args.index->metric() == Metric::kDot) {
        std::copy_n(row, d, copy);
        query->norms.push_back(norm);
      } else {
        for (size_t x = 0; x < d; ++x) copy[x] = norm > 0 ? static_cast<float>(row[x] / norm) : 0.0f;
        query->norms.push_back(kUnitNorm);
      }
      largest_norm = std::max(largest_norm, query->norms.back());
    }
  }
  if (args.additive) status = FillAdditive(args, pool, cancel, query);
  if (args.sparse_additive.indptr != nullptr) status = FillEntries(args, pool, cancel, query);
  if (!status.ok()) return status;
  const double largest_additive =
      query->adds() ? *std::max_element(query->largest_additive.begin(), query->largest_additive.end()) : 0.0;
  const double bound = largest_norm * args.index->largest_norm() + largest_offset +
                       args.index->largest_bias() + largest_additive +
                       std::log(static_cast<double>(args.interests_per_query));
  if (!(bound < kMaxScore)) {
    return NonFinite("scores could overflow float32",
                     "largest query norm * largest item norm + offset + bias + additive below 3e+38",
                     std::to_string(bound), "Scale the vectors down.");
  }

  FillAllowed(*args.index, args.filter, pool, cancel, &query->allowed);
  query->first_exclude.assign(count + 1, 0);
  if (args.exclude.indptr == nullptr) return Status::Ok();
  std::copy_n(args.exclude.indptr, count + 1, query->first_exclude.begin());
  query->exclude.assign(args.exclude.indices, args.exclude.indices + args.exclude.nnz());
  constexpr size_t kQueriesPerChunk = 256;
  pool.ParallelFor((count + kQueriesPerChunk - 1) / kQueriesPerChunk, cancel, [&](size_t chunk, int) {
    const size_t end = std::min(count, (chunk + 1) * kQueriesPerChunk);
    for (size_t q = chunk * kQueriesPerChunk; q < end; ++q) {
      std::sort(query->exclude.begin() + query->first_exclude[q],
                query->exclude.begin() + query->first_exclude[q + 1]);
    }
  });
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

}  // namespace prismrec::similarity_search
