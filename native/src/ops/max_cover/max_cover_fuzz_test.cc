#include <string>
#include <vector>

#include "fuzz.h"
#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {
namespace {

using test::Random;
using test::Values;

// Owns what Args points at.
struct Case {
  std::vector<uint32_t> indptr, indices;
  std::vector<float> weights, costs;
  Args args;

  Case(Random& random, bool spoiled) {
    const size_t sets = random.OneIn(12) ? 0 : random.Size(140);
    const size_t elements = random.OneIn(12) ? 0 : random.Size(300);
    random.Sparse(sets, elements, random.Pick({0.0f, 0.02f, 0.2f, 0.7f, 1.0f}), &indptr, &indices);
    // Duplicated sets tie.
    if (random.OneIn(3) && sets > 1 && indptr[1] == indptr[2] - indptr[1]) {
      std::copy_n(indices.begin(), indptr[1], indices.begin() + indptr[1]);
    }
    if (random.OneIn(2)) {
      const Values kind = random.Kind();
      weights = random.Fill(elements, kind);
      for (float& weight : weights) weight = std::fabs(weight);
    }
    if (random.OneIn(2)) {
      costs = random.Fill(sets, random.Pick({Values::kPlain, Values::kFew}));
      for (float& cost : costs) cost = std::fabs(cost) + 0.125f;
    }
    if (spoiled) random.Spoil(random.Pick({&weights, &costs}));
    if (spoiled && random.OneIn(4) && !indices.empty()) {
      indices[random.Below(indices.size())] = random.OneIn(2) ? 0 : 0xffffffffu;
    }
    indices.push_back(0);  // beyond the end: an empty vector's data may be null
    args.sets = {indptr.data(), indices.data(), nullptr, sets, elements};
    if (!weights.empty()) args.weights = weights.data();
    if (!costs.empty()) args.costs = costs.data();
    args.max_sets = random.OneIn(3) ? sets : random.Below(20);
    args.max_cost = costs.empty() || random.OneIn(3) ? std::numeric_limits<double>::infinity()
                                                     : 4.0 * (1 + random.Uniform());
    args.repeats = random.Pick({1u, 1u, 2u, 5u, kMaxRepeats});
    args.min_gain = random.OneIn(4) ? 0.5 : 0.0;
    args.sample_loss = random.Pick({0.01, 0.1, 0.9});
    args.seed = static_cast<uint32_t>(random.Bits());
  }
};

void ExpectSame(const Outputs& got, const Outputs& want) {
  EXPECT_TRUE(got.selected == want.selected);
  EXPECT_TRUE(got.gains == want.gains);
  EXPECT_EQ(got.value, want.value);
  EXPECT_EQ(got.attainable, want.attainable);
  EXPECT_EQ(got.upper_bound, want.upper_bound);
  EXPECT_EQ(got.cost, want.cost);
  EXPECT_EQ(got.by_ratio, want.by_ratio);
}

TEST(every_variant_and_solver_picks_what_the_definition_picks) {
  test::Fuzz(2000, [](Random& random) {
    Case made(random, random.OneIn(5));
    for (const Solver solver : {Solver::kExact, Solver::kLazy, Solver::kStochastic}) {
      made.args.solver = solver;
      Outputs want;
      const Status expected = Run("reference", made.args, &want, CancelFlag());
      for (const char* variant : RunnableVariants()) {
        random.Context(variant);
        Outputs got;
        test::ExpectSameCode(Run(variant, made.args, &got, CancelFlag()), expected);
        if (expected.ok()) ExpectSame(got, want);
      }
    }
  });
}

TEST(the_default_picks_the_same_on_every_instruction_set) {
  test::DefaultVariant("max_cover");
  test::Fuzz(20, [](Random& random) {
    const Case made(random, false);
    Outputs got, want;
    EXPECT_OK(Run(nullptr, made.args, &got, CancelFlag()));
    EXPECT_OK(Run("reference", made.args, &want, CancelFlag()));
    ExpectSame(got, want);
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_picks) {
  test::Fuzz(50, [](Random& random) {
    const Case made(random, false);
    Outputs want;
    EXPECT_OK(Run(nullptr, made.args, &want, CancelFlag()));
    EXPECT_TRUE(test::HoldsOnFourThreads([&] {
      Outputs got;
      return Run(nullptr, made.args, &got, CancelFlag()).ok() && got.selected == want.selected &&
             got.gains == want.gains && got.upper_bound == want.upper_bound;
    }));
  });
}

}  // namespace
}  // namespace prismrec::max_cover
