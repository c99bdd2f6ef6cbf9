#include "ops/prefix_attention/prefix_attention.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "ops/prefix_attention/cpu/spans.h"
#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::prefix_attention {
namespace {

struct Case {
  std::vector<uint32_t> lengths;
  std::vector<int16_t> clusters;
  std::vector<int32_t> positions;
  std::vector<float> logits;
  Problem problem;

  Case(size_t users, size_t length, size_t count, size_t interests, size_t cluster_count) {
    std::mt19937 random(5);
    for (size_t b = 0; b < users; ++b) {
      lengths.push_back(static_cast<uint32_t>(b == 0 ? length : random() % (length + 1)));
      for (size_t p = 0; p < count; ++p) {
        const bool used = lengths[b] > 0 && random() % 4 != 0;
        positions.push_back(used ? static_cast<int32_t>(random() % lengths[b]) : -1);
      }
    }
    for (size_t i = 0; i < users * length; ++i) {
      clusters.push_back(
          static_cast<int16_t>(static_cast<int>(random() % (cluster_count + 2)) - 1));
    }
    for (size_t i = 0; i < users * (interests + 1) * length; ++i) {
      logits.push_back(static_cast<float>(random() % 2000) / 200.0f - 5.0f);
    }
    problem.users = users;
    problem.length = length;
    problem.position_count = count;
    problem.collaborative = interests;
    problem.cluster_count = cluster_count;
    problem.lengths = lengths.data();
    problem.clusters = clusters.data();
    problem.positions = positions.data();
  }

  size_t weight_size() const {
    return problem.users * problem.position_count * problem.interests() * problem.length;
  }
  std::vector<float> Weights(const char* variant = nullptr) const {
    std::vector<float> weights(weight_size(), 9.0f);
    Forward(problem, logits.data(), weights.data(), variant);
    return weights;
  }
  std::vector<float> Gradient(const std::vector<float>& dweights,
                              const char* variant = nullptr) const {
    std::vector<float> dlogits(logits.size(), 9.0f);
    Backward(problem, Weights(variant).data(), dweights.data(), dlogits.data(), variant);
    return dlogits;
  }
};

std::vector<float> Wave(size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(std::sin(1.7 * i));
  return values;
}

}  // namespace

TEST(weights_are_the_softmax_of_what_each_position_sees) {
  for (const Case& made : {Case(1, 1, 1, 1, 0), Case(3, 7, 2, 4, 3), Case(9, 33, 5, 2, 0),
                           Case(20, 50, 10, 4, 8), Case(0, 5, 2, 4, 1)}) {
    std::vector<double> want(made.weight_size());
    reference::Forward(made.problem, made.logits.data(), want.data());
    const std::vector<float> got = made.Weights();
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-7);
  }
}

TEST(every_instruction_set_gives_the_same_bits) {
  for (const Case& made : {Case(1, 1, 1, 1, 0), Case(9, 33, 5, 2, 0), Case(20, 50, 10, 4, 8)}) {
    const std::vector<float> direction = Wave(made.weight_size());
    const std::vector<float> weights = made.Weights("scalar");
    const std::vector<float> gradient = made.Gradient(direction, "scalar");
    for (const char* variant : RunnableVariants(kVariants)) {
      test::SetContext(variant);
      EXPECT_TRUE(made.Weights(variant) == weights);
      EXPECT_TRUE(made.Gradient(direction, variant) == gradient);
    }
  }
  test::SetContext("");
}

TEST(an_event_far_below_the_newest_keeps_its_weight_where_it_is_all_there_is) {
  Case made(1, 2, 1, 1, 0);
  made.positions[0] = 1;
  made.logits = {600.0f, 0.0f, 0.0f, 0.0f};
  const std::vector<float> weights = made.Weights();
  EXPECT_EQ(weights[1], 1.0f);
}

TEST(gradients_are_the_slopes_of_the_definition) {
  Case made(3, 6, 2, 2, 2);
  const std::vector<float> direction = Wave(made.weight_size());
  const std::vector<float> gradient = made.Gradient(direction);
  const auto value = [&] {
    std::vector<double> weights(made.weight_size());
    reference::Forward(made.problem, made.logits.data(), weights.data());
    double sum = 0;
    for (size_t i = 0; i < weights.size(); ++i) sum += weights[i] * direction[i];
    return sum;
  };
  for (size_t i = 0; i < made.logits.size(); ++i) {
    const float kept = made.logits[i];
    made.logits[i] = kept + 1.0f / 256;
    const double high = value();
    made.logits[i] = kept - 1.0f / 256;
    const double low = value();
    made.logits[i] = kept;
    EXPECT_NEAR(gradient[i], (high - low) * 128, 1e-4);
  }
}

TEST(the_bits_do_not_depend_on_the_number_of_threads) {
  ThreadPool& pool = ThreadPool::Global();
  const int before = pool.threads();
  const Case made(40, 50, 10, 4, 8);
  const std::vector<float> direction = Wave(made.weight_size());
  pool.SetThreads(1);
  const std::vector<float> weights = made.Weights(), gradient = made.Gradient(direction);
  for (const int threads : {2, 5}) {
    pool.SetThreads(threads);
    EXPECT_TRUE(made.Weights() == weights);
    EXPECT_TRUE(made.Gradient(direction) == gradient);
  }
  pool.SetThreads(before);
}

TEST(bounds_are_checked) {
  for (const int what : {0, 1}) {
    Case made(3, 6, 2, 2, 2);
    EXPECT_OK(Check(made.problem));
    if (what == 0) made.lengths[1] = 7;
    if (what == 1) made.positions[3] = 6;
    EXPECT_TRUE(Check(made.problem).code == StatusCode::kInvalidArgument);
  }
}

}  // namespace prismrec::prefix_attention
