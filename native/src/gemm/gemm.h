// C = alpha * op(A) * op(B) + beta * C in fp32, row-major.
#ifndef PRISMREC_GEMM_GEMM_H_
#define PRISMREC_GEMM_GEMM_H_

#include <cstddef>

#include "compute/work.h"
#include "gemm/cpu/table.h"
#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/thread_pool.h"

namespace prismrec {

struct GemmArgs {
  bool trans_a = false;  // op(A) = A^T: `a` is [k, m] instead of [m, k]
  bool trans_b = false;  // op(B) = B^T: `b` is [n, k] instead of [k, n]
  size_t m = 0;          // rows of op(A) and C
  size_t n = 0;          // columns of op(B) and C
  size_t k = 0;          // columns of op(A), rows of op(B)
  float alpha = 1.0f;
  const float* a = nullptr;  // not read where alpha = 0 or k = 0
  size_t lda = 0;            // distance of rows of `a`, in floats
  const float* b = nullptr;
  size_t ldb = 0;      // distance of rows of `b`, in floats
  float beta = 0.0f;   // 0: C is not read, so it may hold anything
  float* c = nullptr;  // [m, n]; must not overlap a and b
  size_t ldc = 0;      // distance of rows of `c`, in floats
  // Only C's elements up to its diagonal are wanted; what lies above may be left as it is or not.
  bool lower = false;
};

// On the calling thread alone, e.g. inside the body of a ParallelFor. Throws std::bad_alloc.
void SgemmSerial(const GemmArgs& args);
// With the pool's help. The result has the same bits whatever the number of threads. Cancelled: C
// is left unfinished. Throws std::bad_alloc.
void Sgemm(const GemmArgs& args, ThreadPool& pool, const CancelFlag& cancel);

// The same with a kernel of the caller's choice.
void SgemmSerial(const GemmArgs& args, const gemm::Kernel& kernel);
void Sgemm(const GemmArgs& args, const gemm::Kernel& kernel, ThreadPool& pool,
           const CancelFlag& cancel);

// How a pool shares it out.
Work WorkOf(const GemmArgs& args, const gemm::Kernel& kernel);

namespace gemm {

inline const Variant<const Kernel*> kVariants[] = {
    {"scalar", Simd::kScalar, &kScalarKernel},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &kAvx2Kernel},
    {"avx512", Simd::kAvx512, &kAvx512Kernel},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &kNeonKernel},
#endif
};

// The definition, in double precision.
void Reference(const GemmArgs& args);

}  // namespace gemm
}  // namespace prismrec

#endif  // PRISMREC_GEMM_GEMM_H_
