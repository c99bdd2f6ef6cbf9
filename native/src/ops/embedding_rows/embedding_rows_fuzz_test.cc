#include "ops/embedding_rows/embedding_rows.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "fuzz.h"

namespace prismrec::embedding_rows {
namespace {

using test::Random;
using test::Values;

AdamOptions Options(Random& random) {
  AdamOptions options{};
  options.learning_rate = random.Pick({0.001, 0.1});
  options.beta1 = random.Pick({0.0, 0.9});
  options.beta2 = random.Pick({0.9, 0.999});
  options.epsilon = random.Pick({1e-8, 1e-4});
  options.weight_decay = random.Pick({0.0, 0.01});
  options.gradient_scale = random.Pick({1.0, 0.25});
  return options;
}

TEST(every_variant_updates_the_rows_as_the_definition_does) {
  test::Fuzz(1000, [](Random& random) {
    const AdamOptions options = Options(random);
    const size_t rows = random.Size(60), cols = random.Size(70);
    std::vector<uint32_t> ids(rows);
    std::iota(ids.begin(), ids.end(), 0u);
    for (size_t i = 0; i + 1 < rows; ++i) std::swap(ids[i], ids[i + random.Below(rows - i)]);
    ids.resize(random.OneIn(10) ? 0 : 1 + random.Below(rows));
    const std::vector<float> start = random.Fill(rows * cols, Values::kPlain);
    const std::vector<float> gradients = random.Fill(ids.size() * cols, random.Kind());
    ids.push_back(0);  // beyond the end: an empty vector's data may be null
    for (Simd simd : kAllSimd) {
      const Spans* const spans = SpansNamed(SimdName(simd));
      if (spans == nullptr) continue;
      std::vector<float> table = start, m(table.size()), v(table.size());
      std::vector<double> want(table.begin(), table.end());
      std::vector<uint32_t> steps(rows);
      for (uint64_t step = 1; step <= 3; ++step) {
        LazyAdam(*spans, options,
                 {table.data(), m.data(), v.data(), steps.data(), ids.data(), gradients.data(),
                  ids.size() - 1, cols, step % 2 == 0, step});
      }
      for (size_t i = 0; i + 1 < ids.size(); ++i) {
        std::vector<double> exact_m(cols), exact_v(cols);
        const std::vector<double> g(gradients.begin() + i * cols,
                                    gradients.begin() + (i + 1) * cols);
        for (uint64_t step = 1; step <= 3; ++step) {
          reference::Adam(options, step, want.data() + ids[i] * cols, exact_m.data(),
                          exact_v.data(), g.data(), cols);
        }
        EXPECT_EQ(steps[ids[i]], 3u);
      }
      EXPECT_LE(test::LargestError(table, want), 3e-6);
    }
  });
}

TEST(rows_are_gathered_and_added_bit_for_bit) {
  test::Fuzz(1000, [](Random& random) {
    const size_t rows = random.Size(100), cols = random.Size(70);
    const size_t count = random.OneIn(10) ? 0 : random.Size(400);
    std::vector<float> table = random.Fill(rows * cols, random.Kind());
    random.Spoil(&table);
    std::vector<uint32_t> ids(count + 1);
    for (uint32_t& id : ids) {
      id = random.OneIn(9) ? kNoRow : static_cast<uint32_t>(random.Below(rows));
    }
    std::vector<float> want(count * cols + 1);
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] == kNoRow) continue;
      std::copy_n(table.data() + ids[i] * cols, cols, want.data() + i * cols);
    }
    const std::vector<float> start = random.Fill(rows * cols, Values::kPlain);
    const std::vector<float> added = random.Fill(count * cols + 1, random.Kind());
    std::vector<float> expected = start;
    for (size_t i = 0; i < count * cols; ++i) {
      if (ids[i / cols] != kNoRow) expected[ids[i / cols] * cols + i % cols] += added[i];
    }
    const RowGroups groups = GroupRows(ids.data(), count);
    std::vector<float> totals(groups.ids.size() * cols + 1);
    for (size_t g = 0; g < groups.ids.size(); ++g) {
      for (size_t n = groups.starts[g]; n < groups.starts[g + 1]; ++n) {
        for (size_t c = 0; c < cols; ++c) {
          const float value = added[groups.positions[n] * cols + c];
          float& total = totals[g * cols + c];
          total = n == groups.starts[g] ? value : total + value;
        }
      }
    }
    // In two parts, the first one empty now and then.
    const size_t cut = random.Below(count + 1);
    const std::vector<RowPart> parts = {{added.data(), cut},
                                        {added.data() + cut * cols, count - cut}};
    for (Simd simd : kAllSimd) {
      const Spans* const spans = SpansNamed(SimdName(simd));
      if (spans == nullptr) continue;
      // Whatever was there before; the last one is nobody's.
      std::vector<float> out(want.size(), 7.0f);
      out.back() = 0;
      GatherRows(*spans, table.data(), ids.data(), out.data(), count, cols);
      test::ExpectSameBits(out, want);
      std::vector<float> sums = start;
      ScatterAddRows(*spans, sums.data(), rows, ids.data(), added.data(), count, cols);
      test::ExpectSameBits(sums, expected);
      std::vector<float> summed(totals.size());
      SumGroups(*spans, groups, parts, summed.data(), cols);
      test::ExpectSameBits(summed, totals);
    }
    std::vector<int32_t> inverse(count + 1);
    const std::vector<uint32_t> unique = UniqueRows(ids.data(), count, inverse.data());
    for (size_t i = 1; i < unique.size(); ++i) EXPECT_LT(unique[i - 1], unique[i]);
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] == kNoRow) {
        EXPECT_EQ(inverse[i], -1);
      } else {
        EXPECT_EQ(unique[static_cast<size_t>(inverse[i])], ids[i]);
      }
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("embedding_rows");
  EXPECT_TRUE(SpansNamed(nullptr) == SpansNamed(variant));
}

// One step of Adam as it is written down, in single precision.
TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(20, [](Random& random) {
    const size_t n = 3000;
    AdamOptions options = Options(random);
    options.gradient_scale = 1.0;
    const std::vector<float> start = random.Fill(n, Values::kPlain);
    std::vector<float> naive = start, naive_m(n), naive_v(n);
    std::vector<double> exact(start.begin(), start.end()), exact_m(n), exact_v(n);
    std::vector<std::vector<float>> gradients;
    for (uint64_t step = 1; step <= 5; ++step) {
      gradients.push_back(random.Fill(n, Values::kPlain));
      const std::vector<double> g(gradients.back().begin(), gradients.back().end());
      reference::Adam(options, step, exact.data(), exact_m.data(), exact_v.data(), g.data(), n);
      const float beta1 = static_cast<float>(options.beta1);
      const float beta2 = static_cast<float>(options.beta2);
      const float rate = static_cast<float>(options.learning_rate);
      const float decay = static_cast<float>(options.weight_decay);
      const float epsilon = static_cast<float>(options.epsilon);
      for (size_t i = 0; i < n; ++i) {
        const float x = gradients.back()[i];
        naive_m[i] = beta1 * naive_m[i] + (1.0f - beta1) * x;
        naive_v[i] = beta2 * naive_v[i] + (1.0f - beta2) * x * x;
        const float t = static_cast<float>(step);
        const float m = naive_m[i] / (1.0f - std::pow(beta1, t));
        const float v = naive_v[i] / (1.0f - std::pow(beta2, t));
        naive[i] = naive[i] - rate * decay * naive[i] - rate * m / (std::sqrt(v) + epsilon);
      }
    }
    for (Simd simd : kAllSimd) {
      const Spans* const spans = SpansNamed(SimdName(simd));
      if (spans == nullptr) continue;
      std::vector<float> values = start, m(n), v(n);
      for (uint64_t step = 1; step <= 5; ++step) {
        Adam(*spans, FactorsAt(options, step), values.data(), m.data(), v.data(),
             gradients[step - 1].data(), n);
      }
      test::ExpectAsAccurate(values, naive, exact);
    }
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(10, [](Random& random) {
    const size_t rows = 500, cols = 40 + random.Size(70), count = 20000;
    const std::vector<float> table = random.Fill(rows * cols, Values::kPlain);
    const std::vector<float> added = random.Fill(count * cols, Values::kPlain);
    std::vector<uint32_t> ids(count);
    for (uint32_t& id : ids) id = static_cast<uint32_t>(random.Below(rows));
    const Spans& spans = *SpansNamed(nullptr);
    const auto solve = [&] {
      std::vector<float> out = table;
      ScatterAddRows(spans, out.data(), rows, ids.data(), added.data(), count, cols);
      std::vector<float> gathered(count * cols);
      GatherRows(spans, out.data(), ids.data(), gathered.data(), count, cols);
      return gathered;
    };
    const std::vector<float> want = solve();
    EXPECT_TRUE(test::HoldsOnFourThreads([&] { return test::SameBits(solve(), want); }));
  });
}

}  // namespace
}  // namespace prismrec::embedding_rows
