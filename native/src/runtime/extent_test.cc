#include "runtime/extent.h"

#include <cstdint>

#include "test_harness.h"

namespace prismrec {
namespace {

constexpr size_t kLargest = Extent::kBeyond - 1;

TEST(sums_and_products_that_fit_are_exact) {
  EXPECT_EQ((Extent(3) * 5 + 7).value(), size_t{22});
  EXPECT_EQ((Extent(size_t{1} << 26) * (size_t{1} << 26)).value(), size_t{1} << 52);
  EXPECT_EQ((Extent(kLargest) * 1 + 0).value(), kLargest);
  EXPECT_FALSE(Extent(kLargest).beyond());
}

TEST(what_does_not_fit_stays_beyond) {
  EXPECT_TRUE(Extent(kLargest + 1).beyond());
  EXPECT_TRUE(Extent(SIZE_MAX).beyond());
  EXPECT_TRUE((Extent(kLargest) + 1).beyond());
  // 2^64 and 2^66 are 0 in 64 bits.
  EXPECT_TRUE((Extent(size_t{1} << 32) * (size_t{1} << 32)).beyond());
  EXPECT_TRUE((Extent(size_t{1} << 52) * (size_t{1} << 14)).beyond());
  EXPECT_TRUE((Extent(size_t{1} << 32) * (size_t{1} << 32) * 0).beyond());
  EXPECT_FALSE((Extent(0) * kLargest * kLargest).beyond());
}

TEST(nothing_equals_what_is_beyond) {
  const Extent beyond = Extent(kLargest) * 2;
  EXPECT_TRUE(beyond != beyond);
  EXPECT_TRUE(Extent(kLargest) != beyond);
  EXPECT_TRUE(Extent(4) == Extent(2) * 2);
  EXPECT_EQ(ToText(beyond), std::string("2^53 or more"));
  EXPECT_EQ(ToText(12), std::string("12"));
}

}  // namespace
}  // namespace prismrec
