#include <algorithm>
#include <cmath>
#include <string>

#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {
namespace {

constexpr size_t kRowsPerChunk = 4096;

Status NotFinite(const char* name, size_t position, float value) {
  return NonFinite(std::string(name) + "[" + std::to_string(position) + "] is not finite",
                   "finite numbers", std::to_string(value));
}

}  // namespace

Status Index::Build(MatrixView<const float> items, const float* bias, Metric metric,
                    ThreadPool& pool, const CancelFlag& cancel, std::unique_ptr<Index>* index) {
  if (items.rows == 0 || items.cols == 0) {
    return InvalidArgument("an index needs at least one item of at least one dimension",
                           "items of shape [N >= 1, d >= 1]",
                           "[" + std::to_string(items.rows) + ", " + std::to_string(items.cols) + "]");
  }
  if (items.rows >= kNoItem) {
    return InvalidArgument("an index holds fewer than 2^32 - 1 items", "below 4294967295",
                           std::to_string(items.rows));
  }
  std::unique_ptr<Index> built(new Index());
  built->rows_ = items.rows;
  built->cols_ = items.cols;
  built->metric_ = metric;
  built->items_.reset(new float[items.size()]);

  const size_t chunks = (items.rows + kRowsPerChunk - 1) / kRowsPerChunk;
  std::vector<double> norms(chunks, 0.0);
  std::vector<size_t> bad(chunks, items.size());
  pool.ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    const size_t end = std::min(items.rows, (chunk + 1) * kRowsPerChunk);
    for (size_t r = chunk * kRowsPerChunk; r < end; ++r) {
      const float* row = items.row(r);
      double square = 0;
      for (size_t x = 0; x < items.cols; ++x) {
        if (!std::isfinite(row[x])) {
          bad[chunk] = r * items.cols + x;
          return;
        }
        square += static_cast<double>(row[x]) * row[x];
      }
      const double norm = std::sqrt(square);
      float* copy = built->items_.get() + r * items.cols;
      if (metric == Metric::kDot) {
        std::copy_n(row, items.cols, copy);
      } else {
        for (size_t x = 0; x < items.cols; ++x) {
          copy[x] = norm > 0 ? static_cast<float>(row[x] / norm) : 0.0f;
        }
      }
      norms[chunk] = std::max(norms[chunk], norm);
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  const size_t first_bad = *std::min_element(bad.begin(), bad.end());
  if (first_bad < items.size()) return NotFinite("items", first_bad, items.data[first_bad]);
  built->largest_norm_ =
      metric == Metric::kCosine ? 1.0 : *std::max_element(norms.begin(), norms.end());

  if (bias != nullptr) {
    built->bias_.reset(new float[items.rows]);
    for (size_t r = 0; r < items.rows; ++r) {
      if (!std::isfinite(bias[r])) return NotFinite("bias", r, bias[r]);
      built->bias_[r] = bias[r];
      built->largest_bias_ = std::max(built->largest_bias_, std::fabs(static_cast<double>(bias[r])));
    }
  }
  *index = std::move(built);
  return Status::Ok();
}

}  // namespace prismrec::similarity_search
