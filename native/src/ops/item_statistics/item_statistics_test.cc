#include "ops/item_statistics/item_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ops/item_statistics/cpu/spans.h"
#include "ops/item_statistics/transpose.h"
#include "test_harness.h"

namespace prismrec::item_statistics {
namespace {

// Users with a few items each; some users and items have none.
struct Data {
  std::vector<uint32_t> indptr = {0}, indices;
  std::vector<float> weights;
  size_t users, items;

  Data(size_t user_count, size_t item_count, int seed) : users(user_count), items(item_count) {
    std::mt19937 random(seed);
    for (size_t u = 0; u < users; ++u) {
      const size_t length = random() % 7;
      for (size_t i = 0; i < items && indices.size() - indptr.back() < length; ++i) {
        // Items from the front are the popular ones, the last one nobody's.
        if (i + 1 < items && random() % (2 + i / 3) == 0)
          indices.push_back(static_cast<uint32_t>(i));
      }
      indptr.push_back(static_cast<uint32_t>(indices.size()));
      const size_t held = indptr[u + 1] - indptr[u];
      weights.push_back(1.0f / static_cast<float>(held > 0 ? held : 1));
    }
  }
  CsrView View() const { return {indptr.data(), indices.data(), nullptr, users, items}; }
};

std::vector<double> Dense(const CsrMatrix& matrix, size_t rows, size_t cols) {
  std::vector<double> dense(rows * cols);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t e = matrix.indptr[r]; e < matrix.indptr[r + 1]; ++e) {
      if (e > matrix.indptr[r]) EXPECT_LT(matrix.indices[e - 1], matrix.indices[e]);
      dense[r * cols + matrix.indices[e]] += matrix.values[e];
    }
  }
  return dense;
}

void ExpectClose(const double* actual, const double* expected, size_t count, double tolerance) {
  for (size_t i = 0; i < count; ++i) {
    EXPECT_NEAR(actual[i], expected[i], tolerance * (1.0 + std::fabs(expected[i])));
  }
}

TEST(cooccurrence_counts_pairs_by_hand) {
  // {0, 2}, {2}, {0, 1, 2}
  const std::vector<uint32_t> indptr = {0, 2, 3, 6}, indices = {0, 2, 2, 0, 1, 2};
  CsrMatrix out;
  EXPECT_OK(
      Cooccurrence({{indptr.data(), indices.data(), nullptr, 3, 3}, nullptr}, CancelFlag(), &out));
  EXPECT_TRUE((Dense(out, 3, 3) == std::vector<double>{2, 1, 2, 1, 1, 1, 2, 1, 3}));
}

TEST(cooccurrence_joins_rows_from_several_blocks) {
  // A user with every item, one with a third of them: more entries than one block holds.
  const size_t items = 1500;
  const std::vector<uint32_t> indptr = {0, 1500, 2000};
  std::vector<uint32_t> indices;
  for (size_t i = 0; i < items; ++i) indices.push_back(static_cast<uint32_t>(i));
  for (size_t i = 0; i < items; i += 3) indices.push_back(static_cast<uint32_t>(i));
  const float weights[] = {1.0f, 0.5f};
  CsrMatrix out;
  EXPECT_OK(Cooccurrence({{indptr.data(), indices.data(), nullptr, 2, items}, weights},
                         CancelFlag(), &out));
  EXPECT_EQ(out.indices.size(), items * items);
  bool right = true;
  for (size_t e = 0; e < out.indices.size(); ++e) {
    const size_t i = e / items, j = e % items;
    right = right && out.indices[e] == j;
    right = right && out.values[e] == (i % 3 == 0 && j % 3 == 0 ? 1.5f : 1.0f);
  }
  for (size_t i = 0; i <= items; ++i) right = right && out.indptr[i] == i * items;
  EXPECT_TRUE(right);
}

TEST(cooccurrence_and_gram_agree_with_the_definition) {
  for (auto [users, items] : {std::pair<size_t, size_t>{1, 1}, {5, 3}, {40, 33}, {300, 100}}) {
    const Data data(users, items, static_cast<int>(items));
    for (bool weighted : {false, true}) {
      const float* weights = weighted ? data.weights.data() : nullptr;
      std::vector<float> gram(items * items, std::numeric_limits<float>::quiet_NaN());
      GramArgs args = {data.View(), weights, 2.5, gram.data()};
      EXPECT_OK(Gram(args, CancelFlag()));
      std::vector<double> expected = reference::Gram(args);
      ExpectClose(std::vector<double>(gram.begin(), gram.end()).data(), expected.data(),
                  gram.size(), 1e-6);
      CsrMatrix sparse;
      EXPECT_OK(Cooccurrence({data.View(), weights}, CancelFlag(), &sparse));
      for (size_t i = 0; i < items; ++i) expected[i * items + i] -= 2.5;
      ExpectClose(Dense(sparse, items, items).data(), expected.data(), expected.size(), 1e-6);
    }
  }
}

TEST(neighbours_are_the_best_of_each_row_and_ties_go_to_the_lower_index) {
  const size_t items = 70;
  const Data data(400, items, 6);
  const std::vector<double> gram = reference::Gram({data.View(), nullptr, 0.0, nullptr});
  std::vector<float> norms(items);
  for (size_t i = 0; i < items; ++i) norms[i] = static_cast<float>(gram[i * items + i]);
  for (size_t k : {1, 5, 100}) {
    CsrMatrix out;
    EXPECT_OK(ItemNeighbours({data.View(), norms.data(), k}, CancelFlag(), &out));
    for (size_t i = 0; i < items; ++i) {
      std::vector<std::pair<double, size_t>> expected;
      for (size_t j = 0; j < items; ++j) {
        if (j == i || gram[i * items + j] == 0.0) continue;
        expected.push_back(
            {-gram[i * items + j] / std::sqrt(static_cast<double>(norms[i]) * norms[j]), j});
      }
      std::sort(expected.begin(), expected.end());
      const size_t kept = std::min(k, expected.size());
      EXPECT_EQ(out.indptr[i + 1] - out.indptr[i], kept);
      for (size_t e = out.indptr[i]; e < out.indptr[i + 1]; ++e) {
        EXPECT_EQ(out.indices[e], expected[e - out.indptr[i]].second);
        EXPECT_EQ(out.values[e], static_cast<float>(-expected[e - out.indptr[i]].first));
      }
    }
  }
}

TEST(ppmi_agrees_with_the_definition) {
  const Data data(400, 70, 3);
  CsrMatrix counts, out;
  EXPECT_OK(Cooccurrence({data.View(), data.weights.data()}, CancelFlag(), &counts));
  for (double smoothing : {0.75, 1.0}) {
    const PpmiArgs args = {View(counts, 70, 70), smoothing};
    EXPECT_OK(Ppmi(args, CancelFlag(), &out));
    ExpectClose(Dense(out, 70, 70).data(), reference::Ppmi(args).data(), 70 * 70, 1e-6);
    for (float value : out.values) EXPECT_GT(value, 0.0f);
  }
}

TEST(ppmi_refuses_counts_that_are_none) {
  const std::vector<uint32_t> indptr = {0, 1, 2}, indices = {1, 0};
  for (float bad :
       {-1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> values = {1.0f, bad};
    CsrMatrix out;
    const Status status =
        Ppmi({{indptr.data(), indices.data(), values.data(), 2, 2}, 0.75}, CancelFlag(), &out);
    EXPECT_TRUE(status.code == StatusCode::kNonFinite);
  }
}

// Sparse rows of a dense matrix.
CsrMatrix Sparse(const std::vector<float>& dense, size_t rows, size_t cols) {
  CsrMatrix out;
  out.indptr.push_back(0);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      if (dense[r * cols + c] == 0.0f) continue;
      out.indices.push_back(static_cast<uint32_t>(c));
      out.values.push_back(dense[r * cols + c]);
    }
    out.indptr.push_back(static_cast<uint32_t>(out.indices.size()));
  }
  return out;
}

struct Svd {
  std::vector<float> u, values;
};

Svd Decompose(const CsrMatrix& matrix, size_t rows, size_t cols, size_t rank, size_t width,
              size_t blocks, const char* variant = nullptr) {
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  std::vector<float> start(cols * width);
  for (float& x : start) x = normal(random);
  Svd svd = {std::vector<float>(rows * rank), std::vector<float>(rank)};
  EXPECT_OK(TruncatedSvd({View(matrix, rows, cols), rank, width, blocks, start.data(),
                          svd.u.data(), svd.values.data(), variant},
                         CancelFlag()));
  return svd;
}

TEST(singular_values_of_a_diagonal_are_its_entries_and_its_vectors_the_axes) {
  const size_t n = 60;
  std::vector<float> dense(n * n);
  for (size_t i = 0; i < n; ++i)
    dense[i * n + i] = static_cast<float>(n - i) * (i % 2 == 0 ? 1.0f : -1.0f);
  const Svd svd = Decompose(Sparse(dense, n, n), n, n, 5, 7, 8);
  for (size_t c = 0; c < 5; ++c) {
    EXPECT_NEAR(svd.values[c], n - c, 1e-3);
    EXPECT_NEAR(svd.u[c * 5 + c], 1.0, 1e-3);
  }
}

TEST(a_matrix_of_low_rank_is_found_exactly_and_the_rest_is_zero) {
  // A = 3 p q' + 2 r s' with orthonormal pairs.
  const size_t rows = 40, cols = 30;
  std::vector<float> dense(rows * cols);
  const auto p = [](size_t i) { return i < 4 ? 0.5f : 0.0f; };
  const auto q = [](size_t j) { return j % 2 == 0 && j < 8 ? -0.5f : 0.0f; };
  const auto r = [](size_t i) { return i >= 36 ? (i % 2 == 0 ? 0.5f : -0.5f) : 0.0f; };
  const auto s = [](size_t j) { return j % 2 == 1 && j < 8 ? 0.5f : 0.0f; };
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < cols; ++j) dense[i * cols + j] = 3.0f * p(i) * q(j) + 2.0f * r(i) * s(j);
  }
  const Svd svd = Decompose(Sparse(dense, rows, cols), rows, cols, 4, 5, 6);
  EXPECT_NEAR(svd.values[0], 3.0, 1e-5);
  EXPECT_NEAR(svd.values[1], 2.0, 1e-5);
  EXPECT_NEAR(svd.values[2], 0.0, 1e-5);
  for (size_t i = 0; i < rows; ++i) {
    EXPECT_NEAR(svd.u[i * 4], p(i), 1e-5);
    EXPECT_NEAR(std::fabs(svd.u[i * 4 + 1]), std::fabs(r(i)), 1e-5);
    EXPECT_NEAR(svd.u[i * 4 + 1] * (r(36) > 0 ? 1 : -1),
                svd.u[36 * 4 + 1] * (r(i) == 0 ? 0 : r(i) / r(36)), 1e-5);
  }
}

TEST(left_vectors_are_orthonormal_and_satisfy_the_eigenvalue_equation) {
  const size_t rows = 500, cols = 90, rank = 8;
  std::mt19937 random(5);
  std::vector<float> dense(rows * cols);
  for (size_t i = 0; i < dense.size(); ++i) {
    // Blocks of users and items that belong together, so that a few values stand out.
    const bool together = (i / cols) % 8 == (i % cols) % 8;
    if (random() % 10 < (together ? 6u : 1u)) dense[i] = 1.0f;
  }
  const Svd svd = Decompose(Sparse(dense, rows, cols), rows, cols, rank, 16, 5);
  for (size_t a = 0; a < rank; ++a) {
    for (size_t b = 0; b < rank; ++b) {
      double dot = 0.0;
      for (size_t i = 0; i < rows; ++i)
        dot += static_cast<double>(svd.u[i * rank + a]) * svd.u[i * rank + b];
      EXPECT_NEAR(dot, a == b ? 1.0 : 0.0, 1e-5);
    }
    // A A' u = s^2 u
    std::vector<double> right(cols);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j)
        right[j] += static_cast<double>(dense[i * cols + j]) * svd.u[i * rank + a];
    }
    const double squared = static_cast<double>(svd.values[a]) * svd.values[a];
    double residual = 0.0;
    for (size_t i = 0; i < rows; ++i) {
      double image = 0.0;
      for (size_t j = 0; j < cols; ++j) image += dense[i * cols + j] * right[j];
      residual += std::pow(image - squared * svd.u[i * rank + a], 2);
    }
    test::SetContext("vector " + std::to_string(a));
    EXPECT_LE(std::sqrt(residual), 1e-3 * squared);
  }
}

// Beside the matrix products, which have variants and tests of their own.
TEST(every_instruction_set_gives_a_decomposition_the_same_bits) {
  const Data data(900, 700, 8);
  CsrMatrix counts;
  EXPECT_OK(Cooccurrence({data.View(), data.weights.data()}, CancelFlag(), &counts));
  // Blocks of whole vectors, and not; 700 rows end within a group of them.
  for (const size_t width : {16, 37}) {
    const Svd scalar = Decompose(counts, 700, 700, 6, width, 3, "scalar");
    for (const char* variant : RunnableVariants(kVariants)) {
      test::SetContext(std::string(variant) + " width " + std::to_string(width));
      const Svd other = Decompose(counts, 700, 700, 6, width, 3, variant);
      EXPECT_TRUE(other.u == scalar.u);
      EXPECT_TRUE(other.values == scalar.values);
    }
  }
  test::SetContext("");
  const float start[2] = {1, 1};
  EXPECT_TRUE(TruncatedSvd({View(counts, 700, 700), 1, 1, 1, start, nullptr, nullptr, "none such"},
                           CancelFlag())
                  .code == StatusCode::kDeviceUnavailable);
}

TEST(the_number_of_threads_changes_no_bit_of_a_decomposition) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  const Data data(900, 700, 8);
  CsrMatrix counts;
  std::vector<float> first;
  for (int threads : {1, 3}) {
    pool.SetThreads(threads);
    EXPECT_OK(Cooccurrence({data.View(), data.weights.data()}, CancelFlag(), &counts));
    Svd svd = Decompose(counts, 700, 700, 6, 16, 9);
    svd.u.insert(svd.u.end(), svd.values.begin(), svd.values.end());
    if (first.empty()) first = svd.u;
    EXPECT_TRUE(svd.u == first);
  }
  pool.SetThreads(before);
}

// Symmetric and full: random off the diagonal, large enough on it to be definite.
std::vector<float> FullDefinite(size_t n, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  std::vector<float> a(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < i; ++j) a[i * n + j] = a[j * n + i] = uniform(random);
    a[i * n + i] = 2.0f + 2.5f * std::sqrt(static_cast<float>(n));
  }
  return a;
}

TEST(the_number_of_threads_changes_no_bit_of_an_inverse) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  const size_t n = 700;
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    std::vector<float> first;
    for (int threads : {1, 4}) {
      pool.SetThreads(threads);
      std::vector<float> a = FullDefinite(n, 3);
      EXPECT_OK(CholeskyInverse({n, a.data()}, *variant.fn, CancelFlag()));
      if (first.empty()) first = a;
      EXPECT_TRUE(a == first);
    }
  }
  pool.SetThreads(before);
}

// X' X + ridge I of a random X: what EASE inverts.
std::vector<float> Definite(size_t n, double ridge, int seed) {
  const Data data(3 * n + 5, n, seed);
  std::vector<float> gram(n * n);
  EXPECT_OK(Gram({data.View(), nullptr, ridge, gram.data()}, CancelFlag()));
  return gram;
}

TEST(every_variant_inverts_a_regularised_gram_matrix) {
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    for (size_t n : {1, 2, 7, 63, 65, 129, 256, 257, 400, 600}) {
      test::SetContext(std::string(variant.name) + " n=" + std::to_string(n));
      const int seed = static_cast<int>(n);
      const std::vector<float> a = n < 200 ? Definite(n, 5.0, seed) : FullDefinite(n, seed);
      std::vector<float> inverse = a;
      // The upper triangle must not be read.
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = i + 1; j < n; ++j)
          inverse[i * n + j] = std::numeric_limits<float>::quiet_NaN();
      }
      EXPECT_OK(CholeskyInverse({n, inverse.data()}, *variant.fn, CancelFlag()));
      const std::vector<double> expected = reference::Inverse(a.data(), n);
      // The largest entry of the inverse is about 1 / ridge at most.
      for (size_t i = 0; i < n * n; ++i) EXPECT_NEAR(inverse[i], expected[i], 2e-6);
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < i; ++j) EXPECT_EQ(inverse[i * n + j], inverse[j * n + i]);
      }
    }
  }
}

TEST(a_matrix_that_is_not_positive_definite_is_refused_with_the_row) {
  const gemm::Kernel& kernel = *Select(gemm::kVariants, nullptr)->fn;
  // Singular: the second row is twice the first. Indefinite. NaN.
  for (const std::vector<float>& bad :
       {std::vector<float>{1, 2, 2, 4}, {1, 2, 2, 1}, {1, 0, std::nanf(""), 1}}) {
    std::vector<float> a = bad;
    const Status status = CholeskyInverse({2, a.data()}, kernel, CancelFlag());
    EXPECT_TRUE(status.code == StatusCode::kNonFinite);
    EXPECT_TRUE(status.received.find("row 1") != std::string::npos);
  }
  // Rank 1 across many blocks: no rounding error must pass for a pivot.
  std::vector<float> ones(300 * 300, 1.0f);
  EXPECT_TRUE(CholeskyInverse({300, ones.data()}, kernel, CancelFlag()).code ==
              StatusCode::kNonFinite);
}

TEST(indices_outside_of_the_matrix_are_refused) {
  const std::vector<uint32_t> indptr = {0, 1}, falling = {1, 0}, indices = {3};
  CsrMatrix out;
  EXPECT_TRUE(
      Cooccurrence({{indptr.data(), indices.data(), nullptr, 1, 3}, nullptr}, CancelFlag(), &out)
          .code == StatusCode::kInvalidArgument);
  EXPECT_TRUE(
      Cooccurrence({{falling.data(), indices.data(), nullptr, 1, 4}, nullptr}, CancelFlag(), &out)
          .code == StatusCode::kInvalidArgument);
}

TEST(a_raised_flag_cancels_every_operation) {
  const int32_t raised = 1;
  const CancelFlag cancel(&raised);
  const Data data(50, 40, 4);
  CsrMatrix out;
  std::vector<float> dense(40 * 40), start(40 * 6), u(40 * 2), values(2);
  EXPECT_TRUE(Cooccurrence({data.View(), nullptr}, cancel, &out).code == StatusCode::kCancelled);
  EXPECT_TRUE(Gram({data.View(), nullptr, 1.0, dense.data()}, cancel).code ==
              StatusCode::kCancelled);
  EXPECT_OK(Cooccurrence({data.View(), nullptr}, CancelFlag(), &out));
  const CsrView counts = View(out, 40, 40);
  CsrMatrix information;
  EXPECT_TRUE(Ppmi({counts, 0.75}, cancel, &information).code == StatusCode::kCancelled);
  EXPECT_TRUE(TruncatedSvd({counts, 2, 6, 3, start.data(), u.data(), values.data()}, cancel).code ==
              StatusCode::kCancelled);
  std::vector<float> definite = Definite(40, 5.0, 1);
  EXPECT_TRUE(
      CholeskyInverse({40, definite.data()}, *Select(gemm::kVariants, nullptr)->fn, cancel).code ==
      StatusCode::kCancelled);
}

}  // namespace
}  // namespace prismrec::item_statistics
