// The spans, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles this
// file in its own translation unit and namespace; nothing here may call an inline function shared
// with other units.
#include "gemm/cpu/tile-inl.h"
#include "ops/contrastive_loss/cpu/spans.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss {

// fn(i, lanes) for the vectors of n floats, the last of them in part.
template <class Fn>
inline void EachVector(size_t n, Fn&& fn) {
  for (size_t i = 0; i < n; i += kLanes) fn(i, n - i < kLanes ? n - i : kLanes);
}

inline Vec LoadSome(const float* p, size_t lanes) {
  return lanes == kLanes ? Load(p) : LoadN(p, lanes);
}

inline void StoreSome(float* p, Vec v, size_t lanes) {
  if (lanes == kLanes) {
    Store(p, v);
  } else {
    StoreN(p, v, lanes);
  }
}

inline void RemoveEqual(float* x, const float* ids, float id, size_t n) {
  const Vec wanted = Set(id);
  const Vec removed = Set(kNegativeInfinity);
  EachVector(n, [&](size_t i, size_t lanes) {
    const Mask same = Equal(LoadSome(ids + i, lanes), wanted);
    StoreSome(x + i, Blend(same, removed, LoadSome(x + i, lanes)), lanes);
  });
}

inline void ScalePairs(float* x, float a, const float* b, size_t n) {
  const Vec own = Set(a);
  EachVector(n, [&](size_t i, size_t lanes) {
    StoreSome(x + i, Mul(LoadSome(x + i, lanes), Add(own, LoadSome(b + i, lanes))), lanes);
  });
}

inline void ExpPairs(float* x, float a, float top, const float* b, const float* tops, size_t n) {
  const Vec own = Set(a);
  const Vec own_top = Set(top);
  EachVector(n, [&](size_t i, size_t lanes) {
    const Vec logit = LoadSome(x + i, lanes);
    const Vec mine = Mul(own, Exp(Sub(logit, own_top)));
    const Vec theirs = Exp(Sub(logit, LoadSome(tops + i, lanes)));
    StoreSome(x + i, Fma(LoadSome(b + i, lanes), theirs, mine), lanes);
  });
}

// ---- pairs ----------------------------------------------------------------------------------

using prismrec::contrastive_loss::ColumnBlock;
using prismrec::contrastive_loss::PairBlock;

inline constexpr size_t kTileRows = tile::kRows, kTileCols = tile::kCols;
inline constexpr size_t kLine = 64 / sizeof(float);

// Takes the columns with their rows' ids out of a tile.
PRISMREC_TILE_INLINE void RemoveIds(const PairBlock& g, size_t i, size_t j,
                                    Vec (&sum)[tile::kRows][tile::kVecs]) {
  const Vec removed = Set(kNegativeInfinity);
  Vec ids[tile::kVecs];
#pragma GCC unroll 4
  for (int v = 0; v < tile::kVecs; ++v) {
    const size_t at = j + v * kLanes;
    const size_t left = at < g.columns ? g.columns - at : 0;
    ids[v] = LoadSome(g.column_ids + at, left < kLanes ? left : kLanes);
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile::kRows; ++r) {
    if (i + r >= g.rows) break;
    const Vec id = Set(g.row_ids[i + r]);
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) {
      sum[r][v] = Blend(Equal(ids[v], id), removed, sum[r][v]);
    }
  }
}

// The same for the rows' positives.
PRISMREC_TILE_INLINE void RemoveOwn(ptrdiff_t own, Vec (&sum)[tile::kRows][tile::kVecs]) {
  float x[kTileRows][kTileCols];
#pragma GCC unroll 16
  for (int r = 0; r < tile::kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) Store(x[r] + v * kLanes, sum[r][v]);
    const ptrdiff_t at = own + r;
    if (at >= 0 && at < tile::kCols) x[r][at] = kNegativeInfinity;
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) sum[r][v] = Load(x[r] + v * kLanes);
  }
}

// fn(i, j, sum) for the tiles' products. A panel of columns stays in the first-level cache while
// all rows pass.
template <class Fn>
PRISMREC_TILE_INLINE void EachPairTile(const PairBlock& g, Fn&& fn) {
  for (size_t j = 0; j < g.columns; j += kTileCols) {
    for (size_t i = 0; i < g.rows; i += kTileRows) {
      Vec sum[tile::kRows][tile::kVecs];
      tile::Clear(sum);
      tile::AccumulateStrided(g.dim, g.row + i * g.dim, g.dim, 1, g.column + j * g.dim, kTileCols,
                              sum);
      if (g.row_ids != nullptr) RemoveIds(g, i, j, sum);
      const ptrdiff_t own = g.own + static_cast<ptrdiff_t>(i) - static_cast<ptrdiff_t>(j);
      if (own > -tile::kRows && own < tile::kCols) RemoveOwn(own, sum);
      fn(i, j, sum);
    }
  }
}

// exp(scale * sum + shift - top) of a tile's logits.
struct ExpBelow {
  Vec scale, shift[tile::kVecs];

  ExpBelow(float factor, const float* shifts) : scale(Set(factor)) {
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) shift[v] = Load(shifts + v * kLanes);
  }
  Vec operator()(Vec sum, int v, Vec top) const { return Exp(Fma(scale, sum, Sub(shift[v], top))); }
};

// The same where tops are 0 and no logit needs care.
struct ExpNear {
  Vec scale, shift[tile::kVecs];

  ExpNear(float factor, const float* shifts) : scale(Set(factor * kLog2E)) {
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) {
      shift[v] = Mul(Set(kLog2E), Load(shifts + v * kLanes));
    }
  }
  Vec operator()(Vec sum, int v, Vec) const { return Exp2Near(Fma(scale, sum, shift[v])); }
};

template <class Exponential>
inline void Exponentiate(const PairBlock& g, const float* tops, float* out, size_t stride,
                         float* lanes, double* sums) {
  EachPairTile(g, [&](size_t i, size_t j, Vec(&sum)[tile::kRows][tile::kVecs]) {
    const Exponential exponential(g.scale, g.shift + j);
#pragma GCC unroll 16
    for (int r = 0; r < tile::kRows; ++r) {
      for (size_t x = 0; g.ahead != nullptr && x < kTileCols; x += kLine) {
        __builtin_prefetch(g.ahead + (i + r) * stride + j + x, 1, 2);
      }
      const Vec top = Set(tops[i + r]);
      float* const to = out + (i + r) * stride + j;
      Vec total = j == 0 ? Zero() : Load(lanes + (i + r) * kLanes);
#pragma GCC unroll 4
      for (int v = 0; v < tile::kVecs; ++v) {
        const Vec x = exponential(sum[r][v], v, top);
        Store(to + v * kLanes, x);
        total = Add(total, x);
      }
      Store(lanes + (i + r) * kLanes, total);
    }
  });
  for (size_t r = 0; r < g.rows; ++r) sums[r] += double{ReduceAdd(Load(lanes + r * kLanes))};
}

inline void PairExponentials(const PairBlock& g, const float* tops, float* out, size_t stride,
                             float* lanes, double* sums) {
  if (g.near) return Exponentiate<ExpNear>(g, tops, out, stride, lanes, sums);
  Exponentiate<ExpBelow>(g, tops, out, stride, lanes, sums);
}

inline void PairMaxima(const PairBlock& g, float* lanes, float* tops) {
  const Vec scale = Set(g.scale);
  EachPairTile(g, [&](size_t i, size_t j, Vec (&sum)[tile::kRows][tile::kVecs]) {
#pragma GCC unroll 16
    for (int r = 0; r < tile::kRows; ++r) {
      Vec top = j == 0 ? Set(kNegativeInfinity) : Load(lanes + (i + r) * kLanes);
#pragma GCC unroll 4
      for (int v = 0; v < tile::kVecs; ++v) {
        top = Max(top, Fma(scale, sum[r][v], Load(g.shift + j + v * kLanes)));
      }
      Store(lanes + (i + r) * kLanes, top);
    }
  });
  for (size_t r = 0; r < g.rows; ++r) {
    const float top = ReduceMax(Load(lanes + r * kLanes));
    if (top > tops[r]) tops[r] = top;
  }
}

PRISMREC_TILE_INLINE void AddTile(const ColumnBlock& g, size_t j, size_t d,
                                  const Vec (&sum)[tile::kRows][tile::kVecs]) {
  const size_t columns = g.columns - j;
  float* const to = g.gradient + j * g.dim + d;
  if (columns >= kTileRows && g.dim - d >= kTileCols) {
#pragma GCC unroll 16
    for (int r = 0; r < tile::kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < tile::kVecs; ++v) {
        float* const c = to + r * g.dim + v * kLanes;
        Store(c, Add(Load(c), sum[r][v]));
      }
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile::kRows; ++r) {
    if (static_cast<size_t>(r) >= columns) break;
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) {
      const size_t at = d + v * kLanes;
      if (at >= g.dim) break;
      const size_t count = g.dim - at < kLanes ? g.dim - at : kLanes;
      float* const c = to + r * g.dim + v * kLanes;
      StoreSome(c, Add(LoadSome(c, count), sum[r][v]), count);
    }
  }
}

inline void ColumnGradient(const ColumnBlock& g) {
  // Panels of factors that leave room for the exponentials in the first-level cache.
  constexpr size_t kNear = 4096;
  constexpr size_t kAtOnce = 8;
  const size_t panels = kNear / (g.rows * kTileCols);
  const size_t near = (panels < 1 ? 1 : panels) * kTileCols;
  for (size_t first = 0; first < g.dim; first += near) {
    const size_t end = g.dim - first < near ? g.dim : first + near;
    for (size_t j = 0; j < g.columns; j += kTileRows) {
      for (size_t d = first; d < end; d += kTileCols) {
        for (size_t r = 0; r < kTileRows; ++r) {
          for (size_t x = 0; x < kTileCols; x += kLine) {
            __builtin_prefetch(g.gradient + (j + kTileRows + r) * g.dim + d + x, 1);
            if (g.ahead != nullptr) __builtin_prefetch(g.ahead + (j + r) * g.dim + d + x, 0, 2);
          }
        }
        Vec sum[tile::kRows][tile::kVecs];
        tile::Clear(sum);
        const float* a = g.exponentials + j;
        const float* b = g.factors + d * g.rows;
        if (d == first) {
          for (size_t p = 0; p < g.rows; p += kAtOnce) {
            const size_t count = g.rows - p < kAtOnce ? g.rows - p : kAtOnce;
            for (size_t q = 0; q < kAtOnce; ++q) {
              __builtin_prefetch(a + (p + q) * g.stride + kLine);
            }
            tile::AccumulateStrided(count, a + p * g.stride, 1, g.stride, b + p * kTileCols,
                                    kTileCols, sum);
          }
        } else {
          tile::AccumulateStrided(g.rows, a, 1, g.stride, b, kTileCols, sum);
        }
        AddTile(g, j, d, sum);
      }
    }
  }
}

constexpr prismrec::contrastive_loss::Spans kSpans = {
    PairExponentials, PairMaxima, ColumnGradient, ShiftMax, ExpSum,
    ExpSumColumns,    Sum,        RemoveEqual,    ScalePairs, ExpPairs,
    AddConstant,      Axpy,       Scale,          Dot,      AllFinite,
};

}  // namespace prismrec::PRISMREC_SIMD_NS::contrastive_loss
