#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "simd/vec_probe.h"
#include "test_harness.h"

namespace prismrec::simd_probe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class F>
void ForEachVariant(F f) {
  for (const auto& variant : kVariants) {
    if (!Supported(variant.simd)) continue;
    test::SetContext(variant.name);
    f(*variant.fn);
  }
}

// Every `step`-th float of [low, high], both of one sign.
std::vector<float> Sweep(float low, float high, uint32_t step) {
  uint32_t from, to;
  std::memcpy(&from, &low, 4);
  std::memcpy(&to, &high, 4);
  if (from > to) std::swap(from, to);
  std::vector<float> values;
  for (uint32_t bits = from; bits <= to; bits += step) {
    float value;
    std::memcpy(&value, &bits, 4);
    values.push_back(value);
  }
  return values;
}

// Distance from the exact value in units of the last place of a float of its size.
double Ulps(float actual, double exact) {
  int exponent;
  std::frexp(exact, &exponent);
  return std::fabs(actual - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

double WorstUlps(void (*f)(const float*, float*, size_t), double (*exact)(double),
                 const std::vector<float>& x) {
  std::vector<float> out(x.size());
  f(x.data(), out.data(), x.size());
  double worst = 0.0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, Ulps(out[i], exact(x[i])));
  return worst;
}

TEST(exp_is_within_two_units_of_the_last_place) {
  ForEachVariant([](const Probe& probe) {
    const auto exact = [](double x) { return std::exp(x); };
    EXPECT_LE(WorstUlps(probe.exp, exact, Sweep(1e-30f, 88.72f, 997)), 2.0);
    EXPECT_LE(WorstUlps(probe.exp, exact, Sweep(-1e-30f, -87.33f, 997)), 2.0);
  });
}

TEST(log_is_within_two_units_of_the_last_place) {
  ForEachVariant([](const Probe& probe) {
    const auto exact = [](double x) { return std::log(x); };
    EXPECT_LE(WorstUlps(probe.log, exact, Sweep(1.4e-45f, 3.4e38f, 997)), 2.0);
    EXPECT_LE(WorstUlps(probe.log, exact, Sweep(0.99f, 1.01f, 1)), 2.0);
  });
}

TEST(exp2_near_is_within_two_units_of_the_last_place_and_ends_in_0) {
  ForEachVariant([](const Probe& probe) {
    const auto exact = [](double x) { return std::exp2(x); };
    EXPECT_LE(WorstUlps(probe.exp2_near, exact, Sweep(1e-30f, 126.0f, 997)), 2.0);
    EXPECT_LE(WorstUlps(probe.exp2_near, exact, Sweep(-1e-30f, -126.0f, 997)), 2.0);
    const std::vector<float> below = {-126.25f, -126.5f, -126.99f, -127.0f, -200.0f, -kInfinity};
    std::vector<float> y(below.size());
    probe.exp2_near(below.data(), y.data(), below.size());
    for (size_t i = 0; i < below.size(); ++i) {
      EXPECT_GE(y[i], 0.0f);
      EXPECT_LE(y[i], below[i] > -127.0f ? std::ldexp(1.0f, -126) : 0.0f);
    }
  });
}

TEST(exp_and_log_have_the_right_limits) {
  ForEachVariant([](const Probe& probe) {
    std::vector<float> x = {-kInfinity, -1000.0f, -104.0f,   0.0f, -0.0f,
                            88.73f,     1000.0f,  kInfinity, kNan};
    std::vector<float> y(x.size());
    probe.exp(x.data(), y.data(), x.size());
    for (size_t i : {0, 1, 2}) EXPECT_EQ(y[i], 0.0f);
    for (size_t i : {3, 4}) EXPECT_EQ(y[i], 1.0f);
    for (size_t i : {5, 6, 7}) EXPECT_EQ(y[i], kInfinity);
    EXPECT_TRUE(std::isnan(y[8]));
    x = {0.0f, -0.0f, 1.0f, kInfinity, -1.0f, -kInfinity, kNan};
    probe.log(x.data(), y.data(), x.size());
    for (size_t i : {0, 1}) EXPECT_EQ(y[i], -kInfinity);
    EXPECT_EQ(y[2], 0.0f);
    EXPECT_EQ(y[3], kInfinity);
    for (size_t i : {4, 5, 6}) EXPECT_TRUE(std::isnan(y[i]));
  });
}

TEST(subnormal_results_of_exp_are_close) {
  ForEachVariant([](const Probe& probe) {
    for (float x : {-88.0f, -95.0f, -103.0f}) {
      float y;
      probe.exp(&x, &y, 1);
      EXPECT_NEAR(y, std::exp(static_cast<double>(x)), 2.9e-45);
    }
  });
}

TEST(partial_loads_and_stores_touch_nothing_beyond) {
  ForEachVariant([](const Probe& probe) {
    for (size_t n = 1; n <= 3 * probe.lanes; ++n) {
      // Memory of exactly n values: a sanitizer sees what reaches beyond.
      const std::vector<float> x(n, 0.0f);
      std::vector<float> out(n + 1, 7.0f);
      probe.exp(x.data(), out.data(), n);
      EXPECT_EQ(std::count(out.begin(), out.end() - 1, 1.0f), static_cast<std::ptrdiff_t>(n));
      EXPECT_EQ(out[n], 7.0f);
    }
    std::vector<float> filled(probe.lanes);
    for (size_t n = 0; n <= probe.lanes; ++n) {
      const std::vector<float> x(n, 3.0f);
      probe.load_filled(x.data(), n, -1.0f, filled.data());
      EXPECT_EQ(std::count(filled.begin(), filled.end(), 3.0f), static_cast<std::ptrdiff_t>(n));
      EXPECT_EQ(std::count(filled.begin(), filled.end(), -1.0f),
                static_cast<std::ptrdiff_t>(probe.lanes - n));
    }
  });
}

TEST(arithmetic_and_comparisons_work_lane_by_lane) {
  ForEachVariant([](const Probe& probe) {
    const size_t lanes = probe.lanes;
    // Pairs that are less, equal, greater, of both signs, and exact in every operation.
    const float as[] = {1, -2, 3, -4, 0.5f, 8, -1, 2.5f},
                bs[] = {2, -2, 1, -8, 0.25f, 16, 4, -0.5f};
    std::vector<float> a(lanes), b(lanes), c(lanes), out(kArithmeticRows * lanes);
    for (size_t shift = 0; shift < 8; ++shift) {
      for (size_t i = 0; i < lanes; ++i) {
        a[i] = as[(i + shift) % 8];
        b[i] = bs[(i + shift) % 8];
        c[i] = static_cast<float>(i) + 32.0f;
      }
      probe.arithmetic(a.data(), b.data(), c.data(), out.data());
      for (size_t i = 0; i < lanes; ++i) {
        const float x = a[i], y = b[i], z = c[i];
        const float expected[kArithmeticRows] = {
            x + y,
            x - y,
            x * y,
            x / y,
            x * y + z,
            z - x * y,
            std::min(x, y),
            std::max(x, y),
            std::fabs(x),
            std::sqrt(std::fabs(x)),
            std::nearbyint(x),
            x < y ? x : y,
            x <= y ? x : z,
            x > y ? x : y,
            x >= y ? x : z,
            x == y ? x : z,
            z,
            x <= y ? x : z,
        };
        for (size_t r = 0; r < kArithmeticRows; ++r) EXPECT_EQ(out[r * lanes + i], expected[r]);
      }
      const uint32_t bits = probe.less_bits(a.data(), b.data());
      for (size_t i = 0; i < lanes; ++i) EXPECT_EQ((bits >> i) & 1u, a[i] < b[i] ? 1u : 0u);
      EXPECT_EQ(lanes < 32 ? bits >> lanes : 0u, 0u);
    }
  });
}

TEST(comparisons_with_nan_are_false) {
  ForEachVariant([](const Probe& probe) {
    const std::vector<float> nan(probe.lanes, kNan), one(probe.lanes, 1.0f);
    EXPECT_EQ(probe.less_bits(nan.data(), one.data()), 0u);
    EXPECT_EQ(probe.less_bits(one.data(), nan.data()), 0u);
  });
}

TEST(reductions_see_every_lane) {
  ForEachVariant([](const Probe& probe) {
    for (size_t lane = 0; lane < probe.lanes; ++lane) {
      std::vector<float> x(probe.lanes, 0.0f);
      float out[3];
      x[lane] = 5.0f;
      probe.reduce(x.data(), out);
      EXPECT_EQ(out[0], 5.0f);
      EXPECT_EQ(out[1], 5.0f);
      x[lane] = -5.0f;
      probe.reduce(x.data(), out);
      EXPECT_EQ(out[0], -5.0f);
      EXPECT_EQ(out[2], -5.0f);
    }
  });
}

TEST(four_sums_at_once_have_the_bits_of_each) {
  ForEachVariant([](const Probe& probe) {
    std::vector<float> x(4 * probe.lanes);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 1.0f / static_cast<float>(3 + i * i);
    float out[8];
    probe.reduce_four(x.data(), out);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(out[i], out[4 + i]);
  });
}

}  // namespace
}  // namespace prismrec::simd_probe
