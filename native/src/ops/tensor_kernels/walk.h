// Splitting of work over the thread pool, common to all tensor kernels.
#ifndef PRISMREC_OPS_TENSOR_KERNELS_WALK_H_
#define PRISMREC_OPS_TENSOR_KERNELS_WALK_H_

#include <algorithm>
#include <cstddef>

#include "ops/tensor_kernels/tensor_kernels.h"
#include "runtime/cancel.h"
#include "runtime/thread_pool.h"

namespace prismrec::tensor {

// Elements a thread should get at least: waking one costs about as much as this many.
inline constexpr size_t kCheapGrain = 32768;  // add, multiply, copy
inline constexpr size_t kCostlyGrain = 8192;  // exp, erf, normalisation

// Calls fn(begin, end) over [0, total) in pieces of `grain`, on the caller alone where that is one.
template <class Fn>
void ForRange(size_t total, size_t grain, Fn&& fn) {
  if (total == 0) return;
  grain = std::max<size_t>(grain, 1);
  if (total <= grain) {
    fn(size_t{0}, total);
    return;
  }
  const size_t chunks = (total + grain - 1) / grain;
  ThreadPool::Global().ParallelFor(chunks, CancelFlag(), [&](size_t chunk, int) {
    fn(chunk * grain, std::min(total, (chunk + 1) * grain));
  });
}

// Rows of `cols` elements, `grain` elements to a piece.
template <class Fn>
void ForRows(size_t rows, size_t cols, size_t grain, Fn&& fn) {
  ForRange(rows, (grain + cols) / std::max<size_t>(cols, 1), fn);
}

// Offsets of both operands for a running index over the leading `dims` dimensions.
class Odometer {
 public:
  Odometer(const Geometry& geometry, int dims, size_t start) : geometry_(geometry), dims_(dims) {
    for (int d = dims - 1; d >= 0; --d) {
      index_[d] = start % geometry.size[d];
      start /= geometry.size[d];
      a_ += static_cast<std::ptrdiff_t>(index_[d]) * geometry.stride_a[d];
      b_ += static_cast<std::ptrdiff_t>(index_[d]) * geometry.stride_b[d];
    }
  }

  std::ptrdiff_t a() const { return a_; }
  std::ptrdiff_t b() const { return b_; }

  void Next() {
    for (int d = dims_ - 1; d >= 0; --d) {
      a_ += geometry_.stride_a[d];
      b_ += geometry_.stride_b[d];
      if (++index_[d] < geometry_.size[d]) return;
      index_[d] = 0;
      a_ -= static_cast<std::ptrdiff_t>(geometry_.size[d]) * geometry_.stride_a[d];
      b_ -= static_cast<std::ptrdiff_t>(geometry_.size[d]) * geometry_.stride_b[d];
    }
  }

 private:
  const Geometry& geometry_;
  int dims_;
  size_t index_[kMaxRank] = {};
  std::ptrdiff_t a_ = 0;
  std::ptrdiff_t b_ = 0;
};

// Calls span(kind, offset_a, offset_b, offset_out, n) for every innermost run of a broadcast.
template <class Fn>
void ForSpans(const Geometry& geometry, size_t grain, Fn&& span) {
  const size_t total = geometry.Count();
  if (total == 0) return;
  if (geometry.rank == 0) {
    span(Span::kBoth, std::ptrdiff_t{0}, std::ptrdiff_t{0}, size_t{0}, size_t{1});
    return;
  }
  const int last = geometry.rank - 1;
  const std::ptrdiff_t step_a = geometry.stride_a[last];
  const std::ptrdiff_t step_b = geometry.stride_b[last];
  const Span kind = step_a == 0 ? Span::kScalarA : step_b == 0 ? Span::kScalarB : Span::kBoth;
  const size_t inner = geometry.size[last];
  if (last == 0) {
    ForRange(total, grain, [&](size_t begin, size_t end) {
      span(kind, static_cast<std::ptrdiff_t>(begin) * step_a,
           static_cast<std::ptrdiff_t>(begin) * step_b, begin, end - begin);
    });
    return;
  }
  ForRows(total / inner, inner, grain, [&](size_t begin, size_t end) {
    Odometer at(geometry, last, begin);
    for (size_t row = begin; row < end; ++row, at.Next()) {
      span(kind, at.a(), at.b(), row * inner, inner);
    }
  });
}

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_WALK_H_
