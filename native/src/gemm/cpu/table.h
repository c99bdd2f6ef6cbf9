// The parts of the matrix product that differ by instruction set; blocking and threading are
// common.
#ifndef PRISMREC_GEMM_CPU_TABLE_H_
#define PRISMREC_GEMM_CPU_TABLE_H_

#include <cstddef>

namespace prismrec::gemm {

// One block of C from packed panels: C = alpha * A * B + beta * C.
struct Block {
  size_t m, n, k;
  const float* a;  // panels of `mr` rows: [ceil(m / mr)][k][mr], rows beyond m are 0
  const float* b;  // panels of `nr` columns: [ceil(n / nr)][k][nr], columns beyond n are 0
  float* c;        // [m, n]
  size_t ldc;
  float alpha, beta;
  // Not 0: A is not packed, its rows lie this far apart and are read up to a multiple of `mr`.
  size_t a_row;
  // Whether each panel of A meets all of B's before the next one: C is then written row by row,
  // which pays where k is small and the writing of C is what costs.
  bool rows_first;
  // Whether tiles wholly above the diagonal are left out, which passes c[i * ldc + i + diagonal].
  bool lower;
  ptrdiff_t diagonal;
  // Not 0: A's columns lie this far apart, and a_row is 1; up to a vector beyond the rows is read.
  size_t a_col = 0;
  // With a_col, nullable: row_sums[i] = sum of a[i, p] * weights[p] + beta * row_sums[i], while A is
  // close.
  const float* weights = nullptr;
  float* row_sums = nullptr;
};

// A product from matrices where they lie, for shapes that packing does not pay for.
struct Direct {
  size_t m, n, k;
  const float* a;  // a[i * a_row + p * a_col]
  size_t a_row, a_col;
  const float* b;  // DirectRows: b[p * ldb + j]; DirectDots: b[j * ldb + p]
  size_t ldb;
  float* c;
  size_t ldc;
  float alpha, beta;
};

struct Kernel {
  size_t mr, nr;  // rows and columns of the tile that registers hold
  // A block of A, at most this large, stays in the second-level cache while panels of B pass.
  size_t block_rows, block_depth;
  void (*block)(const Block& block);
  void (*direct_rows)(const Direct& direct);
  void (*direct_dots)(const Direct& direct);  // a_col is 1
  // to[p * width + r] = from[r * ld + p] for r < rows, 0 for r in [rows, width). Where `width` is
  // no whole number of vectors, up to kPackSlack floats beyond the end are overwritten.
  void (*pack_transposed)(const float* from, size_t ld, size_t rows, size_t k, float* to,
                          size_t width);
  // All panels of a [k, count] matrix's columns: to[i * k + p * width + r] = from[p * ld + i + r],
  // i a multiple of `width`, 0 from column `count` on; the same slack.
  void (*pack_plain)(const float* from, size_t ld, size_t count, size_t k, float* to, size_t width);
};

inline constexpr size_t kPackSlack = 8;

extern const Kernel kScalarKernel;
extern const Kernel kAvx2Kernel;
extern const Kernel kAvx512Kernel;
extern const Kernel kNeonKernel;

}  // namespace prismrec::gemm

#endif  // PRISMREC_GEMM_CPU_TABLE_H_
