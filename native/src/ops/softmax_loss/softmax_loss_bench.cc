// Milliseconds of a loss with all gradients: softmax_loss_bench [threads]
#include "ops/softmax_loss/softmax_loss.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

using namespace prismrec;

int main(int argc, char** argv) {
  if (argc > 1) ThreadPool::Global().SetThreads(std::atoi(argv[1]));
  struct Case {
    size_t rows, interests, items, dim, candidates;
    bool per_row;
    softmax_loss::Readout readout;
  };
  constexpr auto kLogSumExp = softmax_loss::Readout::kLogSumExp;
  constexpr auto kMax = softmax_loss::Readout::kMax;
  const Case cases[] = {{640, 1, 10000, 64, 0, false, kLogSumExp},
                        {640, 1, 20000, 64, 0, false, kLogSumExp},
                        {640, 4, 5000, 64, 0, false, kLogSumExp},
                        {640, 4, 10000, 64, 0, false, kLogSumExp},
                        {640, 4, 20000, 64, 0, false, kLogSumExp},
                        {640, 4, 10000, 64, 0, false, kMax},
                        {128, 4, 100000, 64, 1280, false, kLogSumExp},
                        {128, 4, 100000, 64, 1280, false, kMax},
                        {128, 4, 100000, 64, 100, true, kLogSumExp},
                        {640, 4, 20000, 64, 1000, true, kLogSumExp}};
  for (const Case& s : cases) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    const size_t pairs = s.rows * s.interests;
    std::vector<float> interests(pairs * s.dim), items(s.items * s.dim), bias(s.items, 0.1f);
    for (float& value : interests) value = normal(random);
    for (float& value : items) value = normal(random);
    std::vector<uint32_t> indptr, targets, candidates(s.candidates * (s.per_row ? s.rows : 1));
    for (uint32_t r = 0; r <= s.rows; ++r) indptr.push_back(r);
    for (size_t r = 0; r < s.rows; ++r) targets.push_back(random() % s.items);
    for (uint32_t& id : candidates) id = random() % s.items;
    softmax_loss::Args args;
    args.interests = {interests.data(), pairs, s.dim};
    args.interests_per_row = s.interests;
    args.items = {items.data(), s.items, s.dim};
    args.item_bias = bias.data();
    args.targets = {indptr.data(), targets.data(), nullptr, s.rows, s.items};
    args.readout = s.readout;
    if (s.candidates > 0) args.candidates = candidates.data();
    args.candidate_count = s.candidates;
    args.candidates_per_row = s.per_row;
    const size_t slots = softmax_loss::GradientRows(args);
    std::vector<float> losses(s.rows), d_interests(pairs * s.dim), d_offsets(pairs),
        d_items(slots * s.dim), d_bias(slots);
    std::vector<uint32_t> ids(slots);
    softmax_loss::Outputs out;
    out.row_losses = losses.data();
    out.interest_gradient = d_interests.data();
    out.offset_gradient = d_offsets.data();
    out.item_gradient = d_items.data();
    out.bias_gradient = d_bias.data();
    out.item_ids = ids.data();
    std::vector<double> times;
    for (int repeat = 0; repeat < 10; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      const Status status = softmax_loss::Run(nullptr, args, &out, CancelFlag());
      if (!status.ok()) return 1;
      times.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
              .count());
    }
    std::sort(times.begin() + 1, times.end());
    const double columns = static_cast<double>(s.candidates > 0 ? s.candidates : s.items);
    const double flops = 6.0 * static_cast<double>(pairs) * columns * static_cast<double>(s.dim);
    std::printf("R=%4zu J=%zu N=%6zu d=%zu %s %5zu %s  ", s.rows, s.interests, s.items, s.dim,
                s.candidates == 0 ? "full   " : s.per_row ? "per row" : "shared ", s.candidates,
                s.readout == kMax ? "max" : "lse");
    std::printf("median %7.2f ms  best %7.2f  %6.1f GFLOP/s\n", times[5], times[1],
                flops / times[5] / 1e6);
  }
}
