// A = L L', M = L^-1, A^-1 = M' M, all in place of A's lower triangle. Each step splits its matrix
// in halves down to triangles on the diagonal, so that nearly all of the work is large matrix
// products. A triangle is factored and inverted leaf by leaf, the leaves in double precision; it
// multiplies a block at one go, since products of less depth take longer to read and write the
// block than to multiply.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>
#include <vector>

#include "gemm/pack.h"
#include "ops/item_statistics/item_statistics.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace prismrec::item_statistics {
namespace {

constexpr size_t kLeaf = 64;
constexpr size_t kTriangle = 256;
// Rows or columns of a block that meet a triangle at a time: beside it they fit the second-level
// cache.
constexpr size_t kRowStep = 96;
constexpr size_t kColStep = 128;

// A triangle as the factor of a product, packed, and the part of a block that it multiplies.
thread_local Workspace factor_memory;
thread_local Workspace block_memory;

// Where a matrix of order n > kTriangle is split.
size_t Half(size_t n) { return (n / 2 + kTriangle - 1) / kTriangle * kTriangle; }

// In what follows a range [o, o + n) stands for the triangle on A's diagonal there, and a block
// (r, m, c, k) for the m rows from r and the k columns from c. Where A holds a triangle of at most
// kTriangle, only inverses_ is read once that is factored.
class Inverter {
 public:
  Inverter(const CholeskyInverseArgs& args, const gemm::Kernel& kernel, const CancelFlag& cancel)
      : n_(args.n),
        a_(args.a),
        kernel_(kernel),
        cancel_(cancel),
        inverses_(n_ * kTriangle),
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
  // Column c of row i of the inverse of i's triangle.
  float* InverseAt(size_t i, size_t c) { return inverses_.data() + i * kTriangle + c; }
  bool Stopped() const { return !status_.ok() || cancel_.Cancelled(); }

  void Multiply(const GemmArgs& args) { Sgemm(args, kernel_, ThreadPool::Global(), cancel_); }

  // L
  void Factor(size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kTriangle) return FactorTriangle(o, n);
    const size_t half = Half(n), rest = n - half;
    Factor(o, half);
    SolveRight(o + half, rest, o, half);
    AddSquare(o + half, rest, false, At(o + half, o), half, -1.0f);
    Factor(o + half, rest);
  }

  // Leaves L's inverse in inverses_, which is all that is needed of it later.
  void FactorTriangle(size_t o, size_t n) {
    for (size_t l = 0; l < n && !Stopped(); l += kLeaf) {
      const size_t size = std::min(kLeaf, n - l), at = o + l, next = at + size;
      FactorLeaf(at, size, InverseAt(at, l));
      if (!Stopped() && l > 0) {
        // -M of the leaf times L to its left times M above that.
        float product[kLeaf * kTriangle];
        Multiply({false, false, size, l, l, -1.0f, At(at, o), n_, InverseAt(o, 0), kTriangle, 0.0f,
                  product, kTriangle});
        Multiply({false, false, size, l, size, 1.0f, InverseAt(at, l), kTriangle, product,
                  kTriangle, 0.0f, InverseAt(at, 0), kTriangle});
      }
      if (!Stopped() && l + size < n) {
        MultiplyTriangleRight(next, o + n - next, at, size, InverseAt(at, l), true);
        AddSquare(next, o + n - next, false, At(next, at), size, -1.0f);
      }
    }
  }

  void FactorLeaf(size_t o, size_t n, float* inverse) {
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
    for (size_t r = 0; r < n; ++r) {
      for (size_t c = 0; c <= r; ++c) {
        inverse[r * kTriangle + c] = static_cast<float>(m[r * kLeaf + c]);
      }
    }
  }

  // Block (r, m, o, n) times L'^-1 of [o, o + n).
  void SolveRight(size_t r, size_t m, size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kTriangle) return MultiplyTriangleRight(r, m, o, n, InverseAt(o, 0), true);
    const size_t half = Half(n), rest = n - half;
    SolveRight(r, m, o, half);
    Multiply({false, true, m, rest, half, -1.0f, At(r, o), n_, At(o + half, o), n_, 1.0f,
              At(r, o + half), n_});
    SolveRight(r, m, o + half, rest);
  }

  // M: -M22 L21 M11 below the halves' own.
  void Invert(size_t o, size_t n) {
    if (n <= kTriangle || Stopped()) return;
    const size_t half = Half(n), rest = n - half;
    Invert(o, half);
    MultiplyRight(o + half, rest, o, half);
    Invert(o + half, rest);
    MultiplyLeft(o + half, rest, o, half, -1.0f);
  }

  // Block (r, m, o, n) times M of [o, o + n).
  void MultiplyRight(size_t r, size_t m, size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kTriangle) return MultiplyTriangleRight(r, m, o, n, InverseAt(o, 0), false);
    const size_t half = Half(n), rest = n - half;
    MultiplyRight(r, m, o, half);
    Multiply({false, false, m, half, rest, 1.0f, At(r, o + half), n_, At(o + half, o), n_, 1.0f,
              At(r, o), n_});
    MultiplyRight(r, m, o + half, rest);
  }

  // alpha M of [o, o + n) times block (o, n, c, k).
  void MultiplyLeft(size_t o, size_t n, size_t c, size_t k, float alpha) {
    if (Stopped()) return;
    if (n <= kTriangle) return MultiplyTriangleLeft(o, n, c, k, false, alpha);
    const size_t half = Half(n), rest = n - half;
    MultiplyLeft(o + half, rest, c, k, alpha);
    Multiply({false, false, rest, k, half, alpha, At(o + half, o), n_, At(o, c), n_, 1.0f,
              At(o + half, c), n_});
    MultiplyLeft(o, half, c, k, alpha);
  }

  // M' M
  void Square(size_t o, size_t n) {
    if (Stopped()) return;
    if (n <= kTriangle) return SquareTriangle(o, n);
    const size_t half = Half(n), rest = n - half;
    Square(o, half);
    AddSquare(o, half, true, At(o + half, o), rest, 1.0f);
    MultiplyLeftTransposed(o + half, rest, o, half);
    Square(o + half, rest);
  }

  // By rows of M from the last, each leaf's as long as they are.
  void SquareTriangle(size_t o, size_t n) {
    for (size_t end = n; end > 0;) {
      const size_t from = (end - 1) / kLeaf * kLeaf;
      const float* const rows = InverseAt(o + from, 0);
      GemmArgs square = {true, false, end, end, end - from, 1.0f, rows, kTriangle,
                         rows, kTriangle, end == n ? 0.0f : 1.0f, At(o, o), n_};
      square.lower = true;
      Multiply(square);
      end = from;
    }
  }

  // M' of [o, o + n) times block (o, n, c, k).
  void MultiplyLeftTransposed(size_t o, size_t n, size_t c, size_t k) {
    if (Stopped()) return;
    if (n <= kTriangle) return MultiplyTriangleLeft(o, n, c, k, true, 1.0f);
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

  // A triangular factor of order n, packed kLeaf rows or columns at a time.
  struct Groups {
    size_t n;
    bool upper;     // 0 behind their place on the diagonal, else before it
    size_t floats;  // of each group
    float* packed;

    // Calls fn(first, count, where they begin to differ from 0, for how long, where they lie)
    // for each group.
    template <class Fn>
    void Each(Fn fn) const {
      for (size_t first = 0; first < n; first += kLeaf) {
        const size_t count = std::min(kLeaf, n - first);
        const size_t from = upper ? 0 : first, end = upper ? first + count : n;
        fn(first, count, from, end - from, packed + first / kLeaf * floats);
      }
    }
  };
  static Groups MakeGroups(size_t n, bool upper, size_t width) {
    const size_t floats = gemm::PackedFloats(kLeaf, width, n);
    return {n, upper, floats, factor_memory.Reserve<float>((n + kLeaf - 1) / kLeaf * floats)};
  }

  // Block (r, m, o, n) times a triangle's inverse or its transpose.
  void MultiplyTriangleRight(size_t r, size_t m, size_t o, size_t n, const float* inverse,
                             bool transposed) {
    const Groups groups = MakeGroups(n, transposed, kernel_.nr);
    groups.Each([&](size_t j, size_t cols, size_t from, size_t depth, float* to) {
      if (transposed) {
        gemm::PackColumns(kernel_, inverse + j * kTriangle, kTriangle, cols, depth, to);
      } else {
        gemm::PackColumnsOfPlain(kernel_, inverse + from * kTriangle + j, kTriangle, cols, depth,
                                 to);
      }
    });
    const size_t step = kRowStep * kTriangle / std::max(n, kLeaf) / kernel_.mr * kernel_.mr;
    const size_t left_floats = gemm::PackedFloats(kernel_.mr, kernel_.mr, n);
    const size_t chunks = (m + step - 1) / step;
    ThreadPool::Global().ParallelFor(chunks, cancel_, [&](size_t chunk, int) {
      const size_t rows = std::min(step, m - chunk * step), whole = rows / kernel_.mr * kernel_.mr;
      float* const c = At(r + chunk * step, o);
      // A copy, which allows the product to take the block's place.
      float* const left = block_memory.Reserve<float>(left_floats + step * n + gemm::kPackSlack);
      float* const a = left + left_floats;
      for (size_t i = 0; i < rows; ++i) std::copy_n(c + i * n_, n, a + i * n);
      groups.Each([&](size_t j, size_t cols, size_t from, size_t depth, const float* b) {
        if (whole > 0) {
          kernel_.block({whole, cols, depth, a + from, b, c + j, n_, 1.0f, 0.0f, n, true, false,
                         0});
        }
        if (whole == rows) return;
        gemm::PackRows(kernel_, a + whole * n + from, n, rows - whole, depth, left);
        kernel_.block({rows - whole, cols, depth, left, b, c + whole * n_ + j, n_, 1.0f, 0.0f, 0,
                       true, false, 0});
      });
    });
  }

  // alpha times the inverse of triangle [o, o + n), or its transpose, times block (o, n, c, k).
  void MultiplyTriangleLeft(size_t o, size_t n, size_t c, size_t k, bool transposed, float alpha) {
    const float* const inverse = InverseAt(o, 0);
    const Groups groups = MakeGroups(n, !transposed, kernel_.mr);
    groups.Each([&](size_t i, size_t rows, size_t from, size_t depth, float* to) {
      if (transposed) {
        gemm::PackRowsOfTranspose(kernel_, inverse + from * kTriangle + i, kTriangle, rows, depth,
                                  to);
      } else {
        gemm::PackRows(kernel_, inverse + i * kTriangle, kTriangle, rows, depth, to);
      }
    });
    const size_t step = kColStep / kernel_.nr * kernel_.nr;
    const size_t chunks = (k + step - 1) / step;
    ThreadPool::Global().ParallelFor(chunks, cancel_, [&](size_t chunk, int) {
      const size_t cols = std::min(step, k - chunk * step);
      float* const to = At(o, c + chunk * step);
      float* const b = block_memory.Reserve<float>(gemm::PackedFloats(step, kernel_.nr, n));
      gemm::PackColumnsOfPlain(kernel_, to, n_, cols, n, b);
      for (size_t j = 0; j < cols; j += kernel_.nr) {
        const size_t width = std::min(kernel_.nr, cols - j);
        groups.Each([&](size_t i, size_t rows, size_t from, size_t depth, const float* a) {
          kernel_.block({rows, width, depth, a, b + j * n + from * kernel_.nr, to + i * n_ + j, n_,
                         alpha, 0.0f, 0, false, false, 0});
        });
      }
    });
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
  std::vector<float> inverses_;      // [n, kTriangle]: the inverse of each triangle of L, else 0
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
