#include "ops/prefix_attention/prefix_attention.h"

#include <vector>

#include "fuzz.h"

namespace prismrec::prefix_attention {
namespace {

using test::Random;
using test::Values;

// Owns what a Problem points at.
struct Case {
  std::vector<uint32_t> lengths;
  std::vector<int16_t> clusters;
  std::vector<int32_t> positions;
  std::vector<float> logits;
  Problem problem;

  explicit Case(Random& random) {
    Problem& p = problem;
    p.users = random.Size(20);
    p.length = random.Size(66);
    p.position_count = random.Size(20);
    p.collaborative = random.Below(4);
    p.cluster_count = random.Below(4) + (p.collaborative == 0 ? 1 : 0);
    for (size_t b = 0; b < p.users; ++b) {
      lengths.push_back(static_cast<uint32_t>(random.Below(p.length + 1)));
      for (size_t i = 0; i < p.position_count; ++i) {
        positions.push_back(static_cast<int32_t>(random.Below(lengths[b] + 1)) - 1);
      }
    }
    for (size_t i = 0; i < p.users * p.length; ++i) {
      clusters.push_back(static_cast<int16_t>(random.Below(p.cluster_count + 2)) - 1);
    }
    logits = random.Fill(p.users * p.logit_rows() * p.length, random.Kind());
    p.lengths = lengths.data();
    p.clusters = clusters.data();
    p.positions = positions.data();
  }
  std::vector<float> Weights() const {
    const Problem& p = problem;
    std::vector<float> weights(p.users * p.position_count * p.interests() * p.length, NAN);
    Forward(p, logits.data(), weights.data());
    return weights;
  }
};

TEST(weights_are_those_of_the_definition_and_their_gradient_that_of_a_softmax) {
  test::Fuzz(300, [](Random& random) {
    const Case made(random);
    const Problem& p = made.problem;
    EXPECT_OK(Check(p));
    const std::vector<float> weights = made.Weights();
    std::vector<double> want(weights.size());
    reference::Forward(p, made.logits.data(), want.data());
    EXPECT_LE(test::LargestError(weights, want), 1e-6);
    const std::vector<float> dweights = random.Fill(weights.size(), Values::kPlain);
    std::vector<float> dlogits(made.logits.size(), NAN);
    Backward(p, weights.data(), dweights.data(), dlogits.data());
    std::vector<double> slopes(dlogits.size());
    for (size_t row = 0; row * p.length < want.size(); ++row) {
      const size_t b = row / p.interests() / p.position_count;
      const size_t logit_row = b * p.logit_rows() + std::min(row % p.interests(), p.collaborative);
      double mean = 0;
      for (size_t t = row * p.length; t < (row + 1) * p.length; ++t) mean += want[t] * dweights[t];
      for (size_t t = 0; t < p.length; ++t) {
        const size_t at = row * p.length + t;
        slopes[logit_row * p.length + t] += want[at] * (dweights[at] - mean);
      }
    }
    EXPECT_LE(test::LargestError(dlogits, slopes), 1e-5);
  });
}

TEST(what_leaves_its_bounds_is_refused) {
  test::Fuzz(100, [](Random& random) {
    Case made(random);
    if (random.OneIn(2)) {
      made.lengths[random.Below(made.lengths.size())] =
          static_cast<uint32_t>(made.problem.length + 1);
    } else {
      made.positions[random.Below(made.positions.size())] =
          static_cast<int32_t>(made.problem.length);
    }
    EXPECT_TRUE(Check(made.problem).code == StatusCode::kInvalidArgument);
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(20, [](Random& random) {
    const Case made(random);
    const std::vector<float> want = made.Weights();
    EXPECT_TRUE(test::HoldsOnFourThreads([&] { return test::SameBits(made.Weights(), want); }));
  });
}

}  // namespace
}  // namespace prismrec::prefix_attention
