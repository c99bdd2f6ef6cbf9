// The serial span kernels that differ by instruction set; everything around them (walking,
// threading) is common.
#ifndef PRISMREC_OPS_TENSOR_KERNELS_CPU_TABLE_H_
#define PRISMREC_OPS_TENSOR_KERNELS_CPU_TABLE_H_

#include <cstddef>
#include <cstdint>

namespace prismrec::tensor {

// The numbers are part of the binding: packages/core/src/tensor/opcodes.ts names the same ones.
enum class BinaryOp : int {
  kAdd = 0,
  kSub = 1,
  kMul = 2,
  kDiv = 3,
  kMax = 4,
  kMin = 5,
  kPow = 6,
  kSquaredDifference = 7,
  kCount = 8,
};

enum class CompareOp : int {
  kEqual = 0,
  kNotEqual = 1,
  kLess = 2,
  kLessEqual = 3,
  kGreater = 4,
  kGreaterEqual = 5,
  kCount = 6,
};

enum class UnaryOp : int {
  kExp = 0,
  kLog = 1,
  kLog1p = 2,
  kSqrt = 3,
  kRsqrt = 4,
  kSquare = 5,
  kNeg = 6,
  kAbs = 7,
  kRelu = 8,
  kTanh = 9,
  kSigmoid = 10,
  kErf = 11,
  kSoftplus = 12,
  kElu = 13,
  kStep = 14,
  kClip = 15,
  kReciprocal = 16,
  kGelu = 17,
  kExpm1 = 18,
  kLeakyRelu = 19,
  kCount = 20,
};

enum class ReduceOp : int { kSum = 0, kMax = 1, kMin = 2, kProd = 3, kCount = 4 };

// Which operand of a span repeats its first element.
enum class Span { kBoth, kScalarA, kScalarB };

enum class MaskType { kUint8, kInt32, kFloat };

struct KernelTable {
  void (*binary)(BinaryOp op, Span span, const float* a, const float* b, float* out, size_t n);
  void (*compare)(CompareOp op, Span span, const float* a, const float* b, uint8_t* out, size_t n);
  void (*unary)(UnaryOp op, const float* x, float* out, size_t n, float p0, float p1);
  float (*reduce_row)(ReduceOp op, const float* x, size_t n);
  // acc[i] = op(acc[i], x[i])
  void (*reduce_into)(ReduceOp op, const float* x, float* acc, size_t n);
  void (*softmax_row)(const float* x, float* out, size_t n, bool log);
  void (*softmax_grad_row)(const float* y, const float* dy, float* dx, size_t n, bool log);
  // Entries with mask 0 are not seen and get 0; the mask's elements are uint8, int32 or float.
  void (*masked_softmax_row)(const float* x, const void* mask, MaskType type, float* out, size_t n);
  void (*layer_norm_row)(const float* x, const float* gamma, const float* beta, float* y,
                         float* mean, float* rstd, size_t n, float epsilon);
  // Adds to dgamma and dbeta [n].
  void (*layer_norm_grad_row)(const float* x, const float* gamma, float mean, float rstd,
                              const float* dy, float* dx, float* dgamma, float* dbeta, size_t n);
  void (*gelu_grad)(const float* x, const float* dy, float* dx, size_t n);
  // Entries first .. first + n of the hash sequence.
  void (*dropout)(const float* x, float* out, size_t first, size_t n, uint32_t key,
                  uint32_t threshold, float scale);
};

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
extern const KernelTable kNeonTable;

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_CPU_TABLE_H_
