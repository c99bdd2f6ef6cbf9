// Random shapes and values for the operations' fuzz tests. Everything follows from the seed, on every machine:
//   PRISMREC_FUZZ_SEED=17 <op>_fuzz_test   repeats one case
//   PRISMREC_FUZZ_RUNS=100000              goes on for longer
#ifndef PRISMREC_TEST_FUZZ_H_
#define PRISMREC_TEST_FUZZ_H_

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "runtime/cpu_features.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec::test {

enum class Values {
  kPlain,   // in [-1, 1)
  kWhole,   // whole numbers in [-4, 4]: sums of products are exact
  kFew,     // three distinct ones, so that ties and duplicates are common
  kTiny,    // subnormal numbers and zeros of both signs
  kSpread,  // magnitudes from 1e-6 to 8
};

class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed), state_(seed) { Context(""); }

  // What a failure is printed with, after the seed.
  void Context(const std::string& text) const {
    SetContext("seed=" + std::to_string(seed_) + " " + text);
  }

  uint64_t Bits() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, count).
  size_t Below(size_t count) { return static_cast<size_t>(Bits() % count); }
  bool OneIn(size_t count) { return Below(count) == 0; }
  float Uniform() { return static_cast<float>(Bits() >> 40) / (1 << 23) - 1.0f; }
  template <class T>
  T Pick(std::initializer_list<T> choices) {
    return choices.begin()[Below(choices.size())];
  }

  // In [1, most]: mostly sizes around the lanes of the instruction sets, a fifth of the time any.
  size_t Size(size_t most) {
    static constexpr size_t kAwkward[] = {1,  2,  3,  4,  5,  7,  8,  9,  15, 16,
                                          17, 31, 33, 34, 63, 65, 66, 130};
    const size_t size = OneIn(5) ? 1 + Below(most) : kAwkward[Below(std::size(kAwkward))];
    return std::min(size, most);
  }

  float Value(Values kind) {
    switch (kind) {
      case Values::kPlain:
        return Uniform();
      case Values::kWhole:
        return static_cast<float>(Below(9)) - 4.0f;
      case Values::kFew:
        return Pick({-0.75f, 0.25f, 1.0f});
      case Values::kTiny:
        return OneIn(4) ? std::copysign(0.0f, Uniform()) : Uniform() * 1e-38f;
      case Values::kSpread:
        return std::ldexp(Uniform(), static_cast<int>(Below(24)) - 20);
    }
    return 0;
  }
  Values Kind() {
    return Pick({Values::kPlain, Values::kPlain, Values::kWhole, Values::kFew, Values::kTiny,
                 Values::kSpread});
  }
  std::vector<float> Fill(size_t count, Values kind) {
    std::vector<float> values(count);
    for (float& value : values) value = Value(kind);
    return values;
  }
  // Makes one value, if there is any, NaN or infinite.
  void Spoil(std::vector<float>* values) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (values->empty()) return;
    (*values)[Below(values->size())] =
        Pick({std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity});
  }
  // Sorted columns of a sparse matrix of `rows` rows, each column with probability `density`.
  void Sparse(size_t rows, size_t cols, float density, std::vector<uint32_t>* indptr,
              std::vector<uint32_t>* indices) {
    indptr->assign(1, 0);
    indices->clear();
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) {
        if (0.5f + 0.5f * Uniform() < density) indices->push_back(static_cast<uint32_t>(c));
      }
      indptr->push_back(static_cast<uint32_t>(indices->size()));
    }
  }

 private:
  const uint64_t seed_;
  uint64_t state_;
};

// Calls body(random) with a seed of its own `runs` times.
template <class Body>
void Fuzz(size_t runs, Body body) {
  const char* only = std::getenv("PRISMREC_FUZZ_SEED");
  const char* wanted = std::getenv("PRISMREC_FUZZ_RUNS");
  if (Reduced()) runs = (runs + 4) / 5;
  if (wanted != nullptr) runs = std::strtoull(wanted, nullptr, 10);
  const uint64_t first = only == nullptr ? 0 : std::strtoull(only, nullptr, 10);
  for (uint64_t seed = first; seed < first + (only == nullptr ? runs : 1); ++seed) {
    Random random(seed);
    body(random);
  }
  SetContext("");
}

// The variant that an operation takes by itself: of the instruction set that PRISMREC_SIMD names, where it does. Says so.
inline const char* DefaultVariant(const char* op) {
  const char* wish = std::getenv("PRISMREC_SIMD");
  const Simd active = ActiveSimd();
  Simd wanted;
  if (ResolveSimd(wish, &wanted).ok()) {
    EXPECT_EQ(std::string(SimdName(active)), std::string(SimdName(wanted)));
  }
#ifdef PRISMREC_EMULATE_AVX512
  const bool emulated = active == Simd::kAvx512;
#else
  const bool emulated = false;
#endif
  std::printf("ran: %s%s: %s\n", SimdName(active), emulated ? " (emulated)" : "", op);
  return SimdName(active);
}

inline double Largest(const std::vector<float>& values) {
  double largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(double{value}));
  return largest;
}

// The largest difference; infinite where one of a pair is NaN.
template <class A, class B>
double LargestError(const A& got, const B& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::fabs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(error <= largest)) largest = std::isnan(error) ? HUGE_VAL : error;
  }
  return largest;
}

// Differences are measured against the largest entry: an entry is a sum of terms of that size.
inline void ExpectClose(const std::vector<float>& got, const std::vector<float>& want,
                        double tolerance, double floor = 1e-30) {
  EXPECT_LE(LargestError(got, want), tolerance * Largest(want) + floor);
}

template <class T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void ExpectSameBits(const std::vector<T>& got, const std::vector<T>& want) {
  EXPECT_TRUE(SameBits(got, want));
}

// Calls body() on four threads at once, as Node's worker threads do; whether it held on each.
template <class Body>
bool HoldsOnFourThreads(Body body) {
  std::atomic<int> held{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const OpScope scope;
      if (body()) ++held;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return held == 4;
}

// At most twice the error of the plain loop in the same precision; `unit`, the rounding of the largest result, counts for
// both.
template <class A, class B, class C>
void ExpectAsAccurate(const A& got, const B& naive, const C& exact) {
  double largest = 0;
  for (const auto value : exact) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  const double unit = largest * std::numeric_limits<float>::epsilon();
  EXPECT_LE(LargestError(got, exact), 2 * std::max(LargestError(naive, exact), unit));
}

inline void ExpectSameCode(const Status& got, const Status& want) {
  EXPECT_EQ(std::string(StatusCodeName(got.code)), std::string(StatusCodeName(want.code)));
}

}  // namespace prismrec::test

#endif  // PRISMREC_TEST_FUZZ_H_
