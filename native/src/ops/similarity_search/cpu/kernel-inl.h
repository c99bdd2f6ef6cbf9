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
using prismrec::similarity_search::SummedRows;
using tile::kCols;
using tile::kRows;
using tile::kVecs;

// What is compared with a row's limit. `additive`: the row's, from the item on, read where kAdds.
template <bool kAdds>
inline Vec Reach(Vec product, Vec bias, const float* additive) {
  const Vec reach = Add(product, bias);
  if constexpr (kAdds) return Add(reach, Load(additive));
  return reach;
}

// Adds the items [from, from + kCols) of a panel that reach a limit to the hits of this row panel,
// [first, count). Returns the new count.
template <int R, bool kAdds>
inline size_t Collect(Vec (&sum)[R][kVecs], const Vec (&bias)[kVecs], const float* const (&additive)[R],
                      const float* limits, uint32_t row, uint32_t allowed, size_t from, PanelHit* hits,
                      size_t first, size_t count) {
  for (int i = 0; i < R; ++i) {
    uint32_t bits = 0;
    for (int v = 0; v < kVecs && from + v * kLanes < kPanelItems; ++v) {
      const Mask reached =
          GreaterEqual(Reach<kAdds>(sum[i][v], bias[v], additive[i] + v * kLanes), Set(limits[i]));
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

// The first R rows of the row panel that starts with `row` against panel p. Returns the new count of hits.
template <int R, bool kAdds>
inline size_t ScanRows(const prismrec::similarity_search::Scan& scan, size_t p, size_t row, PanelHit* hits,
                       size_t count) {
  const float* items = scan.items + p * scan.d * kPanelItems;
  const float* limits = scan.limits + row;
  const size_t first = count;
  for (size_t from = 0; from < kPanelItems; from += kCols) {
    Vec sum[R][kVecs];
    tile::Clear(sum);
    tile::AccumulateStrided(scan.d, scan.rows + row * scan.d, 1, kRows, items + from, kPanelItems, sum);
    Vec bias[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      bias[v] = scan.bias == nullptr ? Zero() : Load(scan.bias + p * kPanelItems + from + v * kLanes);
    }
    const float* additive[R] = {};
    if constexpr (kAdds) {
      const size_t at = (p - scan.additive.first_panel) * kPanelItems + from;
      for (int i = 0; i < R; ++i) {
        additive[i] = scan.additive.rows[row + i] + at;
        // The next panel's: rows are too many streams for the hardware's own prefetching.
        for (size_t x = 0; x < kCols; x += 16) __builtin_prefetch(additive[i] + kPanelItems + x);
      }
    }
    Mask reached = Greater(Zero(), Zero());
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      Vec top = Reach<kAdds>(sum[i][0], bias[0], additive[i]);
#pragma GCC unroll 4
      for (int v = 1; v < kVecs; ++v) {
        top = Max(top, Reach<kAdds>(sum[i][v], bias[v], additive[i] + v * kLanes));
      }
      reached = Or(reached, GreaterEqual(top, Set(limits[i])));
    }
    if (MaskBits(reached) != 0) {
      count = Collect<R, kAdds>(sum, bias, additive, limits, static_cast<uint32_t>(row), scan.allowed[p], from, hits,
                                first, count);
    }
  }
  return count;
}

template <bool kAdds>
inline size_t ScanPanelsOf(const prismrec::similarity_search::Scan& scan, size_t begin, size_t end,
                         size_t* panel, PanelHit* hits) {
  // The last row panel may hold few rows, a single query's in particular.
  constexpr int kFew = 4 < kRows ? 4 : kRows, kHalf = 8 < kRows ? 8 : kRows;
  for (size_t p = begin; p < end; ++p) {
    if (scan.allowed[p] == 0) continue;
    size_t count = 0;
    for (size_t r = 0; r < scan.active_count; ++r) {
      const size_t row = scan.active[r] * static_cast<size_t>(kRows);
      const size_t rows = scan.row_count - row;
      if (rows <= kFew) {
        count = ScanRows<kFew, kAdds>(scan, p, row, hits, count);
      } else if (rows <= kHalf) {
        count = ScanRows<kHalf, kAdds>(scan, p, row, hits, count);
      } else {
        count = ScanRows<kRows, kAdds>(scan, p, row, hits, count);
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

inline size_t ScanPanels(const prismrec::similarity_search::Scan& scan, size_t begin, size_t end,
                         size_t* panel, PanelHit* hits) {
  return scan.additive.rows == nullptr ? ScanPanelsOf<false>(scan, begin, end, panel, hits)
                                       : ScanPanelsOf<true>(scan, begin, end, panel, hits);
}

#if PRISMREC_SIMD_ID == 2
using Codes = __m256i;
inline Codes LoadCodes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void StoreCodes(int32_t* p, Codes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
inline Codes SetWords(int32_t x) { return _mm256_set1_epi32(x); }
inline Codes And(Codes a, Codes b) { return _mm256_and_si256(a, b); }
inline Codes ShiftHalves(Codes a) { return _mm256_srli_epi16(a, 4); }
inline Codes AddHalves(Codes a, Codes b) { return _mm256_add_epi16(a, b); }
inline Codes AddWords(Codes a, Codes b) { return _mm256_add_epi32(a, b); }
inline Codes PairBytes(Codes a, Codes b) { return _mm256_maddubs_epi16(a, b); }
inline Codes PairHalves(Codes a, Codes b) { return _mm256_madd_epi16(a, b); }
#elif PRISMREC_SIMD_ID == 3
using Codes = __m512i;
inline Codes LoadCodes(const void* p) { return _mm512_loadu_si512(p); }
inline void StoreCodes(int32_t* p, Codes x) { _mm512_storeu_si512(p, x); }
inline Codes SetWords(int32_t x) { return _mm512_set1_epi32(x); }
inline Codes And(Codes a, Codes b) { return _mm512_and_si512(a, b); }
inline Codes ShiftHalves(Codes a) { return _mm512_srli_epi16(a, 4); }
inline Codes AddHalves(Codes a, Codes b) { return _mm512_add_epi16(a, b); }
inline Codes AddWords(Codes a, Codes b) { return _mm512_add_epi32(a, b); }
inline Codes PairBytes(Codes a, Codes b) { return _mm512_maddubs_epi16(a, b); }
inline Codes PairHalves(Codes a, Codes b) { return _mm512_madd_epi16(a, b); }
#endif

#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3
// The same four codes of a row for each item.
inline Codes Broadcast(const int8_t* codes) {
  int32_t word;
  std::memcpy(&word, codes, sizeof(word));
  return SetWords(word);
}
#endif

// sums [R][kPanelItems] = the products of R rows with one panel of a plane.
#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3
template <int R>
inline void CodeSums(size_t octets, const uint8_t* plane, const int8_t* const (&rows)[R],
                     int32_t (*sums)[kPanelItems]) {
  // So far ahead that memory has time to answer, across pages, where the hardware's own prefetching stops.
  constexpr size_t kAhead = 16384;
  // A 16-bit lane takes four products of an octet, each at most 15 * 127.
  constexpr size_t kOctetsPerLane = 32767 / (4 * 15 * 127);
  constexpr int kVectors = static_cast<int>(kOctetBytes / sizeof(Codes));
  const Codes nibble = SetWords(0x0f0f0f0f);
  const Codes one = SetWords(0x00010001);
  const Codes zero = SetWords(0);
  Codes sum[R][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = zero;
  }
  size_t o = 0;
  const auto add_octets = [&](size_t count) {
    Codes part[R][kVectors];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) part[r][v] = zero;
    }
#pragma GCC unroll 4
    for (const size_t end = o + count; o < end; ++o) {
      const uint8_t* bytes = plane + o * kOctetBytes;
      __builtin_prefetch(bytes + kAhead);
      __builtin_prefetch(bytes + kAhead + 64);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Codes both = LoadCodes(bytes + v * sizeof(Codes));
        const Codes low = And(both, nibble), high = And(ShiftHalves(both), nibble);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const int8_t* codes = rows[r] + o * kCodeOctet;
          part[r][v] = AddHalves(part[r][v], PairBytes(low, Broadcast(codes)));
          part[r][v] = AddHalves(part[r][v], PairBytes(high, Broadcast(codes + kCodeOctet / 2)));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = AddWords(sum[r][v], PairHalves(part[r][v], one));
    }
  };
  while (o + kOctetsPerLane <= octets) add_octets(kOctetsPerLane);
  if (o < octets) add_octets(octets - o);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) StoreCodes(sums[r] + v * (sizeof(Codes) / 4), sum[r][v]);
  }
}
#else
template <int R>
inline void CodeSums(size_t octets, const uint8_t* plane, const int8_t* const (&rows)[R],
                     int32_t (*sums)[kPanelItems]) {
  for (int r = 0; r < R; ++r) {
    for (size_t i = 0; i < kPanelItems; ++i) sums[r][i] = 0;
    for (size_t o = 0; o < octets; ++o) {
      const int8_t* low = rows[r] + o * kCodeOctet;
      const int8_t* high = low + kCodeOctet / 2;
      const uint8_t* bytes = plane + o * kOctetBytes;
      for (size_t i = 0; i < kPanelItems; ++i) {
        int32_t sum = 0;
        for (size_t x = 0; x < kCodeOctet / 2; ++x) {
          const int byte = bytes[i * (kCodeOctet / 2) + x];
          sum += (byte & 15) * low[x] + (byte >> 4) * high[x];
        }
        sums[r][i] += sum;
      }
    }
  }
}
#endif

// The items of panel p whose bound, from sums against twice their codes, reaches the row's limit. `reaches` takes what is
// compared, [kPanelItems]; nullable.
template <bool kAdds>
inline uint32_t Reaching(const prismrec::similarity_search::CodeScan& scan, size_t p, uint32_t row, float error,
                         const int32_t* doubled, float* reaches) {
  const CodeRow& bounds = scan.bounds[row];
  const Vec step = Set(bounds.step);
  const Vec margin = Set(bounds.slope * error);
  const Vec rest = Set(bounds.rest * scan.norms[p]);
  const Vec limit = Set(scan.limits[row]);
  const float* scales = scan.scales + p * kPanelItems;
  const float* additive = nullptr;
  if constexpr (kAdds) additive = scan.additive.rows[row] + (p - scan.additive.first_panel) * kPanelItems;
  float sums[kPanelItems];
  for (size_t i = 0; i < kPanelItems; ++i) sums[i] = static_cast<float>(doubled[i]);
  uint32_t bits = 0;
#pragma GCC unroll 32
  for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
    Vec own = scan.bias == nullptr ? rest : Add(rest, Load(scan.bias + p * kPanelItems + lane));
    if constexpr (kAdds) own = Add(own, Load(additive + lane));
    const Vec bound = Fma(Load(scales + lane), Fma(step, Load(sums + lane), margin), own);
    bits |= MaskBits(GreaterEqual(bound, limit)) << lane;
    if (reaches != nullptr) Store(reaches + lane, bound);
  }
  return bits & scan.allowed[p];
}

// Of the dimensions of a panel, which are looked at when all its group has been scanned.
inline void PrefetchItems(size_t d, const float* panel, uint32_t items) {
  constexpr size_t kLine = 64 / sizeof(float);
  for (size_t at = 0; at < kPanelItems; at += kLine) {
    if ((items >> at & ((1u << kLine) - 1)) == 0) continue;
    for (size_t x = 0; x < d; ++x) __builtin_prefetch(panel + x * kPanelItems + at);
  }
}

// Adds the items of panel p that the coarse codes do not rule out for R of the active rows to the hits.
template <int R, bool kAdds>
inline size_t ScanCoarse(const prismrec::similarity_search::CodeScan& scan, size_t p, const uint32_t* active,
                         CodeHit* hits, size_t count) {
  const int8_t* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = scan.rows + active[r] * scan.octets * kCodeOctet;
  int32_t sums[R][kPanelItems];
  CodeSums<R>(scan.octets, scan.coarse + p * scan.octets * kOctetBytes, rows, sums);
  for (int r = 0; r < R; ++r) {
    const int32_t middle = 241 * scan.bounds[active[r]].total;
    for (size_t i = 0; i < kPanelItems; ++i) sums[r][i] = 32 * sums[r][i] - middle;
    float* reaches = scan.reaches == nullptr ? nullptr : scan.reaches + active[r] * kPanelItems;
    const uint32_t items = Reaching<kAdds>(scan, p, active[r], scan.errors[p].coarse, sums[r], reaches);
    if (items != 0) hits[count++] = {static_cast<uint32_t>(p), active[r], items};
  }
  return count;
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

// The rows that a row's terms are summed with; null: none.
inline const SummedRows* SummedOf(const prismrec::similarity_search::CodeScan& scan, uint32_t row) {
  for (size_t s = 0; s < scan.summed_count; ++s) {
    const SummedRows& rows = scan.summed[s];
    if (row < rows.first + rows.count) return rows.count > 1 ? &rows : nullptr;
  }
  return nullptr;
}

// The items of a panel whose terms together, as `reaches` bounds them, may make a score.
inline uint32_t ReachingTogether(const prismrec::similarity_search::CodeScan& scan, const SummedRows& rows) {
  float sums[kPanelItems];
  LogSumExp(scan.reaches + rows.first * kPanelItems, scan.offsets + rows.first, rows.count, sums);
  uint32_t items = 0;
  for (size_t lane = 0; lane < kPanelItems; lane += kLanes) {
    items |= MaskBits(GreaterEqual(Load(sums + lane), Set(rows.limit))) << lane;
  }
  return items;
}

// Takes the items that the terms of a query's rows together rule out from the hits of a panel, [first, count). Returns the
// new count.
inline size_t KeepSummed(const prismrec::similarity_search::CodeScan& scan, CodeHit* hits, size_t first,
                         size_t count) {
  size_t kept = first;
  for (size_t from = first; from < count;) {
    const SummedRows* rows = SummedOf(scan, hits[from].row);
    const uint32_t items = rows == nullptr ? ~0u : ReachingTogether(scan, *rows);
    const uint32_t end_row = rows == nullptr ? hits[from].row + 1 : rows->first + rows->count;
    for (; from < count && hits[from].row < end_row; ++from) {
      const CodeHit hit = hits[from];
      if ((hit.items & items) != 0) hits[kept++] = {hit.panel, hit.row, hit.items & items};
    }
  }
  return kept;
}

// The items of panel p that the whole codes do not rule out for the first of R rows from `row` on. `reaches`
// [rows][kPanelItems]: what is compared; nullable.
template <int R, bool kAdds>
inline uint32_t ReachingByWhole(const prismrec::similarity_search::CodeScan& scan, size_t p, uint32_t row,
                                float* reaches) {
  const int8_t* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = scan.rows + (row + r) * scan.octets * kCodeOctet;
  int32_t sums[R][kPanelItems], fine[R][kPanelItems];
  CodeSums<R>(scan.octets, scan.coarse + p * scan.octets * kOctetBytes, rows, sums);
  CodeSums<R>(scan.octets, scan.fine + p * scan.octets * kOctetBytes, rows, fine);
  uint32_t items = 0;
  for (int r = 0; r < R; ++r) {
    const int32_t middle = 256 * scan.bounds[row + r].total;
    for (size_t i = 0; i < kPanelItems; ++i) sums[r][i] = 32 * sums[r][i] + 2 * fine[r][i] - middle;
    float* reach = reaches == nullptr ? nullptr : reaches + (row + r) * kPanelItems;
    const uint32_t own = Reaching<kAdds>(scan, p, row + r, scan.errors[p].fine, sums[r], reach);
    if (r == 0) items = own;
  }
  return items;
}

template <bool kAdds>
inline size_t ScanCodesOf(const prismrec::similarity_search::CodeScan& scan, size_t begin, size_t end,
                          CodeHit* hits) {
  // As many rows as registers hold sums for share a panel's codes.
  constexpr int kTogether = PRISMREC_SIMD_ID == 3 ? 4 : PRISMREC_SIMD_ID == 2 ? 2 : 1;
  const size_t panel_bytes = scan.octets * kOctetBytes;
  size_t maybe = 0;
  for (size_t p = begin; p < end; ++p) {
    if (scan.allowed[p] == 0) continue;
    const size_t before = maybe;
    size_t a = 0;
    for (; a + kTogether <= scan.active_count; a += kTogether) {
      maybe = ScanCoarse<kTogether, kAdds>(scan, p, scan.active + a, hits, maybe);
    }
    for (; a < scan.active_count; ++a) maybe = ScanCoarse<1, kAdds>(scan, p, scan.active + a, hits, maybe);
    if (scan.summed_count > 0) maybe = KeepSummed(scan, hits, before, maybe);
    // They are read when all panels have had their turn.
    if (maybe == before) continue;
    for (size_t at = 0; at < panel_bytes; at += 64) __builtin_prefetch(scan.fine + p * panel_bytes + at);
  }
  size_t count = 0;
  for (size_t m = 0; m < maybe;) {
    CodeHit hit = hits[m++];
    const SummedRows* summed = SummedOf(scan, hit.row);
    if (summed == nullptr) {
      hit.items &= ReachingByWhole<1, kAdds>(scan, hit.panel, hit.row, nullptr);
    } else {
      const uint32_t end_row = summed->first + summed->count;
      for (; m < maybe && hits[m].panel == hit.panel && hits[m].row < end_row; ++m) hit.items |= hits[m].items;
      uint32_t row = summed->first;
      for (; row + kTogether <= end_row; row += kTogether) {
        ReachingByWhole<kTogether, kAdds>(scan, hit.panel, row, scan.reaches);
      }
      for (; row < end_row; ++row) ReachingByWhole<1, kAdds>(scan, hit.panel, row, scan.reaches);
      hit.items &= ReachingTogether(scan, *summed);
    }
    if (hit.items == 0) continue;
    hits[count++] = hit;
    PrefetchItems(scan.d, scan.items + hit.panel * scan.d * kPanelItems, hit.items);
  }
  return count;
}

inline size_t ScanCodes(const prismrec::similarity_search::CodeScan& scan, size_t begin, size_t end,
                        CodeHit* hits) {
  return scan.additive.rows == nullptr ? ScanCodesOf<false>(scan, begin, end, hits)
                                       : ScanCodesOf<true>(scan, begin, end, hits);
}

// R rows with V vectors of items share what they load.
template <int R, int V>
inline void ProductsOf(size_t d, const float* items, const float* rows, float* products) {
  Vec sum[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = Zero();
  }
  for (size_t x = 0; x < d; ++x) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Vec item = Load(items + x * kPanelItems + v * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r][v] = Fma(Set(rows[r * d + x]), item, sum[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) Store(products + r * kPanelItems + v * kLanes, sum[r][v]);
  }
}

template <int V>
inline void ProductsOfRows(size_t d, const float* items, const float* rows, size_t count, float* products) {
  size_t r = 0;
  for (; r + 4 <= count; r += 4) ProductsOf<4, V>(d, items, rows + r * d, products + r * kPanelItems);
  for (; r < count; ++r) ProductsOf<1, V>(d, items, rows + r * d, products + r * kPanelItems);
}

inline void Products(size_t d, const float* panel, uint32_t items, const float* rows, size_t count,
                     float* products) {
  constexpr uint32_t kFirst = static_cast<uint32_t>((uint64_t{1} << kLanes) - 1);
  constexpr size_t kPair = 2 * kLanes <= kPanelItems ? 2 : 1;
  for (size_t lane = 0; lane < kPanelItems; lane += kPair * kLanes) {
    const bool first = (items >> lane & kFirst) != 0;
    const bool second = kPair == 2 && (items >> (lane + kLanes) & kFirst) != 0;
    if (first && second) {
      ProductsOfRows<kPair>(d, panel + lane, rows, count, products + lane);
    } else if (first || second) {
      const size_t at = lane + (second ? kLanes : 0);
      ProductsOfRows<1>(d, panel + at, rows, count, products + at);
    }
  }
}

inline constexpr PanelKernel kPanel = {tile::kKernel, ScanPanels, ScanCodes, Products, LogSumExp};

}  // namespace prismrec::PRISMREC_SIMD_NS::similarity_search
