#include <vector>

#include "fuzz.h"
#include "gemm/gemm.h"

namespace prismrec {
namespace {

using test::Random;
using test::Values;

struct Product {
  std::vector<float> a, b, c;
  GemmArgs args;

  Product(Random& random, size_t m, size_t n, size_t k, Values kind) {
    args.trans_a = random.OneIn(2);
    args.trans_b = random.OneIn(2);
    args.m = m;
    args.n = n;
    args.k = k;
    args.alpha = random.Pick({1.0f, 1.0f, -0.5f, 0.0f});
    args.beta = random.Pick({0.0f, 0.0f, 1.0f, 2.0f});
    const size_t pad = random.Pick<size_t>({0, 0, 3});
    args.lda = (args.trans_a ? m : k) + pad;
    args.ldb = (args.trans_b ? k : n) + pad;
    args.ldc = n + pad;
    // The last row ends with its last element, so that reading beyond it is seen by a sanitizer.
    const auto fill = [&](size_t rows, size_t stride) {
      return random.Fill(rows == 0 || stride <= pad ? 0 : rows * stride - pad, kind);
    };
    a = fill(args.trans_a ? k : m, args.lda);
    b = fill(args.trans_b ? n : k, args.ldb);
    c = fill(m, args.ldc);
    args.a = a.data();
    args.b = b.data();
  }

  std::vector<float> Solve(void (*multiply)(const GemmArgs&)) {
    std::vector<float> out = c;
    args.c = out.data();
    multiply(args);
    return out;
  }
  std::vector<float> Solve(const gemm::Kernel& kernel, bool threaded) {
    std::vector<float> out = c;
    args.c = out.data();
    if (threaded) {
      Sgemm(args, kernel, ThreadPool::Global(), CancelFlag());
    } else {
      SgemmSerial(args, kernel);
    }
    return out;
  }
};

// NaN and infinity go where arithmetic takes them.
bool Near(float got, float want, double tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  return got == want || std::fabs(double{got} - want) <= tolerance;
}

TEST(every_variant_multiplies_as_the_definition_does) {
  test::Fuzz(400, [](Random& random) {
    const auto size = [&](size_t most) { return random.OneIn(20) ? 0 : random.Size(most); };
    const size_t m = size(300), n = size(300), k = size(600);
    const Values kind = random.Kind();
    Product product(random, m, n, k, kind);
    if (random.OneIn(5)) random.Spoil(random.Pick({&product.a, &product.b, &product.c}));
    const std::vector<float> want = product.Solve(gemm::Reference);
    const bool exact = kind == Values::kWhole;
    const double tolerance = exact ? 0.0 : 2e-6 * static_cast<double>(k + 4);
    for (const auto& variant : gemm::kVariants) {
      if (!Supported(variant.simd)) continue;
      random.Context(variant.name);
      for (const bool threaded : {false, true}) {
        const std::vector<float> got = product.Solve(*variant.fn, threaded);
        size_t wrong = 0;
        for (size_t i = 0; i < want.size(); ++i) wrong += Near(got[i], want[i], tolerance) ? 0 : 1;
        EXPECT_EQ(wrong, size_t{0});
      }
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("gemm");
  const gemm::Kernel& active = *Select(gemm::kVariants, variant)->fn;
  test::Fuzz(20, [&](Random& random) {
    Product product(random, random.Size(200), random.Size(200), random.Size(300), Values::kPlain);
    test::ExpectSameBits(product.Solve(SgemmSerial), product.Solve(active, false));
  });
}

TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(20, [](Random& random) {
    Product product(random, 30 + random.Size(40), 30 + random.Size(40), 200 + random.Size(600),
                    Values::kPlain);
    GemmArgs& g = product.args;
    g.alpha = 1.0f;
    g.beta = 0.0f;
    g.ldc = g.n;
    product.c.assign(g.m * g.n, 0.0f);
    std::vector<float> naive(g.m * g.n);
    std::vector<double> exact(g.m * g.n);
    for (size_t i = 0; i < g.m; ++i) {
      for (size_t j = 0; j < g.n; ++j) {
        for (size_t p = 0; p < g.k; ++p) {
          const float a = g.trans_a ? g.a[p * g.lda + i] : g.a[i * g.lda + p];
          const float b = g.trans_b ? g.b[j * g.ldb + p] : g.b[p * g.ldb + j];
          naive[i * g.n + j] += a * b;
          exact[i * g.n + j] += double{a} * b;
        }
      }
    }
    for (const auto& variant : gemm::kVariants) {
      if (Supported(variant.simd)) {
        test::ExpectAsAccurate(product.Solve(*variant.fn, false), naive, exact);
      }
    }
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(20, [](Random& random) {
    Product made(random, 150 + random.Size(150), 150 + random.Size(150), 60 + random.Size(300),
                 Values::kPlain);
    const gemm::Kernel& kernel = *Select(gemm::kVariants, nullptr)->fn;
    const std::vector<float> want = made.Solve(kernel, true);
    EXPECT_TRUE(test::HoldsOnFourThreads([&] {
      std::vector<float> got = made.c;
      GemmArgs args = made.args;
      args.c = got.data();
      Sgemm(args, kernel, ThreadPool::Global(), CancelFlag());
      return test::SameBits(got, want);
    }));
  });
}

}  // namespace
}  // namespace prismrec
