// The inner loops over one row of logits that differ by instruction set; the sweeps around them are
// common.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_CPU_SPANS_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_CPU_SPANS_H_

#include <cstddef>

namespace prismrec::contrastive_loss {

// No vector has more.
inline constexpr size_t kMostLanes = 16;

// A panel of rows against a tile of columns, logit = scale * <row, column> + shift[column]. Whole
// tiles of the tile engine are computed: there is room for as many rows and columns everywhere but
// behind the ids.
struct PairBlock {
  size_t rows, columns, dim;
  const float* row;     // `dim` apart
  const float* column;  // packed, gemm/pack.h
  const float* shift;   // -infinity from `columns` on
  float scale;
  bool near;  // no logit is further than 80 from 0, and `tops` are 0
  // Null together: a column with the row's id is no candidate.
  const float* row_ids;
  const float* column_ids;
  // Column own + r, if it is one of these, is the positive of row r and no candidate either.
  ptrdiff_t own;
  const float* ahead;  // laid out as `out`, to be fetched in passing; nullable
};

// gradient[j, :] += sum_r exponentials[r, j] * factors[r, :]
struct ColumnBlock {
  size_t rows, columns, dim;
  const float* exponentials;  // `stride` apart, room for whole tiles
  size_t stride;
  const float* factors;  // packed columns of a [rows, dim] matrix, gemm/pack.h
  float* gradient;       // [columns, dim]
  const float* ahead;    // [columns, dim] to be fetched in passing, nullable
};

struct Spans {
  // out[r * stride + j] = exp(logit - tops[r]), 0 for what is no candidate; sums[r] += their sum.
  // `lanes` has room for kMostLanes floats a row.
  void (*pair_exponentials)(const PairBlock& block, const float* tops, float* out, size_t stride,
                            float* lanes, double* sums);
  // tops[r] = max(tops[r], the logits of candidates)
  void (*pair_maxima)(const PairBlock& block, float* lanes, float* tops);
  void (*column_gradient)(const ColumnBlock& block);
  // x[i] += bias[i] + offset (bias nullable); returns the maximum, -infinity for n = 0.
  float (*shift_max)(float* x, const float* bias, float offset, size_t n);
  // x[i] = exp(x[i] - top); returns the sum.
  double (*exp_sum)(float* x, float top, size_t n);
  // The same, and column_sum[i] += x[i].
  double (*exp_sum_columns)(float* x, float top, float* column_sum, size_t n);
  double (*sum)(const float* x, size_t n);
  // x[i] = -infinity where ids[i] == id.
  void (*remove_equal)(float* x, const float* ids, float id, size_t n);
  // x[i] *= a + b[i]
  void (*scale_pairs)(float* x, float a, const float* b, size_t n);
  // x[i] = a * exp(x[i] - top) + b[i] * exp(x[i] - tops[i])
  void (*exp_pairs)(float* x, float a, float top, const float* b, const float* tops, size_t n);
  // x[i] += a
  void (*add_constant)(float a, float* x, size_t n);
  // y[i] += a * x[i]
  void (*axpy)(float a, const float* x, float* y, size_t n);
  // x[i] *= a
  void (*scale)(float a, float* x, size_t n);
  float (*dot)(const float* x, const float* y, size_t n);
  bool (*all_finite)(const float* x, size_t n);
};

extern const Spans kScalarSpans;
extern const Spans kAvx2Spans;
extern const Spans kAvx512Spans;
extern const Spans kNeonSpans;

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_CPU_SPANS_H_
