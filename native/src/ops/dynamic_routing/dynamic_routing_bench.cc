// Forward and backward pass at the shapes of a training step: dynamic_routing_bench [B T]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "ops/dynamic_routing/dynamic_routing.h"

namespace {

using namespace prismrec;  // NOLINT: a program of one file

template <class Body>
double MedianMs(const Body& body) {
  std::vector<double> times;
  for (int i = 0; i < 60; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::nth_element(times.begin(), times.begin() + 30, times.end());
  return times[30];
}

void Run(size_t users, size_t length, bool hard) {
  constexpr size_t kInterests = 4, kDim = 64;
  std::mt19937 random(1);
  const auto floats = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(random() >> 8) / (1 << 26) - 0.1f;
    return values;
  };
  std::vector<uint32_t> lengths(users);
  for (uint32_t& own : lengths) own = static_cast<uint32_t>(length / 2 + random() % (length / 2 + 1));
  dynamic_routing::Problem problem;
  problem.users = users;
  problem.length = length;
  problem.interests = kInterests;
  problem.dim = kDim;
  problem.lengths = lengths.data();
  problem.map_count = length;
  const std::vector<float> events = floats(users * length * kDim);
  const std::vector<float> maps = floats(length * problem.map_size());
  const std::vector<float> initial(kInterests * length);
  std::vector<float> gradient = floats(users * kInterests * kDim);
  for (size_t i = 0; hard && i < users * kInterests; ++i) {
    if (i % kInterests != (i / kInterests) % kInterests) {
      std::fill_n(gradient.begin() + static_cast<std::ptrdiff_t>(i * kDim), kDim, 0.0f);
    }
  }
  problem.events = events.data();
  problem.maps = maps.data();
  std::vector<float> vectors(gradient.size()), sums(gradient.size());
  std::vector<float> coefficients(users * kInterests * length);
  std::vector<float> devents(events.size()), dmaps(maps.size());
  const dynamic_routing::ForwardArgs forward = {
      problem, 3, initial.data(), vectors.data(), sums.data(), coefficients.data()};
  const dynamic_routing::BackwardArgs backward = {
      problem,         coefficients.data(), sums.data(),
      gradient.data(), devents.data(),      dmaps.data()};
  const double there = MedianMs([&] { (void)dynamic_routing::Forward(nullptr, forward, {}); });
  const double back = MedianMs([&] { (void)dynamic_routing::Backward(nullptr, backward, {}); });
  size_t count = 0;
  for (uint32_t own : lengths) count += own;
  const double flops = 2.0 * static_cast<double>(count) * kDim * kInterests * kDim;
  std::printf("%zu x %zu %s: forward %.3f ms (products at %.0f GFLOP/s or more), backward %.3f ms\n",
              users, length, hard ? "hard" : "all ", there, flops / there * 1e-6, back);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) ThreadPool::Global().SetThreads(std::atoi(argv[1]));
  for (const bool hard : {true, false}) {
    Run(128, 20, hard);
    Run(128, 50, hard);
    Run(256, 50, hard);
  }
}
