// A = L L', M = L^-1, A^-1 = M' M, all in place of A's lower triangle and by blocks: diagonal
// blocks in double precision, everything else by the matrix product.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>
#include <vector>

#include "ops/item_statistics/item_statistics.h"
#include "runtime/thread_pool.h"

namespace prismrec::item_statistics {
namespace {

constexpr size_t kBlock = 128;

class Inverter {
 public:
  Inverter(const CholeskyInverseArgs& args, const gemm::Kernel& kernel, const CancelFlag& cancel)
      : n_(args.n),
        a_(args.a),
        kernel_(kernel),
        cancel_(cancel),
        panel_(std::max<size_t>(1, n_) * kBlock),
        inverse_(kBlock * kBlock),
        least_pivot_(n_) {
    for (size_t i = 0; i < n_; ++i) least_pivot_[i] = 4.0 * FLT_EPSILON * std::fabs(*At(i, i));
  }

  Status Run() {
    for (size_t j = 0; j < n_; j += kBlock) {
      if (Status status = FactorColumn(j); !status.ok()) return status;
      if (cancel_.Cancelled()) return Cancelled();
    }
    for (size_t j = (n_ - 1) / kBlock * kBlock;; j -= kBlock) {
      InvertColumn(j);
      if (cancel_.Cancelled()) return Cancelled();
      if (j == 0) break;
    }
    for (size_t i = 0; i < n_; i += kBlock) {
      SquareRow(i);
      if (cancel_.Cancelled()) return Cancelled();
    }
    Mirror();
    return Status::Ok();
  }

 private:
  float* At(size_t i, size_t j) { return a_ + i * n_ + j; }
  size_t Size(size_t from) const { return std::min(kBlock, n_ - from); }

  void Multiply(const GemmArgs& args) { Sgemm(args, kernel_, ThreadPool::Global(), cancel_); }

  // Block column j of L, from the finished ones to its left; its diagonal block is left inverted.
  Status FactorColumn(size_t j) {
    const size_t size = Size(j), rest = n_ - j;
    if (j > 0) {
      // The upper part of the diagonal block is written too, and never read.
      Multiply({false, true, rest, size, j, -1.0f, At(j, 0), n_, At(j, 0), n_, 1.0f, At(j, j), n_});
      if (cancel_.Cancelled()) return Cancelled();
    }
    if (Status status = FactorDiagonal(j, size); !status.ok()) return status;
    const size_t below = rest - size;
    if (below == 0) return Status::Ok();
    // L_ij = A_ij L_jj'^-1
    Copy(At(j + size, j), n_, below, size, panel_.data(), size);
    Multiply({false, true, below, size, size, 1.0f, panel_.data(), size, inverse_.data(), size,
              0.0f, At(j + size, j), n_});
    return Status::Ok();
  }

  // L_jj in double precision; stores its inverse, which is all that is needed of it later.
  Status FactorDiagonal(size_t j, size_t size) {
    std::vector<double> l(size * size), m(size * size);
    for (size_t r = 0; r < size; ++r) {
      for (size_t c = 0; c <= r; ++c) {
        double entry = *At(j + r, j + c);
        for (size_t k = 0; k < c; ++k) entry -= l[r * size + k] * l[c * size + k];
        if (r != c) {
          l[r * size + c] = entry / l[c * size + c];
        } else if (entry > 0.0 && std::isfinite(entry) && entry > least_pivot_[j + r]) {
          l[r * size + r] = std::sqrt(entry);
        } else {
          return NonFinite("the matrix is not positive definite in single precision",
                           "a positive pivot in every row",
                           std::to_string(entry) + " in row " + std::to_string(j + r),
                           "Add more to the diagonal (a larger ridge penalty).");
        }
      }
    }
    for (size_t r = 0; r < size; ++r) {
      m[r * size + r] = 1.0 / l[r * size + r];
      for (size_t c = 0; c < r; ++c) {
        double sum = 0.0;
        for (size_t k = c; k < r; ++k) sum += l[r * size + k] * m[k * size + c];
        m[r * size + c] = -sum / l[r * size + r];
      }
    }
    for (size_t r = 0; r < size; ++r) {
      for (size_t c = 0; c < size; ++c) {
        inverse_[r * size + c] = static_cast<float>(m[r * size + c]);
        if (c <= r) *At(j + r, j + c) = inverse_[r * size + c];
      }
    }
    return Status::Ok();
  }

  // Block column j of M = L^-1 below the diagonal: -M_below L_column M_jj, M_below being finished.
  void InvertColumn(size_t j) {
    const size_t size = Size(j), first = j + size, below = n_ - first;
    if (below == 0) return;
    // panel = -L_column M_jj
    std::vector<float>& diagonal = inverse_;
    for (size_t r = 0; r < size; ++r) {
      for (size_t c = 0; c < size; ++c) diagonal[r * size + c] = c <= r ? *At(j + r, j + c) : 0.0f;
    }
    Multiply({false, false, below, size, size, -1.0f, At(first, j), n_, diagonal.data(), size, 0.0f,
              panel_.data(), size});
    if (cancel_.Cancelled()) return;
    // Row block i of the result: M_i,first..i times the panel's rows up to i. The blocks above M's
    // diagonal hold A's old entries, so the diagonal block is taken by itself.
    const size_t blocks = (below + kBlock - 1) / kBlock;
    ThreadPool::Global().ParallelFor(blocks, cancel_, [&](size_t chunk, int) {
      // The longest first.
      const size_t i = first + (blocks - 1 - chunk) * kBlock;
      const size_t rows = Size(i);
      float* const out = At(i, j);
      for (size_t r = 0; r < rows; ++r) {
        float* const to = out + r * n_;
        std::fill(to, to + size, 0.0f);
        for (size_t k = 0; k <= r; ++k) {
          const float factor = *At(i + r, i + k);
          const float* const from = panel_.data() + (i - first + k) * size;
          for (size_t c = 0; c < size; ++c) to[c] += factor * from[c];
        }
      }
      if (i > first) {
        SgemmSerial({false, false, rows, size, i - first, 1.0f, At(i, first), n_, panel_.data(),
                     size, 1.0f, out, n_},
                    kernel_);
      }
    });
  }

  // Block row i of M' M up to the diagonal; rows from i on of M are still as they were.
  void SquareRow(size_t i) {
    const size_t size = Size(i), below = n_ - i - size;
    std::vector<float>& diagonal = inverse_;
    for (size_t r = 0; r < size; ++r) {
      for (size_t c = 0; c < size; ++c) diagonal[r * size + c] = c <= r ? *At(i + r, i + c) : 0.0f;
    }
    // M_ii' times the whole block row, the diagonal block without what lies above its diagonal.
    const size_t width = i + size;
    std::vector<float> row(size * width);
    Copy(At(i, 0), n_, size, i, row.data(), width);
    Copy(diagonal.data(), size, size, size, row.data() + i, width);
    Multiply({true, false, size, width, size, 1.0f, diagonal.data(), size, row.data(), width, 0.0f,
              At(i, 0), n_});
    if (below > 0) {
      Multiply({true, false, size, width, below, 1.0f, At(i + size, i), n_, At(i + size, 0), n_,
                1.0f, At(i, 0), n_});
    }
  }

  void Mirror() {
    for (size_t i = 0; i < n_; i += kBlock) {
      for (size_t j = 0; j <= i; j += kBlock) {
        for (size_t r = i; r < i + Size(i); ++r) {
          for (size_t c = j; c < std::min(j + kBlock, r); ++c) *At(c, r) = *At(r, c);
        }
      }
    }
  }

  static void Copy(const float* from, size_t from_ld, size_t rows, size_t cols, float* to,
                   size_t to_ld) {
    for (size_t r = 0; r < rows; ++r) std::copy_n(from + r * from_ld, cols, to + r * to_ld);
  }

  const size_t n_;
  float* const a_;
  const gemm::Kernel& kernel_;
  const CancelFlag& cancel_;
  std::vector<float> panel_;         // [n, kBlock]
  std::vector<float> inverse_;       // the current diagonal block's inverse
  std::vector<double> least_pivot_;  // what rounding may leave of a pivot that is 0 in truth
};

}  // namespace

Status CholeskyInverse(const CholeskyInverseArgs& args, const gemm::Kernel& kernel,
                       const CancelFlag& cancel) {
  if (args.n == 0) return Status::Ok();
  return Inverter(args, kernel, cancel).Run();
}

}  // namespace prismrec::item_statistics
