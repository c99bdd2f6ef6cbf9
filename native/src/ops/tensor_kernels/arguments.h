// Positional arguments of the tensor kernels: what they have beyond arrays and numbers.
#ifndef PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_
#define PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_

#include <algorithm>
#include <iterator>
#include <string>

#include "node/positional.h"
#include "ops/tensor_kernels/tensor_kernels.h"

namespace prismrec::tensor {

template <size_t N>
class Arguments : public positional::Arguments<N> {
 public:
  using positional::Arguments<N>::Arguments;
  using positional::Arguments<N>::Fail;
  using positional::Arguments<N>::ok;

  template <class Op>
  Op Code(size_t at) {
    const size_t value = this->Size(at).value();
    if (ok() && value >= static_cast<size_t>(Op::kCount)) {
      Fail(StatusCode::kInvalidArgument, "operation code", "one this build knows",
           std::to_string(value));
    }
    return static_cast<Op>(value);
  }

  // [rank, sizes, strides of the first operand, strides of the second]
  Geometry Shape(size_t at) {
    Geometry geometry;
    const JsArray array = this->Typed(at, napi_int32_array, 1);
    if (!ok()) return geometry;
    // A copy, as other threads may write to shared memory.
    int32_t raw[1 + 3 * kMaxRank] = {};
    std::copy_n(array.as<int32_t>(), std::min(array.length, std::size(raw)), raw);
    const int rank = raw[0];
    if (rank < 0 || rank > kMaxRank || array.length < 1 + 3 * static_cast<size_t>(rank)) {
      Fail(StatusCode::kShapeMismatch, "geometry", "rank 0.." + std::to_string(kMaxRank),
           std::to_string(rank));
      return geometry;
    }
    Extent count = 1;
    for (int d = 0; d < rank; ++d) {
      if (raw[1 + d] < 0) {
        Fail(StatusCode::kShapeMismatch, "geometry", "sizes from 0", std::to_string(raw[1 + d]));
        return geometry;
      }
      geometry.size[d] = static_cast<size_t>(raw[1 + d]);
      geometry.stride_a[d] = raw[1 + rank + d];
      geometry.stride_b[d] = raw[1 + 2 * rank + d];
      count = count * geometry.size[d];
    }
    // From here on Count() is exact.
    if (count.beyond()) {
      Fail(StatusCode::kShapeMismatch, "geometry", "less than 2^53 elements", ToText(count));
      return geometry;
    }
    geometry.rank = rank;
    return geometry;
  }

  // Checks that offset + every reachable index lies in [0, length).
  void Within(const Geometry& geometry, const std::ptrdiff_t* strides, Extent offset,
              size_t length) {
    if (!ok() || geometry.Count() == 0) return;
    // Steps of 2^31 over sizes of 2^31 in several dimensions need more than 64 bits.
    __extension__ using Wide = __int128;
    Wide low = static_cast<Wide>(offset.value()), high = low;
    for (int d = 0; d < geometry.rank; ++d) {
      const Wide reach = static_cast<Wide>(geometry.size[d] - 1) * strides[d];
      (reach < 0 ? low : high) += reach;
    }
    if (low < 0 || high >= static_cast<Wide>(length)) {
      Fail(StatusCode::kShapeMismatch, "the geometry leaves an array",
           "indices below " + std::to_string(length),
           low < 0 ? "one below 0" : std::to_string(static_cast<double>(high)));
    }
  }

  // The innermost step of an elementwise walk is 0 or 1.
  void UnitSteps(const Geometry& geometry) {
    if (!ok() || geometry.rank == 0) return;
    const std::ptrdiff_t a = geometry.stride_a[geometry.rank - 1];
    const std::ptrdiff_t b = geometry.stride_b[geometry.rank - 1];
    if (a < 0 || a > 1 || b < 0 || b > 1 || a + b == 0) {
      Fail(StatusCode::kShapeMismatch, "innermost strides", "0 or 1, not both 0",
           std::to_string(a) + ", " + std::to_string(b));
    }
  }
};

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_
