// The panel kernels, once, on the abstract vector of simd/vec-inl.h; nothing here may call an inline
// function shared with other translation units.
#include "gemm/cpu/tile-inl.h"
#include "ops/similarity_search/cpu/panel.h"

namespace prismrec::PRISMREC_SIMD_NS::similarity_search {

using prismrec::similarity_search::CodeHit;
using prismrec::similarity_search::CodeRow;
using prismrec::similarity_search::kCodeOctet;
using prismrec::similarity_search::kOctetBytes;
using prismrec::similarity_search::kPanelItems;
using prismrec::similarity_search::PanelHit;
using prismrec::similarity_search::PanelKernel;
using tile::kCols;
using tile::kRows;
using tile::kVecs;

// Adds the items [from, from + kCols) of a panel that reach a limit to the hits of this row panel,
// [first, count). Returns the new count.
inline size_t Collect(Vec (&sum)[kRows][kVecs], const Vec (&bias)[kVecs], const float* limits,
                      uint32_t row, uint32_t allowed, size_t from, PanelHit* hits, size_t first,
                      size_t count) {
  for (int i = 0; i < kRows; ++i) {
    uint32_t bits = 0;
    for (int v = 0; v < kVecs && from + v * kLanes < kPanelItems; ++v) {
      const Mask reached = GreaterEqual(Add(sum[i][v], bias[v]), Set(limits[i]));
      bits |= MaskBits(reached) << (from + v * kLanes);
    }
    bits &= allowed;
    if (bits == 0) continue;
    size_t at = first;
    while (at < count && hits[at].row != row + i) ++at;
    if (at == count) {
      hits[count].row = row + static_cast<uint32_t>(i);
      hits[count++].items = 0;
    }
    hits[at].items |= bits;
    for (int v = 0; v < kVecs && from + v * kLanes < kPanelItems; ++v) {
      Store(hits[at].products + from + v * kLanes, sum[i][v]);
    }
  }
  return count;
}

inline size_t ScanPanels(const prismrec::similarity_search::Scan& scan, size_t begin, size_t end,
                         size_t* panel, PanelHit* hits) {
  for (size_t p = begin; p < end; ++p) {
    const uint32_t allowed = scan.allowed[p];
    if (allowed == 0) continue;
    const float* items = scan.items + p * scan.d * kPanelItems;
    size_t count = 0;
    for (size_t r = 0; r < scan.active_count; ++r) {
      const size_t row = scan.active[r] * static_cast<size_t>(kRows);
      const float* limits = scan.limits + row;
      const size_t first = count;
      for (size_t from = 0; from < kPanelItems; from += kCols) {
        Vec sum[kRows][kVecs];
        tile::Clear(sum);
        tile::AccumulateStrided(scan.d, scan.rows + row * scan.d, 1, kRows, items + from, kPanelItems,
                                sum);
        Vec bias[kVecs];
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) {
          bias[v] = scan.bias == nullptr ? Zero() : Load(scan.bias + p * kPanelItems + from + v * kLanes);
        }
        Mask reached = Greater(Zero(), Zero());
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i) {
          Vec top = Add(sum[i][0], bias[0]);
#pragma GCC unroll 4
          for (int v = 1; v < kVecs; ++v) top = Max(top, Add(sum[i][v], bias[v]));
          reached = Or(reached, GreaterEqual(top, Set(limits[i])));
        }
        if (MaskBits(reached) != 0) {
          count = Collect(sum, bias, limits, static_cast<uint32_t>(row), allowed, from, hits, first, count);
        }
      }
    }
    if (count > 0) {
      *panel = p;
      return count;
    }
  }
  *panel = end;
  return 0;
}

// sums [kPanelItems] = the products of a row with one panel of a plane.
#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3
inline void CodeSums(size_t octets, const uint8_t* plane, const int8_t* row, int32_t* sums) {
  // So far ahead that memory has time to answer, across pages, where the hardware's own prefetching stops.
  constexpr size_t kAhead = 4096;
  // A 16-bit lane takes four products of an octet, each at most 15 * 127.
  constexpr size_t kOctetsPerLane = 32767 / (4 * 15 * 127);
  constexpr int kVectors = static_cast<int>(kOctetBytes / 32);
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i one = _mm256_set1_epi16(1);
  __m256i sum[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) sum[v] = _mm256_setzero_si256();
  for (size_t first = 0; first < octets; first += kOctetsPerLane) {
    const size_t end = first + kOctetsPerLane < octets ? first + kOctetsPerLane : octets;
    __m256i part[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) part[v] = _mm256_setzero_si256();
    for (size_t o = first; o < end; ++o) {
      int32_t halves[2];
      std::memcpy(halves, row + o * kCodeOctet, sizeof(halves));
      const __m256i low = _mm256_set1_epi32(halves[0]);
      const __m256i high = _mm256_set1_epi32(halves[1]);
      const uint8_t* bytes = plane + o * kOctetBytes;
      __builtin_prefetch(bytes + kAhead);
      __builtin_prefetch(bytes + kAhead + 64);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + v * 32));
        const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
        part[v] = _mm256_add_epi16(part[v], _mm256_maddubs_epi16(_mm256_and_si256(both, nibble), low));
        part[v] = _mm256_add_epi16(part[v], _mm256_maddubs_epi16(upper, high));
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(part[v], one));
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + v * 8), sum[v]);
}
#else
inline void CodeSums(size_t octets, const uint8_t* plane, const int8_t* row, int32_t* sums) {
  for (size_t i = 0; i < kPanelItems; ++i) sums[i] = 0;
  for (size_t o = 0; o < octets; ++o) {
    const int8_t* low = row + o * kCodeOctet;
    const int8_t* high = low + kCodeOctet / 2;
    const uint8_t* bytes = plane + o * kOctetBytes;
    for (size_t i = 0; i < kPanelItems; ++i) {
      int32_t sum = 0;
      for (size_t x = 0; x < kCodeOctet / 2; ++x) {
        const int byte = bytes[i * (kCodeOctet / 2) + x];
        sum += (byte & 15) * low[x] + (byte >> 4) * high[x];
      }
      sums[i] += sum;
    }
  }
}
#endif

// The items of panel p whose bound, from sums against twice their codes, reaches the row's limit.
inline uint32_t Reaching(const prismrec::similarity_search::CodeScan& scan, size_t p, uint32_t row, float error,
                         const int32_t* doubled) {
  const CodeRow& bounds = scan.bounds[row];
  const Vec step = Set(bounds.step);
  const Vec margin = Set(bounds.slope * error);
  const Vec rest = Set(bounds.rest * scan.norms[p]);
  const Vec limit = Set(scan.limits[row]);
  const float* scales = scan.scales + p * kPanelItems;
  float sums[kPanelItems];
  for (size_t i = 0; i < kPanelItems; ++i) sums[i] = static_cast<float>(doubled[i]);
  uint32_t bits = 0;
#pragma GCC unroll 32
  for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
    const Vec own = scan.bias == nullptr ? rest : Add(rest, Load(scan.bias + p * kPanelItems + lane));
    const Vec bound = Fma(Load(scales + lane), Fma(step, Load(sums + lane), margin), own);
    bits |= MaskBits(GreaterEqual(bound, limit)) << lane;
  }
  return bits & scan.allowed[p];
}

inline size_t ScanCodes(const prismrec::similarity_search::CodeScan& scan, size_t begin, size_t end,
                        CodeHit* hits) {
  const size_t panel_bytes = scan.octets * kOctetBytes;
  const size_t row_codes = scan.octets * kCodeOctet;
  int32_t sums[kPanelItems];
  size_t maybe = 0;
  for (size_t p = begin; p < end; ++p) {
    if (scan.allowed[p] == 0) continue;
    const size_t before = maybe;
    for (size_t a = 0; a < scan.active_count; ++a) {
      const uint32_t row = scan.active[a];
      CodeSums(scan.octets, scan.coarse + p * panel_bytes, scan.rows + row * row_codes, sums);
      const int32_t middle = 241 * scan.bounds[row].total;
      for (size_t i = 0; i < kPanelItems; ++i) sums[i] = 32 * sums[i] - middle;
      const uint32_t items = Reaching(scan, p, row, scan.errors[p].coarse, sums);
      if (items != 0) hits[maybe++] = {static_cast<uint32_t>(p), row, items};
    }
    // They are read when all panels have had their turn.
    if (maybe == before) continue;
    for (size_t at = 0; at < panel_bytes; at += 64) __builtin_prefetch(scan.fine + p * panel_bytes + at);
  }
  size_t count = 0;
  for (size_t m = 0; m < maybe; ++m) {
    const CodeHit hit = hits[m];
    const int8_t* row = scan.rows + hit.row * row_codes;
    int32_t fine[kPanelItems];
    CodeSums(scan.octets, scan.coarse + hit.panel * panel_bytes, row, sums);
    CodeSums(scan.octets, scan.fine + hit.panel * panel_bytes, row, fine);
    const int32_t middle = 256 * scan.bounds[hit.row].total;
    for (size_t i = 0; i < kPanelItems; ++i) sums[i] = 32 * sums[i] + 2 * fine[i] - middle;
    const uint32_t items = hit.items & Reaching(scan, hit.panel, hit.row, scan.errors[hit.panel].fine, sums);
    if (items != 0) hits[count++] = {hit.panel, hit.row, items};
  }
  return count;
}

// Four rows at a time share what is loaded of the panel.
template <int R>
inline void ProductsOf(size_t d, const float* items, const float* rows, float* products) {
  Vec sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = Zero();
  for (size_t x = 0; x < d; ++x) {
    const Vec item = Load(items + x * kPanelItems);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = Fma(Set(rows[r * d + x]), item, sum[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) Store(products + r * kPanelItems, sum[r]);
}

inline void Products(size_t d, const float* panel, uint32_t items, const float* rows, size_t count,
                     float* products) {
  constexpr uint32_t kFirst = static_cast<uint32_t>((uint64_t{1} << kLanes) - 1);
  for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
    if ((items >> lane & kFirst) == 0) continue;
    size_t r = 0;
    for (; r + 4 <= count; r += 4) {
      ProductsOf<4>(d, panel + lane, rows + r * d, products + r * kPanelItems + lane);
    }
    for (; r < count; ++r) {
      ProductsOf<1>(d, panel + lane, rows + r * d, products + r * kPanelItems + lane);
    }
  }
}

inline void LogSumExp(const float* products, const float* offsets, size_t count, float* scores) {
  for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
    const auto term = [&](size_t j) {
      return Add(Load(products + j * kPanelItems + lane), Set(offsets[j]));
    };
    Vec best = term(0);
    for (size_t j = 1; j < count; ++j) best = Max(best, term(j));
    Vec sum = Zero();
    for (size_t j = 0; j < count; ++j) sum = Add(sum, Exp(Sub(term(j), best)));
    Store(scores + lane, Add(best, Log(sum)));
  }
}

inline constexpr PanelKernel kPanel = {tile::kKernel, ScanPanels, ScanCodes, Products, LogSumExp};

}  // namespace prismrec::PRISMREC_SIMD_NS::similarity_search
