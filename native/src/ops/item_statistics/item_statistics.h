// What a matrix of users and items says about its items: co-occurrence, mutual information, leading
// singular vectors, and the inverse of a regularised Gram matrix. See README.md for the formulas.
#ifndef PRISMREC_OPS_ITEM_STATISTICS_ITEM_STATISTICS_H_
#define PRISMREC_OPS_ITEM_STATISTICS_ITEM_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gemm/gemm.h"
#include "runtime/cancel.h"
#include "runtime/large_pages.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"

namespace prismrec::item_statistics {

// A sparse matrix that an operation made; within a row the indices ascend unless said otherwise.
struct CsrMatrix {
  std::vector<uint32_t> indptr;   // [rows + 1]
  LargeVector<uint32_t> indices;  // [nnz]
  LargeVector<float> values;      // [nnz]
};

// X' diag(w) X, the diagonal included. The values of `rows` are not read: every entry counts 1.
struct CooccurrenceArgs {
  CsrView rows;                    // X [rows, cols]
  const float* weights = nullptr;  // [rows], what each pair of a row counts; null: 1
};
Status Cooccurrence(const CooccurrenceArgs& args, const CancelFlag& cancel, CsrMatrix* out);

// The same as a dense matrix, with `ridge` added to the diagonal.
struct GramArgs {
  CsrView rows;                    // X [rows, cols]
  const float* weights = nullptr;  // [rows]; null: 1
  double ridge = 0.0;
  float* out = nullptr;  // [cols, cols], overwritten
};
Status Gram(const GramArgs& args, const CancelFlag& cancel);

// For each column of X its `neighbours` nearest other ones by c_ij / sqrt(n_i n_j), c the counts of
// Cooccurrence without weights; best first, equal ones by index. Columns without a common row are
// left out.
struct ItemNeighboursArgs {
  CsrView rows;                           // X [rows, cols]
  const float* squared_norms = nullptr;  // n [cols], > 0 for every column with an entry
  size_t neighbours = 0;                  // >= 1
};
Status ItemNeighbours(const ItemNeighboursArgs& args, const CancelFlag& cancel, CsrMatrix* out);

// max(0, log(p(i, j) / (p(i) q(j)))) of the off-diagonal counts, q the context distribution with
// counts to the power `smoothing`; entries that are 0 are left out, the diagonal with them.
struct PpmiArgs {
  CsrView counts;           // [items, items], values >= 0
  double smoothing = 0.75;  // exponent on the context counts, 1 for none
};
Status Ppmi(const PpmiArgs& args, const CancelFlag& cancel, CsrMatrix* out);

// The leading left singular vectors and singular values of A by randomised block
// Krylov iteration: the best of the space that A S, (A A') A S, ... span, one block of columns each.
struct SvdArgs {
  CsrView matrix;                // A [rows, cols]
  size_t rank = 0;               // singular values wanted, <= width
  size_t width = 0;              // columns of a block
  size_t blocks = 0;             // width * blocks >= rank; all but the first multiply by A A'
  const float* start = nullptr;  // S [cols, width], random
  float* u = nullptr;  // [rows, rank]; the entry of largest magnitude in a column is positive
  float* singular_values = nullptr;  // [rank], falling
  const char* variant = nullptr;     // nullable: the best this machine runs
};
Status TruncatedSvd(const SvdArgs& args, const CancelFlag& cancel);

// The inverse of a symmetric positive definite matrix, in place: reads the lower triangle, writes
// both. NON_FINITE where a pivot is not above the rounding error of its diagonal entry; `a` is lost
// then.
struct CholeskyInverseArgs {
  size_t n = 0;
  float* a = nullptr;  // [n, n]
};
Status CholeskyInverse(const CholeskyInverseArgs& args, const gemm::Kernel& kernel,
                       const CancelFlag& cancel);

// Definitions in double precision, for tests.
namespace reference {
std::vector<double> Gram(const GramArgs& args);  // [cols, cols]
std::vector<double> Ppmi(const PpmiArgs& args);  // dense [items, items]
// The inverse of [n, n] `a`, by elimination with pivots; empty where it is singular.
std::vector<double> Inverse(const float* a, size_t n);
}  // namespace reference

}  // namespace prismrec::item_statistics

#endif  // PRISMREC_OPS_ITEM_STATISTICS_ITEM_STATISTICS_H_
