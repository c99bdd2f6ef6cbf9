// The panel kernels, once, on the abstract vector of simd/vec-inl.h; nothing here may call an inline
// function shared with other translation units.
#include "gemm/cpu/tile-inl.h"
#include "ops/similarity_search/cpu/panel.h"

namespace prismrec::PRISMREC_SIMD_NS::similarity_search {

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

// sums [kPanelItems] = the products of a row with the codes of one panel.
#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3
inline void CodeSums(size_t pairs, const int8_t* codes, const int16_t* row, float* sums) {
  constexpr size_t kAhead = 4096;
  __m256i sum[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) sum[v] = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (size_t p = 0; p < pairs; ++p) {
    // Well ahead, across pages, where the hardware's own prefetching stops.
    __builtin_prefetch(codes + p * 2 * kPanelItems + kAhead);
    int32_t pair;
    std::memcpy(&pair, row + 2 * p, sizeof(pair));
    const __m256i both = _mm256_set1_epi32(pair);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const __m128i bytes =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + p * 2 * kPanelItems + v * 16));
      sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), both));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) _mm256_storeu_ps(sums + v * 8, _mm256_cvtepi32_ps(sum[v]));
}
#else
inline void CodeSums(size_t pairs, const int8_t* codes, const int16_t* row, float* sums) {
  int32_t sum[kPanelItems] = {};
  for (size_t p = 0; p < pairs; ++p) {
    for (size_t i = 0; i < kPanelItems; ++i) {
      const int8_t* pair = codes + (p * kPanelItems + i) * 2;
      sum[i] += pair[0] * row[2 * p] + pair[1] * row[2 * p + 1];
    }
  }
  for (size_t i = 0; i < kPanelItems; ++i) sums[i] = static_cast<float>(sum[i]);
}
#endif

inline size_t ScanCodes(const prismrec::similarity_search::CodeScan& scan, size_t begin, size_t end,
                        size_t* panel, PanelHit* hits) {
  for (size_t p = begin; p < end; ++p) {
    if (scan.allowed[p] == 0) continue;
    const int8_t* codes = scan.codes + p * scan.pairs * 2 * kPanelItems;
    const float* scales = scan.scales + p * kPanelItems;
    size_t count = 0;
    for (size_t a = 0; a < scan.active_count; ++a) {
      const uint32_t row = scan.active[a];
      float sums[kPanelItems];
      CodeSums(scan.pairs, codes, scan.rows + row * 2 * scan.pairs, sums);
      const Vec step = Set(scan.bounds[row].step);
      const Vec margin = Set(scan.bounds[row].slope * scan.errors[p] + scan.bounds[row].base);
      const Vec limit = Set(scan.limits[row]);
      uint32_t bits = 0;
#pragma GCC unroll 32
      for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
        const Vec bias = scan.bias == nullptr ? Zero() : Load(scan.bias + p * kPanelItems + lane);
        const Vec bound = Fma(Load(scales + lane), Fma(step, Load(sums + lane), margin), bias);
        bits |= MaskBits(GreaterEqual(bound, limit)) << lane;
      }
      bits &= scan.allowed[p];
      if (bits == 0) continue;
      hits[count].row = row;
      hits[count++].items = bits;
    }
    if (count > 0) {
      *panel = p;
      return count;
    }
  }
  *panel = end;
  return 0;
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
