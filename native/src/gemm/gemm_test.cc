#include "gemm/gemm.h"
#include "gemm/pack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "test_harness.h"

namespace prismrec {
namespace {

struct Shape {
  size_t m, n, k;
};

// Every tile edge of every kernel, both sides of each blocking limit.
const Shape kShapes[] = {
    {1, 1, 1},     {1, 7, 3},      {3, 1, 9},      {4, 16, 8},    {6, 16, 1},     {7, 17, 5},
    {14, 32, 16},  {15, 33, 31},   {5, 64, 65},    {13, 100, 64}, {33, 47, 19},   {64, 64, 64},
    {65, 31, 257}, {193, 50, 300}, {100, 1030, 7}, {200, 33, 97}, {257, 129, 64}, {4, 300, 520}};

struct Problem {
  GemmArgs args;
  std::vector<float> a, b, c;
};

template <class Draw>
Problem Make(const Shape& shape, bool trans_a, bool trans_b, size_t pad, Draw draw) {
  Problem p;
  GemmArgs& g = p.args;
  g.trans_a = trans_a;
  g.trans_b = trans_b;
  g.m = shape.m;
  g.n = shape.n;
  g.k = shape.k;
  g.lda = (trans_a ? g.m : g.k) + pad;
  g.ldb = (trans_b ? g.k : g.n) + pad;
  g.ldc = g.n + pad;
  // The last row ends with its last element, so that reading beyond it is seen by a sanitizer.
  p.a.resize((trans_a ? g.k : g.m) * g.lda - pad);
  p.b.resize((trans_b ? g.n : g.k) * g.ldb - pad);
  p.c.resize(g.m * g.ldc - pad);
  for (float& x : p.a) x = draw();
  for (float& x : p.b) x = draw();
  for (float& x : p.c) x = draw();
  g.a = p.a.data();
  g.b = p.b.data();
  return p;
}

std::string Describe(const GemmArgs& g, const char* variant) {
  return std::string(variant) + " m=" + std::to_string(g.m) + " n=" + std::to_string(g.n) +
         " k=" + std::to_string(g.k) + (g.trans_a ? " A^T" : "") + (g.trans_b ? " B^T" : "");
}

// Products of small integers are exact in fp32 whatever their order.
TEST(integers_are_multiplied_exactly_by_every_variant) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> digit(-4, 4);
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    for (const Shape& shape : kShapes) {
      for (int flags = 0; flags < 8; flags += test::Reduced() ? 3 : 1) {
        Problem p = Make(shape, flags & 1, flags & 2, flags & 4 ? 3 : 0,
                         [&] { return static_cast<float>(digit(random)); });
        p.args.alpha = flags & 1 ? 0.5f : 1.0f;
        p.args.beta = static_cast<float>((flags + shape.k) % 3);
        test::SetContext(Describe(p.args, variant.name));
        std::vector<float> expected = p.c;
        p.args.c = expected.data();
        gemm::Reference(p.args);
        std::vector<float> serial = p.c;
        p.args.c = serial.data();
        SgemmSerial(p.args, *variant.fn);
        EXPECT_TRUE(serial == expected);
        std::vector<float> threaded = p.c;
        p.args.c = threaded.data();
        Sgemm(p.args, *variant.fn, ThreadPool::Global(), CancelFlag());
        EXPECT_TRUE(threaded == expected);
      }
    }
  }
}

TEST(a_triangle_is_right_up_to_its_diagonal_and_spares_work_above) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> digit(-4, 4);
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    for (const Shape& shape :
         {Shape{20, 20, 9}, Shape{150, 150, 70}, Shape{611, 611, 40}, Shape{90, 300, 64}}) {
      for (const bool transposed : {false, true}) {
        Problem p = Make(shape, transposed, !transposed, 3,
                         [&] { return static_cast<float>(digit(random)); });
        p.args.beta = 1.0f;
        p.args.lower = true;
        test::SetContext(Describe(p.args, variant.name));
        std::vector<float> expected = p.c;
        p.args.c = expected.data();
        gemm::Reference(p.args);
        for (const bool serial : {true, false}) {
          std::vector<float> c = p.c;
          p.args.c = c.data();
          if (serial) {
            SgemmSerial(p.args, *variant.fn);
          } else {
            Sgemm(p.args, *variant.fn, ThreadPool::Global(), CancelFlag());
          }
          size_t wrong = 0;
          for (size_t i = 0; i < shape.m; ++i) {
            for (size_t j = 0; j <= std::min(i, shape.n - 1); ++j) {
              wrong += c[i * p.args.ldc + j] != expected[i * p.args.ldc + j];
            }
          }
          EXPECT_EQ(wrong, size_t{0});
          // The last of the first row is far from the diagonal.
          if (shape.m >= 150) EXPECT_EQ(c[shape.n - 1], p.c[shape.n - 1]);
        }
      }
    }
  }
}

TEST(panels_hold_each_element_once_and_zeros_beyond_the_matrix) {
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    test::SetContext(variant.name);
    const gemm::Kernel& kernel = *variant.fn;
    for (const size_t count : {1, 5, 33, 67}) {
      for (const size_t k : {1, 8, 19}) {
        std::vector<float> rows(count * k), columns(k * count);
        for (size_t i = 0; i < count; ++i) {
          for (size_t p = 0; p < k; ++p) {
            rows[i * k + p] = columns[p * count + i] = static_cast<float>(1 + i * k + p);
          }
        }
        const auto check = [&](size_t width, auto pack, const std::vector<float>& from, size_t ld) {
          std::vector<float> packed(gemm::PackedFloats(count, width, k), -1.0f);
          pack(kernel, from.data(), ld, count, k, packed.data());
          for (size_t i = 0; i < (count + width - 1) / width * width; ++i) {
            for (size_t p = 0; p < k; ++p) {
              EXPECT_EQ(packed[i / width * width * k + p * width + i % width],
                        i < count ? rows[i * k + p] : 0.0f);
            }
          }
        };
        check(kernel.mr, gemm::PackRows, rows, k);
        check(kernel.mr, gemm::PackRowsOfTranspose, columns, count);
        check(kernel.nr, gemm::PackColumns, rows, k);
        check(kernel.nr, gemm::PackColumnsOfPlain, columns, count);
      }
    }
  }
}

TEST(the_error_of_real_numbers_stays_within_the_bound_of_their_sum) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const auto& variant : gemm::kVariants) {
    if (!Supported(variant.simd)) continue;
    for (const Shape& shape : {Shape{130, 70, 1000}, Shape{5, 40, 777}, Shape{9, 9, 33}}) {
      for (int flags = 0; flags < 4; ++flags) {
        Problem p = Make(shape, flags & 1, flags & 2, 0, [&] { return normal(random); });
        test::SetContext(Describe(p.args, variant.name));
        std::vector<float> expected = p.c, actual = p.c;
        p.args.c = expected.data();
        gemm::Reference(p.args);
        p.args.c = actual.data();
        SgemmSerial(p.args, *variant.fn);
        // Products of standard normals: their absolute values add up to about k; the rounding
        // errors of a sum grow with its square root, far from the worst case.
        const double tolerance = 4e-7 * static_cast<double>(shape.k);
        for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance);
      }
    }
  }
}

TEST(the_number_of_threads_does_not_change_a_bit) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const Shape& shape :
       {Shape{300, 500, 600}, Shape{4, 5000, 64}, Shape{1000, 40, 64}, Shape{70, 90, 4000},
        Shape{700, 2600, 40}}) {
    for (int flags = 0; flags < 4; flags += test::Reduced() ? 3 : 1) {
      Problem p = Make(shape, flags & 1, flags & 2, 0, [&] { return normal(random); });
      test::SetContext(Describe(p.args, "best"));
      std::vector<float> first;
      for (int threads : {1, 2, 3, 8}) {
        pool.SetThreads(threads);
        std::vector<float> c = p.c;
        p.args.c = c.data();
        Sgemm(p.args, pool, CancelFlag());
        if (first.empty()) first = c;
        EXPECT_TRUE(c == first);
      }
    }
  }
  pool.SetThreads(before);
}

TEST(beta_zero_does_not_read_the_output) {
  std::vector<float> a(40 * 40, 1.0f), b(40 * 40, 1.0f);
  for (const Shape& shape : {Shape{3, 3, 3}, Shape{40, 40, 40}}) {
    for (float alpha : {0.0f, 1.0f}) {
      std::vector<float> c(1600, std::numeric_limits<float>::quiet_NaN());
      SgemmSerial({false, false, shape.m, shape.n, shape.k, alpha, a.data(), 40, b.data(), 40, 0.0f,
                   c.data(), 40});
      EXPECT_EQ(c[0], alpha * static_cast<float>(shape.k));
      EXPECT_EQ(c[(shape.m - 1) * 40 + shape.n - 1], alpha * static_cast<float>(shape.k));
    }
  }
}

TEST(an_empty_inner_dimension_scales_the_output) {
  std::vector<float> c = {1.0f, 2.0f, 3.0f, 4.0f};
  Sgemm({false, false, 2, 2, 0, 1.0f, nullptr, 1, nullptr, 2, 0.5f, c.data(), 2},
        ThreadPool::Global(), CancelFlag());
  EXPECT_TRUE((c == std::vector<float>{0.5f, 1.0f, 1.5f, 2.0f}));
  SgemmSerial({false, false, 0, 2, 2, 1.0f, nullptr, 2, nullptr, 2, 0.0f, nullptr, 2});
}

TEST(elements_between_the_rows_of_the_output_are_left_alone) {
  std::vector<float> a(20 * 20, 1.0f), b(20 * 20, 1.0f), c(20 * 30, 7.0f);
  SgemmSerial({false, false, 20, 20, 20, 1.0f, a.data(), 20, b.data(), 20, 0.0f, c.data(), 30});
  for (size_t i = 0; i < 20; ++i) {
    for (size_t j = 20; j < 30; ++j) EXPECT_EQ(c[i * 30 + j], 7.0f);
  }
}

TEST(a_cancelled_product_returns_early) {
  const int32_t raised = 1;
  std::vector<float> a(512 * 512, 1.0f), b(512 * 512, 1.0f), c(512 * 512, 7.0f);
  Sgemm({false, false, 512, 512, 512, 1.0f, a.data(), 512, b.data(), 512, 0.0f, c.data(), 512},
        ThreadPool::Global(), CancelFlag(&raised));
  if (ThreadPool::Global().threads() > 1) EXPECT_EQ(c[0], 7.0f);
}

TEST(the_products_that_are_measured_have_work_for_48_threads) {
  const size_t shapes[][3] = {{2048, 2048, 2048}, {4096, 4096, 64}, {1024, 16384, 128}};
  for (const auto& [m, n, k] : shapes) {
    for (const Variant<const gemm::Kernel*>& variant : gemm::kVariants) {
      test::SetContext(std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + " " +
                       variant.name);
      GemmArgs args;
      args.m = m;
      args.n = n;
      args.k = k;
      EXPECT_GE(WorkOf(args, *variant.fn).Width(), 48.0);
    }
  }
}

}  // namespace
}  // namespace prismrec
