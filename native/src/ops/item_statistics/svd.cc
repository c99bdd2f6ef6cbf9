// Randomised block Krylov iteration (Musco and Musco 2015): panels in single precision, their Gram
// matrices and everything of the subspace's own size in double.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

#include "ops/item_statistics/cpu/spans.h"
#include "ops/item_statistics/item_statistics.h"
#include "ops/item_statistics/transpose.h"
#include "runtime/thread_pool.h"

namespace prismrec::item_statistics {
namespace {

// Rows of a panel that one chunk takes. Sums over chunks are added in their order.
constexpr size_t kRowsPerChunk = 256;
// A direction whose squared length falls below this share of its column's is rounding error of what was
// taken from it, not a direction.
constexpr double kVanished = 1e-10;

// What a loop on one thread goes through before it looks at the cancel flag.
constexpr size_t kEntriesPerPoll = 1 << 16;
constexpr size_t kRowsPerPoll = 4096;

size_t ChunksOf(size_t rows) { return (rows + kRowsPerChunk - 1) / kRowsPerChunk; }

// out [rows, width] = A * in [cols, width]
void Multiply(const Spans& spans, const CsrView& a, const float* in, size_t width,
              const CancelFlag& cancel, float* out) {
  ThreadPool::Global().ParallelFor(ChunksOf(a.rows), cancel, [&](size_t chunk, int) {
    const size_t first = chunk * kRowsPerChunk;
    const size_t rows = std::min(a.rows - first, kRowsPerChunk);
    spans.multiply(a.indptr + first, a.indices, a.values, rows, in, width, out + first * width);
  });
}

// panel' * panel [width, width] of a panel [rows, width].
std::vector<double> GramOf(const Spans& spans, const float* panel, size_t rows, size_t width,
                           const CancelFlag& cancel) {
  const size_t chunks = ChunksOf(rows);
  std::vector<double> partial(chunks * width * width);
  ThreadPool::Global().ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    const size_t first = chunk * kRowsPerChunk;
    std::vector<double> scratch(4 * width);
    spans.add_gram(panel + first * width, std::min(rows - first, kRowsPerChunk), width,
                   scratch.data(), partial.data() + chunk * width * width);
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
void MultiplyRight(LargeVector<float>& panel, size_t rows, size_t width, const double* right,
                   size_t columns, const CancelFlag& cancel) {
  std::vector<float> factor(right, right + width * columns);
  LargeVector<float> product(rows * columns);
  Sgemm({false, false, rows, columns, width, 1.0f, panel.data(), width, factor.data(), columns,
         0.0f, product.data(), columns},
        ThreadPool::Global(), cancel);
  panel.swap(product);
}

// Q' panel [count, width] for the first `count` columns of Q [rows, dimension].
void Project(const LargeVector<float>& basis, size_t rows, size_t dimension, size_t count,
             const LargeVector<float>& panel, size_t width, const CancelFlag& cancel, float* out) {
  Sgemm({true, false, count, width, rows, 1.0f, basis.data(), dimension, panel.data(), width, 0.0f,
         out, width},
        ThreadPool::Global(), cancel);
}

// Makes the columns of a panel orthonormal: panel * L'^-1 for panel' panel = L L'. A column that
// depends on those before it becomes 0, `squared` being the squared lengths that its columns had
// before anything was taken from them. Twice: the first round leaves what single precision lost.
void Orthonormalise(const Spans& spans, LargeVector<float>& panel, size_t rows, size_t width,
                    const double* squared, const CancelFlag& cancel) {
  for (int round = 0; round < 2; ++round) {
    std::vector<double> l = GramOf(spans, panel.data(), rows, width, cancel);
    if (cancel.Cancelled()) return;
    std::vector<double> inverse(width * width);  // L'^-1, upper triangular
    for (size_t j = 0; j < width; ++j) {
      double pivot = l[j * width + j];
      const double length = round == 0 ? squared[j] : pivot;
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

// Eigenvalues of a symmetric matrix [n, n], which is lost, and its eigenvectors as the rows of
// `vectors`: Householder's tridiagonal form, then implicit QL (Golub and Van Loan, 8.3).
std::vector<double> SymmetricEigen(std::vector<double>& a, size_t n, const CancelFlag& cancel,
                                   std::vector<double>* vectors) {
  std::vector<double> d(n), e(n), product(n);
  std::vector<double> reflections(n * n);  // row k: the vector of step k, times sqrt(2) / its length
  for (size_t k = 0; k + 2 < n && !cancel.Cancelled(); ++k) {
    double* const v = reflections.data() + k * n;
    double length = 0.0;
    for (size_t i = k + 1; i < n; ++i) {
      v[i] = a[k * n + i];
      length += v[i] * v[i];
    }
    const double tail = length - v[k + 1] * v[k + 1];
    if (tail == 0.0) {
      std::fill(v, v + n, 0.0);
      continue;
    }
    v[k + 1] += std::copysign(std::sqrt(length), v[k + 1]);
    const double scale = std::sqrt(2.0 / (tail + v[k + 1] * v[k + 1]));
    for (size_t i = k + 1; i < n; ++i) v[i] *= scale;
    // A - v w' - w v' with w = A v - v (v' A v) / 2
    double inner = 0.0;
    for (size_t i = k; i < n; ++i) {
      double sum = 0.0;
      for (size_t j = k + 1; j < n; ++j) sum += a[i * n + j] * v[j];
      product[i] = sum;
      inner += v[i] * sum;
    }
    for (size_t i = k; i < n; ++i) product[i] -= 0.5 * inner * v[i];
    for (size_t i = k; i < n; ++i) {
      for (size_t j = k; j < n; ++j) a[i * n + j] -= v[i] * product[j] + product[i] * v[j];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    d[i] = a[i * n + i];
    if (i + 1 < n) e[i] = a[i * n + i + 1];
  }
  vectors->assign(n * n, 0.0);
  double* const z = vectors->data();
  for (size_t i = 0; i < n; ++i) z[i * n + i] = 1.0;
  for (size_t k = n; k-- > 0 && !cancel.Cancelled();) {
    const double* const v = reflections.data() + k * n;
    for (size_t i = k + 1; i < n; ++i) {
      double sum = 0.0;
      for (size_t j = k + 1; j < n; ++j) sum += z[i * n + j] * v[j];
      for (size_t j = k + 1; j < n; ++j) z[i * n + j] -= sum * v[j];
    }
  }
  for (size_t l = 0; l < n && !cancel.Cancelled(); ++l) {
    for (int round = 0; round < 60; ++round) {
      size_t m = l;
      while (m + 1 < n &&
             std::fabs(e[m]) > DBL_EPSILON * (std::fabs(d[m]) + std::fabs(d[m + 1]))) {
        ++m;
      }
      if (m == l) break;
      double g = (d[l + 1] - d[l]) / (2.0 * e[l]);
      g = d[m] - d[l] + e[l] / (g + std::copysign(std::hypot(g, 1.0), g));
      double s = 1.0, c = 1.0, p = 0.0;
      size_t i = m;
      while (i-- > l) {
        const double f = s * e[i], b = c * e[i];
        const double r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0.0) break;
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const double t = (d[i] - g) * s + 2.0 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        double* const low = z + i * n;
        for (size_t k = 0; k < n; ++k) {
          const double x = low[k], y = low[n + k];
          low[n + k] = s * x + c * y;
          low[k] = c * x - s * y;
        }
      }
      e[m] = 0.0;
      if (i + 1 > l) {
        d[i + 1] -= p;  // split early at i + 1
      } else {
        d[l] -= p;
        e[l] = g;
      }
    }
  }
  return d;
}

}  // namespace

Status TruncatedSvd(const SvdArgs& args, const CancelFlag& cancel) {
  const CsrView& a = args.matrix;
  const Variant<const Spans*>* variant = nullptr;
  if (Status status = SelectVariant(kVariants, args.variant, &variant); !status.ok()) return status;
  const Spans& spans = *variant->fn;
  if (Status status = CheckCsr(a, cancel); !status.ok()) return status;
  for (size_t e = 0; a.values != nullptr && e < a.nnz(); ++e) {
    if (e % kEntriesPerPoll == 0 && cancel.Cancelled()) return Cancelled();
    if (!std::isfinite(a.values[e])) {
      return NonFinite("the matrix holds a value that is not finite", "finite values",
                       std::to_string(a.values[e]) + " at entry " + std::to_string(e));
    }
  }
  const size_t width = args.width, dimension = width * args.blocks;
  const CsrMatrix transposed_matrix = Transpose(a, cancel);
  if (cancel.Cancelled()) return Cancelled();
  const CsrView transposed = View(transposed_matrix, a.cols, a.rows);
  LargeVector<float> left(a.rows * width), right(a.cols * width);
  LargeVector<float> basis(a.rows * dimension);  // Q, columns orthonormal or 0
  std::vector<float> image(dimension * width);
  std::vector<double> projected(dimension * dimension);  // Q' A A' Q
  Multiply(spans, a, args.start, width, cancel, left.data());
  for (size_t done = 0; done < dimension && !cancel.Cancelled(); done += width) {
    std::vector<double> squared(width);
    for (size_t r = 0; r < a.rows; ++r) {
      if (r % kRowsPerPoll == 0 && cancel.Cancelled()) return Cancelled();
      const float* const row = left.data() + r * width;
      for (size_t c = 0; c < width; ++c) squared[c] += static_cast<double>(row[c]) * row[c];
    }
    // What earlier columns hold is taken away, twice for orthogonality to machine precision.
    for (int round = 0; round < 2 && done > 0; ++round) {
      Project(basis, a.rows, dimension, done, left, width, cancel, image.data());
      Sgemm({false, false, a.rows, width, done, -1.0f, basis.data(), dimension, image.data(),
             width, 1.0f, left.data(), width},
            ThreadPool::Global(), cancel);
    }
    Orthonormalise(spans, left, a.rows, width, squared.data(), cancel);
    if (cancel.Cancelled()) break;
    for (size_t r = 0; r < a.rows; ++r) {
      if (r % kRowsPerPoll == 0 && cancel.Cancelled()) return Cancelled();
      std::copy_n(left.data() + r * width, width, basis.data() + r * dimension + done);
    }
    Multiply(spans, transposed, left.data(), width, cancel, right.data());
    Multiply(spans, a, right.data(), width, cancel, left.data());
    Project(basis, a.rows, dimension, done + width, left, width, cancel, image.data());
    for (size_t i = 0; i < done + width; ++i) {
      for (size_t c = 0; c < width; ++c) {
        const double entry = image[i * width + c];
        projected[i * dimension + done + c] = projected[(done + c) * dimension + i] = entry;
      }
    }
  }
  if (cancel.Cancelled()) return Cancelled();
  // Q' A A' Q = V' diag(s^2) V; the left singular vectors of A are Q V'.
  std::vector<double> vectors;
  const std::vector<double> values = SymmetricEigen(projected, dimension, cancel, &vectors);
  std::vector<size_t> order(dimension);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t x, size_t y) { return values[x] > values[y]; });
  std::vector<double> leading(dimension * args.rank);
  for (size_t c = 0; c < args.rank; ++c) {
    args.singular_values[c] = static_cast<float>(std::sqrt(std::max(0.0, values[order[c]])));
    for (size_t k = 0; k < dimension; ++k) {
      leading[k * args.rank + c] = vectors[order[c] * dimension + k];
    }
  }
  MultiplyRight(basis, a.rows, dimension, leading.data(), args.rank, cancel);
  if (cancel.Cancelled()) return Cancelled();
  std::vector<float> largest(args.rank);
  for (size_t r = 0; r < a.rows; ++r) {
    if (r % kRowsPerPoll == 0 && cancel.Cancelled()) return Cancelled();
    const float* const row = basis.data() + r * args.rank;
    for (size_t c = 0; c < args.rank; ++c) {
      if (std::fabs(row[c]) > std::fabs(largest[c])) largest[c] = row[c];
    }
  }
  for (size_t r = 0; r < a.rows; ++r) {
    if (r % kRowsPerPoll == 0 && cancel.Cancelled()) return Cancelled();
    const float* const row = basis.data() + r * args.rank;
    float* const to = args.u + r * args.rank;
    for (size_t c = 0; c < args.rank; ++c) to[c] = largest[c] < 0.0f ? -row[c] : row[c];
  }
  return Status::Ok();
}

}  // namespace prismrec::item_statistics
