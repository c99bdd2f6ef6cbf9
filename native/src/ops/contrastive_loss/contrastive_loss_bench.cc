// Seconds of loss and gradients: contrastive_loss_bench [threads]. GFLOP/s count 6 n^2 d whatever
// is spent; `extra` is what the process's peak memory grew by over the outputs.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "ops/contrastive_loss/contrastive_loss.h"

int main(int argc, char** argv) {
  using namespace prismrec;
  using namespace prismrec::contrastive_loss;
  if (argc > 1) ThreadPool::Global().SetThreads(std::atoi(argv[1]));
  struct Case {
    const char* name;
    Kind kind;
    size_t n, dim, groups;
    Similarity similarity;
    bool symmetric;
  };
  const Case cases[] = {{"grouped", Kind::kSupervised, 1024, 64, 16, Similarity::kDot, false},
                        {"grouped", Kind::kSupervised, 1024, 64, 16, Similarity::kCosine, false},
                        {"info-nce", Kind::kInfoNce, 1024, 64, 1, Similarity::kDot, false},
                        {"info-nce", Kind::kInfoNce, 4096, 64, 1, Similarity::kDot, false},
                        {"info-nce", Kind::kInfoNce, 4096, 128, 1, Similarity::kDot, false},
                        {"supervised", Kind::kSupervised, 1024, 64, 1, Similarity::kDot, false},
                        {"supervised", Kind::kSupervised, 4096, 64, 1, Similarity::kDot, false},
                        {"symmetric", Kind::kInfoNce, 4096, 64, 1, Similarity::kCosine, true},
                        {"supervised", Kind::kSupervised, 16384, 64, 1, Similarity::kDot, false},
                        {"info-nce", Kind::kInfoNce, 16384, 64, 1, Similarity::kDot, false},
                        {"info-nce", Kind::kInfoNce, 16384, 128, 1, Similarity::kDot, false}};
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const Case& c : cases) {
    std::vector<float> rows(c.n * c.dim), positives(rows.size());
    for (float& x : rows) x = normal(random);
    for (size_t i = 0; i < rows.size(); ++i) positives[i] = normal(random) + 2 * rows[i];
    for (auto* side : {&rows, &positives}) {
      for (size_t i = 0; i < c.n; ++i) {
        float* const x = side->data() + i * c.dim;
        float squares = 0;
        for (size_t k = 0; k < c.dim; ++k) squares += x[k] * x[k];
        for (size_t k = 0; k < c.dim; ++k) x[k] /= std::sqrt(squares);
      }
    }
    std::vector<int32_t> groups(c.n), labels(c.n);
    for (size_t i = 0; i < c.n; ++i) {
      groups[i] = static_cast<int32_t>(i * c.groups / c.n);
      labels[i] = static_cast<int32_t>(random() % (c.groups > 1 ? 4 : c.n / 4));
    }
    Args args;
    args.kind = c.kind;
    args.similarity = c.similarity;
    args.temperature = 0.1f;
    args.rows = {rows.data(), c.n, c.dim};
    if (c.kind == Kind::kInfoNce) args.positives = {positives.data(), c.n, c.dim};
    args.symmetric = c.symmetric;
    args.groups = groups.data();
    args.labels = labels.data();
    args.scope = c.groups > 1 ? Scope::kGroup : Scope::kBatch;
    std::vector<float> losses(c.n), row_gradient(rows.size()), positive_gradient(rows.size());
    Outputs out;
    out.row_losses = losses.data();
    out.row_gradient = row_gradient.data();
    out.positive_gradient = positive_gradient.data();
    const auto peak = [] {
      rusage usage;
      getrusage(RUSAGE_SELF, &usage);
      return static_cast<double>(usage.ru_maxrss) / 1024;
    };
    const double before = peak();
    std::vector<double> seconds;
    const int repeats = c.n > 4096 ? 3 : c.n > 1024 ? 9 : c.groups > 1 ? 201 : 31;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      if (!Run(nullptr, args, &out, CancelFlag()).ok()) return 1;
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    const double work = 6e-9 * static_cast<double>(c.n / c.groups * c.n * c.dim);
    std::printf("%-15s %5zu x %3zu  %.6f s  %6.1f GFLOP/s  extra %.1f MB (%.1f MB allowed)\n",
                c.name, c.n, c.dim, median, work / median, peak() - before,
                static_cast<double>(16 * c.n * c.dim) / 1048576 + 8);
    std::fflush(stdout);
  }
}
