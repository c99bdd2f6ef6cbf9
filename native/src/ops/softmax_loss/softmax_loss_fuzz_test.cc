#include "ops/softmax_loss/softmax_loss.h"

#include <string>
#include <vector>

#include "fuzz.h"

namespace prismrec::softmax_loss {
namespace {

using test::Random;
using test::Values;

// Owns what Args points at.
struct Case {
  std::vector<float> interests, items, bias, offsets, log_q, target_log_q;
  std::vector<uint32_t> target_indptr, target_indices, mask_indptr, mask_indices, candidates;
  Args args;

  Case(Random& random, bool spoiled) {
    const size_t rows = random.OneIn(12) ? 0 : random.Size(40), per_row = 1 + random.Below(5);
    const size_t count = random.Size(300), dim = random.Size(70);
    const Values kind = random.Kind();
    interests = random.Fill(rows * per_row * dim, kind);
    items = random.Fill(count * dim, kind);
    if (random.OneIn(2)) bias = random.Fill(count, Values::kPlain);
    if (random.OneIn(2)) {
      offsets = random.Fill(rows * per_row, Values::kPlain);
      for (size_t p = 0; p < offsets.size(); ++p) {
        if (p % per_row == 0 || !random.OneIn(3)) continue;
        offsets[p] = -std::numeric_limits<float>::infinity();
        interests[p * dim] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    random.Sparse(rows, count, std::min(1.0f, 3.0f / static_cast<float>(count)), &target_indptr,
                  &target_indices);
    // Repeats of a target count.
    for (size_t t = 1; t < target_indices.size(); ++t) {
      if (random.OneIn(6) && target_indices[t - 1] <= target_indices[t]) {
        target_indices[t] = target_indices[t - 1];
      }
    }
    if (random.OneIn(2)) {
      random.Sparse(rows, count, random.Pick({0.1f, 0.9f, 1.0f}), &mask_indptr, &mask_indices);
    }
    if (random.OneIn(2)) {
      args.candidates_per_row = rows > 0 && random.OneIn(3);
      candidates.resize(args.candidates_per_row ? rows * random.Size(20) : random.Size(100));
      for (uint32_t& item : candidates) item = static_cast<uint32_t>(random.Below(count));
      if (random.OneIn(2)) log_q = random.Fill(candidates.size(), Values::kPlain);
      if (random.OneIn(2)) target_log_q = random.Fill(target_indices.size(), Values::kPlain);
    }
    if (spoiled) {
      random.Spoil(random.Pick({&interests, &items, &bias, &log_q, &target_log_q}));
    }
    target_indices.push_back(0);  // beyond the end: an empty vector's data may be null
    mask_indices.push_back(0);
    args.interests = {interests.data(), rows * per_row, dim};
    args.interests_per_row = per_row;
    args.items = {items.data(), count, dim};
    if (!bias.empty()) args.item_bias = bias.data();
    if (!offsets.empty()) args.offsets = offsets.data();
    args.targets = {target_indptr.data(), target_indices.data(), nullptr, rows, count};
    if (!mask_indptr.empty()) {
      args.mask = {mask_indptr.data(), mask_indices.data(), nullptr, rows, count};
    }
    args.readout = random.Pick({Readout::kLogSumExp, Readout::kMax});
    if (!candidates.empty()) args.candidates = candidates.data();
    args.candidate_count = candidates.size() / (args.candidates_per_row ? rows : 1);
    if (!log_q.empty()) args.log_q = log_q.data();
    if (!target_log_q.empty()) args.target_log_q = target_log_q.data();
  }
};

struct Answer {
  std::vector<float> row_losses, interests, offsets, items, bias;
  std::vector<uint32_t> ids;
  Outputs outputs;
  Status status;

  Answer(const Args& args, const char* variant) {
    const size_t rows = GradientRows(args);
    // One more: an empty vector's data may be null.
    row_losses.resize(args.rows() + 1);
    interests.resize(args.interests.size() + 1);
    offsets.resize(args.interests.rows + 1);
    items.resize(rows * args.dim() + 1);
    bias.resize(rows + 1);
    ids.resize(rows + 1);
    outputs.row_losses = row_losses.data();
    outputs.interest_gradient = interests.data();
    outputs.offset_gradient = offsets.data();
    outputs.item_gradient = items.data();
    outputs.bias_gradient = bias.data();
    outputs.item_ids = args.candidates == nullptr ? nullptr : ids.data();
    status = Run(variant, args, &outputs, CancelFlag());
    items.resize(outputs.gradient_rows * args.dim());
    bias.resize(outputs.gradient_rows);
    ids.resize(args.candidates == nullptr ? 0 : outputs.gradient_rows);
  }
};

// Whether two interests of a row give an item nearly the same logit, so that which one is the larger is up to rounding.
bool HasNearTies(const Args& args, double margin) {
  if (args.readout != Readout::kMax || args.interests_per_row == 1) return false;
  for (size_t r = 0; r < args.rows(); ++r) {
    for (size_t i = 0; i < args.items.rows; ++i) {
      std::vector<double> logits;
      for (size_t p = r * args.interests_per_row; p < (r + 1) * args.interests_per_row; ++p) {
        double logit = args.offsets == nullptr ? 0.0 : args.offsets[p];
        if (std::isinf(logit)) continue;
        for (size_t k = 0; k < args.dim(); ++k) {
          logit += double{args.interests.row(p)[k]} * args.items.row(i)[k];
        }
        logits.push_back(logit);
      }
      std::sort(logits.rbegin(), logits.rend());
      if (logits.size() > 1 && logits[0] - logits[1] <= margin) return true;
    }
  }
  return false;
}

TEST(every_variant_answers_as_the_definition_does) {
  test::Fuzz(1000, [](Random& random) {
    const Case made(random, random.OneIn(5));
    const Answer want(made.args, "reference");
    const double logit =
        test::Largest(made.items) * test::Largest(made.items) * made.args.dim() + 3;
    // A sampled loss may leave the value that is not finite unread; how accurate it is, others show.
    const bool readable = std::all_of(made.items.begin(), made.items.end(),
                                      [](float x) { return std::isfinite(x); });
    const bool ties = want.status.ok() && readable && HasNearTies(made.args, 1e-6 * logit);
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      const Answer got(made.args, variant);
      test::ExpectSameCode(got.status, want.status);
      if (!want.status.ok() || !got.status.ok() || !readable) continue;
      // The logits' own rounding is what the results can be accurate to.
      const double tolerance = 1e-6 * (4 + logit);
      EXPECT_EQ(got.outputs.counted_rows, want.outputs.counted_rows);
      EXPECT_NEAR(got.outputs.loss, want.outputs.loss,
                  tolerance * (1 + std::fabs(want.outputs.loss)));
      test::ExpectClose(got.row_losses, want.row_losses, tolerance, tolerance);
      test::ExpectClose(got.bias, want.bias, tolerance, tolerance);
      EXPECT_TRUE(got.ids == want.ids);
      if (ties) continue;
      test::ExpectClose(got.interests, want.interests, tolerance, tolerance);
      test::ExpectClose(got.offsets, want.offsets, tolerance, tolerance);
      test::ExpectClose(got.items, want.items, tolerance, tolerance);
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("softmax_loss");
  test::Fuzz(20, [&](Random& random) {
    const Case made(random, false);
    const Answer got(made.args, nullptr), want(made.args, variant);
    EXPECT_OK(got.status);
    test::ExpectSameBits(got.row_losses, want.row_losses);
    test::ExpectSameBits(got.interests, want.interests);
    test::ExpectSameBits(got.items, want.items);
  });
}

// One interest to a row, all items, one target: plain loops in `Real`.
template <class Real>
std::vector<Real> Naive(const Args& args) {
  const size_t rows = args.rows(), count = args.items.rows, dim = args.dim();
  std::vector<Real> gradient(rows * dim);
  for (size_t r = 0; r < rows; ++r) {
    std::vector<Real> logits(count);
    for (size_t i = 0; i < count; ++i) {
      for (size_t k = 0; k < dim; ++k) {
        logits[i] += static_cast<Real>(args.interests.row(r)[k]) * args.items.row(i)[k];
      }
    }
    const Real top = *std::max_element(logits.begin(), logits.end());
    Real sum = 0;
    for (const Real logit : logits) sum += std::exp(logit - top);
    for (size_t i = 0; i < count; ++i) {
      const Real target = args.targets.indices[r] == i ? 1 : 0;
      const Real share = (std::exp(logits[i] - top) / sum - target) / static_cast<Real>(rows);
      for (size_t k = 0; k < dim; ++k) gradient[r * dim + k] += share * args.items.row(i)[k];
    }
  }
  return gradient;
}

TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(10, [](Random& random) {
    const size_t rows = 40, count = 1500, dim = 30 + random.Size(70);
    const std::vector<float> interests = random.Fill(rows * dim, Values::kPlain);
    const std::vector<float> items = random.Fill(count * dim, Values::kPlain);
    std::vector<uint32_t> indptr(rows + 1), targets(rows);
    for (size_t r = 0; r < rows; ++r) {
      indptr[r + 1] = static_cast<uint32_t>(r + 1);
      targets[r] = static_cast<uint32_t>(random.Below(count));
    }
    Args args;
    args.interests = {interests.data(), rows, dim};
    args.items = {items.data(), count, dim};
    args.targets = {indptr.data(), targets.data(), nullptr, rows, count};
    const std::vector<float> naive = Naive<float>(args);
    const std::vector<double> exact = Naive<double>(args);
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      Answer got(args, variant);
      EXPECT_OK(got.status);
      got.interests.pop_back();
      test::ExpectAsAccurate(got.interests, naive, exact);
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
             test::SameBits(got.interests, want.interests) &&
             test::SameBits(got.items, want.items) && test::SameBits(got.bias, want.bias);
    }));
  });
}

}  // namespace
}  // namespace prismrec::softmax_loss
