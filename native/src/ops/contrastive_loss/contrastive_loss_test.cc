#include "ops/contrastive_loss/contrastive_loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "fuzz.h"
#include "gemm/gemm.h"
#include "ops/contrastive_loss/plan.h"
#include "test_harness.h"

namespace prismrec::contrastive_loss {
namespace {

struct Shape {
  Kind kind;
  size_t n, dim;
  Similarity similarity;
  float temperature;
  Reduction reduction = Reduction::kMean;
  // InfoNCE
  size_t negatives = 0;
  bool log_q = false, ids = false, symmetric = false;
  // Supervised
  size_t groups = 1;
  int labels = 3;
  Scope scope = Scope::kGroup;
};

// Owns what Args points at.
struct Case {
  std::vector<float> rows, positives, negatives, log_q;
  std::vector<uint32_t> positive_ids, negative_ids, item_ids;
  std::vector<int32_t> groups, labels;
  Args args;

  explicit Case(const Shape& shape, unsigned seed = 5) {
    std::mt19937 random(seed);
    const auto fill = [&](std::vector<float>* values, size_t count) {
      values->resize(count);
      for (float& value : *values) value = static_cast<float>(random() >> 8) / (1 << 23) - 1.0f;
    };
    const auto pick = [&](std::vector<uint32_t>* values, size_t count) {
      for (size_t i = 0; i < count; ++i) values->push_back(random() % (shape.n / 2 + 1));
    };
    args.kind = shape.kind;
    args.similarity = shape.similarity;
    args.temperature = shape.temperature;
    args.reduction = shape.reduction;
    fill(&rows, shape.n * shape.dim);
    args.rows = {rows.data(), shape.n, shape.dim};
    if (shape.kind == Kind::kInfoNce) {
      fill(&positives, shape.n * shape.dim);
      args.positives = {positives.data(), shape.n, shape.dim};
      args.symmetric = shape.symmetric;
      if (shape.negatives > 0) {
        fill(&negatives, shape.negatives * shape.dim);
        args.negatives = {negatives.data(), shape.negatives, shape.dim};
      }
      if (shape.log_q) {
        fill(&log_q, shape.n + shape.negatives);
        args.log_q = log_q.data();
      }
      if (shape.ids) {
        pick(&positive_ids, shape.n);
        pick(&negative_ids, shape.negatives);
        args.positive_ids = positive_ids.data();
        if (shape.negatives > 0) args.negative_ids = negative_ids.data();
      }
      return;
    }
    for (size_t i = 0; i < shape.n; ++i) {
      groups.push_back(static_cast<int32_t>(random() % shape.groups) * 10 - 15);
      labels.push_back(static_cast<int32_t>(random() % (shape.labels + 1)) - 1);
    }
    if (shape.ids) {
      pick(&item_ids, shape.n);
      args.item_ids = item_ids.data();
    }
    args.groups = groups.data();
    args.labels = labels.data();
    args.scope = shape.scope;
  }
};

struct Answer {
  Outputs outputs;
  std::vector<float> row_losses, rows, positives, negatives;
  Status status;

  Answer(const Args& args, const char* variant, bool gradients = true,
         CancelFlag cancel = CancelFlag()) {
    row_losses.resize(args.n());
    outputs.row_losses = row_losses.data();
    if (gradients) {
      rows.resize(args.rows.size());
      positives.resize(args.positives.size());
      negatives.resize(args.negatives.size());
      outputs.row_gradient = rows.data();
      if (args.positives.data != nullptr) outputs.positive_gradient = positives.data();
      if (args.negatives.data != nullptr) outputs.negative_gradient = negatives.data();
    }
    status = Run(variant, args, &outputs, cancel);
  }
};

// Differences are measured against the largest entry: an entry is a sum of terms of that size that
// cancel.
void ExpectClose(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
  double scale = 0;
  for (const float value : want) scale = std::max(scale, std::fabs(double{value}));
  EXPECT_EQ(got.size(), want.size());
  for (size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    EXPECT_NEAR(got[i], want[i], tolerance * scale + 1e-6);
  }
}

void ExpectEqualBits(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_TRUE(
      got.size() == want.size() &&
      (got.empty() || std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0));
}

std::string Describe(const Shape& s, const char* variant) {
  return std::string(variant) + (s.kind == Kind::kInfoNce ? " pairs" : " supervised") +
         " n=" + std::to_string(s.n) + " d=" + std::to_string(s.dim) +
         " m=" + std::to_string(s.negatives) + " groups=" + std::to_string(s.groups);
}

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const Similarity similarity : {Similarity::kCosine, Similarity::kDot}) {
    for (const size_t n : {1, 3, 7, 9, 17, 66, 130}) {
      for (const size_t dim : {1, 5, 16, 67}) {
        const auto add = [&](Shape shape) {
          shape.n = n;
          shape.dim = dim;
          shape.similarity = similarity;
          shape.temperature = 0.5f;
          shapes.push_back(shape);
        };
        Shape pairs{};
        pairs.kind = Kind::kInfoNce;
        add(pairs);
        pairs.negatives = 5;
        pairs.log_q = pairs.ids = pairs.symmetric = true;
        pairs.reduction = Reduction::kSum;
        add(pairs);
        Shape groups{};
        groups.kind = Kind::kSupervised;
        groups.groups = 3;
        add(groups);
        groups.scope = Scope::kBatch;
        groups.ids = true;
        groups.reduction = Reduction::kNone;
        add(groups);
      }
    }
    // Similarities over the temperature far beyond where exp overflows.
    shapes.push_back(
        {Kind::kInfoNce, 30, 8, similarity, 0.004f, Reduction::kMean, 7, false, true, true});
    shapes.push_back({Kind::kSupervised, 60, 8, similarity, 0.004f, Reduction::kMean, 0, false,
                      false, false, 2, 4});
    if (test::Reduced()) continue;
    // The largest logits far beyond those of any one tile of columns.
    shapes.push_back(
        {Kind::kInfoNce, 250, 18, similarity, 0.004f, Reduction::kMean, 6000, false, true, false});
    // Several panels and tiles; many columns, several tiles a task; blocks of two, three, four and
    // five tiles; where one number serves all exponentials and where none does.
    for (const float temperature : {0.2f, 0.02f}) {
      shapes.push_back({Kind::kInfoNce, 700, 12, similarity, temperature, Reduction::kMean, 100,
                        true, true, true});
      shapes.push_back({Kind::kInfoNce, 40, 3, similarity, temperature, Reduction::kMean, 40000,
                        true, true, false});
      for (const size_t n : {250, 530, 700}) {
        shapes.push_back({Kind::kSupervised, n, 12, similarity, temperature, Reduction::kMean, 0,
                          false, true, false, 2, 4});
        shapes.push_back({Kind::kSupervised, n, 12, similarity, temperature, Reduction::kMean, 0,
                          false, true, false, 9, 4, Scope::kBatch});
      }
    }
  }
  return shapes;
}

TEST(every_variant_agrees_with_the_definition_in_double_precision) {
  for (const Shape& shape : Shapes()) {
    const Case made(shape);
    const Answer want(made.args, "reference");
    EXPECT_OK(want.status);
    // The logits' own rounding, about 1e-7 of the largest, is what the results can be accurate to;
    // and a gradient is a sum in single precision over all columns.
    const double tolerance = shape.temperature < 0.1f  ? 2e-4
                             : shape.negatives > 10000 ? 1e-4
                                                       : 1e-5;
    for (const char* variant : RunnableVariants()) {
      test::SetContext(Describe(shape, variant));
      const Answer got(made.args, variant);
      EXPECT_OK(got.status);
      EXPECT_EQ(got.outputs.counted_rows, want.outputs.counted_rows);
      EXPECT_NEAR(got.outputs.loss, want.outputs.loss,
                  tolerance * std::max(1.0, std::fabs(want.outputs.loss)));
      ExpectClose(got.row_losses, want.row_losses, tolerance);
      ExpectClose(got.rows, want.rows, tolerance);
      ExpectClose(got.positives, want.positives, tolerance);
      ExpectClose(got.negatives, want.negatives, tolerance);
    }
  }
}

TEST(without_gradients_the_losses_are_the_same_bits) {
  for (const Shape& shape : Shapes()) {
    const Case made(shape);
    ExpectEqualBits(Answer(made.args, nullptr, false).row_losses,
                    Answer(made.args, nullptr).row_losses);
  }
}

TEST(the_bits_do_not_depend_on_the_number_of_threads) {
  const int before = ThreadPool::Global().threads();
  Shape pairs{Kind::kInfoNce, 900, 16, Similarity::kCosine, 0.2f};
  pairs.negatives = 50;
  pairs.symmetric = pairs.ids = true;
  Shape groups{Kind::kSupervised, 900, 16, Similarity::kCosine, 0.2f};
  groups.groups = 14;
  // Some groups of several tiles, some of one.
  Shape uneven = groups;
  uneven.groups = 3;
  Shape batch = groups;
  batch.scope = Scope::kBatch;
  batch.ids = true;
  Shape many_tiles{Kind::kInfoNce, 250, 16, Similarity::kCosine, 0.02f};
  many_tiles.negatives = 5000;
  // Enough tiles for rounds that go together, and for one that is cut.
  Shape rounds{Kind::kSupervised, 2800, 8, Similarity::kDot, 0.2f};
  rounds.scope = Scope::kBatch;
  Shape far = groups, far_rounds = rounds;
  far.temperature = far_rounds.temperature = 0.02f;
  far_rounds.n = 1800;
  for (const Shape& shape :
       {pairs, groups, uneven, batch, many_tiles, rounds, far, far_rounds}) {
    if (test::Reduced() && shape.n > 1000) continue;
    const Case made(shape);
    for (const char* variant : RunnableVariants()) {
      // Those that use the pool: a GPU has threads of its own.
      if (std::string(variant) == "reference" || std::string(variant) == "cuda") continue;
      test::SetContext(std::to_string(shape.n) + " rows, " + variant);
      ThreadPool::Global().SetThreads(1);
      const Answer one(made.args, variant);
      EXPECT_OK(one.status);
      for (const int threads : {2, 3, 8}) {
        ThreadPool::Global().SetThreads(threads);
        const Answer many(made.args, variant);
        EXPECT_EQ(many.outputs.loss, one.outputs.loss);
        ExpectEqualBits(many.row_losses, one.row_losses);
        ExpectEqualBits(many.rows, one.rows);
        ExpectEqualBits(many.positives, one.positives);
        ExpectEqualBits(many.negatives, one.negatives);
      }
    }
  }
  test::SetContext("");
  ThreadPool::Global().SetThreads(before);
}

TEST(there_is_work_for_48_threads_at_the_shapes_of_training) {
  for (const auto& variant : gemm::kVariants) {
    const gemm::Kernel& kernel = *variant.fn;
    for (const size_t n : {4096, 16384}) {
      for (const size_t dim : {64, 128}) {
        test::SetContext(std::to_string(n) + " x " + std::to_string(dim) + ", " + variant.name);
        EXPECT_GE(WorkOf(PairPlan(kernel, n, n, dim), dim).Width(), 48.0);
        EXPECT_GE(WorkOf(RowPlan(kernel, n, {{0, n}}), dim).Width(), 48.0);
      }
    }
    test::SetContext(std::string("16 groups of 64, ") + variant.name);
    std::vector<Range> groups;
    for (size_t group = 0; group < 16; ++group) groups.push_back({group * 64, group * 64 + 64});
    EXPECT_GE(WorkOf(RowPlan(kernel, 1024, groups), 64).Width(), 48.0);
  }
  test::SetContext("");
}

// Every pair of tiles is met once, and no sum has two tasks in a loop.
TEST(every_sum_of_the_labelled_rows_has_one_task_at_a_time) {
  for (const auto& variant : gemm::kVariants) {
    for (const size_t n : {100, 500, 1000, 2100, 4096, 9000}) {
      const std::vector<Range> blocks = {{0, n}, {n, n + 30}, {n + 30, n + 30 + n / 2}};
      const size_t rows = n + 30 + n / 2;
      const RowPlan plan(*variant.fn, rows, blocks);
      test::SetContext(std::to_string(n) + ", " + variant.name);
      double met = 0, owed = 0;
      for (const Range& block : blocks) {
        const auto size = static_cast<double>(block.size());
        if (block.size() > plan.tile) owed += size * size;
      }
      for (const std::vector<RowPlan::Pair>& loop : plan.loops) {
        std::vector<uint8_t> owners(2 * plan.sets * rows);
        const auto claim = [&](const Range& range, size_t sums) {
          for (size_t row = range.begin; row < range.end; ++row) ++owners[sums * rows + row];
        };
        for (const RowPlan::Pair& pair : loop) {
          EXPECT_LT(pair.set, plan.sets);
          claim(pair.rows, 2 * pair.set);
          if (!pair.diagonal()) claim(pair.columns, 2 * pair.set + 1);
          met += static_cast<double>(pair.rows.size()) * static_cast<double>(pair.columns.size()) *
                 (pair.diagonal() ? 1 : 2);
        }
        EXPECT_TRUE(*std::max_element(owners.begin(), owners.end()) <= 1);
      }
      EXPECT_EQ(met, owed);
    }
  }
  test::SetContext("");
}

// The reference's gradients against central differences of its own loss, which is in double
// precision.
TEST(the_definitions_gradients_are_the_slopes_of_its_loss) {
  for (const Similarity similarity : {Similarity::kCosine, Similarity::kDot}) {
    Shape pairs{Kind::kInfoNce, 6, 4, similarity, 0.5f};
    pairs.negatives = 3;
    pairs.log_q = pairs.ids = pairs.symmetric = true;
    Shape groups{Kind::kSupervised, 9, 4, similarity, 0.5f};
    groups.groups = groups.labels = 2;
    Shape batch = groups;
    batch.scope = Scope::kBatch;
    batch.ids = true;
    for (const Shape& shape : {pairs, groups, batch}) {
      Case made(shape);
      const Answer at(made.args, "reference");
      const auto check = [&](std::vector<float>* values, const std::vector<float>& gradient) {
        for (size_t i = 0; i < values->size(); ++i) {
          const float kept = (*values)[i];
          const float step = 1.0f / 4096;
          (*values)[i] = kept + step;
          const double above = (*values)[i];
          const double high = Answer(made.args, "reference", false).outputs.loss;
          (*values)[i] = kept - step;
          const double below = (*values)[i];
          const double low = Answer(made.args, "reference", false).outputs.loss;
          (*values)[i] = kept;
          EXPECT_NEAR(gradient[i], (high - low) / (above - below), 1e-5);
        }
      };
      check(&made.rows, at.rows);
      check(&made.positives, at.positives);
      check(&made.negatives, at.negatives);
    }
  }
}

TEST(two_orthogonal_pairs_give_the_loss_worked_out_by_hand) {
  // Row i is [1, 0] or [0, 1] and its own positive: logits 1 and 0, loss log(1 + 1/e).
  const float rows[] = {2, 0, 0, 3};
  Args args;
  args.temperature = 1.0f;
  args.rows = {rows, 2, 2};
  args.positives = {rows, 2, 2};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    for (const bool symmetric : {false, true}) {
      args.symmetric = symmetric;
      EXPECT_NEAR(Answer(args, variant).outputs.loss, 0.31326168751822286, 1e-6);
    }
  }
}

// The gradient of the summed supervised loss of one group of unit rows, by plain loops in `Real`.
template <class Real>
std::vector<Real> PlainGradient(const Args& args) {
  const size_t n = args.n(), dim = args.dim();
  std::vector<Real> gradient(n * dim), logits(n);
  for (size_t i = 0; i < n; ++i) {
    Real top = -std::numeric_limits<Real>::infinity(), sum = 0, positives = 0;
    for (size_t j = 0; j < n; ++j) {
      logits[j] = 0;
      for (size_t k = 0; k < dim; ++k) {
        logits[j] += static_cast<Real>(args.rows.row(i)[k]) * args.rows.row(j)[k];
      }
      logits[j] /= args.temperature;
      if (j == i) continue;
      top = std::max(top, logits[j]);
      positives += args.labels[j] == args.labels[i] ? 1 : 0;
    }
    if (positives == 0) continue;
    for (size_t j = 0; j < n; ++j) sum += j == i ? 0 : std::exp(logits[j] - top);
    for (size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      const Real share = std::exp(logits[j] - top) / sum -
                         (args.labels[j] == args.labels[i] ? 1 / positives : 0);
      for (size_t k = 0; k < dim; ++k) {
        gradient[i * dim + k] += share / args.temperature * args.rows.row(j)[k];
        gradient[j * dim + k] += share / args.temperature * args.rows.row(i)[k];
      }
    }
  }
  return gradient;
}

// One number serves all exponentials at temperature 0.05, none does at 0.02.
TEST(supervised_gradients_err_at_most_twice_as_much_as_plain_loops_in_the_same_precision) {
  for (const float temperature : {0.05f, 0.02f}) {
    Shape shape{Kind::kSupervised, 330, 24, Similarity::kDot, temperature, Reduction::kSum};
    shape.labels = 60;
    Case made(shape);
    for (size_t i = 0; i < shape.n; ++i) {
      float* const row = &made.rows[i * shape.dim];
      float squares = 0;
      for (size_t k = 0; k < shape.dim; ++k) squares += row[k] * row[k];
      for (size_t k = 0; k < shape.dim; ++k) row[k] /= std::sqrt(squares);
      made.labels[i] += 1;
    }
    const std::vector<float> naive = PlainGradient<float>(made.args);
    const std::vector<double> exact = PlainGradient<double>(made.args);
    for (const char* variant : RunnableVariants()) {
      test::SetContext(variant + std::string(" ") + std::to_string(temperature));
      test::ExpectAsAccurate(Answer(made.args, variant).rows, naive, exact);
    }
  }
}

TEST(pairs_that_have_converged_keep_the_little_that_is_left) {
  // Orthogonal rows at temperature 1/20: 3 exp(-20) is far below what rounding takes off 1.
  std::vector<float> rows(16);
  for (size_t i = 0; i < 4; ++i) rows[5 * i] = 1;
  Args args;
  args.similarity = Similarity::kDot;
  args.temperature = 0.05f;
  args.rows = args.positives = {rows.data(), 4, 4};
  const double rest = 3 * std::exp(-20.0);
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Answer answer(args, variant);
    EXPECT_NEAR(answer.outputs.loss / rest, 1.0, 1e-5);
    EXPECT_NEAR(answer.rows[0] / (-rest * 20 / 4), 1.0, 1e-5);
    EXPECT_NEAR(answer.positives[0] / (-rest * 20 / 4), 1.0, 1e-5);
  }
}

TEST(a_row_of_length_zero_has_cosine_zero_and_no_gradient) {
  const float rows[] = {0, 0, 0, 1};
  const float positives[] = {1, 0, 0, 1};
  Args args;
  args.temperature = 1.0f;
  args.rows = {rows, 2, 2};
  args.positives = {positives, 2, 2};
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Answer answer(args, variant);
    EXPECT_NEAR(answer.row_losses[0], 0.6931471805599453,
                1e-6);  // log 2: both candidates look alike
    EXPECT_EQ(answer.rows[0], 0.0f);
    EXPECT_EQ(answer.rows[1], 0.0f);
  }
}

TEST(rows_too_small_or_too_large_to_square_still_have_a_direction) {
  for (const float size : {1e-30f, 1e30f}) {
    const float rows[] = {size, 0, 0, size};
    Args args;
    args.temperature = 1.0f;
    args.rows = {rows, 2, 2};
    args.positives = {rows, 2, 2};
    for (const char* variant : RunnableVariants()) {
      test::SetContext(variant);
      EXPECT_NEAR(Answer(args, variant, false).outputs.loss, 0.31326168751822286, 1e-6);
    }
  }
}

TEST(what_is_not_finite_is_a_typed_error) {
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const Kind kind : {Kind::kInfoNce, Kind::kSupervised}) {
        Case made({kind, 9, 5, Similarity::kCosine, 0.5f});
        made.rows[13] = bad;
        EXPECT_TRUE(Answer(made.args, variant).status.code == StatusCode::kNonFinite);
        EXPECT_TRUE(Answer(made.args, variant, false).status.code == StatusCode::kNonFinite);
      }
    }
    if (std::string(variant) == "reference") continue;  // what follows fits double precision
    Case huge({Kind::kInfoNce, 4, 5, Similarity::kDot, 0.5f});
    for (float& value : huge.rows) value = 1e30f;
    for (float& value : huge.positives) value = 1e30f;
    EXPECT_TRUE(Answer(huge.args, variant).status.code == StatusCode::kNonFinite);
  }
}

TEST(a_cancelled_call_says_so) {
  const int32_t slot = 1;
  for (const Kind kind : {Kind::kInfoNce, Kind::kSupervised}) {
    const Case made({kind, 30, 5, Similarity::kCosine, 0.5f});
    for (const char* variant : RunnableVariants()) {
      EXPECT_TRUE(Answer(made.args, variant, true, CancelFlag(&slot)).status.code ==
                  StatusCode::kCancelled);
    }
  }
}

TEST(no_rows_and_no_labels_cost_nothing_and_count_for_nothing) {
  for (const char* variant : RunnableVariants()) {
    test::SetContext(variant);
    const Case none({Kind::kInfoNce, 0, 3, Similarity::kCosine, 0.5f});
    const Answer empty(none.args, variant);
    EXPECT_OK(empty.status);
    EXPECT_EQ(empty.outputs.loss, 0.0);
    Case unlabelled({Kind::kSupervised, 8, 3, Similarity::kCosine, 0.5f});
    for (int32_t& label : unlabelled.labels) label = -1;
    const Answer silent(unlabelled.args, variant);
    EXPECT_OK(silent.status);
    EXPECT_EQ(silent.outputs.counted_rows, size_t{0});
    EXPECT_EQ(silent.outputs.loss, 0.0);
    for (const float value : silent.rows) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
}  // namespace prismrec::contrastive_loss
