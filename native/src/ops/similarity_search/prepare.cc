#include <algorithm>
#include <cmath>
#include <string>

#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {
namespace {

// |<q, e>| <= |q| |e|, for partial sums too: below this nothing overflows on the way.
constexpr double kMaxScore = 3e38;

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
  if (args.exclude.indptr == nullptr) return Status::Ok();
  if (args.exclude.rows != args.query_count() || args.exclude.cols != items.rows()) {
    return ShapeMismatch("exclude must have a row for each query and a column for each item",
                         std::to_string(args.query_count()) + " x " + std::to_string(items.rows()),
                         std::to_string(args.exclude.rows) + " x " +
                             std::to_string(args.exclude.cols));
  }
  return CheckCsr(args.exclude);
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
  const double bound = largest_norm * args.index->largest_norm() + largest_offset +
                       args.index->largest_bias() +
                       std::log(static_cast<double>(args.interests_per_query));
  if (!(bound < kMaxScore)) {
    return NonFinite("scores could overflow float32",
                     "largest query norm * largest item norm + offset + bias below 3e+38",
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
