// Randomised subspace iteration (Halko, Martinsson and Tropp 2011): panels in single precision,
// their Gram matrices and everything of the subspace's own size in double.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/item_statistics/item_statistics.h"
#include "ops/item_statistics/transpose.h"
#include "runtime/thread_pool.h"

namespace prismrec::item_statistics {
namespace {

// Rows of a panel that one chunk takes. Sums over chunks are added in their order.
constexpr size_t kRowsPerChunk = 256;
// A direction whose length falls below this share of its column's is rounding error of what was
// taken from it, not a direction.
constexpr double kVanished = 1e-12;

size_t ChunksOf(size_t rows) { return (rows + kRowsPerChunk - 1) / kRowsPerChunk; }

// out [rows, width] = A * in [cols, width]
void Multiply(const CsrView& a, const float* in, size_t width, const CancelFlag& cancel,
              float* out) {
  ThreadPool::Global().ParallelFor(ChunksOf(a.rows), cancel, [&](size_t chunk, int) {
    const size_t end = std::min(a.rows, (chunk + 1) * kRowsPerChunk);
    for (size_t r = chunk * kRowsPerChunk; r < end; ++r) {
      float* const to = out + r * width;
      std::fill(to, to + width, 0.0f);
      for (size_t e = a.indptr[r]; e < a.indptr[r + 1]; ++e) {
        const float value = a.values == nullptr ? 1.0f : a.values[e];
        const float* const from = in + a.indices[e] * width;
        for (size_t c = 0; c < width; ++c) to[c] += value * from[c];
      }
    }
  });
}

// panel' * panel [width, width] of a panel [rows, width].
std::vector<double> GramOf(const float* panel, size_t rows, size_t width,
                           const CancelFlag& cancel) {
  const size_t chunks = ChunksOf(rows);
  std::vector<double> partial(chunks * width * width);
  ThreadPool::Global().ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    double* const gram = partial.data() + chunk * width * width;
    std::vector<double> row(width);
    const size_t end = std::min(rows, (chunk + 1) * kRowsPerChunk);
    for (size_t r = chunk * kRowsPerChunk; r < end; ++r) {
      for (size_t c = 0; c < width; ++c) row[c] = panel[r * width + c];
      for (size_t a = 0; a < width; ++a) {
        double* const to = gram + a * width;
        const double factor = row[a];
        for (size_t b = 0; b <= a; ++b) to[b] += factor * row[b];
      }
    }
  });
  std::vector<double> gram(width * width);
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    for (size_t i = 0; i < gram.size(); ++i) gram[i] += partial[chunk * gram.size() + i];
  }
  for (size_t a = 0; a < width; ++a) {
    for (size_t b = a + 1; b < width; ++b) gram[a * width + b] = gram[b * width + a];
  }
  return gram;
}

// panel [rows, width] = panel * right [width, columns], both dense.
void MultiplyRight(std::vector<float>& panel, size_t rows, size_t width, const double* right,
                   size_t columns, const CancelFlag& cancel) {
  std::vector<float> factor(right, right + width * columns);
  std::vector<float> product(rows * columns);
  Sgemm({false, false, rows, columns, width, 1.0f, panel.data(), width, factor.data(), columns,
         0.0f, product.data(), columns},
        ThreadPool::Global(), cancel);
  panel.swap(product);
}

// Makes the columns of a panel orthonormal: panel * L'^-1 for panel' panel = L L'. A column that
// depends on those before it becomes 0. Twice: the first round leaves what single precision lost.
void Orthonormalise(std::vector<float>& panel, size_t rows, size_t width,
                    const CancelFlag& cancel) {
  for (int round = 0; round < 2; ++round) {
    std::vector<double> l = GramOf(panel.data(), rows, width, cancel);
    std::vector<double> inverse(width * width);  // L'^-1, upper triangular
    for (size_t j = 0; j < width; ++j) {
      double pivot = l[j * width + j];
      const double length = pivot;
      for (size_t k = 0; k < j; ++k) pivot -= l[j * width + k] * l[j * width + k];
      const bool alive = pivot > kVanished * length && pivot > 1e-200;
      const double diagonal = alive ? std::sqrt(pivot) : 0.0;
      l[j * width + j] = diagonal;
      for (size_t i = j + 1; i < width; ++i) {
        double entry = l[i * width + j];
        for (size_t k = 0; k < j; ++k) entry -= l[i * width + k] * l[j * width + k];
        l[i * width + j] = alive ? entry / diagonal : 0.0;
      }
      if (!alive) continue;
      inverse[j * width + j] = 1.0 / diagonal;
      for (size_t i = 0; i < j; ++i) {
        double sum = 0.0;
        for (size_t k = i; k < j; ++k) sum += inverse[i * width + k] * l[j * width + k];
        inverse[i * width + j] = -sum / diagonal;
      }
    }
    MultiplyRight(panel, rows, width, inverse.data(), width, cancel);
  }
}

// Eigenvectors (columns) and eigenvalues of a symmetric matrix by cyclic Jacobi rotations.
std::vector<double> SymmetricEigen(std::vector<double>& a, size_t n, std::vector<double>* vectors) {
  vectors->assign(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) (*vectors)[i * n + i] = 1.0;
  const auto rotate = [](double& x, double& y, double c, double s) {
    const double old = x;
    x = c * old - s * y;
    y = s * old + c * y;
  };
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0.0, diagonal = 0.0;
    for (size_t i = 0; i < n; ++i) {
      diagonal += a[i * n + i] * a[i * n + i];
      for (size_t j = i + 1; j < n; ++j) off += a[i * n + j] * a[i * n + j];
    }
    if (off <= 1e-26 * diagonal) break;
    for (size_t p = 0; p < n; ++p) {
      for (size_t q = p + 1; q < n; ++q) {
        const double apq = a[p * n + q];
        if (apq == 0.0) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
        const double t =
            (theta >= 0.0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0);
        const double s = t * c;
        for (size_t k = 0; k < n; ++k) rotate(a[k * n + p], a[k * n + q], c, s);
        for (size_t k = 0; k < n; ++k) rotate(a[p * n + k], a[q * n + k], c, s);
        for (size_t k = 0; k < n; ++k) rotate((*vectors)[k * n + p], (*vectors)[k * n + q], c, s);
      }
    }
  }
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = a[i * n + i];
  return values;
}

}  // namespace

Status TruncatedSvd(const SvdArgs& args, const CancelFlag& cancel) {
  const CsrView& a = args.matrix;
  if (Status status = CheckCsr(a); !status.ok()) return status;
  for (size_t e = 0; a.values != nullptr && e < a.nnz(); ++e) {
    if (!std::isfinite(a.values[e])) {
      return NonFinite("the matrix holds a value that is not finite", "finite values",
                       std::to_string(a.values[e]) + " at entry " + std::to_string(e));
    }
  }
  const size_t width = args.width;
  const CsrMatrix transposed_matrix = Transpose(a);
  const CsrView transposed = View(transposed_matrix, a.cols, a.rows);
  std::vector<float> right(args.start, args.start + a.cols * width);
  std::vector<float> left(a.rows * width);
  Multiply(a, right.data(), width, cancel, left.data());
  for (size_t i = 0; i < args.iterations && !cancel.Cancelled(); ++i) {
    Orthonormalise(left, a.rows, width, cancel);
    Multiply(transposed, left.data(), width, cancel, right.data());
    Orthonormalise(right, a.cols, width, cancel);
    Multiply(a, right.data(), width, cancel, left.data());
  }
  Orthonormalise(left, a.rows, width, cancel);
  Multiply(transposed, left.data(), width, cancel, right.data());
  if (cancel.Cancelled()) return Cancelled();
  // right' right = V diag(s^2) V'; the left singular vectors of A are left V.
  std::vector<double> gram = GramOf(right.data(), a.cols, width, cancel);
  std::vector<double> vectors;
  const std::vector<double> values = SymmetricEigen(gram, width, &vectors);
  std::vector<size_t> order(width);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return values[x] > values[y]; });
  std::vector<double> leading(width * args.rank);
  for (size_t c = 0; c < args.rank; ++c) {
    args.singular_values[c] = static_cast<float>(std::sqrt(std::max(0.0, values[order[c]])));
    for (size_t k = 0; k < width; ++k) leading[k * args.rank + c] = vectors[k * width + order[c]];
  }
  MultiplyRight(left, a.rows, width, leading.data(), args.rank, cancel);
  if (cancel.Cancelled()) return Cancelled();
  for (size_t c = 0; c < args.rank; ++c) {
    float largest = 0.0f;
    for (size_t r = 0; r < a.rows; ++r) {
      const float entry = left[r * args.rank + c];
      if (std::fabs(entry) > std::fabs(largest)) largest = entry;
    }
    const float sign = largest < 0.0f ? -1.0f : 1.0f;
    for (size_t r = 0; r < a.rows; ++r) args.u[r * args.rank + c] = sign * left[r * args.rank + c];
  }
  return Status::Ok();
}

}  // namespace prismrec::item_statistics
