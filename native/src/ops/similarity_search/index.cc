#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <type_traits>

#include "ops/similarity_search/index_file.h"
#include "ops/similarity_search/similarity_search.h"
#include "runtime/large_pages.h"
#include "runtime/memory.h"

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

constexpr size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

size_t Index::ContentOffset() { return Aligned(sizeof(IndexHeader)); }

size_t Index::Place(bool biased, bool coded) {
  size_t size = 0;
  const uintptr_t base = reinterpret_cast<uintptr_t>(memory_);
  const auto place = [&](auto** array, size_t count) {
    *array = reinterpret_cast<std::remove_reference_t<decltype(*array)>>(base + size);
    size += Aligned(count * sizeof(**array));
  };
  const size_t places = panels() * kPanelItems;
  place(&header_, 1);
  place(&ids_, places);
  place(&norms_, panels());
  // A vector may reach beyond the last panel.
  place(&items_, places * cols_ + kPanelItems);
  if (biased) {
    place(&bias_, places + kPanelItems);
    place(&bias_tops_, panels());
  }
  if (coded) {
    place(&scales_, places);
    place(&errors_, panels());
    place(&coarse_codes_, panels() * octets() * kOctetBytes);
    place(&fine_codes_, panels() * octets() * kOctetBytes);
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

void Index::Encode(size_t p) {
  const float* panel = this->panel(p);
  const size_t bytes = octets() * kOctetBytes;
  uint8_t* const planes[2] = {fine_codes_ + p * bytes, coarse_codes_ + p * bytes};
  for (uint8_t* plane : planes) std::memset(plane, 0, bytes);
  float* scales = scales_ + p * kPanelItems;
  float tops[kPanelItems] = {};
  for (size_t x = 0; x < cols_; ++x) {
    for (size_t i = 0; i < kPanelItems; ++i) tops[i] = std::max(tops[i], std::fabs(panel[x * kPanelItems + i]));
  }
  float inverses[kPanelItems];
  for (size_t i = 0; i < kPanelItems; ++i) {
    scales[i] = std::max(tops[i] / 127.0f, std::numeric_limits<float>::min());
    inverses[i] = 1.0f / scales[i];
  }
  // Any codes will do, since what they leave is measured.
  double coarse[kPanelItems] = {}, fine[kPanelItems] = {};
  for (size_t x = 0; x < cols_; ++x) {
    const size_t at = x / kCodeOctet * kOctetBytes + x % 4;
    const int shift = x % kCodeOctet < 4 ? 0 : 4;
    for (size_t i = 0; i < kPanelItems; ++i) {
      const float value = panel[x * kPanelItems + i];
      const float scaled = std::clamp(value * inverses[i], -127.0f, 127.0f);
      const int code = static_cast<int>(scaled + (scaled < 0 ? -0.5f : 0.5f)) + 128;
      planes[0][at + 4 * i] |= static_cast<uint8_t>((code & 15) << shift);
      planes[1][at + 4 * i] |= static_cast<uint8_t>(code >> 4 << shift);
      const double scale = scales[i];
      const double left = value - (code - 128) * scale;
      const double more = value - ((code & ~15) - 120.5) * scale;
      fine[i] += left * left;
      coarse[i] += more * more;
    }
  }
  double most_coarse = 0, most_fine = 0;
  for (size_t i = 0; i < kPanelItems; ++i) {
    most_coarse = std::max(most_coarse, std::sqrt(coarse[i]) / scales[i]);
    most_fine = std::max(most_fine, std::sqrt(fine[i]) / scales[i]);
  }
  errors_[p] = {AtLeast(most_coarse), AtLeast(most_fine)};
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
  const bool coded = items.size() >= kCodedFloats;
  const size_t bytes = built->Place(bias != nullptr, coded);
  const MemoryClaim claim(bytes);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  AdviseLargePages(memory, bytes);
  built->memory_ = static_cast<char*>(memory);
  built->bytes_ = bytes;
  built->Place(bias != nullptr, coded);

  IndexHeader& header = *built->header_;
  std::memcpy(header.magic, kIndexMagic, sizeof(kIndexMagic));
  header.version = kIndexVersion;
  header.panel_items = kPanelItems;
  header.rows = items.rows;
  header.cols = items.cols;
  header.metric = static_cast<uint32_t>(metric);
  header.biased = bias != nullptr;
  header.coded = coded;
  header.largest_bias = built->largest_bias_;
  header.bytes = bytes;

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
      if (coded) built->Encode(p);
    }
  });
  if (cancel.Cancelled()) return Cancelled();
  *index = std::move(built);
  return Status::Ok();
}

const uint32_t* Index::positions() const {
  const std::lock_guard<std::mutex> lock(positions_mutex_);
  if (positions_.empty()) {
    LargeVector<uint32_t> positions(rows_);
    for (size_t at = 0; at < rows_; ++at) positions[ids_[at]] = static_cast<uint32_t>(at);
    positions_ = std::move(positions);
  }
  return positions_.data();
}

Index::~Index() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

}  // namespace prismrec::similarity_search
