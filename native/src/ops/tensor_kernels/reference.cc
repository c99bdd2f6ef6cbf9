#include <cmath>

#include "ops/tensor_kernels/tensor_kernels.h"

namespace prismrec::tensor::reference {

double Apply(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMax:
      return a > b || std::isnan(a) ? a : b;
    case BinaryOp::kMin:
      return a < b || std::isnan(a) ? a : b;
    case BinaryOp::kPow:
      return std::pow(a, b);
    case BinaryOp::kSquaredDifference:
      return (a - b) * (a - b);
    case BinaryOp::kCount:
      break;
  }
  return NAN;
}

double Apply(UnaryOp op, double x, double p0, double p1) {
  switch (op) {
    case UnaryOp::kExp:
      return std::exp(x);
    case UnaryOp::kLog:
      return std::log(x);
    case UnaryOp::kLog1p:
      return std::log1p(x);
    case UnaryOp::kSqrt:
      return std::sqrt(x);
    case UnaryOp::kRsqrt:
      return 1 / std::sqrt(x);
    case UnaryOp::kSquare:
      return x * x;
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kAbs:
      return std::fabs(x);
    case UnaryOp::kRelu:
      return x < 0 ? 0 : x;
    case UnaryOp::kTanh:
      return std::tanh(x);
    case UnaryOp::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case UnaryOp::kErf:
      return std::erf(x);
    case UnaryOp::kSoftplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case UnaryOp::kElu:
      return x < 0 ? std::expm1(x) : x;
    case UnaryOp::kStep:
      return std::isnan(x) ? x : x > 0 ? 1 : p0;
    case UnaryOp::kClip:
      return x > p1 ? p1 : x < p0 ? p0 : x;
    case UnaryOp::kReciprocal:
      return 1 / x;
    case UnaryOp::kGelu:
      return x * 0.5 * std::erfc(-x * std::sqrt(0.5));
    case UnaryOp::kExpm1:
      return std::expm1(x);
    case UnaryOp::kLeakyRelu:
      return x < 0 ? p0 * x : x;
    case UnaryOp::kCount:
      break;
  }
  return NAN;
}

void LayerNorm(const float* x, const float* gamma, const float* beta, double* y, size_t cols,
               double epsilon) {
  double mean = 0, variance = 0;
  for (size_t c = 0; c < cols; ++c) mean += x[c];
  mean /= static_cast<double>(cols);
  for (size_t c = 0; c < cols; ++c) variance += (x[c] - mean) * (x[c] - mean);
  variance /= static_cast<double>(cols);
  for (size_t c = 0; c < cols; ++c) {
    y[c] = gamma[c] * (x[c] - mean) / std::sqrt(variance + epsilon) + beta[c];
  }
}

void MaskedSoftmax(const float* x, const uint8_t* mask, double* y, size_t cols) {
  double top = -INFINITY, total = 0;
  for (size_t c = 0; c < cols; ++c) {
    if (mask[c] != 0 && x[c] > top) top = x[c];
  }
  for (size_t c = 0; c < cols; ++c) {
    y[c] = mask[c] != 0 ? std::exp(x[c] - top) : 0;
    total += y[c];
  }
  for (size_t c = 0; c < cols; ++c) y[c] = total == 0 ? 0 : y[c] / total;
}

}  // namespace prismrec::tensor::reference
