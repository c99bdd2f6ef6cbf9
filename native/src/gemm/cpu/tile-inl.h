// The tile engine's inner loop: a tile of A * B stays in registers until an epilogue has used it.
// Included by per-ISA translation units of this folder and of the operations that fuse their own
// epilogue:
//
//   Vec sum[tile::kRows][tile::kVecs];
//   tile::Accumulate(k, a_panel, b_panel, sum);
//   ... reads sum[i][v]: row i, columns [v * kLanes, (v + 1) * kLanes) of the tile ...
//
// The panels are those of gemm/pack.h: rows and columns beyond the matrix are 0, and so are the
// tile's elements there. The order of additions depends on k alone.
#ifndef PRISMREC_GEMM_CPU_TILE_INL_H_
#define PRISMREC_GEMM_CPU_TILE_INL_H_

#include "gemm/cpu/table.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::tile {

#if PRISMREC_SIMD_ID == 2
// 12 of 16 registers accumulate, 2 hold a row of B, 1 an element of A.
inline constexpr int kRows = 6, kVecs = 2;
inline constexpr const gemm::Kernel* kKernel = &gemm::kAvx2Kernel;
#elif PRISMREC_SIMD_ID == 3
// 28 of 32 registers accumulate.
inline constexpr int kRows = 14, kVecs = 2;
inline constexpr const gemm::Kernel* kKernel = &gemm::kAvx512Kernel;
#elif PRISMREC_SIMD_ID == 4
inline constexpr int kRows = 8, kVecs = 3;
inline constexpr const gemm::Kernel* kKernel = &gemm::kNeonKernel;
#else
inline constexpr int kRows = 4, kVecs = 4;
inline constexpr const gemm::Kernel* kKernel = &gemm::kScalarKernel;
#endif
inline constexpr int kCols = kVecs * static_cast<int>(kLanes);
// 192 KiB; processors with AVX-512 have twice the second-level cache, or more, and a block of B
// would pass too fast for the third.
inline constexpr size_t kBlockRows = PRISMREC_SIMD_ID == 3 ? 384 : 192;
inline constexpr size_t kBlockDepth = PRISMREC_SIMD_ID == 3 ? 512 : 256;

// Inlined, or the sums would go through memory.
#define PRISMREC_TILE_INLINE inline __attribute__((always_inline))

template <int R>
PRISMREC_TILE_INLINE void Clear(Vec (&sum)[R][kVecs]) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[i][v] = Zero();
  }
}

// sum[i][:] += A[i, p] * B[p, :] for p < k, A[i, p] at a[i * a_row + p * a_col] and B[p, :] at
// b + p * b_row. Of fewer rows than kRows each keeps its bits.
template <int R>
PRISMREC_TILE_INLINE void AccumulateStrided(size_t k, const float* a, size_t a_row, size_t a_col,
                                            const float* b, size_t b_row, Vec (&sum)[R][kVecs]) {
#pragma GCC unroll 4
  for (size_t p = 0; p < k; ++p) {
    Vec row[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) row[v] = Load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Vec element = Set(a[i * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) sum[i][v] = Fma(element, row[v], sum[i][v]);
    }
    a += a_col;
    b += b_row;
  }
}

// sum = A * B of a panel of A, [k][kRows], and one of B, [k][kCols].
PRISMREC_TILE_INLINE void Accumulate(size_t k, const float* a, const float* b,
                                     Vec (&sum)[kRows][kVecs]) {
  Clear(sum);
  AccumulateStrided(k, a, 1, kRows, b, kCols, sum);
}

// sum += P * B, where P is a strip of kCols columns of packed columns, whose rows lie kCols apart:
// an epilogue that leaves its tiles in that layout has them ready both as the right factor of
// Accumulate and, here, as the left one. B[p, :] at b + p * b_row, p < kCols.
PRISMREC_TILE_INLINE void AccumulateTile(const float* a, const float* b, size_t b_row,
                                         Vec (&sum)[kRows][kVecs]) {
  AccumulateStrided(kCols, a, kCols, 1, b, b_row, sum);
}

}  // namespace prismrec::PRISMREC_SIMD_NS::tile

#endif  // PRISMREC_GEMM_CPU_TILE_INL_H_
