// The matrix product's inner loops, once, on the abstract vector.
#include "gemm/cpu/tile-inl.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::gemm_kernel {

using gemm::Block;
using gemm::Direct;

using tile::Accumulate;
using tile::kCols;
using tile::kRows;
using tile::kVecs;

// c = alpha * sum + beta * c for the first n of the lanes.
inline void Update(float* c, Vec sum, Vec alpha, float beta, size_t n) {
  const bool whole = n >= kLanes;
  Vec value;
  if (beta == 0.0f) {
    value = Mul(alpha, sum);
  } else {
    const Vec old = whole ? Load(c) : LoadN(c, n);
    value = Fma(alpha, sum, beta == 1.0f ? old : Mul(Set(beta), old));
  }
  if (whole) {
    Store(c, value);
  } else {
    StoreN(c, value, n);
  }
}

// A tile's sums into the m rows and n columns that there are of C.
inline __attribute__((always_inline)) void StoreTile(const Vec (&sum)[kRows][kVecs], float* c,
                                                     size_t ldc, size_t m, size_t n, float alpha,
                                                     float beta) {
  const Vec factor = Set(alpha);
  if (m == kRows && n == kCols) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        Update(c + i * ldc + v * kLanes, sum[i][v], factor, beta, kLanes);
      }
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const size_t from = v * kLanes;
      if (static_cast<size_t>(i) < m && from < n) {
        Update(c + i * ldc + from, sum[i][v], factor, beta, n - from);
      }
    }
  }
}

// One tile of C from a panel of A and one of B; `m` and `n` say how much of it there is. A's rows
// lie `a_row` apart, or in a packed panel where that is 0, or its columns `a_col` apart.
inline void Tile(size_t k, const float* a, size_t a_row, size_t a_col, const float* b, float* c,
                 size_t ldc, size_t m, size_t n, float alpha, float beta) {
  Vec sum[kRows][kVecs];
  for (size_t i = 0; i < m; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    __builtin_prefetch(c + i * ldc + n - 1, 1);
  }
  if (a_row == 0) {
    Accumulate(k, a, b, sum);
  } else {
    tile::Clear(sum);
    if (a_col == 0) {
      tile::AccumulateStrided(k, a, a_row, 1, b, kCols, sum);
    } else {
      tile::AccumulateStrided(k, a, 1, a_col, b, kCols, sum);
    }
  }
  StoreTile(sum, c, ldc, m, n, alpha, beta);
}

// A product whose left factor's columns lie apart, and its rows' sums with `weights`, which cost a load
// and a multiplication a column while the tile's are close: a pass of their own would wait for memory.
inline void SummedProduct(const Block& g) {
  constexpr int kParts = (kRows + static_cast<int>(kLanes) - 1) / static_cast<int>(kLanes);
  for (size_t i = 0; i < g.m; i += kRows) {
    const size_t rows = g.m - i < kRows ? g.m - i : kRows;
    for (size_t j = 0; j < g.n; j += kCols) {
      float* const c = g.c + i * g.ldc + j;
      const size_t cols = g.n - j < kCols ? g.n - j : kCols;
      for (size_t r = 0; r < rows; ++r) {
        __builtin_prefetch(c + r * g.ldc, 1);
        __builtin_prefetch(c + r * g.ldc + cols - 1, 1);
      }
      Vec sum[kRows][kVecs];
      tile::Clear(sum);
      if (j > 0) {
        tile::AccumulateStrided(g.k, g.a + i, 1, g.a_col, g.b + j * g.k, kCols, sum);
        StoreTile(sum, c, g.ldc, rows, cols, g.alpha, g.beta);
        continue;
      }
      Vec part[kParts];
#pragma GCC unroll 4
      for (int v = 0; v < kParts; ++v) part[v] = Zero();
      const float* a = g.a + i;
      const float* b = g.b;
#pragma GCC unroll 4
      for (size_t p = 0; p < g.k; ++p, a += g.a_col, b += kCols) {
        tile::AccumulateStrided(1, a, 1, 0, b, 0, sum);
        const Vec weight = Set(g.weights[p]);
#pragma GCC unroll 4
        for (int v = 0; v < kParts; ++v) part[v] = Fma(weight, Load(a + v * kLanes), part[v]);
      }
      StoreTile(sum, c, g.ldc, rows, cols, g.alpha, g.beta);
#pragma GCC unroll 4
      for (int v = 0; v < kParts; ++v) {
        const size_t from = v * kLanes;
        if (from < rows) Update(g.row_sums + i + from, part[v], Set(1.0f), g.beta, rows - from);
      }
    }
  }
}

inline void BlockProduct(const Block& g) {
  if (g.weights != nullptr) return SummedProduct(g);
  const size_t panel = g.a_row == 0 ? g.k : g.a_row;
  const auto tile = [&g, panel](size_t i, size_t j) {
    Tile(g.k, g.a + i * panel, g.a_row, g.a_col, g.b + j * g.k, g.c + i * g.ldc + j, g.ldc,
         g.m - i < kRows ? g.m - i : kRows, g.n - j < kCols ? g.n - j : kCols, g.alpha, g.beta);
  };
  const auto reaches = [&g](size_t i, size_t j) {
    return !g.lower || static_cast<ptrdiff_t>(i) + kRows + g.diagonal > static_cast<ptrdiff_t>(j);
  };
  if (g.rows_first) {
    for (size_t i = 0; i < g.m; i += kRows) {
      for (size_t j = 0; j < g.n && reaches(i, j); j += kCols) tile(i, j);
    }
    return;
  }
  // Each tile fetches its share of the next panel of B, which waits in a farther cache. A larger
  // share than this would keep the tile's own loads waiting.
  constexpr size_t kLine = 64 / sizeof(float), kMostAhead = 16 * kLine;
  const size_t tiles = (g.m + kRows - 1) / kRows;
  const size_t even = (g.k * kCols + tiles - 1) / tiles;
  const size_t share = even < kMostAhead ? even : kMostAhead;
  for (size_t j = 0; j < g.n; j += kCols) {
    const float* next = g.b + (j + kCols) * g.k;
    const float* const end = j + kCols < g.n ? next + g.k * kCols : next;
    for (size_t i = 0; i < g.m; i += kRows) {
      for (const float* const stop = next + share; next < stop && next < end; next += kLine) {
        __builtin_prefetch(next);
      }
      if (reaches(i, j)) tile(i, j);
    }
  }
}

// ---- without packing ------------------------------------------------------------------------

// R rows by V vectors of C, B's rows read in place; the last vector has `last` lanes.
template <int R, int V>
inline void RowsTile(const Direct& g, size_t i, size_t j, size_t last) {
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = Zero();
  }
  // Of a shallow product the next strip of C is fetched, because its own comes too late.
  const size_t below = i + 2 * R <= g.m ? R : 0;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) __builtin_prefetch(g.c + (i + below + r) * g.ldc + j, 1);
  const float* a = g.a + i * g.a_row;
  const float* b = g.b + j;
  const bool whole = last == kLanes;
  for (size_t p = 0; p < g.k; ++p) {
    Vec row[V];
#pragma GCC unroll 4
    for (int v = 0; v + 1 < V; ++v) row[v] = Load(b + v * kLanes);
    row[V - 1] = whole ? Load(b + (V - 1) * kLanes) : LoadN(b + (V - 1) * kLanes, last);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec element = Set(a[r * g.a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = Fma(element, row[v], sum[r][v]);
    }
    a += g.a_col;
    b += g.ldb;
  }
  const Vec factor = Set(g.alpha);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Update(g.c + (i + r) * g.ldc + j + v * kLanes, sum[r][v], factor, g.beta,
             v + 1 < V ? kLanes : last);
    }
  }
}

template <int R, int V>
inline void RowsStrip(const Direct& g, size_t i) {
  size_t j = 0;
  for (; j + V * kLanes <= g.n; j += V * kLanes) RowsTile<R, V>(g, i, j, kLanes);
  if constexpr (V > 1) {
    for (; j + kLanes <= g.n; j += kLanes) RowsTile<R, 1>(g, i, j, kLanes);
  }
  if (j < g.n) RowsTile<R, 1>(g, i, j, g.n - j);
}

template <int R>
inline void RowsRest(const Direct& g, size_t i, size_t rows) {
  if constexpr (R > 0) {
    if (rows == R) return RowsStrip<R, kVecs>(g, i);
    RowsRest<R - 1>(g, i, rows);
  }
}

inline void DirectRows(const Direct& g) {
  size_t i = 0;
  for (; i + kRows <= g.m; i += kRows) RowsStrip<kRows, kVecs>(g, i);
  RowsRest<kRows - 1>(g, i, g.m - i);
}

// R rows of A against J rows of B, each element of C a dot product.
template <int R, int J>
inline void DotsTile(const Direct& g, size_t i, size_t j) {
  Vec sum[R][J];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < J; ++c) sum[r][c] = Zero();
  }
  const float* a = g.a + i * g.a_row;
  const float* b = g.b + j * g.ldb;
  const auto step = [&](auto load) {
    Vec rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) rows[r] = load(a + r * g.a_row);
#pragma GCC unroll 4
    for (int c = 0; c < J; ++c) {
      const Vec other = load(b + c * g.ldb);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r][c] = Fma(rows[r], other, sum[r][c]);
    }
  };
  size_t p = 0;
  for (; p + kLanes <= g.k; p += kLanes) {
    step([p](const float* x) { return Load(x + p); });
  }
  if (p < g.k) {
    const size_t rest = g.k - p;
    step([p, rest](const float* x) { return LoadN(x + p, rest); });
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    float* c = g.c + (i + r) * g.ldc + j;
    float total[J];
    if constexpr (J == 4) {
      ReduceAdd4(sum[r], total);
    } else {
      for (int q = 0; q < J; ++q) total[q] = ReduceAdd(sum[r][q]);
    }
    for (int q = 0; q < J; ++q) {
      const float value = g.alpha * total[q];
      c[q] = g.beta == 0.0f ? value : value + g.beta * c[q];
    }
  }
}

template <int R>
inline void DotsStrip(const Direct& g, size_t i) {
  size_t j = 0;
  for (; j + 4 <= g.n; j += 4) DotsTile<R, 4>(g, i, j);
  for (; j < g.n; ++j) DotsTile<R, 1>(g, i, j);
}

inline void DirectDots(const Direct& g) {
  size_t i = 0;
  for (; i + 3 <= g.m; i += 3) DotsStrip<3>(g, i);
  if (g.m - i == 2) DotsStrip<2>(g, i);
  if (g.m - i == 1) DotsStrip<1>(g, i);
}

// ---- packing --------------------------------------------------------------------------------

#if PRISMREC_SIMD_ID == 2 || PRISMREC_SIMD_ID == 3

inline void Transpose8(__m256 (&r)[8]) {
  const __m256 a0 = _mm256_unpacklo_ps(r[0], r[1]), a1 = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 a2 = _mm256_unpacklo_ps(r[2], r[3]), a3 = _mm256_unpackhi_ps(r[2], r[3]);
  const __m256 a4 = _mm256_unpacklo_ps(r[4], r[5]), a5 = _mm256_unpackhi_ps(r[4], r[5]);
  const __m256 a6 = _mm256_unpacklo_ps(r[6], r[7]), a7 = _mm256_unpackhi_ps(r[6], r[7]);
  const __m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee);
  const __m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee);
  const __m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee);
  const __m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
  r[0] = _mm256_permute2f128_ps(b0, b4, 0x20);
  r[1] = _mm256_permute2f128_ps(b1, b5, 0x20);
  r[2] = _mm256_permute2f128_ps(b2, b6, 0x20);
  r[3] = _mm256_permute2f128_ps(b3, b7, 0x20);
  r[4] = _mm256_permute2f128_ps(b0, b4, 0x31);
  r[5] = _mm256_permute2f128_ps(b1, b5, 0x31);
  r[6] = _mm256_permute2f128_ps(b2, b6, 0x31);
  r[7] = _mm256_permute2f128_ps(b3, b7, 0x31);
}

inline void PackTransposed(const float* from, size_t ld, size_t rows, size_t k, float* to,
                           size_t width) {
  // A group of eight rows at a time, the last one first: what it writes too far lies where the
  // first group of the next column will be written.
  for (size_t group = (width - 1) / 8 * 8 + 8; group > 0;) {
    group -= 8;
    size_t p = 0;
    for (; p + 8 <= k; p += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        const size_t row = group + i;
        r[i] = row < rows ? _mm256_loadu_ps(from + row * ld + p) : _mm256_setzero_ps();
      }
      Transpose8(r);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) _mm256_storeu_ps(to + (p + i) * width + group, r[i]);
    }
    for (; p < k; ++p) {
      for (size_t r = group; r < width && r < group + 8; ++r) {
        to[p * width + r] = r < rows ? from[r * ld + p] : 0.0f;
      }
    }
  }
}

#else

inline void PackTransposed(const float* from, size_t ld, size_t rows, size_t k, float* to,
                           size_t width) {
  for (size_t p = 0; p < k; ++p) {
    for (size_t r = 0; r < width; ++r) to[p * width + r] = r < rows ? from[r * ld + p] : 0.0f;
  }
}

#endif

inline void PackPlain(const float* from, size_t ld, size_t count, size_t k, float* to,
                      size_t width) {
  // Some panels at a time, so that a row of `from` is read in one go.
  const size_t together = 16 * width;
  for (size_t first = 0; first < count; first += together) {
    const size_t end = count - first < together ? count : first + together;
    for (size_t p = 0; p < k; ++p) {
      for (size_t panel = first; panel < end; panel += width) {
        const float* const row = from + p * ld + panel;
        float* const column = to + panel * k + p * width;
        for (size_t r = 0; r < width; r += kLanes) {
          const size_t left = panel + r < count ? count - panel - r : 0;
          const Vec value = left >= kLanes ? Load(row + r) : LoadN(row + r, left);
          // What reaches beyond the width is overwritten by the panel's next column.
          if (r + kLanes <= width || p + 1 < k) {
            Store(column + r, value);
          } else {
            StoreN(column + r, value, width - r);
          }
        }
      }
    }
  }
}

}  // namespace prismrec::PRISMREC_SIMD_NS::gemm_kernel

namespace prismrec::gemm {

const Kernel PRISMREC_GEMM_KERNEL = {
    PRISMREC_SIMD_NS::gemm_kernel::kRows,        PRISMREC_SIMD_NS::gemm_kernel::kCols,
    PRISMREC_SIMD_NS::tile::kBlockRows,          PRISMREC_SIMD_NS::tile::kBlockDepth,
    PRISMREC_SIMD_NS::gemm_kernel::BlockProduct, PRISMREC_SIMD_NS::gemm_kernel::DirectRows,
    PRISMREC_SIMD_NS::gemm_kernel::DirectDots,   PRISMREC_SIMD_NS::gemm_kernel::PackTransposed,
    PRISMREC_SIMD_NS::gemm_kernel::PackPlain,
};

}  // namespace prismrec::gemm
