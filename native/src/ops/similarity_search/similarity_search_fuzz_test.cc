#include "ops/similarity_search/similarity_search.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "fuzz.h"

namespace prismrec::similarity_search {
namespace {

using test::Random;
using test::Values;

// Owns what Args points at.
struct Case {
  std::vector<float> items, bias, queries, offsets, additive;
  std::vector<uint32_t> exclude_indptr, exclude_indices, filter;
  std::vector<uint32_t> additive_indptr, additive_indices;  // empty where `additive` is a matrix, or nothing
  size_t count, query_count, interests, dim, k;
  Values kind;
  Metric metric;
  Readout readout;

  Case(Random& random, bool spoiled) {
    count = random.OneIn(8) ? 1 + random.Below(3000) : random.Size(400);
    query_count = random.OneIn(12) ? 0 : random.OneIn(3) ? 1 : random.Size(20);
    interests = 1 + random.Below(5);
    dim = random.Size(70);
    k = random.OneIn(3) ? count : 1 + random.Below(count);
    kind = random.Kind();
    metric = random.Pick({Metric::kDot, Metric::kCosine});
    readout = random.Pick({Readout::kMax, Readout::kLogSumExp});
    items = random.Fill(count * dim, kind);
    // Duplicates, and rows of zeros.
    for (size_t i = dim; i < items.size(); ++i) {
      if (i / dim % 7 == 2) items[i] = items[i - dim];
      if (i / dim % 31 == 30) items[i] = 0;
    }
    if (random.OneIn(2)) bias = random.Fill(count, kind);
    queries = random.Fill(query_count * interests * dim, kind);
    if (random.OneIn(2)) {
      offsets = random.Fill(query_count * interests, kind);
      for (float& offset : offsets) {
        if (random.OneIn(4)) offset = -std::numeric_limits<float>::infinity();
      }
    }
    if (random.OneIn(2)) {
      exclude_indptr.push_back(0);
      for (size_t q = 0; q < query_count; ++q) {
        const size_t length = random.OneIn(6) ? 2 * count : random.Below(12);
        for (size_t n = 0; n < length; ++n) {
          exclude_indices.push_back(static_cast<uint32_t>(random.Below(count)));
        }
        exclude_indptr.push_back(static_cast<uint32_t>(exclude_indices.size()));
      }
    }
    if (random.OneIn(3)) {
      const size_t one_in = random.Pick<size_t>({1, 2, 30});
      filter.resize((count + 31) / 32);
      for (size_t i = 0; i < count; ++i) {
        if (random.OneIn(one_in)) filter[i / 32] |= 1u << i % 32;
      }
    }
    if (random.OneIn(2)) Add(random, spoiled && random.OneIn(4));
    if (spoiled) random.Spoil(random.Pick({&items, &bias, &queries, &offsets, &additive}));
    exclude_indices.push_back(0);  // beyond the end: an empty vector's data may be null
  }

  // Dense or sparse; `repeats`: with an item twice in a row.
  void Add(Random& random, bool repeats) {
    additive_indptr.clear();
    additive_indices.clear();
    if (random.OneIn(2)) {
      additive = random.Fill(query_count * count, kind);
      return;
    }
    additive_indptr.push_back(0);
    for (size_t q = 0; q < query_count; ++q) {
      // Every `step`-th item from a random one on, around the end.
      const size_t step = 1 + random.Below(count), first = random.Below(count);
      const size_t most = (count + step - 1) / step;
      const size_t length = random.OneIn(6) ? most : random.Below(std::min<size_t>(9, most + 1));
      for (size_t n = 0; n < length; ++n) {
        additive_indices.push_back(static_cast<uint32_t>((first + n * step) % count));
      }
      if (repeats && length > 0) additive_indices.push_back(static_cast<uint32_t>(first));
      additive_indptr.push_back(static_cast<uint32_t>(additive_indices.size()));
    }
    additive = random.Fill(additive_indices.size(), kind);
  }
  bool adds() const { return !additive.empty() || !additive_indptr.empty(); }
};

struct Answer {
  std::vector<uint32_t> ids, counts;
  std::vector<float> scores;
  std::vector<uint16_t> interests;
  Status status;

  // `opened`: the index to search; null: one is built.
  Answer(const Case& made, const char* variant, size_t k, const Index* opened = nullptr) {
    std::unique_ptr<Index> index;
    if (opened == nullptr) {
      status = Index::Build({made.items.data(), made.count, made.dim},
                            made.bias.empty() ? nullptr : made.bias.data(), made.metric,
                            ThreadPool::Global(), CancelFlag(), &index);
    }
    if (!status.ok()) return;
    Args args;
    args.index = opened == nullptr ? index.get() : opened;
    args.queries = {made.queries.data(), made.query_count * made.interests, made.dim};
    args.interests_per_query = made.interests;
    if (!made.offsets.empty()) args.offsets = made.offsets.data();
    if (!made.exclude_indptr.empty()) {
      args.exclude = {made.exclude_indptr.data(), made.exclude_indices.data(), nullptr,
                      made.query_count, made.count};
    }
    if (!made.filter.empty()) args.filter = made.filter.data();
    if (!made.additive_indptr.empty()) {
      args.sparse_additive = {made.additive_indptr.data(), made.additive_indices.data(), made.additive.data(),
                              made.query_count, made.count};
    } else if (!made.additive.empty()) {
      args.additive = {made.additive.data(), made.query_count, made.count};
    }
    args.k = k;
    args.readout = made.readout;
    ids.resize(made.query_count * k);
    scores.resize(ids.size());
    interests.resize(ids.size());
    counts.resize(made.query_count);
    Outputs outputs;
    outputs.ids = ids.data();
    outputs.scores = scores.data();
    outputs.interests = interests.data();
    outputs.counts = counts.data();
    status = Run(variant, args, outputs, ThreadPool::Global(), CancelFlag());
  }
};

// Whole numbers have exact inner products, so that lists agree bit for bit. Others agree but for items whose scores are as
// near as rounding: each place's score, and each item's own, lies within the tolerance.
TEST(every_variant_answers_as_the_definition_does) {
  test::Fuzz(1000, [](Random& random) {
    const Case made(random, random.OneIn(6));
    const Answer want(made, "reference", made.k), all(made, "reference", made.count);
    const bool exact = made.kind == Values::kWhole && made.metric == Metric::kDot &&
                       made.readout == Readout::kMax;
    const double unit = made.metric == Metric::kCosine
                            ? 1.0
                            : std::pow(std::max(test::Largest(made.items), 0.0), 2) * made.dim;
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      const Answer got(made, variant, made.k);
      if (std::string(variant) == "cuda" && made.adds() && made.query_count > 0) {
        EXPECT_FALSE(got.status.ok());
        continue;
      }
      test::ExpectSameCode(got.status, want.status);
      if (!want.status.ok() || !got.status.ok()) continue;
      EXPECT_TRUE(got.counts == want.counts);
      if (exact) {
        EXPECT_TRUE(got.ids == want.ids);
        EXPECT_TRUE(got.scores == want.scores);
        EXPECT_TRUE(got.interests == want.interests);
        continue;
      }
      const double tolerance = 1e-6 * (unit + 3 * (test::Largest(made.bias) + test::Largest(made.additive) + 1));
      for (size_t q = 0; q < made.query_count; ++q) {
        std::vector<float> own(made.count, NAN);
        for (size_t n = 0; n < all.counts[q]; ++n) {
          own[all.ids[q * made.count + n]] = all.scores[q * made.count + n];
        }
        for (size_t n = q * made.k; n < q * made.k + got.counts[q]; ++n) {
          EXPECT_NEAR(got.scores[n], want.scores[n], tolerance);
          EXPECT_NEAR(got.scores[n], own[got.ids[n]], tolerance);
          own[got.ids[n]] = NAN;  // no item twice
          if (n == q * made.k) continue;
          EXPECT_TRUE(got.scores[n - 1] > got.scores[n] ||
                      (got.scores[n - 1] == got.scores[n] && got.ids[n - 1] < got.ids[n]));
        }
        for (size_t n = q * made.k + got.counts[q]; n < (q + 1) * made.k; ++n) {
          EXPECT_EQ(got.ids[n], kNoItem);
        }
      }
    }
  });
}

// Large enough for an index with codes, and few enough queries that they are used.
TEST(an_index_with_codes_gives_the_lists_of_the_definition) {
  test::Fuzz(15, [](Random& random) {
    Case made(random, false);
    made.dim = 40 + random.Size(40);
    made.count = kCodedFloats / made.dim + 1 + random.Size(40);
    made.k = 1 + random.Below(50);
    made.query_count = 1 + random.Below(2);
    made.metric = Metric::kDot;
    made.readout = Readout::kMax;
    made.items = random.Fill(made.count * made.dim, Values::kWhole);
    // Whole rows of very different lengths, many of them alike.
    for (size_t i = 0; i < made.items.size(); ++i) {
      const size_t row = i / made.dim;
      made.items[i] *= row % 3 == 0 ? 64.0f : row % 3 == 1 ? 1.0f : 0.0f;
    }
    made.bias = random.Fill(made.count, Values::kWhole);
    made.queries = random.Fill(made.query_count * made.interests * made.dim, Values::kWhole);
    made.offsets.clear();
    made.exclude_indptr.clear();
    made.filter.clear();
    made.kind = Values::kWhole;
    made.additive.clear();
    made.additive_indptr.clear();
    if (!random.OneIn(3)) made.Add(random, false);
    const Answer want(made, "reference", made.k);
    EXPECT_OK(want.status);
    for (const char* variant : RunnableVariants()) {
      if (std::string(variant) == "cuda" && made.adds()) continue;
      random.Context(variant);
      const Answer got(made, variant, made.k);
      test::ExpectSameBits(got.ids, want.ids);
      test::ExpectSameBits(got.scores, want.scores);
      test::ExpectSameBits(got.interests, want.interests);
    }
  });
}

TEST(the_default_is_the_variant_of_the_active_instruction_set) {
  const char* const variant = test::DefaultVariant("similarity_search");
  test::Fuzz(20, [&](Random& random) {
    const Case made(random, false);
    const Answer got(made, nullptr, made.k), want(made, variant, made.k);
    EXPECT_OK(got.status);
    test::ExpectSameBits(got.ids, want.ids);
    test::ExpectSameBits(got.scores, want.scores);
  });
}

TEST(the_error_is_at_most_twice_that_of_plain_loops_in_the_same_precision) {
  test::Fuzz(10, [](Random& random) {
    Case made(random, false);
    made.count = made.k = 300;
    made.query_count = 4;
    made.interests = 1;
    made.dim = 30 + random.Size(70);
    made.metric = Metric::kDot;
    made.items = random.Fill(made.count * made.dim, Values::kPlain);
    made.queries = random.Fill(made.query_count * made.dim, Values::kPlain);
    made.bias.clear();
    made.offsets.clear();
    made.exclude_indptr.clear();
    made.filter.clear();
    made.additive.clear();
    made.additive_indptr.clear();
    std::vector<float> naive(made.query_count * made.count);
    std::vector<double> exact(naive.size());
    for (size_t n = 0; n < naive.size(); ++n) {
      for (size_t k = 0; k < made.dim; ++k) {
        const float a = made.queries[n / made.count * made.dim + k];
        const float b = made.items[n % made.count * made.dim + k];
        naive[n] += a * b;
        exact[n] += double{a} * b;
      }
    }
    for (const char* variant : RunnableVariants()) {
      random.Context(variant);
      const Answer answer(made, variant, made.k);
      EXPECT_OK(answer.status);
      std::vector<float> got(naive.size());
      for (size_t n = 0; n < got.size(); ++n) {
        got[n / made.k * made.count + answer.ids[n]] = answer.scores[n];
      }
      test::ExpectAsAccurate(got, naive, exact);
    }
  });
}

TEST(callers_on_four_threads_at_once_get_the_same_bits) {
  test::Fuzz(50, [](Random& random) {
    const Case made(random, false);
    const Answer want(made, nullptr, made.k);
    EXPECT_TRUE(test::HoldsOnFourThreads([&] {
      const Answer got(made, nullptr, made.k);
      return test::SameBits(got.ids, want.ids) && test::SameBits(got.scores, want.scores) &&
             test::SameBits(got.interests, want.interests);
    }));
  });
}

// Bytes of an index's file are changed, or its end is missing: it is refused, or answers as before.
TEST(a_damaged_file_is_refused_or_harmless) {
  const std::string path = "similarity_search_fuzz_" + std::to_string(getpid()) + ".index";
  test::Fuzz(200, [&](Random& random) {
    const Case made(random, false);
    const Answer want(made, nullptr, made.k);
    std::unique_ptr<Index> index;
    EXPECT_OK(Index::Build({made.items.data(), made.count, made.dim},
                           made.bias.empty() ? nullptr : made.bias.data(), made.metric,
                           ThreadPool::Global(), CancelFlag(), &index));
    EXPECT_OK(index->Save(path, ThreadPool::Global(), CancelFlag()));
    std::ostringstream saved;
    saved << std::ifstream(path, std::ios::binary).rdbuf();
    std::string image = saved.str();
    if (random.OneIn(3)) image.resize(random.Below(image.size()));
    for (size_t n = random.Below(3); n > 0 && !image.empty(); --n) {
      const size_t head = std::min<size_t>(image.size(), 200);
      image[random.Below(random.OneIn(2) ? head : image.size())] ^=
          static_cast<char>(1u << random.Below(8));
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << image;
    const Status status = Index::Open(path, random.OneIn(2), ThreadPool::Global(), CancelFlag(), &index);
    EXPECT_TRUE(status.ok() || status.code == StatusCode::kDataFormat);
    if (!status.ok()) return;
    EXPECT_EQ(index->bytes(), image.size());
    const Answer got(made, nullptr, made.k, index.get());
    EXPECT_TRUE(test::SameBits(got.ids, want.ids) && test::SameBits(got.scores, want.scores));
  });
  std::remove(path.c_str());
}

}  // namespace
}  // namespace prismrec::similarity_search
