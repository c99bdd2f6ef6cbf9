// Seconds of greedy max cover on an instance file: max_cover_bench FILE BUDGET [SOLVER [REPEATS [VARIANT]]].
// The file is little-endian int64 sets, elements, entries, indptr[sets + 1], then int32
// indices[entries]; SOLVER exact, lazy or stochastic.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ops/max_cover/max_cover.h"
#include "runtime/thread_pool.h"

int main(int argc, char** argv) {
  using namespace prismrec;
  std::FILE* file = argc < 3 ? nullptr : std::fopen(argv[1], "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "usage: max_cover_bench FILE BUDGET [SOLVER [REPEATS [VARIANT]]]\n");
    return 2;
  }
  int64_t head[3] = {};
  bool complete = std::fread(head, sizeof(int64_t), 3, file) == 3;
  std::vector<int64_t> wide(static_cast<size_t>(head[0]) + 1);
  complete = complete && std::fread(wide.data(), sizeof(int64_t), wide.size(), file) == wide.size();
  const std::vector<uint32_t> indptr(wide.begin(), wide.end());
  std::vector<uint32_t> indices(static_cast<size_t>(head[2]));
  complete = complete && std::fread(indices.data(), sizeof(uint32_t), indices.size(), file) ==
                             indices.size();
  std::fclose(file);
  if (!complete) {
    std::fprintf(stderr, "%s is cut short\n", argv[1]);
    return 2;
  }
  max_cover::Args args;
  args.sets = {indptr.data(), indices.data(), nullptr, indptr.size() - 1,
               static_cast<size_t>(head[1])};
  args.max_sets = static_cast<size_t>(std::atoll(argv[2]));
  args.max_cost = HUGE_VAL;
  const char* solver = argc > 3 ? argv[3] : "exact";
  args.solver = std::strcmp(solver, "lazy") == 0         ? max_cover::Solver::kLazy
                : std::strcmp(solver, "stochastic") == 0 ? max_cover::Solver::kStochastic
                                                         : max_cover::Solver::kExact;
  const int repeats = argc > 4 ? std::atoi(argv[4]) : 5;
  const OpScope scope;
  std::vector<double> seconds;
  max_cover::Outputs outputs;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    const Status status =
        max_cover::Run(argc > 5 ? argv[5] : nullptr, args, &outputs, CancelFlag());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.message.c_str());
      return 1;
    }
    seconds.push_back(taken.count());
  }
  std::sort(seconds.begin(), seconds.end());
  // As the peers' hash.
  int64_t hash = 0;
  for (const uint32_t set : outputs.selected) {
    hash = static_cast<int64_t>(static_cast<uint64_t>(hash) * 1000003 + set);
  }
  std::printf(
      "%s, %d threads: median %.6f s, least %.6f s; %zu picks cover %.0f of %.0f, at most %.0f "
      "(hash %lld)\n",
      solver, ThreadPool::Global().threads(), seconds[seconds.size() / 2], seconds.front(),
      outputs.selected.size(), outputs.value, outputs.attainable, outputs.upper_bound,
      static_cast<long long>(hash));
}
