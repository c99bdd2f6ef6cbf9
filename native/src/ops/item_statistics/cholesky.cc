// A = L L', M = L^-1, A^-1 = M' M, all in place of A's lower triangle. Each step splits its matrix
// in halves down to leaves, so that nearly all of the work is large matrix products; the leaves on
// the diagonal are factored and inverted in double precision.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>
#include <vector>

#include "ops/item_statistics/item_statistics.h"
#include "runtime/thread_pool.h"

namespace prismrec::item_statistics {
namespace {

constexpr size_t kLeaf = 64;

// Where a matrix of order n > kLeaf is split.
size_t Half(size_t n) { return (n / 2 + kLeaf - 1) / kLeaf * kLeaf; }

// In what follows a range [o, o + n) stands for the triangle on A's diagonal there, and a block
// (r, m, c, k) for the m rows from r and the k columns from c. Above the leaves on the diagonal A
// holds leftovers, which nothing reads.
class Inverter {
 public:
  Inverter(const CholeskyInverseArgs& args, const gemm::Kernel& kernel, const CancelFlag& cancel)
      : n_(args.n),
        a_(args.a),
        kernel_(kernel),
        cancel_(cancel),
        panel_(n_ * kLeaf),
        inverses_(n_ * kLeaf),
        least_pivot_(n_) {
    for (size_t i = 0; i < n_; ++i) least_pivot_[i] = 4.0 * FLT_EPSILON * std::fabs(*At(i, i));
  }

  Status Run() {
    Factor(0, n_);
    if (!Stopped()) Invert(0, n_);
    if (!Stopped()) Square(0, n_);
    if (!Stopped()) Mirror();
    return cancel_.Cancelled() ? Cancelled() : status_;
  }

 private:
  float* At(size_t i, size_t j) { return a_ + i * n_ + j; }
  float* InverseAt(size_t o) { return inverses_.data() + o * kLeaf; }
  bool Stopped() const { return !status_.ok() || cancel_.Cancelled(); }

  void Multiply(const GemmArgs& args) { Sgemm(args, kernel_, ThreadPool::Global(), cancel_); }

  // L
  void Factor(size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kLeaf) return FactorLeaf(o, n);
    const size_t half = Half(n), rest = n - half;
    Factor(o, half);
    SolveRight(o + half, rest, o, half);
    AddSquare(o + half, rest, false, At(o + half, o), half, -1.0f);
    Factor(o + half, rest);
  }

  // Leaves L's inverse in inverses_, which is all that is needed of it later.
  void FactorLeaf(size_t o, size_t n) {
    double u[kLeaf * kLeaf];  // L', so that the inner loops run over adjacent values
    double m[kLeaf * kLeaf] = {};
    for (size_t r = 0; r < n; ++r) {
      for (size_t c = 0; c <= r; ++c) u[c * kLeaf + r] = *At(o + r, o + c);
    }
    for (size_t k = 0; k < n; ++k) {
      double* const row = u + k * kLeaf;
      const double pivot = row[k];
      if (!(pivot > least_pivot_[o + k] && std::isfinite(pivot))) {
        status_ = NonFinite("the matrix is not positive definite in single precision",
                            "a positive pivot in every row",
                            std::to_string(pivot) + " in row " + std::to_string(o + k),
                            "Add more to the diagonal (a larger ridge penalty).");
        return;
      }
      row[k] = std::sqrt(pivot);
      for (size_t c = k + 1; c < n; ++c) row[c] /= row[k];
      for (size_t r = k + 1; r < n; ++r) {
        const double factor = row[r];
        double* const to = u + r * kLeaf;
        for (size_t c = r; c < n; ++c) to[c] -= factor * row[c];
      }
    }
    for (size_t r = 0; r < n; ++r) {
      double* const to = m + r * kLeaf;
      for (size_t k = 0; k < r; ++k) {
        const double factor = u[k * kLeaf + r];
        for (size_t c = 0; c <= k; ++c) to[c] -= factor * m[k * kLeaf + c];
      }
      to[r] = 1.0;
      for (size_t c = 0; c <= r; ++c) to[c] /= u[r * kLeaf + r];
    }
    for (size_t i = 0; i < n * kLeaf; ++i) InverseAt(o)[i] = static_cast<float>(m[i]);
  }

  // Block (r, m, o, n) times L'^-1 of [o, o + n).
  void SolveRight(size_t r, size_t m, size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kLeaf) return MultiplyLeafRight(r, m, o, n, true);
    const size_t half = Half(n), rest = n - half;
    SolveRight(r, m, o, half);
    Multiply({false, true, m, rest, half, -1.0f, At(r, o), n_, At(o + half, o), n_, 1.0f,
              At(r, o + half), n_});
    SolveRight(r, m, o + half, rest);
  }

  // M: -M22 L21 M11 below the halves' own.
  void Invert(size_t o, size_t n) {
    if (n <= kLeaf || Stopped()) return;
    const size_t half = Half(n), rest = n - half;
    Invert(o, half);
    MultiplyRight(o + half, rest, o, half);
    Invert(o + half, rest);
    MultiplyLeft(o + half, rest, o, half, -1.0f);
  }

  // Block (r, m, o, n) times M of [o, o + n).
  void MultiplyRight(size_t r, size_t m, size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kLeaf) return MultiplyLeafRight(r, m, o, n, false);
    const size_t half = Half(n), rest = n - half;
    MultiplyRight(r, m, o, half);
    Multiply({false, false, m, half, rest, 1.0f, At(r, o + half), n_, At(o + half, o), n_, 1.0f,
              At(r, o), n_});
    MultiplyRight(r, m, o + half, rest);
  }

  // alpha M of [o, o + n) times block (o, n, c, k).
  void MultiplyLeft(size_t o, size_t n, size_t c, size_t k, float alpha) {
    if (Stopped()) return;
    if (n <= kLeaf) return MultiplyLeafLeft(o, n, c, k, false, alpha);
    const size_t half = Half(n), rest = n - half;
    MultiplyLeft(o + half, rest, c, k, alpha);
    Multiply({false, false, rest, k, half, alpha, At(o + half, o), n_, At(o, c), n_, 1.0f,
              At(o + half, c), n_});
    MultiplyLeft(o, half, c, k, alpha);
  }

  // M' M
  void Square(size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kLeaf) {
      Multiply({true, false, n, n, n, 1.0f, InverseAt(o), kLeaf, InverseAt(o), kLeaf, 0.0f,
                At(o, o), n_});
      return;
    }
    const size_t half = Half(n), rest = n - half;
    Square(o, half);
    AddSquare(o, half, true, At(o + half, o), rest, 1.0f);
    MultiplyLeftTransposed(o + half, rest, o, half);
    Square(o + half, rest);
  }

  // M' of [o, o + n) times block (o, n, c, k).
  void MultiplyLeftTransposed(size_t o, size_t n, size_t c, size_t k) {
    if (Stopped()) return;
    if (n <= kLeaf) return MultiplyLeafLeft(o, n, c, k, true, 1.0f);
    const size_t half = Half(n), rest = n - half;
    MultiplyLeftTransposed(o, half, c, k);
    Multiply({true, false, half, k, rest, 1.0f, At(o + half, o), n_, At(o + half, c), n_, 1.0f,
              At(o, c), n_});
    MultiplyLeftTransposed(o + half, rest, c, k);
  }

  // Adds alpha P P' to the triangle [o, o + n) for P [n, k], or alpha P' P for P [k, n].
  void AddSquare(size_t o, size_t n, bool transposed, const float* p, size_t k, float alpha) {
    if (Stopped()) return;
    GemmArgs square = {transposed, !transposed, n, n, k, alpha, p, n_, p, n_, 1.0f, At(o, o), n_};
    square.lower = true;
    Multiply(square);
  }

  // Block (r, m, o, n) times the leaf's inverse or its transpose.
  void MultiplyLeafRight(size_t r, size_t m, size_t o, size_t n, bool transposed) {
    Copy(At(r, o), m, n);
    Multiply({false, transposed, m, n, n, 1.0f, panel_.data(), n, InverseAt(o), kLeaf, 0.0f,
              At(r, o), n_});
  }

  // alpha times the leaf's inverse, or its transpose, times block (o, n, c, k).
  void MultiplyLeafLeft(size_t o, size_t n, size_t c, size_t k, bool transposed, float alpha) {
    Copy(At(o, c), n, k);
    Multiply({transposed, false, n, k, n, alpha, InverseAt(o), kLeaf, panel_.data(), k, 0.0f,
              At(o, c), n_});
  }

  // A block into panel_.
  void Copy(const float* from, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; ++r) std::copy_n(from + r * n_, cols, panel_.data() + r * cols);
  }

  void Mirror() {
    const size_t blocks = (n_ + kLeaf - 1) / kLeaf;
    ThreadPool::Global().ParallelFor(blocks, cancel_, [&](size_t chunk, int) {
      const size_t i = (blocks - 1 - chunk) * kLeaf;  // the longest first
      const size_t end = std::min(n_, i + kLeaf);
      for (size_t j = 0; j <= i; j += kLeaf) {
        for (size_t c = j; c < std::min(j + kLeaf, end); ++c) {
          for (size_t r = std::max(i, c + 1); r < end; ++r) *At(c, r) = *At(r, c);
        }
      }
    });
  }

  const size_t n_;
  float* const a_;
  const gemm::Kernel& kernel_;
  const CancelFlag& cancel_;
  std::vector<float> panel_;         // a block with one side of at most kLeaf
  std::vector<float> inverses_;      // [n, kLeaf]: the inverse of each leaf of L
  std::vector<double> least_pivot_;  // what rounding may leave of a pivot that is 0 in truth
  Status status_;
};

}  // namespace

Status CholeskyInverse(const CholeskyInverseArgs& args, const gemm::Kernel& kernel,
                       const CancelFlag& cancel) {
  if (args.n == 0) return Status::Ok();
  return Inverter(args, kernel, cancel).Run();
}

}  // namespace prismrec::item_statistics
