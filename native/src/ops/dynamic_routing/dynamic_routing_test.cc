#include "ops/dynamic_routing/dynamic_routing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ops/dynamic_routing/plan.h"
#include "test_harness.h"

namespace prismrec::dynamic_routing {
namespace {

struct Shape {
  size_t users, length, interests, dim;
  size_t map_count;
  bool shared = false;
  bool integers = false;
};

// Owns what a Problem points at.
struct Case {
  std::vector<uint32_t> lengths;
  std::vector<float> events, maps, initial, vector_gradient;
  Problem problem;

  explicit Case(const Shape& shape, unsigned seed = 3) {
    std::mt19937 random(seed);
    const auto uniform = [&] {
      if (shape.integers) return static_cast<float>(static_cast<int>(random() % 5) - 2);
      return static_cast<float>(random() >> 8) / (1 << 23) - 1.0f;
    };
    problem.users = shape.users;
    problem.length = shape.length;
    problem.interests = shape.interests;
    problem.dim = shape.dim;
    problem.map_count = shape.map_count;
    problem.shared = shape.shared;
    for (size_t b = 0; b < shape.users; ++b) {
      // The second user has no event, the third all there is room for.
      const size_t length = b == 1 ? 0 : b == 2 ? shape.length : random() % (shape.length + 1);
      lengths.push_back(static_cast<uint32_t>(length));
    }
    const auto fill = [&](std::vector<float>* values, size_t count, float scale) {
      values->resize(count);
      for (float& value : *values) value = uniform() * scale;
    };
    const float scale =
        shape.integers ? 1.0f : 2.0f / std::sqrt(static_cast<float>(shape.dim));
    fill(&events, shape.users * shape.length * shape.dim, 1.0f);
    fill(&maps, shape.map_count * problem.map_size(), scale);
    fill(&initial, shape.interests * shape.length, 1.0f);
    fill(&vector_gradient, shape.users * shape.interests * shape.dim, 1.0f);
    for (size_t b = 0; b < shape.users; ++b) {
      // Padding may hold anything.
      for (size_t t = lengths[b]; t < shape.length; ++t) {
        events[(b * shape.length + t) * shape.dim] = std::numeric_limits<float>::quiet_NaN();
      }
      // Some interests have no gradient, every fifth user's have all one.
      for (size_t k = 0; k < shape.interests && b % 5 != 0; ++k) {
        if ((b + k) % 3 == 0) continue;
        float* row = &vector_gradient[(b * shape.interests + k) * shape.dim];
        std::fill(row, row + shape.dim, 0.0f);
      }
    }
    problem.lengths = lengths.data();
    problem.events = events.data();
    problem.maps = maps.data();
  }
};

struct Answer {
  std::vector<float> vectors, sums, coefficients, devents, dmaps;
  Status status;

  Answer(const Case& from, const char* variant, size_t iterations = 3,
         const CancelFlag& cancel = CancelFlag()) {
    const Problem& p = from.problem;
    // Anything may lie where results go.
    vectors.assign(p.users * p.interests * p.dim, 9.0f);
    sums.assign(vectors.size(), 9.0f);
    coefficients.assign(p.users * p.interests * p.length, 9.0f);
    devents.assign(p.users * p.length * p.dim, 9.0f);
    dmaps.assign(p.map_count * p.map_size(), 9.0f);
    ForwardArgs forward;
    forward.problem = p;
    forward.iterations = iterations;
    forward.initial = from.initial.data();
    forward.vectors = vectors.data();
    forward.sums = sums.data();
    forward.coefficients = coefficients.data();
    status = Forward(variant, forward, cancel);
    if (status.ok()) status = Gradients(from, variant, *this, cancel);
  }

  // From the coefficients and sums of another answer.
  Status Gradients(const Case& from, const char* variant, const Answer& at,
                   const CancelFlag& cancel = CancelFlag()) {
    BackwardArgs backward;
    backward.problem = from.problem;
    backward.coefficients = at.coefficients.data();
    backward.sums = at.sums.data();
    backward.vector_gradient = from.vector_gradient.data();
    backward.event_gradient = devents.data();
    backward.map_gradient = dmaps.data();
    return Backward(variant, backward, cancel);
  }
};

void ExpectClose(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  double largest = 1e-3;
  for (float value : want) largest = std::max<double>(largest, std::fabs(value));
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], tolerance * largest);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const Shape kShapes[] = {
    {1, 1, 1, 1, 1},       {3, 1, 2, 3, 1},          {4, 7, 3, 7, 7},
    {5, 9, 4, 66, 1},      {40, 20, 4, 64, 20},      {17, 33, 5, 31, 40},
    {6, 5, 3, 8, 1, true}, {9, 8, 4, 17, 11, true},   {150, 6, 2, 16, 6},
    {300, 3, 2, 9, 1},     {3, 50, 1, 32, 1, false}, {2, 0, 2, 3, 1},
    // For a GPU: more events than a wave holds, and users who do not fit shared memory.
    {30, 40, 1, 2, 40},    {3, 2000, 8, 4, 1},
};

}  // namespace

TEST(every_variant_agrees_with_the_definition) {
  for (const Shape& shape : kShapes) {
    if (test::Reduced() && shape.users >= 40) continue;
    const Case made(shape);
    for (const size_t iterations : {1, 3}) {
      const Answer want(made, "reference", iterations);
      EXPECT_OK(want.status);
      for (const char* variant : RunnableVariants()) {
        test::SetContext(std::string(variant) + " B=" + std::to_string(shape.users) +
                         " T=" + std::to_string(shape.length) + " d=" + std::to_string(shape.dim));
        Answer got(made, variant, iterations);
        EXPECT_OK(got.status);
        // Each round feeds the rounding of the last one back through an exponential.
        ExpectClose(got.vectors, want.vectors, 2e-5);
        ExpectClose(got.sums, want.sums, 2e-5);
        ExpectClose(got.coefficients, want.coefficients, 2e-5);
        EXPECT_OK(got.Gradients(made, variant, want));
        ExpectClose(got.devents, want.devents, 2e-6);
        ExpectClose(got.dmaps, want.dmaps, 4e-6);
      }
    }
  }
  test::SetContext("");
}

TEST(a_hard_readout_has_a_gradient_in_its_own_columns_only) {
  Case made({7, 5, 3, 70, 1});
  for (size_t i = 0; i < 7 * 3; ++i) {
    std::fill_n(made.vector_gradient.begin() + static_cast<std::ptrdiff_t>(i * 70), 70, i % 3 == 1 ? 0.5f : 0.0f);
  }
  const Answer want(made, "reference");
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    Answer got(made, variant);
    EXPECT_OK(got.Gradients(made, variant, want));
    ExpectClose(got.devents, want.devents, 2e-6);
    ExpectClose(got.dmaps, want.dmaps, 4e-6);
    for (size_t i = 0; i < got.dmaps.size(); ++i) {
      if (i % 210 / 70 != 1) EXPECT_EQ(got.dmaps[i], 0.0f);
    }
  }
  test::SetContext("");
}

TEST(sums_of_whole_numbers_are_exact) {
  // One interest takes every event whole, so that a sum is one of whole numbers.
  const Case made({12, 9, 1, 24, 9, false, true});
  const Answer want(made, "reference", 1);
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    EXPECT_TRUE(SameBits(Answer(made, variant, 1).sums, want.sums));
  }
  test::SetContext("");
}

TEST(events_of_a_table_give_the_bits_of_events_in_a_row) {
  for (const Shape& shape : {Shape{9, 11, 4, 16, 11}, Shape{40, 6, 2, 33, 1, true}}) {
    const Case made(shape);
    Case listed(shape);
    // A table in another order, padding outside of it.
    const size_t count = shape.users * shape.length;
    std::vector<uint32_t> rows(count, std::numeric_limits<uint32_t>::max());
    for (size_t b = 0; b < shape.users; ++b) {
      for (size_t t = 0; t < made.lengths[b]; ++t) {
        const size_t at = b * shape.length + t;
        rows[at] = static_cast<uint32_t>(count - 1 - at);
        std::copy_n(&made.events[at * shape.dim], shape.dim, &listed.events[rows[at] * shape.dim]);
      }
    }
    listed.problem.rows = rows.data();
    listed.problem.table_rows = count;
    for (const char* variant : RunnableVariants()) {
      test::SetContext(variant);
      const Answer want(made, variant), got(listed, variant);
      EXPECT_OK(got.status);
      EXPECT_TRUE(SameBits(got.vectors, want.vectors));
      EXPECT_TRUE(SameBits(got.devents, want.devents));
      EXPECT_TRUE(SameBits(got.dmaps, want.dmaps));
      listed.problem.table_rows = rows[0];
      EXPECT_TRUE(Answer(listed, variant).status.code == StatusCode::kInvalidArgument);
      listed.problem.table_rows = count;
    }
  }
  test::SetContext("");
}

TEST(shares_of_an_event_sum_to_one_and_padding_has_none) {
  const Case made({9, 11, 4, 16, 1});
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Answer answer(made, variant);
    for (size_t b = 0; b < 9; ++b) {
      for (size_t t = 0; t < 11; ++t) {
        double total = 0;
        for (size_t k = 0; k < 4; ++k) total += answer.coefficients[(b * 4 + k) * 11 + t];
        EXPECT_NEAR(total, t < made.lengths[b] ? 1 : 0, 1e-6);
      }
    }
    for (size_t i = 0; i < 4 * 16; ++i) EXPECT_EQ(answer.vectors[4 * 16 + i], 0.0f);
  }
  test::SetContext("");
}

TEST(the_bits_do_not_depend_on_the_number_of_threads) {
  const int before = ThreadPool::Global().threads();
  // The second's predictions are products of their own for many threads; of the last but one, all
  // do not fit at a time.
  for (const Shape& shape : {Shape{70, 20, 4, 32, 20}, Shape{128, 9, 4, 64, 9}, Shape{200, 17, 3, 24, 1},
                             Shape{4100, 16, 4, 17, 16}, Shape{150, 8, 3, 16, 12, true}}) {
    if (test::Reduced() && shape.users > 1000) continue;
    const Case made(shape);
    for (const char* variant : RunnableVariants()) {
      // Those that use the pool: a GPU has threads of its own.
      if (std::string(variant) == "reference" || std::string(variant) == "cuda") continue;
      test::SetContext(std::to_string(shape.users) + " users, " + variant);
      ThreadPool::Global().SetThreads(1);
      const Answer one(made, variant);
      EXPECT_OK(one.status);
      for (const int threads : {2, 3, 8}) {
        ThreadPool::Global().SetThreads(threads);
        const Answer many(made, variant);
        EXPECT_TRUE(SameBits(many.vectors, one.vectors));
        EXPECT_TRUE(SameBits(many.coefficients, one.coefficients));
        EXPECT_TRUE(SameBits(many.devents, one.devents));
        EXPECT_TRUE(SameBits(many.dmaps, one.dmaps));
      }
    }
  }
  test::SetContext("");
  ThreadPool::Global().SetThreads(before);
}

TEST(there_is_work_for_48_threads_at_the_shapes_of_training) {
  constexpr size_t kInterests = 4;
  for (const size_t users : {128, 256}) {
    for (const size_t length : {20, 50}) {
      for (const bool full : {true, false}) {
        std::mt19937 random(1);
        std::vector<uint32_t> lengths(users);
        for (uint32_t& own : lengths) {
          own = static_cast<uint32_t>(full ? length : length / 2 + random() % (length / 2 + 1));
        }
        Problem problem;
        problem.users = users;
        problem.length = problem.map_count = length;
        problem.interests = kInterests;
        problem.dim = 64;
        problem.lengths = lengths.data();
        test::SetContext(std::to_string(users) + " x " + std::to_string(length) +
                         (full ? "" : " and shorter"));
        EXPECT_GE(WorkOfForward(problem, 3).Width(), 48.0);
        // After a readout that takes the best interest, and after one that takes all.
        for (const bool hard : {true, false}) {
          Active active(problem);
          for (size_t user = 0; user < users; ++user) {
            active.predictions[user] = hard ? 1 : kInterests;
            for (size_t k = 0; k < kInterests; ++k) {
              active.interests[user * kInterests + k] = hard ? 0 : 1;
            }
            if (hard) active.interests[user * kInterests + random() % kInterests] = 1;
          }
          EXPECT_GE(WorkOfBackward(problem, active).Width(), 48.0);
        }
      }
    }
  }
  test::SetContext("");
}

TEST(the_bits_are_the_same_every_time) {
  const Case made({9, 30, 3, 12, 1});
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Answer one(made, variant), other(made, variant);
    EXPECT_OK(one.status);
    EXPECT_TRUE(SameBits(other.vectors, one.vectors));
    EXPECT_TRUE(SameBits(other.devents, one.devents));
    EXPECT_TRUE(SameBits(other.dmaps, one.dmaps));
  }
  test::SetContext("");
}

// One round from given logits holds the coefficients fixed, so that what backward computes is the
// whole gradient.
TEST(the_definitions_gradients_are_the_slopes_of_its_interests) {
  for (const Shape& shape : {Shape{3, 4, 2, 3, 4}, Shape{3, 4, 2, 3, 1}, Shape{3, 4, 2, 3, 1, true}}) {
    Case made(shape);
    const Answer at(made, "reference", 1);
    const auto value = [&] {
      const Answer answer(made, "reference", 1);
      double sum = 0;
      for (size_t i = 0; i < answer.vectors.size(); ++i) {
        sum += static_cast<double>(answer.vectors[i]) * made.vector_gradient[i];
      }
      return sum;
    };
    const auto slope = [&](float* x) {
      const float kept = *x;
      *x = kept + 1.0f / 128;
      const double high = value();
      *x = kept - 1.0f / 128;
      const double low = value();
      *x = kept;
      return (high - low) * 64;
    };
    for (size_t i = 0; i < made.maps.size(); ++i) {
      EXPECT_NEAR(at.dmaps[i], slope(&made.maps[i]), 2e-3);
    }
    for (size_t b = 0; b < shape.users; ++b) {
      for (size_t i = 0; i < made.lengths[b] * shape.dim; ++i) {
        const size_t event = b * shape.length * shape.dim + i;
        EXPECT_NEAR(at.devents[event], slope(&made.events[event]), 2e-3);
      }
    }
  }
}

TEST(bad_input_is_a_typed_error) {
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    Case long_user({4, 5, 2, 8, 5});
    long_user.lengths[3] = 6;
    EXPECT_TRUE(Answer(long_user, variant).status.code == StatusCode::kInvalidArgument);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Case event({4, 5, 2, 8, 5}), gradient({4, 5, 2, 8, 5});
      event.events[2 * 5 * 8] = bad;
      EXPECT_TRUE(Answer(event, variant).status.code == StatusCode::kNonFinite);
      gradient.vector_gradient[5] = bad;
      EXPECT_TRUE(Answer(gradient, variant).status.code == StatusCode::kNonFinite);
    }
    const int32_t slot = 1;
    const Case made({4, 5, 2, 8, 5});
    EXPECT_TRUE(Answer(made, variant, 3, CancelFlag(&slot)).status.code == StatusCode::kCancelled);
  }
  test::SetContext("");
  EXPECT_TRUE(Answer(Case({4, 5, 2, 8, 5}), "abacus").status.code ==
              StatusCode::kDeviceUnavailable);
}

}  // namespace prismrec::dynamic_routing
