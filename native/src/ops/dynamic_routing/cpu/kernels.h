// The parts that differ by instruction set: one user's routing, and rows of the gradients.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_CPU_KERNELS_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_CPU_KERNELS_H_

#include <cstddef>

#include "gemm/cpu/table.h"

namespace prismrec::dynamic_routing {

// One user's rounds. The prediction of event t for interest k lies at
// predictions + event_offsets[t] + k * interest_stride.
struct Routing {
  size_t count;  // events, at least 1
  size_t interests, dim, iterations;
  const float* predictions;
  const size_t* event_offsets;  // [count]
  size_t interest_stride;       // dim, or 0 where interests share one prediction
  const float* initial;         // [interests, length]
  size_t length;                // row length of `initial` and `coefficients`
  float* scratch;               // [2, interests, count rounded up to kRowMultiple]
  float* sums;                  // [interests, dim]
  float* vectors;               // [interests, dim]
  float* coefficients;          // [interests, length], written up to `count`
};

// Logits and weights, rows padded to whole vectors of any instruction set.
inline constexpr size_t kRowMultiple = 16;

struct Kernels {
  void (*route)(const Routing& routing);
  // Gradient through squash: dsum [dim] from a sum and the gradient of its squashed vector.
  void (*squash_gradient)(const float* sum, const float* dvector, float* dsum, size_t dim);
  // y[i] += a * x[i]
  void (*axpy)(float a, const float* x, float* y, size_t n);
  // y[i] = a * x[i]
  void (*scaled)(float a, const float* x, float* y, size_t n);
  const gemm::Kernel* gemm;
};

extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kNeonKernels;

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_CPU_KERNELS_H_
