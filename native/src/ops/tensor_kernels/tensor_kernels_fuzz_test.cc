#include "ops/tensor_kernels/tensor_kernels.h"

#include <string>
#include <vector>

#include "fuzz.h"
#include "ops/tensor_kernels/dispatch.h"

namespace prismrec::tensor {
namespace {

using test::Random;
using test::Values;

template <class Body>
void ForTables(Body body) {
  for (Simd simd : kAllSimd) {
    const KernelTable* table = TableNamed(SimdName(simd));
    if (table != nullptr) body(*table);
  }
}

bool Near(double got, double want, double tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  return got == want || std::fabs(got - want) <= tolerance * (1 + std::fabs(want));
}

// The same broadcast, one element at a time.
template <class Body>
void ForElements(const Geometry& geometry, Body body) {
  for (size_t at = 0; at < geometry.Count(); ++at) {
    std::ptrdiff_t a = 0, b = 0;
    size_t rest = at;
    for (int d = geometry.rank - 1; d >= 0; --d) {
      const auto index = static_cast<std::ptrdiff_t>(rest % geometry.size[d]);
      rest /= geometry.size[d];
      a += index * geometry.stride_a[d];
      b += index * geometry.stride_b[d];
    }
    body(at, a, b);
  }
}

// Random sizes, some repeated in one operand; the innermost dimension moves in at least one of them.
Geometry Broadcast(Random& random, size_t* size_a, size_t* size_b) {
  Geometry geometry;
  geometry.rank = 1 + static_cast<int>(random.Below(3));
  std::ptrdiff_t a = 1, b = 1;
  for (int d = geometry.rank - 1; d >= 0; --d) {
    const size_t most = d == geometry.rank - 1 ? 200 : 9;
    geometry.size[d] = random.OneIn(25) ? 0 : random.Size(most);
    const size_t kind = random.Below(3);
    geometry.stride_a[d] = kind == 1 ? 0 : a;
    geometry.stride_b[d] = kind == 2 ? 0 : b;
    const auto size = static_cast<std::ptrdiff_t>(geometry.size[d]);
    if (kind != 1) a *= size;
    if (kind != 2) b *= size;
  }
  *size_a = static_cast<size_t>(a);
  *size_b = static_cast<size_t>(b);
  return geometry;
}

TEST(elementwise_operations_are_those_of_the_definition_on_any_broadcast) {
  test::Fuzz(1000, [](Random& random) {
    size_t size_a = 0, size_b = 0;
    const Geometry geometry = Broadcast(random, &size_a, &size_b);
    const auto op = static_cast<BinaryOp>(random.Below(static_cast<size_t>(BinaryOp::kCount)));
    const auto compare =
        static_cast<CompareOp>(random.Below(static_cast<size_t>(CompareOp::kCount)));
    const Values kind = random.Pick({Values::kPlain, Values::kWhole, Values::kFew});
    std::vector<float> a = random.Fill(size_a, kind), b = random.Fill(size_b, kind);
    if (random.OneIn(4)) random.Spoil(random.Pick({&a, &b}));
    ForTables([&](const KernelTable& table) {
      std::vector<float> out(geometry.Count() + 1, 99.0f);
      std::vector<uint8_t> bytes(geometry.Count() + 1, 99);
      Binary(table, op, geometry, a.data(), b.data(), out.data());
      Compare(table, compare, geometry, a.data(), b.data(), bytes.data());
      size_t wrong = 0;
      ForElements(geometry, [&](size_t at, std::ptrdiff_t i, std::ptrdiff_t j) {
        const double x = a[static_cast<size_t>(i)], y = b[static_cast<size_t>(j)];
        wrong += Near(out[at], reference::Apply(op, x, y), 1e-6) ? 0 : 1;
        const bool holds[] = {x == y, x != y, x < y, x <= y, x > y, x >= y};
        wrong += bytes[at] == (holds[static_cast<size_t>(compare)] ? 1 : 0) ? 0 : 1;
      });
      random.Context("binary " + std::to_string(static_cast<int>(op)) + " compare " +
                     std::to_string(static_cast<int>(compare)));
      EXPECT_EQ(wrong, size_t{0});
      EXPECT_EQ(out.back(), 99.0f);
      EXPECT_EQ(int{bytes.back()}, 99);
    });
  });
}

TEST(functions_are_those_of_the_definition_on_any_number) {
  test::Fuzz(1000, [](Random& random) {
    const auto op = static_cast<UnaryOp>(random.Below(static_cast<size_t>(UnaryOp::kCount)));
    std::vector<float> x = random.Fill(random.Size(300), random.Kind());
    if (op != UnaryOp::kGelu && random.OneIn(3)) random.Spoil(&x);
    ForTables([&](const KernelTable& table) {
      std::vector<float> out(x.size() + 1, 99.0f);
      Unary(table, op, x.data(), out.data(), x.size(), 0.25f, 1.5f);
      size_t wrong = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = reference::Apply(op, x[i], 0.25, 1.5);
        // What single precision cannot hold is infinite or a multiple of its smallest number.
        wrong += Near(out[i], static_cast<float>(want), 1e-6) ? 0 : 1;
      }
      random.Context("unary " + std::to_string(static_cast<int>(op)));
      EXPECT_EQ(wrong, size_t{0});
      EXPECT_EQ(out.back(), 99.0f);
    });
  });
}

TEST(rows_are_reduced_and_normalised_as_the_definition_does) {
  test::Fuzz(1000, [](Random& random) {
    const size_t rows = random.Size(40), cols = random.Size(200);
    const std::vector<float> x = random.Fill(rows * cols, random.Kind());
    std::vector<uint8_t> mask(x.size());
    for (uint8_t& bit : mask) bit = random.OneIn(3) ? 1 : 0;
    const std::vector<float> gamma = random.Fill(cols, Values::kPlain);
    const std::vector<float> beta = random.Fill(cols, Values::kPlain);
    Geometry walk;
    walk.rank = 1;
    walk.size[0] = rows;
    walk.stride_b[0] = static_cast<std::ptrdiff_t>(cols);
    ForTables([&](const KernelTable& table) {
      std::vector<float> softmax(x.size()), logs(x.size()), masked(x.size()), norm(x.size());
      std::vector<float> sums(rows), columns(cols), mean(rows), rstd(rows);
      Softmax(table, x.data(), softmax.data(), rows, cols, false);
      Softmax(table, x.data(), logs.data(), rows, cols, true);
      MaskedSoftmax(table, walk, x.data(), mask.data(), MaskType::kUint8, masked.data(), cols);
      LayerNorm(table, x.data(), gamma.data(), beta.data(), norm.data(), mean.data(), rstd.data(),
                rows, cols, 1e-3f);
      Reduce(table, ReduceOp::kSum, x.data(), sums.data(), rows, cols, 1, 1.0f);
      Reduce(table, ReduceOp::kMax, x.data(), columns.data(), 1, rows, cols, 1.0f);
      const std::vector<uint8_t> all(cols, 1);
      std::vector<double> want(cols);
      for (size_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * cols;
        double sum = 0;
        for (size_t c = 0; c < cols; ++c) sum += row[c];
        EXPECT_NEAR(sums[r], sum, 1e-6 * static_cast<double>(cols));
        reference::MaskedSoftmax(row, all.data(), want.data(), cols);
        for (size_t c = 0; c < cols; ++c) {
          EXPECT_NEAR(softmax[r * cols + c], want[c], 1e-6);
          EXPECT_NEAR(logs[r * cols + c], std::log(want[c]), 2e-6 * (1 + std::fabs(std::log(want[c]))));
        }
        reference::MaskedSoftmax(row, mask.data() + r * cols, want.data(), cols);
        for (size_t c = 0; c < cols; ++c) EXPECT_NEAR(masked[r * cols + c], want[c], 1e-6);
        reference::LayerNorm(row, gamma.data(), beta.data(), want.data(), cols, 1e-3);
        for (size_t c = 0; c < cols; ++c) EXPECT_NEAR(norm[r * cols + c], want[c], 3e-5);
      }
      for (size_t c = 0; c < cols; ++c) {
        float largest = x[c];
        for (size_t r = 1; r < rows; ++r) largest = std::max(largest, x[r * cols + c]);
        EXPECT_EQ(columns[c], largest);
      }
    });
  });
}

TEST(gather_and_segment_sum_move_rows_or_refuse_their_indices) {
  test::Fuzz(1000, [](Random& random) {
    const size_t axis = random.Size(50), count = random.OneIn(10) ? 0 : random.Size(200);
    const size_t inner = random.Size(70);
    const std::vector<float> x = random.Fill(axis * inner, random.Kind());
    std::vector<int32_t> ids(count + 1);
    for (int32_t& id : ids) id = static_cast<int32_t>(random.Below(axis));
    const bool bad = random.OneIn(4) && count > 0;
    if (bad) {
      ids[random.Below(count)] = random.Pick({-1, static_cast<int32_t>(axis), -2147483647 - 1});
    }
    std::vector<float> out(count * inner + 1);
    const Status status = Gather(x.data(), ids.data(), out.data(), 1, 1, axis, count, inner);
    EXPECT_TRUE(status.code == (bad ? StatusCode::kInvalidArgument : StatusCode::kOk));
    if (bad) return;
    std::vector<float> sums(axis * inner), want(axis * inner);
    SegmentSum(out.data(), ids.data(), sums.data(), count, axis, inner);
    for (size_t c = 0; c < count; ++c) {
      const size_t row = static_cast<size_t>(ids[c]) * inner;
      for (size_t i = 0; i < inner; ++i) {
        EXPECT_EQ(out[c * inner + i], x[row + i]);
        want[row + i] += x[row + i];
      }
    }
    test::ExpectSameBits(sums, want);
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("tensor_kernels");
  EXPECT_TRUE(&ActiveTable() == TableNamed(variant));
}

// The forward passes whose sums are long.
TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(20, [](Random& random) {
    const size_t n = 500 + random.Size(2000);
    const std::vector<float> x = random.Fill(n, Values::kPlain);
    float naive_sum = 0;
    double exact_sum = 0;
    for (const float value : x) {
      naive_sum += std::fabs(value);
      exact_sum += std::fabs(double{value});
    }
    std::vector<float> positive(n), naive(n);
    for (size_t i = 0; i < n; ++i) positive[i] = std::fabs(x[i]);
    float top = x[0], total = 0;
    for (const float value : x) top = std::max(top, value);
    for (size_t i = 0; i < n; ++i) total += naive[i] = std::exp(x[i] - top);
    for (float& value : naive) value /= total;
    std::vector<double> exact(n);
    const std::vector<uint8_t> all(n, 1);
    reference::MaskedSoftmax(x.data(), all.data(), exact.data(), n);
    ForTables([&](const KernelTable& table) {
      float sum = 0;
      Reduce(table, ReduceOp::kSum, positive.data(), &sum, 1, n, 1, 1.0f);
      test::ExpectAsAccurate(std::vector<float>{sum}, std::vector<float>{naive_sum},
                             std::vector<double>{exact_sum});
      std::vector<float> softmax(n);
      Softmax(table, x.data(), softmax.data(), 1, n, false);
      test::ExpectAsAccurate(softmax, naive, exact);
    });
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(10, [](Random& random) {
    const size_t rows = 1500, cols = 30 + random.Size(70);
    const std::vector<float> x = random.Fill(rows * cols, Values::kPlain);
    const auto solve = [&] {
      std::vector<float> out(x.size() + cols);
      Softmax(ActiveTable(), x.data(), out.data(), rows, cols, false);
      Reduce(ActiveTable(), ReduceOp::kSum, x.data(), out.data() + x.size(), 1, rows, cols, 1.0f);
      return out;
    };
    const std::vector<float> want = solve();
    EXPECT_TRUE(test::HoldsOnFourThreads([&] { return test::SameBits(solve(), want); }));
  });
}

}  // namespace
}  // namespace prismrec::tensor
