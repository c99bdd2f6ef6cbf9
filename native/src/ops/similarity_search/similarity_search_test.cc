#include "ops/similarity_search/similarity_search.h"

#include <array>
#include <cmath>
#include <random>
#include <string>

#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::similarity_search {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();

struct Problem {
  size_t items = 0, queries = 0, interests = 1, dim = 0, k = 1;
  Metric metric = Metric::kDot;
  Readout readout = Readout::kMax;
  std::vector<float> item_data, bias, query_data, offsets;
  std::vector<uint32_t> exclude_indptr, exclude_indices;
};

struct Lists {
  std::vector<uint32_t> ids, counts;
  std::vector<float> scores;
  std::vector<uint16_t> interests;
};

// Whole numbers make inner products exact, so that variants must agree bit for bit.
Problem Random(uint32_t seed, size_t items, size_t queries, size_t interests, size_t dim, size_t k,
               bool whole) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> integer(-4, 4);
  std::normal_distribution<float> normal;
  const auto draw = [&] { return whole ? static_cast<float>(integer(generator)) : normal(generator); };
  Problem problem;
  problem.items = items;
  problem.queries = queries;
  problem.interests = interests;
  problem.dim = dim;
  problem.k = k;
  for (size_t i = 0; i < items * dim; ++i) problem.item_data.push_back(draw());
  for (size_t i = 0; i < items; ++i) problem.bias.push_back(draw());
  for (size_t i = 0; i < queries * interests * dim; ++i) problem.query_data.push_back(draw());
  for (size_t i = 0; i < queries * interests; ++i) {
    problem.offsets.push_back(generator() % 5 == 0 ? kAbsent : draw());
  }
  problem.exclude_indptr.push_back(0);
  for (size_t q = 0; q < queries; ++q) {
    for (size_t n = generator() % 12; n > 0; --n) {
      problem.exclude_indices.push_back(static_cast<uint32_t>(generator() % items));
    }
    problem.exclude_indptr.push_back(static_cast<uint32_t>(problem.exclude_indices.size()));
  }
  return problem;
}

Status Search(const Problem& problem, const char* variant, Lists* lists,
              const CancelFlag& cancel = CancelFlag()) {
  std::unique_ptr<Index> index;
  const float* bias = problem.bias.empty() ? nullptr : problem.bias.data();
  Status status = Index::Build({problem.item_data.data(), problem.items, problem.dim}, bias,
                               problem.metric, ThreadPool::Global(), CancelFlag(), &index);
  if (!status.ok()) return status;
  Args args;
  args.index = index.get();
  args.queries = {problem.query_data.data(), problem.queries * problem.interests, problem.dim};
  args.interests_per_query = problem.interests;
  args.offsets = problem.offsets.empty() ? nullptr : problem.offsets.data();
  if (!problem.exclude_indptr.empty()) {
    args.exclude = {problem.exclude_indptr.data(), problem.exclude_indices.data(), nullptr,
                    problem.queries, problem.items};
  }
  args.k = problem.k;
  args.readout = problem.readout;
  lists->ids.assign(problem.queries * problem.k, 7);
  lists->scores.assign(problem.queries * problem.k, 7.0f);
  lists->interests.assign(problem.queries * problem.k, 7);
  lists->counts.assign(problem.queries, 7);
  const Outputs outputs = {lists->ids.data(), lists->scores.data(), lists->interests.data(),
                           lists->counts.data()};
  return Run(variant, args, outputs, ThreadPool::Global(), cancel);
}

void ExpectSame(const Lists& a, const Lists& b) {
  EXPECT_TRUE(a.counts == b.counts);
  EXPECT_TRUE(a.ids == b.ids);
  EXPECT_TRUE(a.scores == b.scores);
  EXPECT_TRUE(a.interests == b.interests);
}

std::string Context(const char* variant, const Problem& problem) {
  return std::string(variant) + " N=" + std::to_string(problem.items) + " Q=" +
         std::to_string(problem.queries) + " J=" + std::to_string(problem.interests) + " d=" +
         std::to_string(problem.dim) + " k=" + std::to_string(problem.k);
}

TEST(every_variant_agrees_with_the_reference_bit_for_bit_on_whole_numbers) {
  uint32_t seed = 1;
  for (const size_t items : {1, 3, 7, 8, 9, 15, 16, 17, 66, 130, 513, 1025}) {
    for (const size_t interests : {1, 2, 5}) {
      for (const size_t dim : {1, 3, 8, 17, 64}) {
        const size_t k = 1 + seed % items;
        const Problem problem = Random(seed++, items, 5, interests, dim, k, true);
        Lists expected;
        EXPECT_OK(Search(problem, "reference", &expected));
        for (const char* variant : RunnableVariants()) {
          test::SetContext(Context(variant, problem));
          Lists found;
          EXPECT_OK(Search(problem, variant, &found));
          ExpectSame(found, expected);
        }
      }
    }
  }
  test::SetContext("");
}

TEST(many_items_and_many_queries_agree_with_the_reference) {
  for (const auto& [items, queries, k] :
       {std::array<size_t, 3>{40000, 1, 10}, {40000, 3, 1000}, {20000, 2, 20000}, {700, 300, 20}}) {
    const Problem problem = Random(static_cast<uint32_t>(items + k), items, queries, 3, 8, k, true);
    Lists expected;
    EXPECT_OK(Search(problem, "reference", &expected));
    for (const char* variant : RunnableVariants()) {
      test::SetContext(Context(variant, problem));
      Lists found;
      EXPECT_OK(Search(problem, variant, &found));
      ExpectSame(found, expected);
    }
  }
  test::SetContext("");
}

TEST(log_sum_exp_scores_are_near_the_reference_and_lists_differ_only_where_scores_are_near) {
  for (const size_t interests : {2, 4, 12}) {
    Problem problem = Random(static_cast<uint32_t>(interests), 3000, 9, interests, 33, 50, false);
    problem.readout = Readout::kLogSumExp;
    Lists expected;
    EXPECT_OK(Search(problem, "reference", &expected));
    Problem all = problem;
    all.k = all.items;
    Lists scores;
    EXPECT_OK(Search(all, "reference", &scores));
    for (const char* variant : RunnableVariants()) {
      test::SetContext(Context(variant, problem));
      Lists found;
      EXPECT_OK(Search(problem, variant, &found));
      EXPECT_TRUE(found.counts == expected.counts);
      for (size_t n = 0; n < found.ids.size(); ++n) {
        if (found.ids[n] == kNoItem) continue;
        const float tolerance = 2e-5f * std::max(1.0f, std::fabs(expected.scores[n]));
        EXPECT_NEAR(found.scores[n], expected.scores[n], tolerance);
        if (found.ids[n] == expected.ids[n]) continue;
        // The item's own score is that of the place it was put at.
        const size_t q = n / problem.k;
        for (size_t m = q * all.k; m < (q + 1) * all.k; ++m) {
          if (scores.ids[m] == found.ids[n]) EXPECT_NEAR(scores.scores[m], expected.scores[n], tolerance);
        }
      }
    }
  }
  test::SetContext("");
}

TEST(log_sum_exp_keeps_every_item_that_its_bound_could_not_rule_out) {
  // Equal terms are the bound's worst case: log-sum-exp is then exactly the largest term plus log J.
  Problem problem = Random(3, 5000, 4, 1, 16, 25, false);
  Problem same = problem;
  same.interests = 8;
  same.offsets.assign(problem.queries * 8, 0.0f);
  problem.offsets.assign(problem.queries, std::log(8.0f));
  same.query_data.clear();
  for (size_t q = 0; q < problem.queries; ++q) {
    for (size_t j = 0; j < 8; ++j) {
      same.query_data.insert(same.query_data.end(), problem.query_data.begin() + q * 16,
                             problem.query_data.begin() + (q + 1) * 16);
    }
  }
  same.readout = Readout::kLogSumExp;
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    Lists expected, found;
    EXPECT_OK(Search(problem, variant, &expected));
    EXPECT_OK(Search(same, variant, &found));
    EXPECT_TRUE(found.ids == expected.ids);
    for (const uint16_t interest : found.interests) EXPECT_EQ(interest, 0);
  }
  test::SetContext("");
}

TEST(results_do_not_depend_on_the_number_of_threads) {
  Problem problem = Random(11, 30000, 2, 4, 24, 100, false);
  problem.readout = Readout::kLogSumExp;
  const int before = ThreadPool::Global().threads();
  Lists one, many;
  ThreadPool::Global().SetThreads(1);
  EXPECT_OK(Search(problem, nullptr, &one));
  ThreadPool::Global().SetThreads(4);
  EXPECT_OK(Search(problem, nullptr, &many));
  ThreadPool::Global().SetThreads(before);
  ExpectSame(one, many);
}

TEST(cosine_ignores_lengths_and_zero_vectors_score_zero) {
  Problem problem;
  problem.items = 4;
  problem.queries = 1;
  problem.dim = 2;
  problem.k = 4;
  problem.metric = Metric::kCosine;
  problem.item_data = {0, 0, 30, 40, -5, 0, 0.25f, 0};
  problem.query_data = {8, 0};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    Lists found;
    EXPECT_OK(Search(problem, variant, &found));
    EXPECT_TRUE((found.ids == std::vector<uint32_t>{3, 1, 0, 2}));
    EXPECT_NEAR(found.scores[1], 0.6, 1e-6);
    EXPECT_EQ(found.scores[2], 0.0f);
  }
  test::SetContext("");
}

TEST(an_absent_interest_is_not_read_and_a_query_of_absent_ones_gets_an_empty_list) {
  Problem problem;
  problem.items = 3;
  problem.queries = 2;
  problem.interests = 2;
  problem.dim = 1;
  problem.k = 2;
  problem.item_data = {1, 2, 3};
  problem.query_data = {NAN, -1, NAN, INFINITY};
  problem.offsets = {kAbsent, 0, kAbsent, kAbsent};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    Lists found;
    EXPECT_OK(Search(problem, variant, &found));
    EXPECT_TRUE((found.ids == std::vector<uint32_t>{0, 1, kNoItem, kNoItem}));
    EXPECT_TRUE((found.counts == std::vector<uint32_t>{2, 0}));
    EXPECT_EQ(found.interests[0], 1);
    EXPECT_EQ(found.scores[2], kAbsent);
  }
  test::SetContext("");
}

TEST(bad_arguments_are_typed_errors) {
  const Problem good = Random(5, 6, 2, 2, 3, 4, true);
  Lists lists;
  const auto code = [&](const Problem& problem) { return Search(problem, nullptr, &lists).code; };
  EXPECT_TRUE(code(good) == StatusCode::kOk);
  Problem bad = good;
  bad.k = 7;
  EXPECT_TRUE(code(bad) == StatusCode::kInvalidArgument);
  bad = good;
  bad.item_data[4] = NAN;
  EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  bad = good;
  bad.bias[5] = INFINITY;
  EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  bad = good;
  bad.offsets = {0, 0, INFINITY, 0};
  EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  bad = good;
  bad.offsets = {0, 0, 0, 0};
  bad.query_data[11] = NAN;
  EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  bad = good;
  bad.offsets = {0, 0, 0, 0};
  bad.item_data[0] = bad.query_data[0] = 1e20f;
  EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  bad = good;
  bad.exclude_indptr = {0, 0, 1};
  bad.exclude_indices = {6};
  EXPECT_FALSE(Search(bad, nullptr, &lists).ok());
  EXPECT_TRUE(Search(good, "abacus", &lists).code == StatusCode::kDeviceUnavailable);
}

TEST(a_cancelled_search_says_so) {
  const int32_t slot = 1;
  const Problem problem = Random(6, 5000, 3, 2, 8, 5, true);
  Lists lists;
  for (const char* variant : RunnableVariants()) {
    EXPECT_TRUE(Search(problem, variant, &lists, CancelFlag(&slot)).code == StatusCode::kCancelled);
  }
}

}  // namespace
}  // namespace prismrec::similarity_search
