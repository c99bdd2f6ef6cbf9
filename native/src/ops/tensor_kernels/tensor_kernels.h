// Dense tensor arithmetic for the training loop: what the tfjs backend `prismrec` runs in place of
// JavaScript.
//
// All tensors are row-major and contiguous. Every function checks nothing but what its binding
// could not (indices); the bindings check lengths. Results do not depend on the number of threads.
#ifndef PRISMREC_OPS_TENSOR_KERNELS_TENSOR_KERNELS_H_
#define PRISMREC_OPS_TENSOR_KERNELS_TENSOR_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "ops/tensor_kernels/cpu/table.h"
#include "runtime/status.h"

namespace prismrec::tensor {

// Broadcast dimensions after size-1 and jointly contiguous dimensions are merged away.
inline constexpr int kMaxRank = 8;

// Walks two inputs over one output: dimension 0 is the outermost. A stride of 0 repeats.
struct Geometry {
  int rank = 0;
  size_t size[kMaxRank] = {};
  // Elements; for Copy they may be negative.
  std::ptrdiff_t stride_a[kMaxRank] = {};
  std::ptrdiff_t stride_b[kMaxRank] = {};

  size_t Count() const {
    size_t count = 1;
    for (int d = 0; d < rank; ++d) count *= size[d];
    return count;
  }
};

// out[i] = op(a[i * stride_a], b[i * stride_b]); `out` [geometry.Count()] contiguous. Innermost
// strides are 0 or 1.
void Binary(const KernelTable& table, BinaryOp op, const Geometry& geometry, const float* a,
            const float* b, float* out);
void Binary(BinaryOp op, const Geometry& geometry, const int32_t* a, const int32_t* b,
            int32_t* out);
// 0 or 1 for each element.
void Compare(const KernelTable& table, CompareOp op, const Geometry& geometry, const float* a,
             const float* b, uint8_t* out);
void Compare(CompareOp op, const Geometry& geometry, const int32_t* a, const int32_t* b,
             uint8_t* out);
// LogicalAnd and LogicalOr as minimum and maximum of 0/1 bytes; the comparisons of bytes.
void Binary(BinaryOp op, const Geometry& geometry, const uint8_t* a, const uint8_t* b,
            uint8_t* out);
void Compare(CompareOp op, const Geometry& geometry, const uint8_t* a, const uint8_t* b,
             uint8_t* out);

// out[i] = op(x[i]) for i < count; p0 and p1 are the op's parameters (clip: low, high; step, leaky
// relu: alpha).
void Unary(const KernelTable& table, UnaryOp op, const float* x, float* out, size_t count, float p0,
           float p1);

// out[o, i] = reduce over e of x[o, e, i]; times `scale` at the end (mean: 1 / extent). An empty
// extent gives the identity of the operation.
void Reduce(const KernelTable& table, ReduceOp op, const float* x, float* out, size_t outer,
            size_t extent, size_t inner, float scale);
void Reduce(ReduceOp op, const int32_t* x, int32_t* out, size_t outer, size_t extent, size_t inner);
// out[o, i] = index of the first largest x[o, :, i].
void ArgMax(const float* x, int32_t* out, size_t outer, size_t extent, size_t inner);

// Softmax of each row of x [rows, cols]; log-softmax with `log`.
void Softmax(const KernelTable& table, const float* x, float* out, size_t rows, size_t cols,
             bool log);
// dx = y * (dy - <dy, y>) row by row; log-softmax (y the log-probabilities): dx = dy - exp(y) *
// sum(dy).
void SoftmaxGrad(const KernelTable& table, const float* y, const float* dy, float* dx, size_t rows,
                 size_t cols, bool log);
// Softmax over the entries with a non-zero mask, 0 elsewhere; a row with none is 0. `rows` walks
// the rows: its sizes are the leading dimensions of x, stride_b leads to the row's mask. Mask rows
// are contiguous [cols].
void MaskedSoftmax(const KernelTable& table, const Geometry& rows, const float* x, const void* mask,
                   MaskType type, float* out, size_t cols);

// y = gamma * (x - mean) * rstd + beta over rows of x [rows, cols]; mean and rstd [rows] are kept
// for the gradient.
void LayerNorm(const KernelTable& table, const float* x, const float* gamma, const float* beta,
               float* y, float* mean, float* rstd, size_t rows, size_t cols, float epsilon);
// dx [rows, cols], dgamma [cols], dbeta [cols].
void LayerNormGrad(const KernelTable& table, const float* x, const float* gamma, const float* mean,
                   const float* rstd, const float* dy, float* dx, float* dgamma, float* dbeta,
                   size_t rows, size_t cols);

// dx = dy * d gelu(x) / dx
void GeluGrad(const KernelTable& table, const float* x, const float* dy, float* dx, size_t count);

// out[i] = 0 where Hash(i, key) < threshold, else x[i] * scale: forward and backward are the same
// function.
void Dropout(const KernelTable& table, const float* x, float* out, size_t count, uint32_t key,
             uint32_t threshold, float scale);

// out[i] = condition[i] ? a[i] : b[i]
void Select(const uint8_t* condition, const float* a, const float* b, float* out, size_t count);

// dst[dst_offset + i * stride_b] = src[src_offset + i * stride_a], elements of `item` = 1 or 4
// bytes: transposes, slices, padding, concatenation, tiling and reversal.
void Copy(const Geometry& geometry, const void* src, void* dst, size_t item);

// out[b, o, c, i] = x[b, o, ids[b, c], i], elements of 4 bytes. Fails on an id outside [0, axis).
Status Gather(const void* x, const int32_t* ids, void* out, size_t batch, size_t outer, size_t axis,
              size_t count, size_t inner);

// out[segment, i] = sum over c with ids[c] == segment of x[c, i], in the order of c; ids outside
// [0, segments) are left out.
void SegmentSum(const float* x, const int32_t* ids, float* out, size_t count, size_t segments,
                size_t inner);

// out[m] = op(a[m]) * op(b[m]) for a batch of matrices; offsets in elements, [batch].
struct MatmulArgs {
  const float* a;
  const float* b;
  float* out;
  const uint32_t* offsets_a;
  const uint32_t* offsets_b;
  size_t batch;
  size_t m, n, k;
  bool transpose_a;  // a is [k, m]
  bool transpose_b;  // b is [n, k]
};
void Matmul(const MatmulArgs& args);

// In double, one number or one row at a time, for tests.
namespace reference {

double Apply(BinaryOp op, double a, double b);
double Apply(UnaryOp op, double x, double p0, double p1);
void LayerNorm(const float* x, const float* gamma, const float* beta, double* y, size_t cols,
               double epsilon);
void MaskedSoftmax(const float* x, const uint8_t* mask, double* y, size_t cols);

}  // namespace reference

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_TENSOR_KERNELS_H_
