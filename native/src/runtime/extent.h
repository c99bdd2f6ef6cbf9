// Sizes that come from outside, and what is computed from them.
#ifndef PRISMREC_RUNTIME_EXTENT_H_
#define PRISMREC_RUNTIME_EXTENT_H_

#include <cstddef>
#include <string>

namespace prismrec {

// A number of elements below 2^53. A sum or product that is not stays `beyond` in whatever is computed
// from it, and no array is that long: comparing an array's length with an extent therefore checks
// every step that led to it. It turns into a plain number only by value().
class Extent {
 public:
  static constexpr size_t kBeyond = size_t{1} << 53;

  constexpr Extent() = default;
  constexpr Extent(size_t value) : value_(value < kBeyond ? value : kBeyond) {}  // NOLINT: a number is an extent

  constexpr size_t value() const { return value_; }
  constexpr bool beyond() const { return value_ == kBeyond; }

  friend constexpr Extent operator*(Extent a, Extent b) {
    if (a.beyond() || b.beyond()) return kBeyond;
    size_t product = 0;
    return __builtin_mul_overflow(a.value_, b.value_, &product) ? kBeyond : product;
  }
  friend constexpr Extent operator+(Extent a, Extent b) { return a.value_ + b.value_; }
  friend constexpr bool operator==(Extent a, Extent b) { return a.value_ == b.value_ && !a.beyond(); }
  friend constexpr bool operator!=(Extent a, Extent b) { return !(a == b); }

 private:
  size_t value_ = 0;
};

inline std::string ToText(Extent extent) {
  return extent.beyond() ? "2^53 or more" : std::to_string(extent.value());
}

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_EXTENT_H_
