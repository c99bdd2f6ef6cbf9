// Times of the item statistics: item_statistics_bench inverse [threads] [n], or
// item_statistics_bench sparse [threads] [interactions]. The file holds, as 32-bit words, rows, cols
// and nnz, then indptr [rows + 1] and indices [nnz]; without one the interactions are synthetic.
#include "ops/item_statistics/item_statistics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "ops/item_statistics/transpose.h"
#include "runtime/thread_pool.h"

namespace {

using namespace prismrec;
using namespace prismrec::item_statistics;

// Median seconds of `repeats` calls; `prepare` is not counted.
template <class Prepare, class Call>
double Median(int repeats, Prepare prepare, Call call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    prepare();
    const auto start = Clock::now();
    if (const Status status = call(); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.message.c_str());
      std::exit(1);
    }
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

const auto kNothing = [] {};

CsrMatrix Read(const char* path, size_t* rows, size_t* cols) {
  std::FILE* const file = std::fopen(path, "rb");
  uint32_t head[3];
  CsrMatrix x;
  const auto read = [file](uint32_t* to, size_t count) {
    if (file == nullptr || std::fread(to, sizeof(uint32_t), count, file) != count) {
      std::fprintf(stderr, "not a file of interactions\n");
      std::exit(1);
    }
  };
  read(head, 3);
  x.indptr.resize(head[0] + size_t{1});
  x.indices.resize(head[2]);
  read(x.indptr.data(), x.indptr.size());
  read(x.indices.data(), x.indices.size());
  std::fclose(file);
  *rows = head[0];
  *cols = head[1];
  return x;
}

// Users with 20 items each of one of 100 worlds, the popular ones more often.
CsrMatrix Synthetic(size_t rows, size_t cols) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform;
  CsrMatrix x;
  x.indptr.push_back(0);
  for (size_t r = 0; r < rows; ++r) {
    std::vector<uint32_t> items;
    for (int i = 0; i < 20; ++i) {
      const double share = std::pow(uniform(random), 3.0);
      items.push_back(static_cast<uint32_t>(share * static_cast<double>(cols / 100)) * 100 +
                      static_cast<uint32_t>(r % 100));
    }
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
    x.indices.insert(x.indices.end(), items.begin(), items.end());
    x.indptr.push_back(static_cast<uint32_t>(x.indices.size()));
  }
  return x;
}

void Sparse(const char* path) {
  size_t rows = 60000, cols = 20000;
  const CsrMatrix x = path != nullptr ? Read(path, &rows, &cols) : Synthetic(rows, cols);
  CsrMatrix counts, information;
  double seconds = Median(3, kNothing, [&] {
    return Cooccurrence({View(x, rows, cols), nullptr}, CancelFlag(), &counts);
  });
  std::printf("cooccurrence %zu x %zu, %zu entries: %.3f s, %zu entries\n", rows, cols,
              x.indices.size(), seconds, counts.indices.size());
  seconds = Median(3, kNothing, [&] {
    return Ppmi({View(counts, cols, cols), 0.75}, CancelFlag(), &information);
  });
  std::printf("ppmi: %.3f s, %zu entries\n", seconds, information.indices.size());
  const size_t rank = 64, width = 16, blocks = 16;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> start(cols * width), u(cols * rank), values(rank);
  for (float& s : start) s = normal(random);
  seconds = Median(3, kNothing, [&] {
    return TruncatedSvd({View(information, cols, cols), rank, width, blocks, start.data(), u.data(),
                         values.data()},
                        CancelFlag());
  });
  std::printf("svd rank %zu: %.3f s\n", rank, seconds);
}

void Inverses(const std::vector<size_t>& orders) {
  for (size_t n : orders) {
    std::vector<float> a(n * n);
    const double seconds = Median(
        n < 5000 ? 5 : 1,
        [&] {
          uint32_t state = 1;
          for (size_t i = 0; i < n; ++i) {
            for (size_t j = 0; j < i; ++j) {
              a[i * n + j] = static_cast<float>((state = state * 1664525u + 1013904223u) >> 30);
            }
            a[i * n + i] = 3.0f * static_cast<float>(n);
          }
        },
        [&] {
          return CholeskyInverse({n, a.data()}, *Select(gemm::kVariants, nullptr)->fn,
                                 CancelFlag());
        });
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    std::printf("cholesky inverse n=%zu: %.3f s, %.1f GFLOP/s counted at n^3\n", n, seconds,
                cube / seconds / 1e9);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2) ThreadPool::Global().SetThreads(std::atoi(argv[2]));
  if (argc > 1 && std::strcmp(argv[1], "inverse") == 0) {
    if (argc > 3) {
      Inverses({static_cast<size_t>(std::atoi(argv[3]))});
    } else {
      Inverses({500, 1000, 2000, 5000, 10000});
    }
  } else {
    Sparse(argc > 3 ? argv[3] : nullptr);
  }
}
