#include "ops/embedding_rows/embedding_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::embedding_rows {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512", "neon"};
constexpr AdamOptions kOptions = {0.01, 0.9, 0.999, 1e-8, 0.1, 0.5};

std::vector<float> Wave(size_t n, double phase) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(std::sin(1.7 * i + phase));
  return values;
}

}  // namespace

TEST(adam_is_within_rounding_of_double_precision) {
  for (const char* name : kNames) {
    const Spans* const spans = SpansNamed(name);
    if (spans == nullptr) continue;
    for (size_t n : {1, 3, 7, 8, 9, 17, 66, 40001}) {
      test::SetContext(std::string(name) + " n=" + std::to_string(n));
      std::vector<float> values = Wave(n, 1), m(n), v(n);
      std::vector<double> exact(values.begin(), values.end()), exact_m(n), exact_v(n);
      for (uint64_t step = 1; step <= 8; ++step) {
        const std::vector<float> g = Wave(n, static_cast<double>(step));
        const std::vector<double> exact_g(g.begin(), g.end());
        Adam(*spans, FactorsAt(kOptions, step), values.data(), m.data(), v.data(), g.data(), n);
        reference::Adam(kOptions, step, exact.data(), exact_m.data(), exact_v.data(),
                        exact_g.data(), n);
      }
      for (size_t i = 0; i < n; ++i) EXPECT_NEAR(values[i], exact[i], 2e-6);
    }
  }
  test::SetContext("");
}

TEST(the_squared_norm_is_that_of_plain_loops_in_double_and_the_same_in_every_variant) {
  for (size_t n : {0, 1, 15, 16, 17, 1000, 40001, 70000}) {
    std::vector<float> x = Wave(n, 1);
    // Their squares are beyond single precision.
    if (n > 0) x[n / 2] = 1e25f;
    if (n > 1) x[n - 1] = -1e-30f;
    double expected = 0;
    for (const float value : x) expected += static_cast<double>(value) * value;
    const double first = SquaredNorm(*SpansNamed("scalar"), {{x.data(), n}});
    EXPECT_NEAR(first, expected, 1e-13 * expected);
    for (const char* name : kNames) {
      const Spans* const spans = SpansNamed(name);
      if (spans == nullptr) continue;
      test::SetContext(std::string(name) + " n=" + std::to_string(n));
      EXPECT_EQ(SquaredNorm(*spans, {{x.data(), n}}), first);
    }
  }
  test::SetContext("");
}

TEST(lazy_adam_touches_its_rows_only_and_counts_them) {
  const size_t rows = 50, cols = 13;
  std::vector<float> table = Wave(rows * cols, 0), m(rows * cols), v(rows * cols);
  const std::vector<float> before = table;
  std::vector<uint32_t> steps(rows);
  const std::vector<uint32_t> ids = {0, 7, 8, 49};
  const std::vector<float> g = Wave(ids.size() * cols, 3);
  LazyAdam(*SpansNamed(nullptr), kOptions,
           {table.data(), m.data(), v.data(), steps.data(), ids.data(), g.data(), ids.size(), cols,
            false, 1});
  for (size_t r = 0; r < rows; ++r) {
    const bool touched = std::find(ids.begin(), ids.end(), r) != ids.end();
    EXPECT_EQ(steps[r], touched ? 1u : 0u);
    const bool same = std::memcmp(&table[r * cols], &before[r * cols], cols * sizeof(float)) == 0;
    EXPECT_EQ(same, !touched);
  }
}

TEST(updates_have_the_same_bits_on_any_number_of_threads) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  // Enough of them that a scatter takes more than one thread.
  const size_t rows = 3000, cols = 33, count = 25000;
  const std::vector<float> g = Wave(count * cols, 2);
  for (const char* name : kNames) {
    const Spans* const spans = SpansNamed(name);
    if (spans == nullptr) continue;
    test::SetContext(name);
    std::vector<std::vector<float>> seen;
    for (int threads : {1, 2, 5}) {
      pool.SetThreads(threads);
      std::vector<float> table = Wave(rows * cols, 0), m(rows * cols), v(rows * cols);
      std::vector<uint32_t> steps(rows), ids(rows), repeated(count);
      for (size_t i = 0; i < rows; ++i) ids[i] = static_cast<uint32_t>(i);
      for (size_t i = 0; i < count; ++i) {
        repeated[i] = i % 11 == 0 ? kNoRow : static_cast<uint32_t>(i * 7919 % 2001);
      }
      LazyAdam(*spans, kOptions,
               {table.data(), m.data(), v.data(), steps.data(), ids.data(), g.data(), rows, cols,
                true, 1});
      ScatterAddRows(*spans, table.data(), rows, repeated.data(), g.data(), count, cols);
      std::vector<float> gathered(count * cols);
      GatherRows(*spans, table.data(), repeated.data(), gathered.data(), count, cols);
      table.insert(table.end(), gathered.begin(), gathered.end());
      table.push_back(static_cast<float>(SquaredNorm(*spans, {{g.data(), g.size()}})));
      seen.push_back(table);
    }
    for (size_t i = 1; i < seen.size(); ++i) {
      EXPECT_EQ(std::memcmp(seen[0].data(), seen[i].data(), seen[0].size() * sizeof(float)), 0);
    }
  }
  pool.SetThreads(before);
  test::SetContext("");
}

TEST(unique_rows_are_ascending_and_lead_back) {
  std::vector<uint32_t> ids;
  uint32_t state = 1;
  for (int i = 0; i < 5000; ++i) {
    state = state * 1664525u + 1013904223u;
    // Small ids mostly, and some that need all 32 bits.
    ids.push_back(i % 50 == 0 ? state : state >> 22);
  }
  std::vector<int32_t> inverse(ids.size());
  const std::vector<uint32_t> unique = UniqueRows(ids.data(), ids.size(), inverse.data());
  std::vector<uint32_t> expected = ids;
  std::sort(expected.begin(), expected.end());
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  EXPECT_TRUE(unique == expected);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(unique[static_cast<size_t>(inverse[i])], ids[i]);
  }
  EXPECT_EQ(UniqueRows(nullptr, 0, nullptr).size(), 0u);
}

TEST(groups_are_summed_in_the_order_of_their_rows_and_no_row_is_left_out) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  // The second one is worth more than one thread.
  for (size_t count : {4000, 12000}) {
    const size_t cols = 37;
    std::vector<uint32_t> ids(count);
    for (size_t i = 0; i < count; ++i) {
      ids[i] = i % 7 == 0 ? kNoRow : static_cast<uint32_t>(i * 7919 % 1201);
    }
    const std::vector<float> rows = Wave(count * cols, 4);
    std::vector<float> expected(1201 * cols);
    for (size_t i = 0; i < count; ++i) {
      for (size_t c = 0; ids[i] != kNoRow && c < cols; ++c) {
        expected[ids[i] * cols + c] += rows[i * cols + c];
      }
    }
    for (const char* name : kNames) {
      const Spans* const spans = SpansNamed(name);
      if (spans == nullptr) continue;
      test::SetContext(std::string(name) + " count=" + std::to_string(count));
      for (int threads : {1, 2, 5}) {
        pool.SetThreads(threads);
        const RowGroups groups = GroupRows(ids.data(), count);
        std::vector<float> sums(groups.ids.size() * cols);
        SumGroups(*spans, groups,
                  {{rows.data(), 1500}, {nullptr, 0}, {&rows[1500 * cols], count - 1500}},
                  sums.data(), cols);
        for (size_t g = 0; g < groups.ids.size(); ++g) {
          EXPECT_EQ(
              std::memcmp(&sums[g * cols], &expected[groups.ids[g] * cols], cols * sizeof(float)),
              0);
        }
      }
    }
  }
  pool.SetThreads(before);
  test::SetContext("");
}

}  // namespace prismrec::embedding_rows
