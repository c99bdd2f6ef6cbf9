// GFLOP/s of the matrix product: gemm_bench [threads]. With one thread it counts processor time,
// which a busy machine does not spoil.
#include "gemm/gemm.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

double Now(bool processor) {
  timespec time;
  clock_gettime(processor ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

int main(int argc, char** argv) {
  using namespace prismrec;
  ThreadPool& pool = ThreadPool::Global();
  if (argc > 1) pool.SetThreads(std::atoi(argv[1]));
  const bool serial = pool.threads() == 1;
  struct Case {
    size_t m, n, k;
    bool trans_a, trans_b;
  };
  const Case cases[] = {{2048, 2048, 2048, false, false}, {2048, 2048, 2048, false, true},
                        {2048, 2048, 2048, true, false},  {512, 512, 512, false, false},
                        {4096, 4096, 64, false, true},    {1024, 16384, 128, false, true},
                        {4096, 64, 4096, false, false},   {64, 64, 16384, true, false},
                        {256, 10000, 64, false, true},    {64, 256, 64, false, true},
                        {20, 4, 64, false, true},         {4, 10000, 64, false, true},
                        {1, 100000, 64, false, true},     {2560, 64, 64, false, false},
                        {32, 32, 32, false, false}};
  for (const Case& s : cases) {
    std::vector<float> a(s.m * s.k, 0.5f), b(s.k * s.n, 0.25f), c(s.m * s.n);
    const GemmArgs g = {s.trans_a, s.trans_b,
                        s.m,       s.n,
                        s.k,       1.0f,
                        a.data(),  s.trans_a ? s.m : s.k,
                        b.data(),  s.trans_b ? s.k : s.n,
                        0.0f,      c.data(),
                        s.n};
    const double flops =
        2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    const int inner = std::max(1, static_cast<int>(2e7 / flops));
    std::vector<double> seconds;
    for (int repeat = 0; repeat < 9; ++repeat) {
      const double start = Now(serial);
      for (int i = 0; i < inner; ++i) Sgemm(g, pool, CancelFlag());
      seconds.push_back((Now(serial) - start) / inner);
    }
    std::sort(seconds.begin(), seconds.end());
    std::printf("%5zu x %6zu x %5zu %s%s  best %7.1f  median %7.1f GFLOP/s\n", s.m, s.n, s.k,
                s.trans_a ? "A^T " : "A   ", s.trans_b ? "B^T" : "B  ",
                flops / seconds.front() / 1e9, flops / seconds[4] / 1e9);
  }
}
