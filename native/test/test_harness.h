// A test library of one page, so that the C++ tests need nothing that is not in this repository.
//   TEST(adds_small_numbers) { EXPECT_EQ(1 + 1, 2); }
// A failed expectation is printed with its values and fails the test, which goes on.
#ifndef PRISMREC_TEST_TEST_HARNESS_H_
#define PRISMREC_TEST_TEST_HARNESS_H_

#include <cmath>
#include <sstream>
#include <string>

namespace prismrec::test {

// Registers a test; returns a dummy, so that it can initialise a global.
int Add(const char* name, void (*body)());
// Records and prints a failure of the running test.
void Fail(const char* file, int line, const std::string& message);
// The first failures of a test are printed with its context, e.g. "n=17 variant=avx2"; empty: none.
void SetContext(std::string context);

// PRISMREC_TEST_REDUCED is set: under a sanitizer or an emulator, where a test leaves out its largest
// shapes.
bool Reduced();

template <class T>
std::string Show(const T& value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  return out.str();
}

}  // namespace prismrec::test

#define TEST(name)                                                                               \
  static void Test_##name();                                                                     \
  [[maybe_unused]] static const int registered_##name = prismrec::test::Add(#name, Test_##name); \
  static void Test_##name()

#define PRISMREC_EXPECT(condition, text)                              \
  do {                                                                \
    if (!(condition)) prismrec::test::Fail(__FILE__, __LINE__, text); \
  } while (false)

#define PRISMREC_COMPARE(a, op, b)                                                      \
  do {                                                                                  \
    const auto& left_ = (a);                                                            \
    const auto& right_ = (b);                                                           \
    PRISMREC_EXPECT(left_ op right_, std::string(#a " " #op " " #b ", but they are ") + \
                                         prismrec::test::Show(left_) + " and " +        \
                                         prismrec::test::Show(right_));                 \
  } while (false)

#define EXPECT_TRUE(condition) PRISMREC_EXPECT((condition), #condition " does not hold")
#define EXPECT_FALSE(condition) PRISMREC_EXPECT(!(condition), #condition " holds")
#define EXPECT_EQ(a, b) PRISMREC_COMPARE(a, ==, b)
#define EXPECT_NE(a, b) PRISMREC_COMPARE(a, !=, b)
#define EXPECT_LT(a, b) PRISMREC_COMPARE(a, <, b)
#define EXPECT_LE(a, b) PRISMREC_COMPARE(a, <=, b)
#define EXPECT_GT(a, b) PRISMREC_COMPARE(a, >, b)
#define EXPECT_GE(a, b) PRISMREC_COMPARE(a, >=, b)
// |a - b| <= tolerance, and neither is NaN.
#define EXPECT_NEAR(a, b, tolerance)                                                              \
  do {                                                                                            \
    const double left_ = static_cast<double>(a);                                                  \
    const double right_ = static_cast<double>(b);                                                 \
    PRISMREC_EXPECT(std::fabs(left_ - right_) <= static_cast<double>(tolerance),                  \
                    std::string(#a " near " #b ", but they are ") + prismrec::test::Show(left_) + \
                        " and " + prismrec::test::Show(right_));                                  \
  } while (false)
// A Status that is ok; else its message is shown.
#define EXPECT_OK(status)                                                              \
  do {                                                                                 \
    const auto& status_ = (status);                                                    \
    PRISMREC_EXPECT(status_.ok(), std::string(#status " failed: ") + status_.message); \
  } while (false)

#endif  // PRISMREC_TEST_TEST_HARNESS_H_
