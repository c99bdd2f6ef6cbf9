#include "ops/contrastive_loss/contrastive_loss.h"

#include <string>
#include <vector>

#include "fuzz.h"

namespace prismrec::contrastive_loss {
namespace {

using test::Random;
using test::Values;

// Owns what Args points at.
struct Case {
  std::vector<float> rows, positives, negatives, log_q;
  std::vector<uint32_t> positive_ids, negative_ids, item_ids;
  std::vector<int32_t> groups, labels;
  Values kind;
  Args args;

  Case(Random& random, bool spoiled) : kind(random.Kind()) {
    const size_t n = random.OneIn(12) ? 0 : random.Size(150), dim = random.Size(70);
    args.kind = random.Pick({Kind::kInfoNce, Kind::kSupervised});
    args.similarity = random.Pick({Similarity::kCosine, Similarity::kDot});
    args.temperature = random.Pick({0.1f, 0.5f, 1.0f});
    args.reduction = random.Pick({Reduction::kMean, Reduction::kSum, Reduction::kNone});
    rows = random.Fill(n * dim, kind);
    const auto ids = [&](size_t count) {
      std::vector<uint32_t> out(count);
      for (uint32_t& id : out) id = static_cast<uint32_t>(random.Below(n / 2 + 1));
      return out;
    };
    if (args.kind == Kind::kInfoNce) {
      const size_t m = random.OneIn(2) ? 0 : random.Size(140);
      positives = random.Fill(n * dim, kind);
      // Now and then a row is its own positive.
      for (size_t i = 0; i < rows.size(); ++i) {
        if (i / dim % 5 == 3) positives[i] = rows[i];
      }
      negatives = random.Fill(m * dim, kind);
      if (random.OneIn(2)) log_q = random.Fill(n + m, Values::kPlain);
      if (random.OneIn(2)) positive_ids = ids(n);
      if (!positive_ids.empty() && m > 0) negative_ids = ids(m);
      args.positives = {positives.data(), n, dim};
      if (m > 0) args.negatives = {negatives.data(), m, dim};
      args.symmetric = random.OneIn(2);
    } else {
      const size_t group_count = random.Pick<size_t>({1, 3, 20});
      for (size_t i = 0; i < n; ++i) {
        groups.push_back(static_cast<int32_t>(random.Below(group_count)) * 7 - 15);
        labels.push_back(static_cast<int32_t>(random.Below(4)) - 1);
      }
      args.scope = random.Pick({Scope::kGroup, Scope::kBatch});
      if (args.scope == Scope::kBatch && random.OneIn(2)) item_ids = ids(n);
      args.groups = groups.data();
      args.labels = labels.data();
    }
    if (spoiled) random.Spoil(random.Pick({&rows, &positives, &negatives, &log_q}));
    args.rows = {rows.data(), n, dim};
    if (!log_q.empty()) args.log_q = log_q.data();
    if (!positive_ids.empty()) args.positive_ids = positive_ids.data();
    if (!negative_ids.empty()) args.negative_ids = negative_ids.data();
    if (!item_ids.empty()) args.item_ids = item_ids.data();
  }
};

struct Answer {
  std::vector<float> row_losses, rows, positives, negatives;
  Outputs outputs;
  Status status;

  Answer(const Args& args, const char* variant)
      : row_losses(args.n()),
        rows(args.rows.size() + 1),  // one more: an empty vector's data may be null
        positives(args.positives.size() + 1),
        negatives(args.negatives.size() + 1) {
    outputs.row_losses = row_losses.data();
    outputs.row_gradient = rows.data();
    if (args.positives.data != nullptr) outputs.positive_gradient = positives.data();
    if (args.negatives.data != nullptr) outputs.negative_gradient = negatives.data();
    status = Run(variant, args, &outputs, CancelFlag());
  }
};

TEST(every_variant_answers_as_the_definition_does) {
  test::Fuzz(1000, [](Random& random) {
    const Case made(random, random.OneIn(5));
    const Answer want(made.args, "reference");
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      const Answer got(made.args, variant);
      test::ExpectSameCode(got.status, want.status);
      if (!want.status.ok() || !got.status.ok()) continue;
      EXPECT_EQ(got.outputs.counted_rows, want.outputs.counted_rows);
      // The logits' own rounding is what the results can be accurate to.
      const double logit = made.args.similarity == Similarity::kCosine
                               ? 1.0
                               : std::pow(test::Largest(made.rows), 2) * made.args.dim();
      const double tolerance = 1e-6 * (4 + logit / made.args.temperature);
      EXPECT_NEAR(got.outputs.loss, want.outputs.loss,
                  tolerance * (1 + std::fabs(want.outputs.loss)));
      test::ExpectClose(got.row_losses, want.row_losses, tolerance, tolerance);
      // The slopes of a cosine of very short rows do not fit single precision.
      if (made.kind == Values::kTiny) continue;
      test::ExpectClose(got.rows, want.rows, tolerance, tolerance);
      test::ExpectClose(got.positives, want.positives, tolerance, tolerance);
      test::ExpectClose(got.negatives, want.negatives, tolerance, tolerance);
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("contrastive_loss");
  test::Fuzz(20, [&](Random& random) {
    const Case made(random, false);
    const Answer got(made.args, nullptr), want(made.args, variant);
    EXPECT_OK(got.status);
    test::ExpectSameBits(got.row_losses, want.row_losses);
    test::ExpectSameBits(got.rows, want.rows);
    test::ExpectSameBits(got.positives, want.positives);
  });
}

// InfoNCE of dot products among n pairs, by plain loops in `Real`.
template <class Real>
std::vector<Real> Naive(const Args& args) {
  const size_t n = args.n(), dim = args.dim();
  std::vector<Real> gradient(n * dim);
  for (size_t i = 0; i < n; ++i) {
    std::vector<Real> logits(n);
    for (size_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < dim; ++k) {
        logits[j] += static_cast<Real>(args.rows.row(i)[k]) * args.positives.row(j)[k];
      }
      logits[j] /= args.temperature;
    }
    const Real top = *std::max_element(logits.begin(), logits.end());
    Real sum = 0;
    for (const Real logit : logits) sum += std::exp(logit - top);
    for (size_t j = 0; j < n; ++j) {
      const Real share = std::exp(logits[j] - top) / sum - (i == j ? 1 : 0);
      for (size_t k = 0; k < dim; ++k) {
        gradient[i * dim + k] +=
            share / (static_cast<Real>(n) * args.temperature) * args.positives.row(j)[k];
      }
    }
  }
  return gradient;
}

TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(10, [](Random& random) {
    const size_t n = 300, dim = 30 + random.Size(70);
    const std::vector<float> rows = random.Fill(n * dim, Values::kPlain);
    const std::vector<float> positives = random.Fill(n * dim, Values::kPlain);
    Args args;
    args.similarity = Similarity::kDot;
    args.temperature = 0.5f;
    args.rows = {rows.data(), n, dim};
    args.positives = {positives.data(), n, dim};
    const std::vector<float> naive = Naive<float>(args);
    const std::vector<double> exact = Naive<double>(args);
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      Answer got(args, variant);
      EXPECT_OK(got.status);
      got.rows.pop_back();
      test::ExpectAsAccurate(got.rows, naive, exact);
    }
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(50, [](Random& random) {
    const Case made(random, false);
    const Answer want(made.args, nullptr);
    EXPECT_TRUE(test::HoldsOnFourThreads([&] {
      const Answer got(made.args, nullptr);
      return test::SameBits(got.row_losses, want.row_losses) &&
             test::SameBits(got.rows, want.rows) &&
             test::SameBits(got.positives, want.positives) &&
             test::SameBits(got.negatives, want.negatives);
    }));
  });
}

}  // namespace
}  // namespace prismrec::contrastive_loss
