// The inner loops over one row of logits that differ by instruction set; the sweeps around them are
// common.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_CPU_SPANS_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_CPU_SPANS_H_

#include <cstddef>

namespace prismrec::contrastive_loss {

struct Spans {
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
