#include "ops/similarity_search/index_file.h"
#include "ops/similarity_search/similarity_search.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "runtime/thread_pool.h"
#include "ops/similarity_search/plan.h"
#include "test_harness.h"

namespace prismrec::similarity_search {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();

struct Problem {
  size_t items = 0, queries = 0, interests = 1, dim = 0, k = 1;
  Metric metric = Metric::kDot;
  Readout readout = Readout::kMax;
  std::vector<float> item_data, bias, query_data, offsets;
  std::vector<uint32_t> exclude_indptr, exclude_indices, filter;
  // [queries, items], or rows of entries where there are row pointers.
  std::vector<float> additive;
  std::vector<uint32_t> additive_indptr, additive_indices;
};

struct Lists {
  std::vector<uint32_t> ids, counts;
  std::vector<float> scores;
  std::vector<uint16_t> interests;
  Touched touched;
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
              const CancelFlag& cancel = CancelFlag(), const Index* existing = nullptr) {
  std::unique_ptr<Index> index;
  if (existing == nullptr) {
    const float* bias = problem.bias.empty() ? nullptr : problem.bias.data();
    const Status status = Index::Build({problem.item_data.data(), problem.items, problem.dim}, bias,
                                       problem.metric, ThreadPool::Global(), CancelFlag(), &index);
    if (!status.ok()) return status;
  }
  Args args;
  args.index = existing == nullptr ? index.get() : existing;
  args.queries = {problem.query_data.data(), problem.queries * problem.interests, problem.dim};
  args.interests_per_query = problem.interests;
  args.offsets = problem.offsets.empty() ? nullptr : problem.offsets.data();
  if (!problem.exclude_indptr.empty()) {
    args.exclude = {problem.exclude_indptr.data(), problem.exclude_indices.data(), nullptr,
                    problem.queries, problem.items};
  }
  args.filter = problem.filter.empty() ? nullptr : problem.filter.data();
  if (!problem.additive_indptr.empty()) {
    args.sparse_additive = {problem.additive_indptr.data(), problem.additive_indices.data(), problem.additive.data(),
                            problem.queries, problem.items};
  } else if (!problem.additive.empty()) {
    args.additive = {problem.additive.data(), problem.queries, problem.items};
  }
  args.k = problem.k;
  args.readout = problem.readout;
  lists->ids.assign(problem.queries * problem.k, 7);
  lists->scores.assign(problem.queries * problem.k, 7.0f);
  lists->interests.assign(problem.queries * problem.k, 7);
  lists->counts.assign(problem.queries, 7);
  const Outputs outputs = {lists->ids.data(), lists->scores.data(), lists->interests.data(),
                           lists->counts.data(), &lists->touched};
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

// What a GPU does not take.
std::vector<const char*> AddingVariants() {
  std::vector<const char*> variants;
  for (const char* variant : RunnableVariants()) {
    if (std::string(variant) != "cuda") variants.push_back(variant);
  }
  return variants;
}

// Some entries a row, of both signs and up to `most` in size, in no order.
void AddSparse(uint32_t seed, size_t entries, float most, bool whole, Problem* problem) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-most, most);
  std::vector<uint32_t> ids(problem->items);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<uint32_t>(i);
  problem->additive.clear();
  problem->additive_indices.clear();
  problem->additive_indptr.assign(1, 0);
  for (size_t q = 0; q < problem->queries; ++q) {
    const size_t count = q % 4 == 3 ? 0 : std::min(problem->items, entries);
    for (size_t n = 0; n < count; ++n) {
      std::swap(ids[n], ids[n + generator() % (ids.size() - n)]);
      problem->additive_indices.push_back(ids[n]);
      problem->additive.push_back(whole ? std::round(uniform(generator)) : uniform(generator));
    }
    problem->additive_indptr.push_back(static_cast<uint32_t>(problem->additive.size()));
  }
}

Problem Dense(const Problem& sparse) {
  Problem dense = sparse;
  dense.additive.assign(sparse.queries * sparse.items, 0.0f);
  for (size_t q = 0; q < sparse.queries; ++q) {
    for (size_t e = sparse.additive_indptr[q]; e < sparse.additive_indptr[q + 1]; ++e) {
      dense.additive[q * sparse.items + sparse.additive_indices[e]] = sparse.additive[e];
    }
  }
  dense.additive_indptr.clear();
  dense.additive_indices.clear();
  return dense;
}

void AddDense(uint32_t seed, float most, bool whole, Problem* problem) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-most, most);
  problem->additive_indptr.clear();
  problem->additive_indices.clear();
  problem->additive.resize(problem->queries * problem->items);
  for (float& x : problem->additive) x = whole ? std::round(uniform(generator)) : uniform(generator);
}

TEST(every_variant_agrees_with_the_reference_bit_for_bit_on_whole_numbers) {
  uint32_t seed = 1;
  for (const size_t items : {1, 3, 7, 8, 9, 15, 16, 17, 66, 130, 513, 1025}) {
    if (test::Reduced() && items > 130) continue;
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

void ExpectAllAgree(const Problem& problem) {
  Lists expected;
  EXPECT_OK(Search(problem, "reference", &expected));
  for (const char* variant : RunnableVariants()) {
    test::SetContext(Context(variant, problem));
    Lists found;
    EXPECT_OK(Search(problem, variant, &found));
    ExpectSame(found, expected);
  }
  test::SetContext("");
}

TEST(many_items_and_many_queries_agree_with_the_reference) {
  for (const auto& [items, queries, k] :
       {std::array<size_t, 3>{40000, 1, 10}, {40000, 3, 1000}, {20000, 2, 20000}, {700, 300, 20}}) {
    if (test::Reduced() && queries > 1) continue;
    ExpectAllAgree(Random(static_cast<uint32_t>(items + k), items, queries, 3, 8, k, true));
  }
}

// Rows that fill several tiles, whole queries that do not fit one, dimensions in several pieces; lists in several runs.
TEST(blocks_of_many_shapes_agree_with_the_reference) {
  for (const auto& [items, queries, interests, dim, k] :
       {std::array<size_t, 5>{2500, 70, 1, 20, 6}, {2100, 2, 70, 8, 6}, {1700, 3, 2, 100, 6}, {1300, 1, 3, 430, 6},
        {9000, 1, 1, 3, 9000}, {6000, 2, 1, 5, 1100}}) {
    ExpectAllAgree(Random(static_cast<uint32_t>(dim), items, queries, interests, dim, k, true));
  }
}

// Lists that several rounds cut again, of few queries and of many.
TEST(long_lists_of_many_items_agree_with_the_reference) {
  for (const size_t queries : {1, 10}) {
    ExpectAllAgree(Random(static_cast<uint32_t>(queries), 18500, queries, 1, 6, 1100, true));
  }
}

// A first look in less than single precision must not cost an item its place: shorter twins, looked at after the others,
// are better by far less than such a look can tell.
TEST(the_best_item_is_found_however_near_the_second_best_is) {
  constexpr size_t kTwins = 1000;
  for (uint32_t seed = 0; seed < 10; ++seed) {
    Problem problem = Random(seed, 2 * kTwins, 1, 1, 32, 1, false);
    problem.offsets.clear();
    problem.exclude_indptr.clear();
    for (size_t i = 0; i < kTwins; ++i) {
      double half = 0;
      for (size_t x = 0; x < 32; ++x) {
        const float value = problem.item_data[i * 32 + x];
        problem.item_data[(kTwins + i) * 32 + x] = 0.5f * value;
        half += 0.5 * value * problem.query_data[x];
      }
      problem.bias[i] = 0;
      problem.bias[kTwins + i] = static_cast<float>(half) + 1e-4f;
    }
    Lists expected;
    EXPECT_OK(Search(problem, "reference", &expected));
    EXPECT_GE(expected.ids[0], kTwins);
    for (const char* variant : RunnableVariants()) {
      test::SetContext(Context(variant, problem));
      Lists found;
      EXPECT_OK(Search(problem, variant, &found));
      EXPECT_EQ(found.ids[0], expected.ids[0]);
    }
  }
  test::SetContext("");
}

// Every item is better than all of those before it, so that no limit leaves anything out.
TEST(lists_are_exact_where_the_best_items_come_last) {
  Problem problem = Random(14, 4000, 3, 1, 4, 5, true);
  for (size_t i = 0; i < problem.items; ++i) {
    for (size_t x = 0; x < problem.dim; ++x) problem.item_data[i * problem.dim + x] = x == i % problem.dim ? 1.0f : 0.0f;
    problem.bias[i] = static_cast<float>(i);
  }
  ExpectAllAgree(problem);
}

TEST(an_index_serves_many_searches_at_once_and_in_turn) {
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Problem problem = Random(15, 1500, 2, 2, 9, 7, true), other = Random(16, 1500, 3, 1, 9, 40, true);
    std::unique_ptr<Index> index;
    EXPECT_OK(Index::Build({problem.item_data.data(), problem.items, problem.dim}, problem.bias.data(), Metric::kDot,
                           ThreadPool::Global(), CancelFlag(), &index));
    Lists expected, between, again;
    EXPECT_OK(Search(problem, "reference", &expected, CancelFlag(), index.get()));
    std::array<Lists, 4> found;
    std::array<Status, 4> status;
    std::vector<std::thread> threads;
    for (size_t t = 0; t < found.size(); ++t) {
      threads.emplace_back([&, t] {
        const OpScope scope;
        status[t] = Search(problem, variant, &found[t], CancelFlag(), index.get());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_OK(Search(other, variant, &between, CancelFlag(), index.get()));
    EXPECT_OK(Search(problem, variant, &again, CancelFlag(), index.get()));
    ExpectSame(again, expected);
    for (size_t t = 0; t < found.size(); ++t) {
      EXPECT_OK(status[t]);
      ExpectSame(found[t], expected);
    }
  }
  test::SetContext("");
}

// PRISMREC_CUDA_MEMORY decides which way the tests of the CUDA variant go, so that one run takes each.
TEST(an_index_stays_on_the_device_unless_it_is_larger_than_the_memory) {
  const char* cap = std::getenv("PRISMREC_CUDA_MEMORY");
  for (const char* variant : RunnableVariants()) {
    if (std::string(variant) != "cuda") continue;
    const Problem problem = Random(21, 8000, 3, 2, 64, 20, true);
    std::unique_ptr<Index> index;
    EXPECT_OK(Index::Build({problem.item_data.data(), problem.items, problem.dim}, problem.bias.data(), Metric::kDot,
                           ThreadPool::Global(), CancelFlag(), &index));
    Lists expected, found;
    EXPECT_OK(Search(problem, "reference", &expected, CancelFlag(), index.get()));
    EXPECT_OK(Search(problem, variant, &found, CancelFlag(), index.get()));
    ExpectSame(found, expected);
    const bool streamed = cap != nullptr && std::strtoull(cap, nullptr, 10) < problem.item_data.size() * sizeof(float);
    EXPECT_EQ(index->device_copy().items == nullptr, streamed);
  }
}

TEST(few_queries_of_a_large_index_agree_with_the_reference) {
  // Large enough for the codes; dimensions beyond the last fill their octet with zeros.
  for (const auto& [items, queries, interests, dim] :
       {std::array<size_t, 4>{30000, 1, 1, 40}, {20011, 2, 4, 57}, {70000, 1, 3, 16}}) {
    if (test::Reduced() && items > 30000) continue;
    Problem problem = Random(static_cast<uint32_t>(items), items, queries, interests, dim, 50, true);
    ExpectAllAgree(problem);
    // Lengths over six orders of magnitude.
    for (size_t i = 0; i < items; ++i) {
      const float factor = std::ldexp(1.0f, -static_cast<int>(i * 7919 % 20));
      for (size_t x = 0; x < dim; ++x) problem.item_data[i * dim + x] *= factor;
    }
    ExpectAllAgree(problem);
  }
}

// The largest code everywhere: sums of codes come as near to overflow as they can.
TEST(codes_at_their_ends_sum_without_overflow) {
  Problem problem = Random(11, 12000, 1, 1, 104, 20, false);
  problem.bias.clear();
  problem.offsets.clear();
  problem.exclude_indptr.clear();
  for (const float sign : {1.0f, -1.0f}) {
    std::fill(problem.query_data.begin(), problem.query_data.end(), sign);
    // The best come last, when only codes are read.
    for (size_t i = 0; i < problem.items; ++i) {
      for (size_t x = 0; x < 104; ++x) {
        problem.item_data[i * 104 + x] = x < i * 105 / problem.items ? sign : -sign;
      }
    }
    ExpectAllAgree(problem);
  }
}

TEST(a_search_says_what_it_left_out) {
  Problem problem = Random(8, 40000, 1, 1, 32, 10, false);
  problem.bias.clear();
  problem.offsets.clear();
  problem.exclude_indptr.clear();
  for (size_t i = 0; i < problem.items; ++i) {
    const float factor = std::exp2(-static_cast<float>(i * 7919 % 40));
    for (size_t x = 0; x < 32; ++x) problem.item_data[i * 32 + x] *= factor;
  }
  Lists expected;
  EXPECT_OK(Search(problem, "reference", &expected));
  EXPECT_EQ(expected.touched.scored, 40000u);
  for (const char* variant : RunnableVariants()) {
    if (std::string(variant) == "reference") continue;
    test::SetContext(variant);
    Lists found;
    EXPECT_OK(Search(problem, variant, &found));
    EXPECT_TRUE(found.ids == expected.ids);
    EXPECT_GT(found.touched.scored, 0u);
    EXPECT_LE(found.touched.scored, found.touched.read);
    EXPECT_LT(found.touched.read, 10000u);
  }
  test::SetContext("");
}

TEST(a_filter_leaves_only_the_items_that_it_allows) {
  for (const size_t one_of : {2, 100, 5000}) {
    for (const size_t dim : {3, 64}) {
      Problem problem = Random(9, 20000, 2, 2, dim, 30, true);
      problem.filter.assign((problem.items + 31) / 32, 0);
      size_t allowed = 0;
      for (size_t i = 0; i < problem.items; i += one_of, ++allowed) problem.filter[i / 32] |= 1u << (i % 32);
      ExpectAllAgree(problem);
      Lists found;
      EXPECT_OK(Search(problem, nullptr, &found));
      for (const uint32_t count : found.counts) EXPECT_LE(count, allowed);
      for (const uint32_t id : found.ids) EXPECT_TRUE(id == kNoItem || id % one_of == 0);
    }
  }
}

TEST(vectors_near_the_ends_of_the_range_agree_with_the_reference) {
  for (const float size : {1e-25f, 1e-19f, 1e15f, 5e17f}) {
    Problem problem = Random(10, 40000, 1, 1, 32, 20, true);
    for (float& x : problem.item_data) x *= size;
    for (float& x : problem.query_data) x *= size;
    problem.bias.clear();
    problem.offsets.clear();
    Lists expected, found;
    EXPECT_OK(Search(problem, "reference", &expected));
    EXPECT_OK(Search(problem, nullptr, &found));
    for (size_t n = 0; n < 20; ++n) {
      EXPECT_NEAR(found.scores[n] / size / size, expected.scores[n] / size / size, 1e-3);
    }
  }
}

TEST(log_sum_exp_scores_are_near_the_reference_and_lists_differ_only_where_scores_are_near) {
  for (const size_t interests : {2, 4, 12}) {
    if (test::Reduced() && interests == 4) continue;
    // With few interests, a single query of an index that has codes.
    Problem problem = interests < 8 ? Random(7, 32000, 1, interests, 33, 50, false)
                                    : Random(7, 3000, 9, interests, 33, 50, false);
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

TEST(there_is_work_for_48_threads_wherever_a_search_takes_long) {
  struct Search {
    size_t items, dim, queries, interests, k;
    bool coded;
  };
  const Search searches[] = {{1000000, 64, 1024, 1, 100, false}, {1000000, 128, 1024, 1, 100, false},
                             {100000, 64, 1024, 1, 20, false},   {100000, 64, 1024, 1, 100, false},
                             {100000, 64, 64, 1, 20, false},     {100000, 64, 256, 4, 50, false},
                             {1000000, 64, 1, 1, 20, true},      {1000000, 128, 1, 1, 20, true}};
  for (const Search& search : searches) {
    std::vector<size_t> first_row;
    for (size_t q = 0; q <= search.queries; ++q) first_row.push_back(q * search.interests);
    for (const size_t row_panel : {4, 6, 8, 14}) {
      const PlanShape shape{first_row, (search.items + 31) / 32, search.dim, search.k, search.coded, row_panel};
      test::SetContext(std::to_string(search.queries) + " queries of " + std::to_string(search.items) +
                       " tiles of " + std::to_string(row_panel));
      EXPECT_GE(WorkOf(MakePlan(shape), shape).Width(), 48.0);
    }
  }
}

TEST(results_do_not_depend_on_the_number_of_threads) {
  Problem interests = Random(11, 30000, 2, 4, 24, 100, false);
  interests.readout = Readout::kLogSumExp;
  const Problem batch = Random(12, 9000, 300, 1, 24, 30, false);
  const Problem coded = Random(13, 50000, 1, 1, 24, 20, false);
  Problem dense = interests, sparse = batch, coded_sparse = coded;
  AddDense(1, 3, false, &dense);
  AddSparse(2, 100, 3, false, &sparse);
  AddSparse(3, 100, 3, false, &coded_sparse);
  const int before = ThreadPool::Global().threads();
  for (const Problem* problem :
       std::initializer_list<const Problem*>{&interests, &batch, &coded, &dense, &sparse, &coded_sparse}) {
    for (const char* variant : RunnableVariants()) {
      if (std::string(variant) == "reference") continue;
      if (std::string(variant) == "cuda" && !problem->additive.empty()) continue;
      test::SetContext(variant);
      Lists one, many;
      ThreadPool::Global().SetThreads(1);
      EXPECT_OK(Search(*problem, variant, &one));
      for (const int threads : {2, 3, 8}) {
        ThreadPool::Global().SetThreads(threads);
        EXPECT_OK(Search(*problem, variant, &many));
        ExpectSame(one, many);
      }
    }
  }
  ThreadPool::Global().SetThreads(before);
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

// The definition, from the arguments alone.
double NaiveScore(const Problem& problem, size_t q, size_t i) {
  double best = kAbsent;
  for (size_t j = 0; j < problem.interests; ++j) {
    const size_t row = q * problem.interests + j;
    double term = problem.offsets.empty() ? 0.0 : problem.offsets[row];
    if (term == kAbsent) continue;
    for (size_t x = 0; x < problem.dim; ++x) {
      term += double{problem.query_data[row * problem.dim + x]} * problem.item_data[i * problem.dim + x];
    }
    best = std::max(best, term);
  }
  return best + (problem.bias.empty() ? 0.0 : problem.bias[i]) + problem.additive[q * problem.items + i];
}

TEST(additive_scores_count_as_the_definition_says) {
  for (const size_t items : {1, 31, 64, 333}) {
    Problem sparse = Random(static_cast<uint32_t>(items), items, 6, 3, 5, 1 + items / 3, true);
    AddSparse(1, 25, 30, true, &sparse);
    const Problem dense = Dense(sparse);
    for (const char* variant : AddingVariants()) {
      test::SetContext(Context(variant, sparse));
      Lists found, few;
      EXPECT_OK(Search(dense, variant, &found));
      EXPECT_OK(Search(sparse, variant, &few));
      ExpectSame(few, found);
      for (size_t q = 0; q < dense.queries; ++q) {
        std::vector<std::pair<double, uint32_t>> all;
        for (size_t i = 0; i < items; ++i) {
          const auto from = dense.exclude_indices.begin() + dense.exclude_indptr[q];
          const auto to = dense.exclude_indices.begin() + dense.exclude_indptr[q + 1];
          const double score = NaiveScore(dense, q, i);
          if (std::find(from, to, i) == to && score != kAbsent) all.push_back({-score, static_cast<uint32_t>(i)});
        }
        std::sort(all.begin(), all.end());
        const size_t most = std::min(all.size(), dense.k);
        EXPECT_EQ(found.counts[q], most);
        for (size_t n = 0; n < found.counts[q]; ++n) {
          EXPECT_EQ(found.ids[q * dense.k + n], all[n].second);
          EXPECT_EQ(static_cast<double>(found.scores[q * dense.k + n]), -all[n].first);
        }
      }
    }
  }
  test::SetContext("");
}

// Blocks of many queries and of one, several rounds, and the codes; with and without bias; small beside the products,
// of their size, and far above; lengths of one size and of many.
TEST(additive_scores_of_many_shapes_agree_with_the_reference) {
  for (const auto& [items, queries, interests, dim, k] :
       {std::array<size_t, 5>{700, 300, 1, 8, 20}, {9000, 70, 4, 12, 30}, {3001, 2, 70, 8, 6}, {20011, 2, 4, 57, 50},
        {33000, 1, 1, 40, 9}, {2000, 3, 2, 9, 2000}}) {
    if (test::Reduced() && (items > 30000 || queries == 70)) continue;
    for (const float most : {2.0f, 40.0f, 5000.0f}) {
      Problem problem = Random(static_cast<uint32_t>(items + k), items, queries, interests, dim, k, true);
      if (most == 40) problem.bias.clear();
      if (most < 100) {
        for (size_t i = 0; i < items; ++i) {
          const float factor = std::ldexp(1.0f, -static_cast<int>(i * 7919 % 16));
          for (size_t x = 0; x < dim; ++x) problem.item_data[i * dim + x] *= factor;
        }
      }
      if (k == 30) problem.filter.assign((items + 31) / 32, 0x7f3ffff5u);
      for (const bool sparse : {false, true}) {
        if (sparse) {
          AddSparse(2, 200, most, true, &problem);
        } else {
          AddDense(2, most, true, &problem);
        }
        Lists expected;
        EXPECT_OK(Search(problem, "reference", &expected));
        for (const char* variant : AddingVariants()) {
          test::SetContext(Context(variant, problem) + (sparse ? " sparse " : " dense ") + std::to_string(most));
          Lists found;
          EXPECT_OK(Search(problem, variant, &found));
          ExpectSame(found, expected);
        }
      }
    }
  }
  test::SetContext("");
}

// What a limit leaves out is not on the list: the best k are the first k of all, to the bit, also where a large additive
// score has rounded the products away.
TEST(additive_scores_leave_nothing_out_that_a_search_for_all_would_put_first) {
  for (const float most : {0.5f, 20.0f, 3e5f}) {
    for (const Readout readout : {Readout::kMax, Readout::kLogSumExp}) {
      for (const size_t queries : {1, 20}) {
        if (test::Reduced() && queries == 20) continue;
        Problem problem = Random(5, 32800, queries, 4, 32, 60, false);
        problem.readout = readout;
        AddSparse(3, 3000, most, false, &problem);
        const Problem dense = Dense(problem);
        Problem all = dense;
        all.k = all.items;
        for (const char* variant : AddingVariants()) {
          if (std::string(variant) == "reference") continue;
          test::SetContext(Context(variant, problem) + " most=" + std::to_string(most));
          Lists found, few, every;
          EXPECT_OK(Search(dense, variant, &found));
          EXPECT_OK(Search(problem, variant, &few));
          EXPECT_OK(Search(all, variant, &every));
          ExpectSame(few, found);
          for (size_t q = 0; q < queries; ++q) {
            EXPECT_TRUE(std::equal(found.ids.begin() + q * 60, found.ids.begin() + q * 60 + found.counts[q],
                                   every.ids.begin() + q * all.k));
            EXPECT_TRUE(std::equal(found.scores.begin() + q * 60, found.scores.begin() + q * 60 + found.counts[q],
                                   every.scores.begin() + q * all.k));
          }
        }
      }
    }
  }
  test::SetContext("");
}

// Products that what is added cancels: roundings of what is large decide between scores that are small and nearly equal.
TEST(additive_scores_that_cancel_the_products_leave_nothing_out_either) {
  for (const auto& [items, queries, dim] : {std::array<size_t, 3>{3000, 20, 8}, {33000, 1, 32}}) {
    Problem problem = Random(7, items, queries, 1, dim, 60, false);
    problem.bias.clear();
    problem.exclude_indptr.clear();
    problem.additive.assign(queries * items, 0.0f);
    for (float& offset : problem.offsets) offset = 0.7f;
    for (float& x : problem.item_data) x = 30 * (1 + std::fabs(x));
    for (float& x : problem.query_data) x = 1 + std::fabs(x);
    for (size_t q = 0; q < queries; ++q) {
      for (size_t i = 0; i < items; ++i) {
        problem.additive[q * items + i] = static_cast<float>(-NaiveScore(problem, q, i));
      }
    }
    Problem all = problem;
    all.k = items;
    for (const char* variant : AddingVariants()) {
      if (std::string(variant) == "reference") continue;
      test::SetContext(Context(variant, problem));
      Lists found, every;
      EXPECT_OK(Search(problem, variant, &found));
      EXPECT_OK(Search(all, variant, &every));
      for (size_t q = 0; q < queries; ++q) {
        EXPECT_TRUE(std::equal(found.ids.begin() + q * 60, found.ids.begin() + (q + 1) * 60,
                               every.ids.begin() + q * items));
      }
    }
  }
  test::SetContext("");
}

TEST(adding_nothing_changes_no_bit) {
  for (const size_t queries : {1, 40}) {
    Problem problem = Random(6, 33000, queries, 3, 33, 25, false);
    problem.readout = Readout::kLogSumExp;
    for (const char* variant : AddingVariants()) {
      test::SetContext(Context(variant, problem));
      Problem nothing = problem;
      nothing.additive.assign(queries * problem.items, 0.0f);
      Lists expected, found;
      EXPECT_OK(Search(problem, variant, &expected));
      EXPECT_OK(Search(nothing, variant, &found));
      ExpectSame(found, expected);
      nothing.additive.clear();
      nothing.additive_indptr.assign(queries + 1, 0);
      nothing.additive_indices.clear();
      EXPECT_OK(Search(nothing, variant, &found));
      ExpectSame(found, expected);
    }
  }
  test::SetContext("");
}

TEST(a_sparse_additive_score_costs_little_more_than_its_items) {
  Problem problem = Random(9, 40000, 1, 1, 32, 10, false);
  problem.bias.clear();
  problem.offsets.clear();
  AddSparse(4, 200, 1, false, &problem);
  for (const char* variant : AddingVariants()) {
    if (std::string(variant) == "reference") continue;
    test::SetContext(variant);
    Lists found;
    EXPECT_OK(Search(problem, variant, &found));
    EXPECT_LT(found.touched.scored, 10000u);
  }
  test::SetContext("");
}

TEST(additive_scores_that_cannot_be_added_are_typed_errors) {
  Problem sparse = Random(5, 40, 3, 2, 3, 4, true);
  sparse.offsets.clear();
  AddSparse(5, 7, 9, true, &sparse);
  const Problem dense = Dense(sparse);
  Lists lists;
  const auto code = [&](const Problem& problem) { return Search(problem, nullptr, &lists).code; };
  EXPECT_TRUE(code(sparse) == StatusCode::kOk);
  EXPECT_TRUE(code(dense) == StatusCode::kOk);
  for (const float wrong : {NAN, INFINITY, -INFINITY, 3.2e38f, -3.2e38f}) {
    Problem bad = sparse;
    bad.additive[8] = wrong;
    EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
    bad = dense;
    bad.additive[81] = wrong;
    EXPECT_TRUE(code(bad) == StatusCode::kNonFinite);
  }
  Problem bad = sparse;
  bad.additive_indices[12] = bad.additive_indices[8];
  const Status repeated = Search(bad, nullptr, &lists);
  EXPECT_TRUE(repeated.code == StatusCode::kInvalidArgument);
  EXPECT_EQ(repeated.received, "column " + std::to_string(bad.additive_indices[8]) + " twice");
  bad = sparse;
  bad.additive_indices[3] = 40;
  EXPECT_TRUE(code(bad) == StatusCode::kInvalidArgument);
  bad = sparse;
  bad.additive_indptr[1] = 9;
  EXPECT_TRUE(code(bad) == StatusCode::kInvalidArgument);

  std::unique_ptr<Index> index;
  EXPECT_OK(Index::Build({dense.item_data.data(), 40, 3}, nullptr, Metric::kDot, ThreadPool::Global(), CancelFlag(),
                         &index));
  Args args;
  args.index = index.get();
  args.queries = {dense.query_data.data(), 6, 3};
  args.interests_per_query = 2;
  args.k = 1;
  const auto run = [&] { return Run(nullptr, args, {}, ThreadPool::Global(), CancelFlag()).code; };
  args.additive = {dense.additive.data(), 3, 39};
  EXPECT_TRUE(run() == StatusCode::kShapeMismatch);
  args.additive = {dense.additive.data(), 2, 40};
  EXPECT_TRUE(run() == StatusCode::kShapeMismatch);
  args.additive = {dense.additive.data(), 3, 40};
  args.sparse_additive = {sparse.additive_indptr.data(), sparse.additive_indices.data(), sparse.additive.data(), 3, 40};
  EXPECT_TRUE(run() == StatusCode::kInvalidArgument);
  args.additive = {};
  args.sparse_additive.values = nullptr;
  EXPECT_TRUE(run() == StatusCode::kInvalidArgument);
  args.sparse_additive.rows = 2;
  EXPECT_TRUE(run() == StatusCode::kShapeMismatch);
  for (const char* variant : RunnableVariants()) {
    if (std::string(variant) != "cuda") continue;
    EXPECT_TRUE(Search(dense, variant, &lists).code == StatusCode::kInvalidArgument);
    EXPECT_TRUE(Search(sparse, variant, &lists).code == StatusCode::kInvalidArgument);
  }
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

Status Open(const std::string& path, bool mapped, std::unique_ptr<Index>* index) {
  return Index::Open(path, mapped, ThreadPool::Global(), CancelFlag(), index);
}

// This program runs several times at once, in one folder, for each way to search.
std::string FileOfThisProcess(const std::string& what) {
  return "similarity_search_" + what + "_" + std::to_string(getpid()) + ".index";
}

TEST(a_saved_index_opens_to_the_same_lists_and_a_damaged_one_is_refused) {
  const std::string path = FileOfThisProcess("saved");
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  };
  for (const size_t items : {50, 70000}) {
    const Problem problem = Random(12, items, 1, 2, 16, 20, true);
    std::unique_ptr<Index> index, opened;
    EXPECT_OK(Index::Build({problem.item_data.data(), items, 16}, problem.bias.data(), Metric::kDot,
                           ThreadPool::Global(), CancelFlag(), &index));
    EXPECT_OK(index->Save(path, ThreadPool::Global(), CancelFlag()));
    std::ostringstream saved;
    saved << std::ifstream(path, std::ios::binary).rdbuf();
    const std::string image = saved.str();
    EXPECT_EQ(index->bytes(), image.size());
    Lists a, b;
    EXPECT_OK(Search(problem, nullptr, &a, CancelFlag(), index.get()));
    for (const bool mapped : {false, true}) {
      EXPECT_OK(Open(path, mapped, &opened));
      EXPECT_EQ(opened->bytes(), image.size());
      EXPECT_EQ(opened->largest_bias(), index->largest_bias());
      EXPECT_OK(Search(problem, nullptr, &b, CancelFlag(), opened.get()));
      ExpectSame(a, b);
    }

    const auto code = [&](std::string bytes) {
      write(bytes);
      const StatusCode read = Open(path, false, &opened).code;
      EXPECT_TRUE(Open(path, true, &opened).code == read);
      return read;
    };
    const auto with = [&](size_t at, char byte) {
      std::string bytes = image;
      bytes[at] = byte;
      return bytes;
    };
    EXPECT_TRUE(code("") == StatusCode::kDataFormat);
    EXPECT_TRUE(code("a file of some other kind") == StatusCode::kDataFormat);
    EXPECT_TRUE(code(image.substr(0, image.size() - 1)) == StatusCode::kDataFormat);
    EXPECT_TRUE(code(image + "x") == StatusCode::kDataFormat);
    EXPECT_TRUE(code(with(0, 'Q')) == StatusCode::kDataFormat);
    EXPECT_TRUE(code(with(8, 9)) == StatusCode::kDataFormat);
    EXPECT_TRUE(code(with(16, 3)) == StatusCode::kDataFormat);
    EXPECT_TRUE(code(with(128 + 3, 127)) == StatusCode::kDataFormat);
  }
  std::remove(path.c_str());
  std::unique_ptr<Index> none;
  EXPECT_TRUE(Open(path, false, &none).code == StatusCode::kFileNotFound);
  EXPECT_TRUE(Open(".", false, &none).code == StatusCode::kDataFormat);
}

TEST(an_index_that_is_made_up_is_refused_whatever_its_checksums) {
  const std::string path = FileOfThisProcess("forged");
  constexpr size_t kItems = 70000, kDim = 16, kPlaces = (kItems + kPanelItems - 1) / kPanelItems * kPanelItems;
  constexpr size_t kPanels = kPlaces / kPanelItems;
  const Problem problem = Random(12, kItems, 1, 2, kDim, 20, true);
  std::unique_ptr<Index> index, opened;
  EXPECT_OK(Index::Build({problem.item_data.data(), kItems, kDim}, problem.bias.data(), Metric::kDot,
                         ThreadPool::Global(), CancelFlag(), &index));
  EXPECT_OK(index->Save(path, ThreadPool::Global(), CancelFlag()));
  std::ostringstream saved;
  saved << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string image = saved.str();
  const auto aligned = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  const size_t ids = aligned(sizeof(IndexHeader));
  const size_t norms = ids + aligned(kPlaces * 4);
  const size_t items = norms + aligned(kPanels * 4);
  const size_t bias = items + aligned((kPlaces * kDim + kPanelItems) * 4);
  const size_t tops = bias + aligned((kPlaces + kPanelItems) * 4);
  const size_t scales = tops + aligned(kPanels * 4);
  const size_t errors = scales + aligned(kPlaces * 4);
  const auto forged = [&](auto change) {
    std::string bytes = image;
    IndexHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    change(&header, bytes.data());
    header.content = ContentChecksum(bytes.data() + ids, bytes.size() - ids, ThreadPool::Global(), CancelFlag());
    header.checksum = HeaderChecksum(header);
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return Open(path, false, &opened).code;
  };
  const auto number = [](size_t at, auto value) {
    return [at, value](IndexHeader*, char* bytes) { std::memcpy(bytes + at, &value, sizeof(value)); };
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(forged([](IndexHeader*, char*) {}) == StatusCode::kOk);
  EXPECT_TRUE(forged(number(ids, uint32_t{kItems})) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([&](IndexHeader*, char* bytes) { std::memcpy(bytes + ids, bytes + ids + 4, 4); }) ==
              StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(norms, nan)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(norms + 4, 1e30f)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(items + 400, infinite)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(bias + 8, nan)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(bias + 8, 1e30f)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(tops + 8, -1e30f)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(scales + 8, -1.0f)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged(number(errors + 4, nan)) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([](IndexHeader* header, char*) { header->metric = 2; }) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([](IndexHeader* header, char*) { header->coded = 0; }) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([](IndexHeader* header, char*) { header->rows = kNoItem - 1; }) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([](IndexHeader* header, char*) { header->cols = uint64_t{1} << 62; }) == StatusCode::kDataFormat);
  EXPECT_TRUE(forged([](IndexHeader* header, char*) { header->largest_bias = -1; }) == StatusCode::kDataFormat);
  std::remove(path.c_str());
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
