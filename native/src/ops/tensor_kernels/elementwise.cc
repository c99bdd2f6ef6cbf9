#include <type_traits>

#include "ops/tensor_kernels/walk.h"

namespace prismrec::tensor {
namespace {

bool Costly(UnaryOp op) {
  switch (op) {
    case UnaryOp::kSquare:
    case UnaryOp::kNeg:
    case UnaryOp::kAbs:
    case UnaryOp::kRelu:
    case UnaryOp::kStep:
    case UnaryOp::kClip:
    case UnaryOp::kLeakyRelu:
      return false;
    default:
      return true;
  }
}

template <class T, class Out, class F>
void ScalarSpan(Span span, const T* a, const T* b, Out* out, size_t n, F f) {
  const size_t step_a = span == Span::kScalarA ? 0 : 1;
  const size_t step_b = span == Span::kScalarB ? 0 : 1;
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<Out>(f(a[i * step_a], b[i * step_b]));
}

template <class T, class Out, class F>
void ScalarWalk(const Geometry& geometry, const T* a, const T* b, Out* out, F f) {
  ForSpans(geometry, kCheapGrain,
           [&](Span span, std::ptrdiff_t at_a, std::ptrdiff_t at_b, size_t at, size_t n) {
             ScalarSpan(span, a + at_a, b + at_b, out + at, n, f);
           });
}

// Wrapping arithmetic of 32-bit integers, as Int32Array stores it.
template <class T>
T Wrap(uint32_t value) {
  return static_cast<T>(value);
}

template <class T>
void IntegerBinary(BinaryOp op, const Geometry& geometry, const T* a, const T* b, T* out) {
  const auto bits = [](T v) { return static_cast<uint32_t>(v); };
  switch (op) {
    case BinaryOp::kAdd:
      return ScalarWalk(geometry, a, b, out, [&](T x, T y) { return Wrap<T>(bits(x) + bits(y)); });
    case BinaryOp::kSub:
      return ScalarWalk(geometry, a, b, out, [&](T x, T y) { return Wrap<T>(bits(x) - bits(y)); });
    case BinaryOp::kMul:
      return ScalarWalk(geometry, a, b, out, [&](T x, T y) { return Wrap<T>(bits(x) * bits(y)); });
    case BinaryOp::kMax:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x > y ? x : y; });
    case BinaryOp::kMin:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x < y ? x : y; });
    default:
      return;
  }
}

template <class T>
void IntegerCompare(CompareOp op, const Geometry& geometry, const T* a, const T* b, uint8_t* out) {
  switch (op) {
    case CompareOp::kEqual:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x == y; });
    case CompareOp::kNotEqual:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x != y; });
    case CompareOp::kLess:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x < y; });
    case CompareOp::kLessEqual:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x <= y; });
    case CompareOp::kGreater:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x > y; });
    case CompareOp::kGreaterEqual:
      return ScalarWalk(geometry, a, b, out, [](T x, T y) { return x >= y; });
    case CompareOp::kCount:
      return;
  }
}

}  // namespace

void Binary(const KernelTable& table, BinaryOp op, const Geometry& geometry, const float* a,
            const float* b, float* out) {
  ForSpans(geometry, op == BinaryOp::kPow ? kCostlyGrain : kCheapGrain,
           [&](Span span, std::ptrdiff_t at_a, std::ptrdiff_t at_b, size_t at, size_t n) {
             table.binary(op, span, a + at_a, b + at_b, out + at, n);
           });
}

void Binary(BinaryOp op, const Geometry& geometry, const int32_t* a, const int32_t* b,
            int32_t* out) {
  IntegerBinary(op, geometry, a, b, out);
}

void Binary(BinaryOp op, const Geometry& geometry, const uint8_t* a, const uint8_t* b,
            uint8_t* out) {
  IntegerBinary(op, geometry, a, b, out);
}

void Compare(const KernelTable& table, CompareOp op, const Geometry& geometry, const float* a,
             const float* b, uint8_t* out) {
  ForSpans(geometry, kCheapGrain,
           [&](Span span, std::ptrdiff_t at_a, std::ptrdiff_t at_b, size_t at, size_t n) {
             table.compare(op, span, a + at_a, b + at_b, out + at, n);
           });
}

void Compare(CompareOp op, const Geometry& geometry, const int32_t* a, const int32_t* b,
             uint8_t* out) {
  IntegerCompare(op, geometry, a, b, out);
}

void Compare(CompareOp op, const Geometry& geometry, const uint8_t* a, const uint8_t* b,
             uint8_t* out) {
  IntegerCompare(op, geometry, a, b, out);
}

void Unary(const KernelTable& table, UnaryOp op, const float* x, float* out, size_t count, float p0,
           float p1) {
  ForRange(count, Costly(op) ? kCostlyGrain : kCheapGrain, [&](size_t begin, size_t end) {
    table.unary(op, x + begin, out + begin, end - begin, p0, p1);
  });
}

void GeluGrad(const KernelTable& table, const float* x, const float* dy, float* dx, size_t count) {
  ForRange(count, kCostlyGrain, [&](size_t begin, size_t end) {
    table.gelu_grad(x + begin, dy + begin, dx + begin, end - begin);
  });
}

void Dropout(const KernelTable& table, const float* x, float* out, size_t count, uint32_t key,
             uint32_t threshold, float scale) {
  ForRange(count, kCostlyGrain, [&](size_t begin, size_t end) {
    table.dropout(x + begin, out + begin, begin, end - begin, key, threshold, scale);
  });
}

void Select(const uint8_t* condition, const float* a, const float* b, float* out, size_t count) {
  ForRange(count, kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) out[i] = condition[i] ? a[i] : b[i];
  });
}

}  // namespace prismrec::tensor
