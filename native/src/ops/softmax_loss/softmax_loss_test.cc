#include "ops/softmax_loss/softmax_loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "ops/softmax_loss/geometry.h"
#include "ops/softmax_loss/sweep.h"
#include "test_harness.h"

namespace prismrec::softmax_loss {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();

struct Shape {
  size_t rows, interests, items, dim;
  bool mask, bias, offsets;
  size_t candidates;  // 0: full
  Readout readout;
  float spread = 1.0f;
  bool per_row = false;  // candidates of each row's own
};

// Owns what Args points at.
struct Case {
  std::vector<float> interests, items, bias, offsets, log_q, target_log_q;
  std::vector<uint32_t> target_indptr{0}, target_indices, mask_indptr{0}, mask_indices, candidates;
  Args args;

  explicit Case(const Shape& shape, unsigned seed = 7) {
    std::mt19937 random(seed);
    const auto uniform = [&] { return static_cast<float>(random() >> 8) / (1 << 23) - 1.0f; };
    const auto fill = [&](std::vector<float>* values, size_t count, float scale) {
      values->resize(count);
      for (float& value : *values) value = uniform() * scale;
    };
    const size_t pairs = shape.rows * shape.interests;
    fill(&interests, pairs * shape.dim, shape.spread);
    fill(&items, shape.items * shape.dim, shape.spread);
    if (shape.bias) fill(&bias, shape.items, 1.0f);
    if (shape.offsets) {
      fill(&offsets, pairs, 1.0f);
      // The first interest of each row stays; the rest is absent one time in three, its vector
      // unreadable.
      for (size_t p = 0; p < pairs; ++p) {
        if (p % shape.interests == 0 || random() % 3 != 0) continue;
        offsets[p] = kAbsent;
        interests[p * shape.dim] = std::numeric_limits<float>::quiet_NaN();
      }
    }
    for (size_t r = 0; r < shape.rows; ++r) {
      // Row 1 has no target; others up to four, one of them perhaps twice.
      const size_t targets = r == 1 ? 0 : 1 + random() % 4;
      for (size_t t = 0; t < targets; ++t) target_indices.push_back(random() % shape.items);
      target_indptr.push_back(static_cast<uint32_t>(target_indices.size()));
      for (size_t m = 0; shape.mask && m < 5; ++m) mask_indices.push_back(random() % shape.items);
      mask_indptr.push_back(static_cast<uint32_t>(mask_indices.size()));
    }
    const size_t entries = shape.candidates * (shape.per_row ? shape.rows : 1);
    for (size_t s = 0; s < entries; ++s) candidates.push_back(random() % shape.items);
    if (shape.candidates > 0) {
      fill(&log_q, entries, 1.0f);
      fill(&target_log_q, target_indices.size(), 1.0f);
    }
    args.interests_per_row = shape.interests;
    args.readout = shape.readout;
    args.candidate_count = shape.candidates;
    args.candidates_per_row = shape.per_row;
    args.interests = {interests.data(), pairs, shape.dim};
    args.items = {items.data(), shape.items, shape.dim};
    args.targets = {target_indptr.data(), target_indices.data(), nullptr, shape.rows, shape.items};
    if (shape.mask)
      args.mask = {mask_indptr.data(), mask_indices.data(), nullptr, shape.rows, shape.items};
    if (shape.bias) args.item_bias = bias.data();
    if (shape.offsets) args.offsets = offsets.data();
    if (shape.candidates > 0) {
      args.candidates = candidates.data();
      args.log_q = log_q.data();
      args.target_log_q = target_log_q.data();
    }
  }
};

struct Answer {
  Outputs outputs;
  std::vector<float> row_losses, interests, offsets, items, bias;
  std::vector<uint32_t> ids;
  Status status;

  Answer(const Args& args, const char* variant, bool gradients = true,
         CancelFlag cancel = CancelFlag()) {
    row_losses.resize(args.rows());
    outputs.row_losses = row_losses.data();
    if (gradients) {
      const size_t rows = GradientRows(args);
      interests.resize(args.interests.size());
      offsets.resize(args.interests.rows);
      items.resize(rows * args.dim());
      bias.resize(rows);
      ids.resize(args.candidates == nullptr ? 0 : rows);
      outputs.interest_gradient = interests.data();
      outputs.offset_gradient = offsets.data();
      outputs.item_gradient = items.data();
      outputs.bias_gradient = bias.data();
      outputs.item_ids = ids.data();
    }
    status = Run(variant, args, &outputs, cancel);
    if (!gradients) return;
    items.resize(outputs.gradient_rows * args.dim());
    bias.resize(outputs.gradient_rows);
    if (args.candidates != nullptr) ids.resize(outputs.gradient_rows);
  }
};

double Largest(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(double{value}));
  return largest;
}

// Differences are measured against the largest entry: an entry is a sum of terms of that size that
// cancel.
void ExpectClose(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  EXPECT_EQ(got.size(), want.size());
  const double scale = Largest(want);
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    EXPECT_NEAR(got[i], want[i], tolerance * scale + 1e-6);
  }
}

void ExpectEqualBits(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  EXPECT_TRUE(got.size() != want.size() || got.empty() ||
              std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
}

std::string Describe(const Shape& s, const char* variant) {
  return std::string(variant) + " rows=" + std::to_string(s.rows) +
         " J=" + std::to_string(s.interests) + " N=" + std::to_string(s.items) +
         " d=" + std::to_string(s.dim) + " S=" + std::to_string(s.candidates) +
         (s.per_row ? " per row" : "") +
         (s.readout == Readout::kMax ? " max" : " lse");
}

// Of every instruction set of this architecture, whether the machine has it or not.
std::vector<const Spans*> AllSpans() {
  return {&kScalarSpans,
#if defined(PRISMREC_ARCH_X86)
          &kAvx2Spans, &kAvx512Spans
#elif defined(PRISMREC_ARCH_ARM64)
          &kNeonSpans
#endif
  };
}

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const Readout readout : {Readout::kLogSumExp, Readout::kMax}) {
    for (const size_t dim : {1, 3, 17, 64}) {
      if (test::Reduced() && (dim == 1 || dim == 17)) continue;
      for (const size_t items : {1, 7, 9, 66, 130}) {
        shapes.push_back({5, 1, items, dim, false, false, false, 0, readout});
        shapes.push_back({13, 3, items, dim, true, true, true, 0, readout});
        shapes.push_back({13, 3, items, dim, true, true, true, 11, readout});
        shapes.push_back({4, 2, items, dim, false, false, false, 1, readout});
        shapes.push_back({13, 3, items, dim, true, true, true, 11, readout, 1.0f, true});
      }
    }
    // Logits far beyond where exp overflows.
    shapes.push_back({9, 3, 50, 8, true, true, true, 0, readout, 12.0f});
    // Exponentials that wait for the maximum of more columns than pass together; so many interests
    // that a row's own columns are packed.
    shapes.push_back({20, 3, 1203, 16, true, true, true, 0, readout, 3.0f});
    shapes.push_back({3, 70, 1500, 5, true, true, true, 900, readout, 1.0f, true});
    // Several tiles, rounds and waves of a GPU; rows that its warps share, and rows larger than its tiles; wide vectors.
    shapes.push_back({40, 5, 300, 4, true, true, true, 0, readout});
    shapes.push_back({40, 5, 900, 4, true, true, true, 300, readout});
    shapes.push_back({40, 5, 30, 4, true, true, true, 20, readout, 1.0f, true});
    shapes.push_back({7, 25, 66, 5, true, true, true, 0, readout});
    shapes.push_back({3, 70, 130, 5, true, true, true, 0, readout});
    shapes.push_back({3, 70, 130, 5, true, true, true, 90, readout});
    shapes.push_back({9, 3, 70, 130, true, true, true, 0, readout});
    shapes.push_back({9, 3, 70, 300, true, true, true, 8, readout, 0.3f, true});
    if (test::Reduced()) continue;
    // Several blocks and chunks; then wide enough for several tiles and two sweeps.
    shapes.push_back({150, 5, 1003, 16, true, true, true, 0, readout});
    shapes.push_back({150, 5, 5003, 16, true, true, true, 700, readout});
    shapes.push_back({40, 4, 40001, 4, true, true, true, 0, readout});
    shapes.push_back({40, 4, 40001, 4, true, true, true, 0, readout, 4.0f});
    // Several waves of rows.
    shapes.push_back({23, 3, 900, 64, true, true, true, 8000, readout, 1.0f, true});
  }
  return shapes;
}

TEST(every_variant_agrees_with_the_definition_in_double_precision) {
  for (const Shape& shape : Shapes()) {
    const Case made(shape);
    const Answer want(made.args, "reference");
    for (const char* variant : RunnableVariants()) {
      test::SetContext(Describe(shape, variant));
      const Answer got(made.args, variant);
      EXPECT_OK(got.status);
      EXPECT_EQ(got.outputs.counted_rows, want.outputs.counted_rows);
      EXPECT_NEAR(got.outputs.loss, want.outputs.loss,
                  2e-6 * std::max(1.0, std::fabs(want.outputs.loss)));
      ExpectClose(got.row_losses, want.row_losses, 1e-5);
      ExpectClose(got.interests, want.interests, 1e-5);
      ExpectClose(got.offsets, want.offsets, 1e-5);
      ExpectClose(got.items, want.items, 1e-5);
      ExpectClose(got.bias, want.bias, 1e-5);
      EXPECT_TRUE(got.ids == want.ids);
    }
  }
}

TEST(without_gradients_the_losses_are_the_same_bits) {
  for (const size_t items : {1003, 40001}) {
    const Case made({40, 4, items, 8, true, true, true, 0, Readout::kLogSumExp});
    ExpectEqualBits(Answer(made.args, nullptr, false).row_losses,
                    Answer(made.args, nullptr).row_losses);
  }
}

TEST(the_same_input_gives_the_same_bits_with_and_without_gradients) {
  for (const size_t candidates : {0, 60, 61}) {
    const Readout readout = candidates == 60 ? Readout::kLogSumExp : Readout::kMax;
    const Case made({30, 3, 150, 8, true, true, true, candidates, readout, 1.0f, candidates == 61});
    for (const char* variant : RunnableVariants()) {
      test::SetContext(variant);
      const Answer first(made.args, variant);
      const Answer second(made.args, variant);
      ExpectEqualBits(Answer(made.args, variant, false).row_losses, first.row_losses);
      ExpectEqualBits(second.row_losses, first.row_losses);
      ExpectEqualBits(second.interests, first.interests);
      ExpectEqualBits(second.offsets, first.offsets);
      ExpectEqualBits(second.items, first.items);
      ExpectEqualBits(second.bias, first.bias);
    }
  }
}

TEST(the_bits_do_not_depend_on_the_number_of_threads) {
  const int before = ThreadPool::Global().threads();
  constexpr auto kSum = Readout::kLogSumExp;
  // Exponentials kept, near 0 and not; computed twice; rows with candidates of their own.
  const Shape shapes[] = {{200, 4, 900, 16, true, true, true, 0, kSum},
                          {200, 4, 900, 16, true, true, true, 0, Readout::kMax, 6.0f},
                          {30, 4, 40001, 4, true, true, true, 0, kSum, 6.0f},
                          {200, 4, 900, 16, true, true, true, 300, kSum},
                          {200, 4, 900, 16, true, true, true, 300, kSum, 6.0f},
                          {200, 4, 900, 16, true, true, true, 300, kSum, 1.0f, true}};
  for (const Shape& shape : shapes) {
    const Case made(shape);
    for (const char* variant : RunnableVariants()) {
      // Those that use the pool: a GPU has threads of its own.
      if (std::string(variant) == "reference" || std::string(variant) == "cuda") continue;
      test::SetContext(Describe(shape, variant));
      ThreadPool::Global().SetThreads(1);
      const Answer one(made.args, variant);
      for (const int threads : {2, 3, 8}) {
        ThreadPool::Global().SetThreads(threads);
        const Answer many(made.args, variant);
        EXPECT_EQ(many.outputs.loss, one.outputs.loss);
        ExpectEqualBits(many.row_losses, one.row_losses);
        ExpectEqualBits(many.interests, one.interests);
        ExpectEqualBits(many.offsets, one.offsets);
        ExpectEqualBits(many.items, one.items);
        ExpectEqualBits(many.bias, one.bias);
      }
    }
  }
  ThreadPool::Global().SetThreads(before);
}

// The plan reads no vectors, so that catalogs of any size can be asked about.
TEST(at_the_shapes_of_training_there_is_work_for_48_threads) {
  struct Training {
    size_t rows, items, candidates;
    bool per_row;
  };
  const Training shapes[] = {{640, 10000, 0, false},      {640, 20000, 0, false},
                             {640, 100000, 0, false},     {640, 1000000, 0, false},
                             {128, 10000, 1280, false},   {128, 100000, 1280, false},
                             {128, 1000000, 1280, false}, {256, 100000, 2560, false},
                             {640, 200000, 2048, false},  {128, 100000, 100, true}};
  constexpr size_t kInterests = 4, kDim = 64;
  for (const Training& shape : shapes) {
    std::mt19937 random(1);
    std::vector<uint32_t> indptr(shape.rows + 1), targets(shape.rows);
    for (uint32_t r = 0; r <= shape.rows; ++r) indptr[r] = r;
    for (uint32_t& item : targets) item = random() % shape.items;
    std::vector<uint32_t> candidates(shape.candidates * (shape.per_row ? shape.rows : 1));
    for (uint32_t& item : candidates) item = random() % shape.items;
    Args args;
    args.interests = {nullptr, shape.rows * kInterests, kDim};
    args.interests_per_row = kInterests;
    args.items = {nullptr, shape.items, kDim};
    args.targets = {indptr.data(), targets.data(), nullptr, shape.rows, shape.items};
    if (shape.candidates > 0) args.candidates = candidates.data();
    args.candidate_count = shape.candidates;
    args.candidates_per_row = shape.per_row;
    const Plan plan = MakePlan(args);
    for (const Spans* spans : AllSpans()) {
      const Work work =
          shape.per_row
              ? WorkOf(MakeOwnGeometry(plan, kDim), plan, kDim)
              : WorkOf(MakeGeometry(*spans->kernel, plan), plan, kDim, shape.candidates > 0);
      test::SetContext(std::to_string(shape.rows) + " x 4 x " + std::to_string(shape.items) +
                       " S=" + std::to_string(shape.candidates) + " tiles of " +
                       std::to_string(spans->kernel->mr));
      EXPECT_GE(work.Width(), 48.0);
    }
  }
}

// The reference's gradients against central differences of its own loss, which is in double
// precision.
TEST(the_definitions_gradients_are_the_slopes_of_its_loss) {
  for (const Readout readout : {Readout::kLogSumExp, Readout::kMax}) {
    for (const size_t candidates : {0, 6, 7}) {
      Case made({6, 3, 12, 5, true, true, true, candidates, readout, 1.0f, candidates == 7});
      const Answer at(made.args, "reference");
      const auto slope = [&](float* value) {
        const float kept = *value;
        const float step = 1.0f / 1024;
        *value = kept + step;
        const double above = *value;
        const double high = Answer(made.args, "reference", false).outputs.loss;
        *value = kept - step;
        const double below = *value;
        const double low = Answer(made.args, "reference", false).outputs.loss;
        *value = kept;
        return (high - low) / (above - below);
      };
      for (size_t p = 0; p < made.offsets.size(); ++p) {
        if (made.offsets[p] == kAbsent) {
          EXPECT_EQ(at.offsets[p], 0.0f);
          continue;
        }
        EXPECT_NEAR(at.offsets[p], slope(&made.offsets[p]), 2e-6);
        EXPECT_NEAR(at.interests[p * 5 + 2], slope(&made.interests[p * 5 + 2]), 2e-6);
      }
      for (size_t slot = 0; slot < at.bias.size(); ++slot) {
        const size_t item = candidates == 0 ? slot : at.ids[slot];
        EXPECT_NEAR(at.bias[slot], slope(&made.bias[item]), 2e-6);
        EXPECT_NEAR(at.items[slot * 5 + 3], slope(&made.items[item * 5 + 3]), 2e-6);
      }
    }
  }
}

TEST(one_row_two_items_gives_the_logistic_loss) {
  const float interests[] = {1.0f};
  const float items[] = {0.0f, 2.0f};
  const uint32_t indptr[] = {0, 1};
  const uint32_t target[] = {0};
  Args args;
  args.interests = {interests, 1, 1};
  args.items = {items, 2, 1};
  args.targets = {indptr, target, nullptr, 1, 2};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Answer answer(args, variant);
    EXPECT_NEAR(answer.outputs.loss, 2.1269280110429727, 1e-6);  // log(1 + e^2)
    EXPECT_NEAR(answer.bias[1], 0.8807970779778823, 1e-6);       // 1 / (1 + e^-2)
    EXPECT_NEAR(answer.bias[0], -0.8807970779778823, 1e-6);
    EXPECT_NEAR(answer.interests[0], 1.7615941559557646, 1e-6);
  }
}

TEST(rows_with_the_same_candidates_of_their_own_lose_what_rows_that_share_them_lose) {
  for (const Readout readout : {Readout::kLogSumExp, Readout::kMax}) {
    const Case shared({9, 3, 40, 8, true, true, true, 12, readout});
    Case own = shared;
    own.candidates.clear();
    own.log_q.clear();
    for (size_t r = 0; r < 9; ++r) {
      own.candidates.insert(own.candidates.end(), shared.candidates.begin(),
                            shared.candidates.end());
      own.log_q.insert(own.log_q.end(), shared.log_q.begin(), shared.log_q.end());
    }
    own.args.candidates_per_row = true;
    own.args.candidates = own.candidates.data();
    own.args.log_q = own.log_q.data();
    const Answer want(shared.args, nullptr);
    const Answer got(own.args, nullptr);
    EXPECT_OK(got.status);
    ExpectClose(got.row_losses, want.row_losses, 1e-5);
    ExpectClose(got.interests, want.interests, 1e-5);
    ExpectClose(got.offsets, want.offsets, 1e-5);
    ExpectClose(got.items, want.items, 1e-5);
    ExpectClose(got.bias, want.bias, 1e-5);
    EXPECT_TRUE(got.ids == want.ids);
  }
}

TEST(what_is_not_finite_is_a_typed_error) {
  const Shape shape{4, 2, 9, 5, false, true, false, 0, Readout::kLogSumExp};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const int where : {0, 1, 2}) {
        Case made(shape);
        (where == 0 ? made.interests[3] : where == 1 ? made.items[7] : made.bias[8]) = bad;
        EXPECT_TRUE(Answer(made.args, variant).status.code == StatusCode::kNonFinite);
        EXPECT_TRUE(Answer(made.args, variant, false).status.code == StatusCode::kNonFinite);
      }
    }
    for (const bool target : {false, true}) {
      Case sampled({4, 2, 9, 5, false, true, false, 6, Readout::kLogSumExp});
      const uint32_t item = target ? sampled.target_indices[0] : sampled.candidates[2];
      sampled.items[item * 5 + 4] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_TRUE(Answer(sampled.args, variant).status.code == StatusCode::kNonFinite);
    }
    if (std::string(variant) == "reference") continue;  // what follows fits double precision
    Case huge(shape);
    for (float& value : huge.interests) value = 1e30f;
    for (float& value : huge.items) value = 1e30f;
    EXPECT_TRUE(Answer(huge.args, variant).status.code == StatusCode::kNonFinite);
  }
}

TEST(bad_indices_and_rows_without_interest_are_typed_errors) {
  const Shape shape{4, 2, 9, 5, true, false, true, 3, Readout::kLogSumExp};
  {
    Case made(shape);
    made.target_indices[0] = 9;
    EXPECT_TRUE(Answer(made.args, nullptr).status.code == StatusCode::kInvalidArgument);
  }
  {
    Case made(shape);
    made.mask_indices[4] = 12;
    EXPECT_TRUE(Answer(made.args, nullptr).status.code == StatusCode::kInvalidArgument);
  }
  {
    Case made(shape);
    made.candidates[2] = 9;
    EXPECT_TRUE(Answer(made.args, nullptr).status.code == StatusCode::kInvalidArgument);
  }
  {
    Case made({4, 2, 9, 5, true, false, true, 3, Readout::kLogSumExp, 1.0f, true});
    made.candidates[11] = 9;
    EXPECT_TRUE(Answer(made.args, nullptr).status.code == StatusCode::kInvalidArgument);
  }
  {
    Case made(shape);
    made.offsets[4] = made.offsets[5] = kAbsent;
    EXPECT_TRUE(Answer(made.args, nullptr).status.code == StatusCode::kInvalidArgument);
  }
  Case made(shape);
  EXPECT_TRUE(Answer(made.args, "abacus").status.code == StatusCode::kDeviceUnavailable);
}

TEST(a_cancelled_call_says_so) {
  const Case made({100, 2, 500, 8, false, false, false, 0, Readout::kLogSumExp});
  const int32_t slot = 1;
  for (const char* variant : RunnableVariants()) {
    EXPECT_TRUE(Answer(made.args, variant, true, CancelFlag(&slot)).status.code ==
                StatusCode::kCancelled);
  }
}

TEST(no_rows_cost_nothing_and_count_for_nothing) {
  const float item = 1.0f;
  const uint32_t indptr[] = {0};
  Args args;
  args.interests = {nullptr, 0, 1};
  args.items = {&item, 1, 1};
  args.targets = {indptr, nullptr, nullptr, 0, 1};
  for (const char* variant : RunnableVariants()) {
    const Answer answer(args, variant);
    EXPECT_OK(answer.status);
    EXPECT_EQ(answer.outputs.loss, 0.0);
    EXPECT_EQ(answer.items[0], 0.0f);
  }
}

}  // namespace
}  // namespace prismrec::softmax_loss
