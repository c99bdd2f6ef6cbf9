#include "ops/tensor_kernels/tensor_kernels.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "ops/tensor_kernels/dispatch.h"
#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::tensor {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "neon"};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Reproducible values in [low, high).
std::vector<float> Values(size_t n, float low, float high, uint32_t seed) {
  std::vector<float> values(n);
  uint32_t state = seed * 2654435761u + 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = low + (high - low) * static_cast<float>(state >> 8) / 16777216.0f;
  }
  return values;
}

template <class Fn>
void ForTables(Fn&& fn) {
  for (const char* name : kNames) {
    const KernelTable* table = TableNamed(name);
    if (table == nullptr) continue;
    test::SetContext(name);
    fn(*table, std::string(name));
  }
  test::SetContext("");
}

// Lengths around the lanes of every instruction set.
const std::vector<size_t> kLengths = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 66, 130, 1001};

Geometry Run(size_t n, std::ptrdiff_t a, std::ptrdiff_t b) {
  Geometry geometry;
  geometry.rank = 1;
  geometry.size[0] = n;
  geometry.stride_a[0] = a;
  geometry.stride_b[0] = b;
  return geometry;
}

struct UnaryCase {
  UnaryOp op;
  float low, high;
  double tolerance;  // relative to 1 + |expected|
};

const UnaryCase kUnaryCases[] = {
    {UnaryOp::kExp, -80, 80, 3e-7},
    {UnaryOp::kLog, 1e-6f, 50, 3e-7},
    {UnaryOp::kLog1p, -0.99f, 50, 3e-7},
    {UnaryOp::kSqrt, 0, 50, 1e-7},
    {UnaryOp::kRsqrt, 0.01f, 50, 2e-7},
    {UnaryOp::kSquare, -9, 9, 1e-7},
    {UnaryOp::kNeg, -9, 9, 0},
    {UnaryOp::kAbs, -9, 9, 0},
    {UnaryOp::kRelu, -9, 9, 0},
    {UnaryOp::kTanh, -9, 9, 2e-7},
    {UnaryOp::kSigmoid, -90, 90, 2e-7},
    {UnaryOp::kErf, -5, 5, 2e-7},
    {UnaryOp::kSoftplus, -90, 90, 3e-7},
    {UnaryOp::kElu, -9, 9, 3e-7},
    {UnaryOp::kStep, -9, 9, 0},
    {UnaryOp::kClip, -9, 9, 0},
    {UnaryOp::kReciprocal, 0.1f, 9, 1e-7},
    {UnaryOp::kGelu, -9, 9, 5e-7},
    {UnaryOp::kExpm1, -9, 9, 3e-7},
    {UnaryOp::kLeakyRelu, -9, 9, 1e-7},
};

}  // namespace

TEST(unary_functions_are_within_rounding_of_double_precision) {
  ForTables([](const KernelTable& table, const std::string& name) {
    for (const UnaryCase& c : kUnaryCases) {
      for (size_t n : kLengths) {
        test::SetContext(name + " op=" + std::to_string(static_cast<int>(c.op)) +
                         " n=" + std::to_string(n));
        const std::vector<float> x = Values(n, c.low, c.high, 7);
        std::vector<float> y(n + 1, 99.0f);
        Unary(table, c.op, x.data(), y.data(), n, 0.25f, 1.5f);
        for (size_t i = 0; i < n; ++i) {
          const double expected = reference::Apply(c.op, x[i], 0.25, 1.5);
          EXPECT_NEAR(y[i], expected, c.tolerance * (1 + std::fabs(expected)));
        }
        EXPECT_EQ(y[n], 99.0f);
      }
    }
  });
}

TEST(small_arguments_keep_their_relative_precision) {
  ForTables([](const KernelTable& table, const std::string&) {
    for (UnaryOp op : {UnaryOp::kLog1p, UnaryOp::kExpm1, UnaryOp::kTanh, UnaryOp::kErf}) {
      for (float x : {1e-8f, -3e-6f, 2e-4f, -0.01f, 0.3f, 0.62f}) {
        float y = 0;
        table.unary(op, &x, &y, 1, 0, 0);
        const double expected = reference::Apply(op, x, 0, 0);
        EXPECT_NEAR(y / expected, 1.0, 4e-7);
      }
    }
  });
}

TEST(nan_and_infinity_pass_through_as_in_double_precision) {
  const float odd[] = {kInfinity, -kInfinity, NAN, 0.0f, 200.0f, -200.0f};
  ForTables([&](const KernelTable& table, const std::string& name) {
    for (const UnaryCase& c : kUnaryCases) {
      if (c.op == UnaryOp::kGelu) continue;  // x * Phi(x) at -infinity has no value
      for (float x : odd) {
        float y = 0;
        table.unary(c.op, &x, &y, 1, 0.25f, 1.5f);
        const float expected = static_cast<float>(reference::Apply(c.op, x, 0.25, 1.5));
        test::SetContext(name + " op=" + std::to_string(static_cast<int>(c.op)) +
                         " x=" + std::to_string(x));
        if (std::isnan(expected)) {
          EXPECT_TRUE(std::isnan(y));
        } else if (std::isinf(expected)) {
          EXPECT_EQ(y, expected);
        } else {
          EXPECT_NEAR(y, expected, 1e-6 * (1 + std::fabs(expected)));
        }
      }
    }
  });
}

TEST(binary_operations_repeat_either_operand) {
  ForTables([](const KernelTable& table, const std::string& name) {
    for (int code = 0; code < static_cast<int>(BinaryOp::kCount); ++code) {
      const BinaryOp op = static_cast<BinaryOp>(code);
      for (size_t n : kLengths) {
        const std::vector<float> a = Values(n, 0.1f, 4, 1), b = Values(n, 0.1f, 4, 2);
        for (int steps = 1; steps < 4; ++steps) {
          test::SetContext(name + " op=" + std::to_string(code) + " n=" + std::to_string(n) +
                           " steps=" + std::to_string(steps));
          const size_t step_a = steps & 1, step_b = steps >> 1;
          std::vector<float> out(n);
          Binary(table, op,
                 Run(n, static_cast<std::ptrdiff_t>(step_a), static_cast<std::ptrdiff_t>(step_b)),
                 a.data(), b.data(), out.data());
          for (size_t i = 0; i < n; ++i) {
            const double expected = reference::Apply(op, a[i * step_a], b[i * step_b]);
            EXPECT_NEAR(out[i], expected, 5e-7 * (1 + std::fabs(expected)));
          }
        }
      }
    }
  });
}

TEST(binary_walks_broadcast_dimensions) {
  // [3, 1, 5] with [4, 1]
  Geometry geometry;
  geometry.rank = 3;
  const size_t sizes[] = {3, 4, 5};
  const std::ptrdiff_t a_strides[] = {5, 0, 1}, b_strides[] = {0, 1, 0};
  for (int d = 0; d < 3; ++d) {
    geometry.size[d] = sizes[d];
    geometry.stride_a[d] = a_strides[d];
    geometry.stride_b[d] = b_strides[d];
  }
  const std::vector<float> a = Values(15, -1, 1, 1), b = Values(4, -1, 1, 2);
  ForTables([&](const KernelTable& table, const std::string&) {
    std::vector<float> out(60);
    Binary(table, BinaryOp::kSub, geometry, a.data(), b.data(), out.data());
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = 0; j < 4; ++j) {
        for (size_t k = 0; k < 5; ++k) {
          EXPECT_EQ(out[(i * 4 + j) * 5 + k], a[i * 5 + k] - b[j]);
        }
      }
    }
  });
}

TEST(sums_do_not_lose_digits_over_a_million_terms) {
  const size_t n = 1000003;
  const std::vector<float> x = Values(n, 0, 1, 3);
  double expected = 0;
  for (float value : x) expected += value;
  ForTables([&](const KernelTable& table, const std::string&) {
    float row = 0;
    Reduce(table, ReduceOp::kSum, x.data(), &row, 1, n, 1, 1.0f);
    EXPECT_NEAR(row / expected, 1.0, 1e-6);
    std::vector<float> columns(17);
    const size_t rows = n / 17;
    Reduce(table, ReduceOp::kSum, x.data(), columns.data(), 1, rows, 17, 1.0f);
    double first = 0;
    for (size_t r = 0; r < rows; ++r) first += x[r * 17];
    EXPECT_NEAR(columns[0] / first, 1.0, 2e-6);
  });
}

TEST(results_have_the_same_bits_on_any_number_of_threads) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  const size_t rows = 5000, cols = 70;
  const std::vector<float> x = Values(rows * cols, -3, 3, 4), g = Values(cols, -1, 1, 5);
  const KernelTable& table = ActiveTable();
  std::vector<std::vector<float>> seen;
  for (int threads : {1, 2, 5}) {
    pool.SetThreads(threads);
    std::vector<float> out(3 * rows * cols + 2 * rows + 4 * cols + 1);
    float* at = out.data();
    Reduce(table, ReduceOp::kSum, x.data(), at, 1, rows, cols, 1.0f);
    at += cols;
    Reduce(table, ReduceOp::kSum, x.data(), at, 1, rows * cols, 1, 1.0f);
    at += 1;
    LayerNorm(table, x.data(), g.data(), g.data(), at, at + rows * cols, at + rows * cols + rows,
              rows, cols, 1e-5f);
    const float* mean = at + rows * cols;
    at += rows * cols + 2 * rows;
    LayerNormGrad(table, x.data(), g.data(), mean, mean + rows, x.data(), at, at + rows * cols,
                  at + rows * cols + cols, rows, cols);
    at += rows * cols + 2 * cols;
    std::vector<int32_t> ids(rows);
    for (size_t i = 0; i < rows; ++i) ids[i] = static_cast<int32_t>(i * 7919 % 311);
    SegmentSum(x.data(), ids.data(), at, rows, 311, cols);
    seen.push_back(out);
  }
  pool.SetThreads(before);
  for (size_t i = 1; i < seen.size(); ++i) {
    EXPECT_EQ(std::memcmp(seen[0].data(), seen[i].data(), seen[0].size() * sizeof(float)), 0);
  }
}

TEST(masked_softmax_sees_only_the_mask) {
  ForTables([](const KernelTable& table, const std::string& name) {
    for (size_t cols : kLengths) {
      test::SetContext(name + " cols=" + std::to_string(cols));
      const size_t rows = 4;
      const std::vector<float> x = Values(rows * cols, -30, 30, 6);
      std::vector<uint8_t> mask(rows * cols);
      // The last row sees nothing.
      for (size_t i = 0; i < (rows - 1) * cols; ++i) mask[i] = x[i] > -5 || i % cols == 0;
      std::vector<float> out(rows * cols);
      MaskedSoftmax(table, Run(rows, 0, static_cast<std::ptrdiff_t>(cols)), x.data(), mask.data(),
                    MaskType::kUint8, out.data(), cols);
      std::vector<double> expected(cols);
      for (size_t r = 0; r < rows; ++r) {
        reference::MaskedSoftmax(x.data() + r * cols, mask.data() + r * cols, expected.data(),
                                 cols);
        for (size_t c = 0; c < cols; ++c) {
          EXPECT_NEAR(out[r * cols + c], expected[c], 1e-6);
          if (mask[r * cols + c] == 0) EXPECT_EQ(out[r * cols + c], 0.0f);
        }
      }
    }
  });
}

TEST(layer_norm_has_the_gradient_of_its_definition) {
  ForTables([](const KernelTable& table, const std::string& name) {
    for (size_t cols : {size_t{2}, size_t{7}, size_t{16}, size_t{66}}) {
      test::SetContext(name + " cols=" + std::to_string(cols));
      const std::vector<float> x = Values(cols, -2, 2, 8), gamma = Values(cols, 0.5f, 1.5f, 9),
                               beta = Values(cols, -1, 1, 10), dy = Values(cols, -1, 1, 11);
      std::vector<float> y(cols), dx(cols), dgamma(cols), dbeta(cols);
      float mean = 0, rstd = 0;
      LayerNorm(table, x.data(), gamma.data(), beta.data(), y.data(), &mean, &rstd, 1, cols, 1e-5f);
      LayerNormGrad(table, x.data(), gamma.data(), &mean, &rstd, dy.data(), dx.data(),
                    dgamma.data(), dbeta.data(), 1, cols);
      const auto loss = [&](std::vector<float> moved, std::vector<float> scale,
                            std::vector<float> shift) {
        std::vector<double> out(cols);
        reference::LayerNorm(moved.data(), scale.data(), shift.data(), out.data(), cols, 1e-5);
        double sum = 0;
        for (size_t c = 0; c < cols; ++c) sum += out[c] * dy[c];
        return sum;
      };
      for (size_t c = 0; c < cols; ++c) {
        const float h = 1.0f / 1024;
        std::vector<std::vector<float>> up = {x, gamma, beta}, down = up;
        const float* analytic[] = {dx.data(), dgamma.data(), dbeta.data()};
        for (size_t which = 0; which < 3; ++which) {
          up = down = {x, gamma, beta};
          up[which][c] += h;
          down[which][c] -= h;
          const double slope = (loss(up[0], up[1], up[2]) - loss(down[0], down[1], down[2])) /
                               (static_cast<double>(up[which][c]) - down[which][c]);
          EXPECT_NEAR(analytic[which][c], slope, 2e-5 * (1 + std::fabs(slope)));
        }
      }
    }
  });
}

TEST(gelu_has_the_gradient_of_its_definition) {
  ForTables([](const KernelTable& table, const std::string&) {
    const std::vector<float> x = Values(67, -5, 5, 12), one(67, 1.0f);
    std::vector<float> dx(67);
    GeluGrad(table, x.data(), one.data(), dx.data(), 67);
    for (size_t i = 0; i < 67; ++i) {
      const double h = 1e-5;
      const double slope = (reference::Apply(UnaryOp::kGelu, x[i] + h, 0, 0) -
                            reference::Apply(UnaryOp::kGelu, x[i] - h, 0, 0)) /
                           (2 * h);
      EXPECT_NEAR(dx[i], slope, 1e-6);
    }
  });
}

TEST(dropout_is_a_function_of_the_index_not_of_the_split) {
  ForTables([](const KernelTable& table, const std::string&) {
    const size_t n = 20011;
    const std::vector<float> one(n, 1.0f);
    std::vector<float> whole(n), parts(n);
    table.dropout(one.data(), whole.data(), 0, n, 99, 1u << 30, 2.0f);
    for (size_t at = 0; at < n; at += 777) {
      const size_t length = n - at < 777 ? n - at : 777;
      table.dropout(one.data() + at, parts.data() + at, at, length, 99, 1u << 30, 2.0f);
    }
    EXPECT_EQ(std::memcmp(whole.data(), parts.data(), n * sizeof(float)), 0);
    size_t dropped = 0;
    for (float value : whole) dropped += value == 0.0f;
    // A quarter, give or take four standard deviations.
    EXPECT_NEAR(dropped, n / 4.0, 250);
  });
}

TEST(copies_follow_their_strides) {
  // A transpose of [37, 53], wide enough for tiles, and a reversal.
  std::vector<float> x(37 * 53), y(37 * 53);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  Geometry transpose;
  transpose.rank = 2;
  transpose.size[0] = 53;
  transpose.size[1] = 37;
  transpose.stride_a[0] = 1;
  transpose.stride_a[1] = 53;
  transpose.stride_b[0] = 37;
  transpose.stride_b[1] = 1;
  Copy(transpose, x.data(), y.data(), sizeof(float));
  for (size_t i = 0; i < 37; ++i) {
    for (size_t j = 0; j < 53; ++j) EXPECT_EQ(y[j * 37 + i], x[i * 53 + j]);
  }
  Copy(Run(x.size(), -1, 1), x.data() + x.size() - 1, y.data(), sizeof(float));
  EXPECT_EQ(y[0], x.back());
  EXPECT_EQ(y.back(), x[0]);
}

TEST(gather_refuses_an_index_outside_the_table) {
  const float x[] = {1, 2, 3, 4};
  float out[4] = {};
  const int32_t good[] = {1, 0}, low[] = {0, -1}, high[] = {2, 0};
  EXPECT_OK(Gather(x, good, out, 1, 1, 2, 2, 2));
  EXPECT_EQ(out[0], 3.0f);
  EXPECT_EQ(out[3], 2.0f);
  for (const int32_t* ids : {low, high}) {
    const Status status = Gather(x, ids, out, 1, 1, 2, 2, 2);
    EXPECT_EQ(std::string(StatusCodeName(status.code)), "INVALID_ARGUMENT");
  }
}

TEST(products_of_a_batch_find_their_operands) {
  const size_t batch = 5, m = 6, n = 7, k = 9;
  const std::vector<float> a = Values(batch * m * k, -1, 1, 13), b = Values(2 * k * n, -1, 1, 14);
  const uint32_t offsets_a[] = {0, 54, 108, 162, 216}, offsets_b[] = {0, 63, 0, 63, 0};
  for (bool transpose_a : {false, true}) {
    for (bool transpose_b : {false, true}) {
      std::vector<float> out(batch * m * n);
      Matmul({a.data(), b.data(), out.data(), offsets_a, offsets_b, batch, m, n, k, transpose_a,
              transpose_b});
      for (size_t t = 0; t < batch; ++t) {
        for (size_t i = 0; i < m; ++i) {
          for (size_t j = 0; j < n; ++j) {
            double sum = 0;
            for (size_t p = 0; p < k; ++p) {
              sum += static_cast<double>(a[offsets_a[t] + (transpose_a ? p * m + i : i * k + p)]) *
                     b[offsets_b[t] + (transpose_b ? j * k + p : p * n + j)];
            }
            EXPECT_NEAR(out[(t * m + i) * n + j], sum, 1e-5);
          }
        }
      }
    }
  }
}

}  // namespace prismrec::tensor
