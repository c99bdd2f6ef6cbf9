#include "ops/max_cover/max_cover.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::max_cover {
namespace {

struct Instance {
  std::vector<uint32_t> indptr = {0}, indices;
  std::vector<float> weights, costs;
  size_t elements = 0;

  Args ToArgs() const {
    Args args;
    args.sets = {indptr.data(), indices.data(), nullptr, indptr.size() - 1, elements};
    args.weights = weights.empty() ? nullptr : weights.data();
    args.costs = costs.empty() ? nullptr : costs.data();
    args.max_sets = indptr.size() - 1;
    args.max_cost = std::numeric_limits<double>::infinity();
    return args;
  }
};

Instance Make(const std::vector<std::vector<uint32_t>>& sets, size_t elements) {
  Instance instance;
  instance.elements = elements;
  for (const auto& set : sets) {
    instance.indices.insert(instance.indices.end(), set.begin(), set.end());
    instance.indptr.push_back(static_cast<uint32_t>(instance.indices.size()));
  }
  return instance;
}

// Every other instance has few distinct weights, so that ties are common.
Instance Random(uint32_t seed, size_t sets, size_t elements) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform;
  std::vector<std::vector<uint32_t>> members(1 + generator() % sets);
  const size_t used = 1 + generator() % elements;
  for (auto& set : members) {
    const float density = uniform(generator);
    for (uint32_t e = 0; e < used; ++e) {
      if (uniform(generator) < density) set.push_back(e);
    }
  }
  Instance instance = Make(members, used);
  for (size_t e = 0; e < used; ++e) {
    instance.weights.push_back(seed % 2 == 0 ? static_cast<float>(generator() % 3)
                                             : 3 * uniform(generator));
  }
  for (size_t s = 0; s < members.size(); ++s) {
    instance.costs.push_back(static_cast<float>(1 + generator() % 7));
  }
  return instance;
}

double Optimum(const Args& args) {
  const size_t sets = args.sets.rows;
  double best = 0;
  for (uint32_t mask = 0; mask < (1u << sets); ++mask) {
    std::vector<uint32_t> count(args.sets.cols, 0);
    size_t size = 0;
    double cost = 0, value = 0;
    for (size_t s = 0; s < sets; ++s) {
      if ((mask >> s & 1) == 0) continue;
      ++size;
      if (args.costs != nullptr) cost += args.costs[s];
      for (size_t e = args.sets.indptr[s]; e < args.sets.indptr[s + 1]; ++e) {
        ++count[args.sets.indices[e]];
      }
    }
    if (size > args.max_sets || cost > args.max_cost) continue;
    for (size_t e = 0; e < count.size(); ++e) {
      const double units =
          args.weights == nullptr ? 65536.0 : std::floor(args.weights[e] * 65536.0 + 0.5);
      value += units / 65536.0 * std::min(count[e], args.repeats);
    }
    best = std::max(best, value);
  }
  return best;
}

Outputs Solve(const Args& args, const char* variant) {
  Outputs outputs;
  EXPECT_OK(Run(variant, args, &outputs, CancelFlag()));
  return outputs;
}

void ExpectSame(const Outputs& a, const Outputs& b) {
  EXPECT_TRUE(a.selected == b.selected);
  EXPECT_TRUE(a.gains == b.gains);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(a.attainable, b.attainable);
  EXPECT_EQ(a.upper_bound, b.upper_bound);
  EXPECT_EQ(a.cost, b.cost);
  EXPECT_EQ(a.by_ratio, b.by_ratio);
}

TEST(every_variant_and_solver_picks_what_naive_greedy_picks_on_200_random_instances) {
  for (uint32_t seed = 0; seed < 200; seed += test::Reduced() ? 5 : 1) {
    const Instance instance = Random(seed, 30, 40);
    Args args = instance.ToArgs();
    args.repeats = 1 + seed % 3;
    args.max_sets = 1 + seed % 17;
    args.min_gain = seed % 5 == 0 ? 0.75 : 0.0;
    if (seed % 4 != 3) args.max_cost = 2 + seed % 40;
    if (seed % 2 == 1) {
      args.costs = nullptr;
      args.max_cost = std::numeric_limits<double>::infinity();
    }
    const Outputs naive = Solve(args, "reference");
    for (const char* variant : RunnableVariants()) {
      for (const Solver solver : {Solver::kExact, Solver::kLazy}) {
        test::SetContext(std::string(variant) + " seed=" + std::to_string(seed));
        args.solver = solver;
        ExpectSame(Solve(args, variant), naive);
      }
    }
  }
  test::SetContext("");
}

TEST(stochastic_picks_follow_the_seed_in_every_variant) {
  for (uint32_t seed = 0; seed < 50; seed += test::Reduced() ? 5 : 1) {
    const Instance instance = Random(seed, 200, 150);
    Args args = instance.ToArgs();
    args.solver = Solver::kStochastic;
    args.seed = seed;
    args.max_sets = 10;
    args.max_cost = 20;
    const Outputs expected = Solve(args, "reference");
    EXPECT_LE(expected.cost, 20);
    for (const char* variant : RunnableVariants()) {
      test::SetContext(std::string(variant) + " seed=" + std::to_string(seed));
      ExpectSame(Solve(args, variant), expected);
    }
  }
  test::SetContext("");
}

TEST(greedy_reaches_its_share_of_the_optimum_and_the_bound_holds) {
  for (uint32_t seed = 0; seed < 120; seed += test::Reduced() ? 5 : 1) {
    const Instance instance = Random(seed, 9, 14);
    Args args = instance.ToArgs();
    args.repeats = 1 + seed % 2;
    double share = 1 - std::exp(-1.0);
    if (seed % 2 == 0) {
      args.costs = nullptr;
      args.max_sets = 1 + seed % 4;
    } else {
      args.max_cost = 2 + seed % 15;
      share /= 2;
    }
    const double optimum = Optimum(args);
    for (const char* variant : RunnableVariants()) {
      test::SetContext(std::string(variant) + " seed=" + std::to_string(seed));
      const Outputs found = Solve(args, variant);
      EXPECT_GE(found.value, share * optimum);
      EXPECT_GE(found.upper_bound, optimum);
      EXPECT_LE(found.value, optimum);
    }
  }
  test::SetContext("");
}

TEST(a_large_instance_agrees_beyond_the_limit_of_bounds_at_every_prefix) {
  std::mt19937 generator(1);
  std::vector<std::vector<uint32_t>> sets(3000);
  for (auto& set : sets) {
    std::vector<uint8_t> in(2000, 0);
    for (int n = 0; n < 30; ++n) in[generator() % (1 + generator() % 2000)] = 1;
    for (uint32_t e = 0; e < in.size(); ++e) {
      if (in[e] != 0) set.push_back(e);
    }
  }
  const Instance instance = Make(sets, 2000);
  Args args = instance.ToArgs();
  args.max_sets = 300;
  const Outputs naive = Solve(args, "reference");
  EXPECT_GT(naive.selected.size(), 100u);
  EXPECT_LE(naive.value, naive.upper_bound);
  for (const Solver solver : {Solver::kExact, Solver::kLazy}) {
    args.solver = solver;
    ExpectSame(Solve(args, "scalar"), naive);
  }
}

TEST(an_element_of_all_sets_and_costs_agree_beyond_the_limit_of_bounds_at_every_prefix) {
  std::mt19937 generator(5);
  std::vector<std::vector<uint32_t>> sets(2600);
  for (auto& set : sets) {
    set = {0};
    for (uint32_t e = 1 + generator() % 120; e < 600; e += 1 + generator() % 120) set.push_back(e);
  }
  Instance instance = Make(sets, 600);
  for (size_t s = 0; s < sets.size(); ++s) instance.costs.push_back(0.3f * static_cast<float>(1 + generator() % 7));
  for (const uint32_t repeats : {1u, 2u}) {
    Args args = instance.ToArgs();
    args.repeats = repeats;
    args.max_sets = repeats == 1 ? 2600 : 60;
    args.max_cost = 21.7;
    for (const Solver solver : {Solver::kExact, Solver::kLazy, Solver::kStochastic}) {
      args.solver = solver;
      const Outputs naive = Solve(args, "reference");
      EXPECT_GT(naive.selected.size(), 10u);
      for (const char* variant : RunnableVariants()) {
        test::SetContext(variant);
        ExpectSame(Solve(args, variant), naive);
      }
    }
  }
  test::SetContext("");
}

// Sets of `mean` elements on average, the lower elements the more popular.
Instance Skewed(uint32_t seed, size_t sets, size_t elements, size_t mean, bool descending = false) {
  std::mt19937 generator(seed);
  std::vector<std::vector<uint32_t>> members(sets);
  std::vector<uint8_t> in(elements);
  for (auto& set : members) {
    std::fill(in.begin(), in.end(), uint8_t{0});
    const size_t wanted = generator() % (2 * mean);
    for (size_t n = 0; n < wanted; ++n) in[generator() % (1 + generator() % elements)] = 1;
    for (uint32_t e = 0; e < elements; ++e) {
      if (in[e] != 0) set.push_back(e);
    }
    if (descending) std::reverse(set.begin(), set.end());
  }
  return Make(members, elements);
}

TEST(every_structure_picks_what_naive_greedy_picks) {
  // Sparse sets, dense ones as bits, a selection so long that the inverted index takes over; equal,
  // whole and broken weights, some zero; once and repeatedly; ascending and not.
  for (uint32_t seed = 0; seed < 24; seed += test::Reduced() ? 5 : 1) {
    const bool dense = seed % 2 == 0;
    Instance instance = Skewed(seed, dense ? 150 : 700, dense ? 200 : 900, dense ? 60 : 12,
                               seed % 5 == 0);
    if (seed % 3 > 0) {
      for (size_t e = 0; e < instance.elements; ++e) {
        const float weight = static_cast<float>((e * 7919 + seed) % 4);
        instance.weights.push_back(seed % 3 == 1 ? weight : std::sqrt(weight));
      }
    }
    if (seed % 4 == 3) instance.weights.assign(instance.elements, 0.3f);
    Args args = instance.ToArgs();
    args.repeats = seed % 4 == 2 ? 3 : 1;
    const Outputs naive = Solve(args, "reference");
    EXPECT_EQ(naive.value, naive.attainable);
    for (const char* variant : RunnableVariants()) {
      for (const Solver solver : {Solver::kExact, Solver::kLazy}) {
        test::SetContext(std::string(variant) + " seed=" + std::to_string(seed));
        args.solver = solver;
        ExpectSame(Solve(args, variant), naive);
      }
    }
  }
  test::SetContext("");
}

TEST(sets_of_several_parts_are_picked_in_order) {
  // More than 8192 sets and 2^20 entries: candidates queue up in parts. Later sets are larger.
  std::mt19937 generator(7);
  std::vector<std::vector<uint32_t>> sets(30000);
  for (uint32_t s = 0; s < sets.size(); ++s) {
    const uint32_t step = 1100 - s / 100;
    for (uint32_t e = generator() % step; e < 20000; e += 1 + generator() % step) {
      sets[s].push_back(e);
    }
  }
  Instance instance = Make(sets, 20000);
  EXPECT_GT(instance.indices.size(), size_t{1} << 20);
  for (const bool priced : {false, true}) {
    if (priced) {
      for (size_t s = 0; s < sets.size(); ++s) {
        instance.costs.push_back(static_cast<float>(1 + generator() % 3));
      }
    }
    Args args = instance.ToArgs();
    args.max_sets = 12;
    if (priced) args.max_cost = 15;
    const Outputs naive = Solve(args, "reference");
    for (const Solver solver : {Solver::kExact, Solver::kLazy}) {
      args.solver = solver;
      ExpectSame(Solve(args, "scalar"), naive);
    }
  }
}

TEST(sets_packed_again_and_again_by_several_threads_are_picked_in_order) {
  // So many entries that threads share the packing, and picks that leave few elements to most sets.
  std::mt19937 generator(11);
  std::vector<std::vector<uint32_t>> sets(25000);
  for (uint32_t s = 0; s < sets.size(); ++s) {
    // Some hold nothing.
    const uint32_t step = s % 10 == 0 ? 4000 : 50 + s % 450;
    for (uint32_t e = generator() % step; e < 4000; e += 1 + generator() % step) {
      sets[s].push_back(e);
    }
    if (s % 7 == 0) std::reverse(sets[s].begin(), sets[s].end());
  }
  Instance instance = Make(sets, 4000);
  EXPECT_GT(instance.indices.size(), size_t{1} << 19);
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  pool.SetThreads(4);
  for (const bool weighted : {false, true}) {
    for (size_t e = 0; weighted && e < instance.elements; ++e) {
      instance.weights.push_back(0.1f * static_cast<float>(generator() % 50));
    }
    for (const uint32_t repeats : {1u, 2u}) {
      Args args = instance.ToArgs();
      args.repeats = repeats;
      args.max_sets = test::Reduced() ? 40 : 120;
      const Outputs naive = Solve(args, "reference");
      for (const Solver solver : {Solver::kExact, Solver::kLazy}) {
        args.solver = solver;
        ExpectSame(Solve(args, "scalar"), naive);
      }
    }
  }
  pool.SetThreads(before);
}

TEST(picks_and_bound_do_not_depend_on_the_threads) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  Instance instance = Skewed(1, 6000, 3000, 20);
  for (const bool weighted : {false, true}) {
    if (weighted) {
      for (size_t e = 0; e < instance.elements; ++e) {
        instance.weights.push_back(std::log1p(static_cast<float>(e % 97)));
      }
    }
    for (const Solver solver : {Solver::kExact, Solver::kLazy, Solver::kStochastic}) {
      Args args = instance.ToArgs();
      args.solver = solver;
      args.repeats = weighted ? 2 : 1;
      pool.SetThreads(1);
      const Outputs one = Solve(args, nullptr);
      for (const int threads : {2, 3, 8}) {
        pool.SetThreads(threads);
        test::SetContext("threads=" + std::to_string(threads));
        ExpectSame(Solve(args, nullptr), one);
      }
    }
  }
  test::SetContext("");
  pool.SetThreads(before);
}

TEST(gains_are_exact_sums_of_rounded_weights) {
  // 0.1 rounds to 6554 / 65536; a million of them add up without error.
  Instance instance;
  instance.elements = test::Reduced() ? 100000 : 1000000;
  instance.weights.assign(instance.elements, 0.1f);
  for (uint32_t e = 0; e < instance.elements; ++e) instance.indices.push_back(e);
  instance.indptr.push_back(static_cast<uint32_t>(instance.elements));
  for (const char* variant : RunnableVariants()) {
    EXPECT_EQ(Solve(instance.ToArgs(), variant).value, 6554.0 / 65536.0 * static_cast<double>(instance.elements));
  }
}

TEST(bad_arguments_are_typed_errors) {
  const Instance good = Make({{0, 1}, {1, 2}}, 3);
  const auto code = [](const Args& args) {
    Outputs outputs;
    return Run(nullptr, args, &outputs, CancelFlag()).code;
  };
  EXPECT_TRUE(code(good.ToArgs()) == StatusCode::kOk);
  Args args = good.ToArgs();
  args.repeats = 0;
  EXPECT_TRUE(code(args) == StatusCode::kInvalidArgument);
  args = good.ToArgs();
  args.max_cost = 1;
  EXPECT_TRUE(code(args) == StatusCode::kInvalidArgument);
  args = good.ToArgs();
  args.min_gain = NAN;
  EXPECT_TRUE(code(args) == StatusCode::kInvalidArgument);
  EXPECT_TRUE(code(Make({{0, 1, 0}}, 2).ToArgs()) == StatusCode::kInvalidArgument);
  EXPECT_TRUE(code(Make({{0, 1}, {1, 1}}, 2).ToArgs()) == StatusCode::kInvalidArgument);
  EXPECT_TRUE(code(Make({{2, 0}}, 2).ToArgs()) == StatusCode::kInvalidArgument);
  EXPECT_TRUE(code(Make({{1, 0}, {0, 1}}, 2).ToArgs()) == StatusCode::kOk);
  Instance broken = good;
  broken.indptr = {0, 5, 4};
  EXPECT_TRUE(code(broken.ToArgs()) == StatusCode::kInvalidArgument);
  broken.indptr = {1, 2, 4};
  EXPECT_TRUE(code(broken.ToArgs()) == StatusCode::kInvalidArgument);
  EXPECT_TRUE(code(Make({{2}}, 2).ToArgs()) == StatusCode::kInvalidArgument);
  Instance bad = good;
  bad.weights = {1, NAN, 1};
  EXPECT_TRUE(code(bad.ToArgs()) == StatusCode::kNonFinite);
  bad.weights = {1, -1, 1};
  EXPECT_TRUE(code(bad.ToArgs()) == StatusCode::kInvalidArgument);
  bad.weights = {1, 1e30f, 1};
  EXPECT_TRUE(code(bad.ToArgs()) == StatusCode::kInvalidArgument);
  bad = good;
  bad.costs = {1, 0};
  EXPECT_TRUE(code(bad.ToArgs()) == StatusCode::kInvalidArgument);
  Outputs outputs;
  EXPECT_TRUE(Run("abacus", good.ToArgs(), &outputs, CancelFlag()).code ==
              StatusCode::kDeviceUnavailable);
}

TEST(one_bad_set_among_many_is_a_typed_error) {
  // Sets are checked many at a time.
  for (const size_t bad : {0u, 63u, 64u, 150u, 199u}) {
    const auto code = [bad](std::vector<uint32_t> set) {
      std::vector<std::vector<uint32_t>> sets(200, {1, 4, 6});
      for (size_t s = 0; s < sets.size(); s += 9) sets[s].clear();
      sets[bad] = std::move(set);
      const Instance instance = Make(sets, 8);
      Outputs outputs;
      return Run(nullptr, instance.ToArgs(), &outputs, CancelFlag()).code;
    };
    test::SetContext("bad=" + std::to_string(bad));
    EXPECT_TRUE(code({7, 3, 5, 0}) == StatusCode::kOk);
    EXPECT_TRUE(code({}) == StatusCode::kOk);
    EXPECT_TRUE(code({3, 3}) == StatusCode::kInvalidArgument);
    EXPECT_TRUE(code({5, 2, 5}) == StatusCode::kInvalidArgument);
    EXPECT_TRUE(code({2, 8}) == StatusCode::kInvalidArgument);
    EXPECT_TRUE(code({UINT32_MAX, 2}) == StatusCode::kInvalidArgument);
  }
  test::SetContext("");
}

TEST(a_cancelled_cover_says_so) {
  const int32_t slot = 1;
  const Instance instance = Random(3, 40, 40);
  for (const char* variant : RunnableVariants()) {
    for (const Solver solver : {Solver::kExact, Solver::kLazy, Solver::kStochastic}) {
      Args args = instance.ToArgs();
      args.solver = solver;
      Outputs outputs;
      EXPECT_TRUE(Run(variant, args, &outputs, CancelFlag(&slot)).code == StatusCode::kCancelled);
    }
  }
}

TEST(a_cover_may_be_cancelled_at_any_moment) {
  const Instance instance = Skewed(2, 4000, 3000, 20);
  const Args args = instance.ToArgs();
  const auto begun = std::chrono::steady_clock::now();
  const Outputs whole = Solve(args, nullptr);
  const auto taken = std::chrono::steady_clock::now() - begun;
  const int moments = test::Reduced() ? 10 : 60;
  for (int moment = 0; moment < moments; ++moment) {
    int32_t slot = 0;
    std::thread canceller([&] {
      std::this_thread::sleep_for(taken * moment / moments);
      __atomic_store_n(&slot, 1, __ATOMIC_RELAXED);
    });
    Outputs outputs;
    const Status status = Run(nullptr, args, &outputs, CancelFlag(&slot));
    canceller.join();
    if (status.ok()) {
      ExpectSame(outputs, whole);
    } else {
      EXPECT_TRUE(status.code == StatusCode::kCancelled);
    }
  }
}

}  // namespace
}  // namespace prismrec::max_cover
