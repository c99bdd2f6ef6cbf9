#include <string>
#include <vector>

#include "fuzz.h"
#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec::dynamic_routing {
namespace {

using test::Random;
using test::Values;

// Owns what a Problem points at; one more entry than needed: an empty vector's data may be null.
struct Case {
  std::vector<uint32_t> lengths;
  std::vector<float> events, maps, initial, vector_gradient;
  Problem problem;
  size_t iterations;

  Case(Random& random, bool spoiled) {
    problem.users = random.Size(12);
    problem.length = random.Size(20);
    problem.interests = 1 + random.Below(5);
    problem.dim = random.Size(test::Reduced() ? 34 : 70);
    problem.map_count = random.Pick({size_t{1}, problem.length, problem.length + 2});
    problem.shared = random.OneIn(3);
    iterations = 1 + random.Below(3);
    for (size_t b = 0; b < problem.users; ++b) {
      lengths.push_back(static_cast<uint32_t>(random.Below(problem.length + 1)));
    }
    // Of a size that keeps the exponents of the shares small.
    const Values kind = random.Pick({Values::kPlain, Values::kFew, Values::kTiny});
    events = random.Fill(problem.users * problem.length * problem.dim, kind);
    maps = random.Fill(problem.map_count * problem.map_size(), Values::kPlain);
    for (float& value : maps) value /= static_cast<float>(problem.dim);
    initial = random.Fill(problem.interests * problem.length, Values::kPlain);
    vector_gradient = random.Fill(problem.users * problem.interests * problem.dim, Values::kPlain);
    for (size_t i = 0; i < problem.users * problem.interests; ++i) {
      if (random.OneIn(2)) continue;
      std::fill_n(vector_gradient.begin() + static_cast<std::ptrdiff_t>(i * problem.dim),
                  problem.dim, 0.0f);
    }
    if (spoiled) random.Spoil(&vector_gradient);
    problem.lengths = lengths.data();
    problem.events = events.data();
    problem.maps = maps.data();
  }
};

struct Answer {
  std::vector<float> vectors, sums, coefficients, events, maps;
  Status status;

  Answer(const Case& from, const char* variant)
      : vectors(from.vector_gradient.size()),
        sums(vectors.size()),
        coefficients(from.problem.users * from.problem.interests * from.problem.length),
        events(from.events.size()),
        maps(from.maps.size()) {
    const ForwardArgs forward = {from.problem,   from.iterations, from.initial.data(),
                                 vectors.data(), sums.data(),     coefficients.data()};
    status = Forward(variant, forward, CancelFlag());
    if (status.ok()) Differentiate(from, variant, *this);
  }

  void Differentiate(const Case& from, const char* variant, const Answer& at) {
    const BackwardArgs backward = {from.problem,         at.coefficients.data(),
                                   at.sums.data(),       from.vector_gradient.data(),
                                   events.data(),        maps.data()};
    status = Backward(variant, backward, CancelFlag());
  }
};

TEST(every_variant_answers_as_the_definition_does) {
  test::Fuzz(250, [](Random& random) {
    const Case made(random, random.OneIn(6));
    const Answer want(made, "reference");
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      Answer got(made, variant);
      test::ExpectSameCode(got.status, want.status);
      if (!want.status.ok()) continue;
      test::ExpectClose(got.vectors, want.vectors, 3e-5);
      test::ExpectClose(got.coefficients, want.coefficients, 3e-5);
      got.Differentiate(made, variant, want);
      test::ExpectClose(got.events, want.events, 3e-6);
      test::ExpectClose(got.maps, want.maps, 1e-5);
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("dynamic_routing");
  test::Fuzz(20, [&](Random& random) {
    const Case made(random, false);
    const Answer got(made, nullptr), want(made, variant);
    EXPECT_OK(got.status);
    test::ExpectSameBits(got.vectors, want.vectors);
    test::ExpectSameBits(got.maps, want.maps);
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(50, [](Random& random) {
    const Case made(random, false);
    const Answer want(made, nullptr);
    EXPECT_TRUE(test::HoldsOnFourThreads([&] {
      const Answer got(made, nullptr);
      return test::SameBits(got.vectors, want.vectors) &&
             test::SameBits(got.coefficients, want.coefficients) &&
             test::SameBits(got.events, want.events) && test::SameBits(got.maps, want.maps);
    }));
  });
}

}  // namespace
}  // namespace prismrec::dynamic_routing
