#include <vector>

#include "fuzz.h"
#include "ops/item_statistics/item_statistics.h"
#include "ops/item_statistics/transpose.h"

namespace prismrec::item_statistics {
namespace {

using test::Random;
using test::Values;

struct Case {
  std::vector<uint32_t> indptr, indices;
  std::vector<float> weights;
  size_t rows, cols;

  explicit Case(Random& random) : rows(random.OneIn(12) ? 0 : random.Size(150)), cols(random.Size(130)) {
    random.Sparse(rows, cols, random.Pick({0.0f, 0.03f, 0.3f, 1.0f}), &indptr, &indices);
    indices.push_back(0);  // beyond the end: an empty vector's data may be null
    if (random.OneIn(2)) {
      weights = random.Fill(rows + 1, Values::kPlain);
      for (float& weight : weights) weight = std::fabs(weight);
    }
  }
  CsrView View() const { return {indptr.data(), indices.data(), nullptr, rows, cols}; }
  const float* Weights() const { return weights.empty() ? nullptr : weights.data(); }
};

std::vector<double> Dense(const CsrMatrix& matrix, size_t n) {
  std::vector<double> dense(n * n);
  for (size_t r = 0; r < n; ++r) {
    for (size_t e = matrix.indptr[r]; e < matrix.indptr[r + 1]; ++e) {
      dense[r * n + matrix.indices[e]] = matrix.values[e];
    }
  }
  return dense;
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

TEST(counts_and_information_are_those_of_the_definition) {
  test::Fuzz(400, [](Random& random) {
    const Case made(random);
    std::vector<float> gram(made.cols * made.cols);
    const GramArgs args = {made.View(), made.Weights(), 0.0, gram.data()};
    EXPECT_OK(Gram(args, CancelFlag()));
    const std::vector<double> want = reference::Gram(args);
    // Whole counts are exact.
    const double tolerance = made.weights.empty() ? 0.0 : 1e-6 * Largest(want);
    EXPECT_LE(test::LargestError(gram, want), tolerance);
    CsrMatrix counts, information;
    EXPECT_OK(Cooccurrence({made.View(), made.Weights()}, CancelFlag(), &counts));
    EXPECT_LE(test::LargestError(Dense(counts, made.cols), want), tolerance);
    const PpmiArgs ppmi = {View(counts, made.cols, made.cols), random.Pick({0.5, 0.75, 1.0})};
    EXPECT_OK(Ppmi(ppmi, CancelFlag(), &information));
    EXPECT_LE(test::LargestError(Dense(information, made.cols), reference::Ppmi(ppmi)), 2e-6);
  });
}

TEST(indices_that_leave_the_matrix_are_refused) {
  test::Fuzz(100, [](Random& random) {
    Case made(random);
    if (made.indices.size() < 2) return;
    made.indices[random.Below(made.indices.size() - 1)] =
        random.Pick({static_cast<uint32_t>(made.cols), 0xffffffffu});
    CsrMatrix counts;
    std::vector<float> gram(made.cols * made.cols);
    EXPECT_TRUE(Cooccurrence({made.View(), made.Weights()}, CancelFlag(), &counts).code ==
                StatusCode::kInvalidArgument);
    EXPECT_TRUE(Gram({made.View(), made.Weights(), 0.0, gram.data()}, CancelFlag()).code ==
                StatusCode::kInvalidArgument);
  });
}

TEST(inverses_are_those_of_the_definition_or_refused) {
  test::Fuzz(60, [](Random& random) {
    const Case made(random);
    const size_t n = made.cols;
    std::vector<float> a(n * n);
    EXPECT_OK(Gram({made.View(), made.Weights(), random.Pick({1.0, 20.0}), a.data()}, CancelFlag()));
    const std::vector<double> want = reference::Inverse(a.data(), n);
    const bool spoiled = random.OneIn(5);
    if (spoiled) {
      const size_t row = random.Below(n);
      a[row * n + random.Below(row + 1)] = std::numeric_limits<float>::quiet_NaN();
    }
    for (const auto& variant : gemm::kVariants) {
      if (!Supported(variant.simd)) continue;
      random.Context(variant.name);
      std::vector<float> inverse = a;
      const Status status = CholeskyInverse({n, inverse.data()}, *variant.fn, CancelFlag());
      EXPECT_TRUE(status.code == (spoiled ? StatusCode::kNonFinite : StatusCode::kOk));
      // Every eigenvalue is at least 1; the largest, at most the trace, amplifies the rounding.
      double trace = 0;
      for (size_t i = 0; i < n; ++i) trace += a[i * n + i];
      if (!spoiled) EXPECT_LE(test::LargestError(inverse, want), 1e-7 * (20 + trace));
    }
  });
}

TEST(the_default_has_the_same_bits_on_any_number_of_threads) {
  test::DefaultVariant("item_statistics");
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  test::Fuzz(20, [&](Random& random) {
    const Case made(random);
    std::vector<std::vector<float>> seen;
    for (const int threads : {1, 3}) {
      pool.SetThreads(threads);
      std::vector<float> all(made.cols * made.cols);
      EXPECT_OK(Gram({made.View(), made.Weights(), 2.0, all.data()}, CancelFlag()));
      CsrMatrix counts;
      EXPECT_OK(Cooccurrence({made.View(), made.Weights()}, CancelFlag(), &counts));
      all.insert(all.end(), counts.values.begin(), counts.values.end());
      seen.push_back(all);
    }
    test::ExpectSameBits(seen[0], seen[1]);
  });
  pool.SetThreads(before);
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(20, [](Random& random) {
    const Case made(random);
    const auto solve = [&] {
      std::vector<float> out(made.cols * made.cols);
      CsrMatrix counts;
      const bool ok =
          Gram({made.View(), made.Weights(), 2.0, out.data()}, CancelFlag()).ok() &&
          CholeskyInverse({made.cols, out.data()}, *Select(gemm::kVariants, nullptr)->fn,
                          CancelFlag())
              .ok() &&
          Cooccurrence({made.View(), made.Weights()}, CancelFlag(), &counts).ok();
      if (ok) out.insert(out.end(), counts.values.begin(), counts.values.end());
      return out;
    };
    const std::vector<float> want = solve();
    EXPECT_TRUE(test::HoldsOnFourThreads([&] { return test::SameBits(solve(), want); }));
  });
}

// The inverse through a Cholesky factor by the textbook's loops.
template <class Real>
std::vector<Real> Naive(const std::vector<float>& a, size_t n) {
  std::vector<Real> l(a.begin(), a.end()), inverse(n * n);
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = j; i < n; ++i) {
      Real sum = l[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i == j ? std::sqrt(sum) : sum / l[j * n + j];
    }
  }
  for (size_t c = 0; c < n; ++c) {
    std::vector<Real> x(n);
    for (size_t i = 0; i < n; ++i) {
      x[i] = i == c ? Real{1} : Real{0};
      for (size_t k = 0; k < i; ++k) x[i] -= l[i * n + k] * x[k];
      x[i] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
      for (size_t k = i + 1; k < n; ++k) x[i] -= l[k * n + i] * x[k];
      x[i] /= l[i * n + i];
      inverse[i * n + c] = x[i];
    }
  }
  return inverse;
}

TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(5, [](Random& random) {
    const size_t n = 120 + random.Size(130), rows = 3 * n;
    std::vector<uint32_t> indptr, indices;
    random.Sparse(rows, n, 0.2f, &indptr, &indices);
    std::vector<float> a(n * n);
    EXPECT_OK(Gram({{indptr.data(), indices.data(), nullptr, rows, n}, nullptr, 5.0, a.data()},
                   CancelFlag()));
    const std::vector<float> naive = Naive<float>(a, n);
    const std::vector<double> exact = Naive<double>(a, n);
    for (const auto& variant : gemm::kVariants) {
      if (!Supported(variant.simd)) continue;
      random.Context(variant.name);
      std::vector<float> inverse = a;
      EXPECT_OK(CholeskyInverse({n, inverse.data()}, *variant.fn, CancelFlag()));
      test::ExpectAsAccurate(inverse, naive, exact);
    }
  });
}

}  // namespace
}  // namespace prismrec::item_statistics
