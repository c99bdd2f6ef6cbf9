// The inner loops over one row of logits that differ by instruction set; the sweep around them is
// common.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_CPU_SPANS_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_CPU_SPANS_H_

#include <cstddef>

#include "gemm/cpu/table.h"

namespace prismrec::softmax_loss {

// The logits of interests against columns, from packed panels (gemm/pack.h).
struct LogitsBlock {
  size_t rows, cols, dim;
  const float* interests;  // packed rows
  const float* columns;    // packed columns
  const float* bias;       // [cols], nullable: 0
  const float* offsets;    // [rows]
  float* out;              // [rows, stride], -infinity from cols up to a whole panel
  size_t stride;           // at least cols, rounded up to a whole panel
  float* top;              // [rows], nullable: the row's largest logit
};

struct Spans {
  // The products' kernel and panel sizes for this instruction set.
  const gemm::Kernel* kernel;
  void (*logits)(const LogitsBlock& block);
  // The largest, -infinity for n = 0.
  float (*maximum)(const float* x, size_t n);
  // x[i] = exp(x[i] - top); returns the sum.
  double (*exp_sum)(float* x, float top, size_t n);
  // The same with top = 0, where no x[i] is NaN or above 80.
  double (*exp_sum_near)(float* x, size_t n);
  // Where x[i] > best[i]: best[i] = x[i], winner[i] = who.
  void (*take_better)(const float* x, float who, float* best, float* winner, size_t n);
  // out[i] = winner[i] == who ? g[i] : 0; returns the sum.
  double (*route)(const float* g, const float* winner, float who, float* out, size_t n);
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

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_CPU_SPANS_H_
