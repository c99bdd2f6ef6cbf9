// Queries per second: similarity_search_bench [threads] [filter of case names]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "ops/similarity_search/similarity_search.h"

int main(int argc, char** argv) {
  using namespace prismrec;
  using namespace prismrec::similarity_search;
  using Clock = std::chrono::steady_clock;
  ThreadPool& pool = ThreadPool::Global();
  if (argc > 1) pool.SetThreads(std::atoi(argv[1]));
  struct Case {
    const char* name;
    size_t items, dim, queries, interests, k;
    Readout readout;
    size_t added = 0;  // scores a query: all of them, or so many entries
  };
  const Case cases[] = {{"one-64", 1000000, 64, 1, 1, 20, Readout::kMax},
                        {"few-64", 1000000, 64, 4, 1, 20, Readout::kMax},
                        {"user-64", 1000000, 64, 1, 4, 20, Readout::kLogSumExp},
                        {"batch-64", 1000000, 64, 1024, 1, 100, Readout::kMax},
                        {"one-128", 1000000, 128, 1, 1, 20, Readout::kMax},
                        {"batch-128", 1000000, 128, 1024, 1, 100, Readout::kMax},
                        {"one-small", 100000, 64, 1, 1, 20, Readout::kMax},
                        {"batch-small", 100000, 64, 1024, 1, 20, Readout::kMax},
                        {"users-small", 100000, 64, 256, 4, 50, Readout::kMax},
                        {"users-small-lse", 100000, 64, 256, 4, 50, Readout::kLogSumExp},
                        {"user-sparse", 100000, 64, 1, 4, 50, Readout::kLogSumExp, 200},
                        {"users-sparse", 100000, 64, 256, 4, 50, Readout::kLogSumExp, 200},
                        {"user-plain-100k", 100000, 64, 1, 4, 50, Readout::kLogSumExp},
                        {"user-dense", 20000, 64, 1, 4, 50, Readout::kLogSumExp, 20000},
                        {"users-dense", 20000, 64, 256, 4, 50, Readout::kLogSumExp, 20000},
                        {"user-plain-20k", 20000, 64, 1, 4, 50, Readout::kLogSumExp},
                        {"users-plain-20k", 20000, 64, 256, 4, 50, Readout::kLogSumExp}};
  std::unique_ptr<Index> index;
  for (const Case& c : cases) {
    if (argc > 2 && std::strstr(c.name, argv[2]) == nullptr) continue;
    if (index == nullptr || index->rows() != c.items || index->cols() != c.dim) {
      std::mt19937 generator(1);
      std::normal_distribution<float> normal;
      std::vector<float> items(c.items * c.dim);
      for (float& x : items) x = normal(generator);
      const auto start = Clock::now();
      if (!Index::Build({items.data(), c.items, c.dim}, nullptr, Metric::kDot, pool, CancelFlag(), &index).ok()) return 1;
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      std::printf("build %zu x %zu: %.3f s, %zu bytes\n", c.items, c.dim, seconds, index->bytes());
    }
    std::mt19937 generator(2);
    std::normal_distribution<float> normal;
    std::vector<float> queries(c.queries * c.interests * c.dim);
    for (float& x : queries) x = normal(generator);
    std::vector<float> additive(c.queries * c.added);
    for (float& x : additive) x = normal(generator);
    std::vector<uint32_t> indptr, indices;
    for (size_t q = 0; q <= c.queries && c.added < c.items; ++q) indptr.push_back(static_cast<uint32_t>(q * c.added));
    // Every so many items from one of the query's own on.
    for (size_t e = 0; e < additive.size(); ++e) {
      indices.push_back(static_cast<uint32_t>((e / c.added * 7919 + e % c.added * (c.items / c.added)) % c.items));
    }
    std::vector<uint32_t> ids(c.queries * c.k), counts(c.queries);
    std::vector<float> scores(ids.size());
    std::vector<uint16_t> interests(ids.size());
    Touched touched;
    const Outputs outputs = {ids.data(), scores.data(), interests.data(), counts.data(), &touched};
    similarity_search::Args args;
    args.index = index.get();
    args.queries = {queries.data(), c.queries * c.interests, c.dim};
    args.interests_per_query = c.interests;
    args.k = c.k;
    args.readout = c.readout;
    if (c.added == c.items) args.additive = {additive.data(), c.queries, c.items};
    if (c.added > 0 && c.added < c.items) {
      args.sparse_additive = {indptr.data(), indices.data(), additive.data(), c.queries, c.items};
    }
    std::vector<double> seconds;
    for (double total = 0; seconds.size() < 3 || (total < 1.5 && seconds.size() < 101);) {
      const auto start = Clock::now();
      if (!Run(nullptr, args, outputs, pool, CancelFlag()).ok()) return 1;
      seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      total += seconds.back();
    }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    const double flops = 2.0 * static_cast<double>(c.queries * c.interests * c.items * c.dim);
    const double pairs = static_cast<double>(c.queries * c.interests * c.items);
    std::printf("%-16s %9.1f queries/s  %7.1f GFLOP/s  %.3f ms (best %.3f)  scored %.5f read %.4f\n", c.name,
                static_cast<double>(c.queries) / median, flops / median / 1e9, 1e3 * median, 1e3 * seconds[0],
                static_cast<double>(touched.scored) / pairs, static_cast<double>(touched.read) / pairs);
  }
}
