#include <algorithm>
#include <cmath>

#include "ops/item_statistics/item_statistics.h"

namespace prismrec::item_statistics::reference {

std::vector<double> Gram(const GramArgs& args) {
  const CsrView& x = args.rows;
  std::vector<double> gram(x.cols * x.cols);
  for (size_t r = 0; r < x.rows; ++r) {
    const double weight = args.weights == nullptr ? 1.0 : args.weights[r];
    for (size_t a = x.indptr[r]; a < x.indptr[r + 1]; ++a) {
      for (size_t b = x.indptr[r]; b < x.indptr[r + 1]; ++b) {
        gram[x.indices[a] * x.cols + x.indices[b]] += weight;
      }
    }
  }
  for (size_t i = 0; i < x.cols; ++i) gram[i * x.cols + i] += args.ridge;
  return gram;
}

std::vector<double> Ppmi(const PpmiArgs& args) {
  const CsrView& counts = args.counts;
  const size_t n = counts.rows;
  std::vector<double> dense(n * n), marginal(n, 1e-9);
  for (size_t i = 0; i < n; ++i) {
    for (size_t e = counts.indptr[i]; e < counts.indptr[i + 1]; ++e) {
      if (counts.indices[e] == i) continue;
      dense[i * n + counts.indices[e]] = counts.values[e];
      marginal[i] += counts.values[e];
    }
  }
  double smoothed = 0.0;
  for (double m : marginal) smoothed += std::pow(m, args.smoothing);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      double& value = dense[i * n + j];
      if (value <= 0.0) continue;
      value = std::max(
          0.0, std::log(value * smoothed / (marginal[i] * std::pow(marginal[j], args.smoothing))));
    }
  }
  return dense;
}

std::vector<double> Inverse(const float* a, size_t n) {
  // Gauss-Jordan on [A | I].
  std::vector<double> left(a, a + n * n), right(n * n);
  for (size_t i = 0; i < n; ++i) right[i * n + i] = 1.0;
  for (size_t col = 0; col < n; ++col) {
    size_t pivot = col;
    for (size_t r = col + 1; r < n; ++r) {
      if (std::fabs(left[r * n + col]) > std::fabs(left[pivot * n + col])) pivot = r;
    }
    if (left[pivot * n + col] == 0.0) return {};
    for (size_t j = 0; j < n; ++j) {
      std::swap(left[pivot * n + j], left[col * n + j]);
      std::swap(right[pivot * n + j], right[col * n + j]);
    }
    const double scale = 1.0 / left[col * n + col];
    for (size_t j = 0; j < n; ++j) {
      left[col * n + j] *= scale;
      right[col * n + j] *= scale;
    }
    for (size_t r = 0; r < n; ++r) {
      const double factor = left[r * n + col];
      if (r == col || factor == 0.0) continue;
      for (size_t j = 0; j < n; ++j) {
        left[r * n + j] -= factor * left[col * n + j];
        right[r * n + j] -= factor * right[col * n + j];
      }
    }
  }
  return right;
}

}  // namespace prismrec::item_statistics::reference
