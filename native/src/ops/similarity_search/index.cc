#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <string>
#include <type_traits>

#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {
namespace {

constexpr size_t kRowsPerChunk = 4096;
constexpr size_t kPanelsPerChunk = 128;
constexpr size_t kAlignment = 64;

Status NotFinite(const char* name, size_t position, float value) {
  return NonFinite(std::string(name) + "[" + std::to_string(position) + "] is not finite",
                   "finite numbers", std::to_string(value));
}

float AtLeast(double x) {
  const float rounded = static_cast<float>(x);
  return rounded < x ? std::nextafter(rounded, std::numeric_limits<float>::infinity()) : rounded;
}

// Ascending, in chunks of a fixed size that are then merged in pairs.
void Sort(std::vector<uint64_t>* keys, ThreadPool& pool, const CancelFlag& cancel) {
  const size_t size = keys->size();
  constexpr size_t kRun = size_t{1} << 15;
  pool.ParallelFor((size + kRun - 1) / kRun, cancel, [&](size_t chunk, int) {
    std::sort(keys->begin() + chunk * kRun, keys->begin() + std::min(size, (chunk + 1) * kRun));
  });
  std::vector<uint64_t> merged(size);
  for (size_t run = kRun; run < size; run *= 2) {
    pool.ParallelFor((size + 2 * run - 1) / (2 * run), cancel, [&](size_t chunk, int) {
      const auto first = keys->begin() + chunk * 2 * run;
      const auto middle = keys->begin() + std::min(size, chunk * 2 * run + run);
      const auto last = keys->begin() + std::min(size, (chunk + 1) * 2 * run);
      std::merge(first, middle, middle, last, merged.begin() + chunk * 2 * run);
    });
    keys->swap(merged);
  }
}

}  // namespace

size_t Index::Place(bool biased) {
  size_t size = 0;
  const auto place = [&](auto** array, size_t count) {
    *array = reinterpret_cast<std::remove_reference_t<decltype(*array)>>(memory_ + size);
    size += (count * sizeof(**array) + kAlignment - 1) / kAlignment * kAlignment;
  };
  const size_t places = panels() * kPanelItems;
  place(&ids_, places);
  place(&norms_, panels());
  // A vector may reach beyond the last panel.
  place(&items_, places * cols_ + kPanelItems);
  if (biased) {
    place(&bias_, places + kPanelItems);
    place(&bias_tops_, panels());
  }
  return size;
}

// Panel p from the rows that `ids_` puts there.
void Index::Pack(MatrixView<const float> items, const float* bias, size_t p) {
  const size_t count = std::min(kPanelItems, rows_ - p * kPanelItems);
  const uint32_t* ids = ids_ + p * kPanelItems;
  float* panel = items_ + p * cols_ * kPanelItems;
  for (size_t i = 0; i < count; ++i) {
    const float* row = items.row(ids[i]);
    double norm = 0;
    if (metric_ == Metric::kCosine) {
      for (size_t x = 0; x < cols_; ++x) norm += static_cast<double>(row[x]) * row[x];
      norm = std::sqrt(norm);
    }
    for (size_t x = 0; x < cols_; ++x) {
      panel[x * kPanelItems + i] = norm > 0 ? static_cast<float>(row[x] / norm) : row[x];
    }
  }
  if (bias == nullptr) return;
  float top = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < count; ++i) {
    bias_[p * kPanelItems + i] = bias[ids[i]];
    top = std::max(top, bias[ids[i]]);
  }
  bias_tops_[p] = top;
}

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
  // A key orders longest first, then by id.
  std::vector<uint64_t> keys(items.rows);
  const size_t chunks = (items.rows + kRowsPerChunk - 1) / kRowsPerChunk;
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
      const double norm = metric == Metric::kDot ? std::sqrt(square) : square > 0 ? kUnitNorm : 0;
      // Bits of floats that are not negative order as the floats do.
      const float bound = AtLeast(norm);
      uint32_t bits;
      std::memcpy(&bits, &bound, sizeof(bits));
      keys[r] = static_cast<uint64_t>(~bits) << 32 | r;
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  const size_t first_bad = *std::min_element(bad.begin(), bad.end());
  if (first_bad < items.size()) return NotFinite("items", first_bad, items.data[first_bad]);
  Sort(&keys, pool, cancel);

  std::unique_ptr<Index> built(new Index());
  built->rows_ = items.rows;
  built->cols_ = items.cols;
  built->metric_ = metric;
  for (size_t r = 0; bias != nullptr && r < items.rows; ++r) {
    if (!std::isfinite(bias[r])) return NotFinite("bias", r, bias[r]);
    built->largest_bias_ = std::max(built->largest_bias_, std::fabs(static_cast<double>(bias[r])));
  }
  const size_t bytes = built->Place(bias != nullptr);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  built->memory_ = static_cast<char*>(memory);
  built->bytes_ = bytes;
  built->Place(bias != nullptr);

  const size_t panels = built->panels();
  pool.ParallelFor((panels + kPanelsPerChunk - 1) / kPanelsPerChunk, cancel, [&](size_t chunk, int) {
    for (size_t p = chunk * kPanelsPerChunk; p < std::min(panels, (chunk + 1) * kPanelsPerChunk); ++p) {
      const size_t first = p * kPanelItems;
      const uint32_t bits = ~static_cast<uint32_t>(keys[first] >> 32);
      std::memcpy(built->norms_ + p, &bits, sizeof(bits));
      for (size_t i = first; i < std::min(items.rows, first + kPanelItems); ++i) {
        built->ids_[i] = static_cast<uint32_t>(keys[i]);
      }
      built->Pack(items, bias, p);
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  *index = std::move(built);
  return Status::Ok();
}

Index::~Index() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace prismrec::similarity_search
