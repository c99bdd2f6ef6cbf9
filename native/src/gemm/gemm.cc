#include "gemm/gemm.h"

namespace prismrec {

void SgemmSerial(const GemmArgs& g) {
  for (size_t i = 0; i < g.m; ++i) {
    for (size_t j = 0; j < g.n; ++j) {
      float sum = 0.0f;
      if (g.alpha != 0.0f) {
        for (size_t p = 0; p < g.k; ++p) {
          sum += (g.trans_a ? g.a[p * g.lda + i] : g.a[i * g.lda + p]) *
                 (g.trans_b ? g.b[j * g.ldb + p] : g.b[p * g.ldb + j]);
        }
      }
      float& c = g.c[i * g.ldc + j];
      c = g.alpha * sum + (g.beta == 0.0f ? 0.0f : g.beta * c);
    }
  }
}

void Sgemm(const GemmArgs& args, ThreadPool&, const CancelFlag&) { SgemmSerial(args); }

}  // namespace prismrec
