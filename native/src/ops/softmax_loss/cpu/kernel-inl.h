// The spans, once, on the abstract vector of simd/vec-inl.h. Each instruction set compiles this
// file in its own translation unit and namespace; nothing here may call an inline function shared
// with other units.
#include "gemm/cpu/tile-inl.h"
#include "ops/softmax_loss/cpu/spans.h"
#include "simd/span-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::softmax_loss {

using prismrec::softmax_loss::LogitsBlock;

// Bias, offset and the row's maximum are taken care of while the tile is in registers.
inline void LogitsTile(const LogitsBlock& g, size_t i, size_t j, const float* bias) {
  Vec sum[tile::kRows][tile::kVecs];
  const size_t rows = g.rows - i;
#pragma GCC unroll 16
  for (int r = 0; r < tile::kRows; ++r) {
    if (static_cast<size_t>(r) >= rows) break;
    __builtin_prefetch(g.out + (i + r) * g.stride + j, 1);
    __builtin_prefetch(g.out + (i + r) * g.stride + j + tile::kCols - 1, 1);
  }
  tile::Accumulate(g.dim, g.interests + i * g.dim, g.columns + j * g.dim, sum);
  Vec shift[tile::kVecs];
#pragma GCC unroll 4
  for (int v = 0; v < tile::kVecs; ++v) {
    shift[v] = bias == nullptr ? Zero() : Load(bias + v * kLanes);
  }
#pragma GCC unroll 16
  for (int r = 0; r < tile::kRows; ++r) {
    if (static_cast<size_t>(r) >= rows) break;
    const Vec offset = Set(g.offsets[i + r]);
    Vec top = Set(kNegativeInfinity);
#pragma GCC unroll 4
    for (int v = 0; v < tile::kVecs; ++v) {
      const Vec logit = Add(sum[r][v], Add(shift[v], offset));
      Store(g.out + (i + r) * g.stride + j + v * kLanes, logit);
      top = Max(top, logit);
    }
    if (g.top == nullptr) continue;
    const float largest = ReduceMax(top);
    if (largest > g.top[i + r]) g.top[i + r] = largest;
  }
}

inline void Logits(const LogitsBlock& g) {
  // The panels of columns that stay in the second-level cache while all interests pass.
  constexpr size_t kNear = size_t{1} << 16;
  constexpr size_t kCols = tile::kCols;
  const size_t near = kNear / g.dim / kCols * kCols + kCols;
  for (size_t i = 0; g.top != nullptr && i < g.rows; ++i) g.top[i] = kNegativeInfinity;
  for (size_t first = 0; first < g.cols; first += near) {
    const size_t end = g.cols - first < near ? g.cols : first + near;
    for (size_t i = 0; i < g.rows; i += tile::kRows) {
      for (size_t j = first; j < end; j += kCols) {
        if (g.cols - j >= kCols) {
          LogitsTile(g, i, j, g.bias == nullptr ? nullptr : g.bias + j);
          continue;
        }
        float edge[kCols];
        for (size_t c = 0; c < kCols; ++c) {
          const float bias = g.bias == nullptr || j + c >= g.cols ? 0.0f : g.bias[j + c];
          edge[c] = j + c < g.cols ? bias : kNegativeInfinity;
        }
        LogitsTile(g, i, j, edge);
      }
    }
  }
}

inline void TakeBetter(const float* x, float who, float* best, float* winner, size_t n) {
  const Vec self = Set(who);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec value = Load(x + i);
    const Vec held = Load(best + i);
    const auto better = Less(held, value);
    Store(best + i, Blend(better, value, held));
    Store(winner + i, Blend(better, self, Load(winner + i)));
  }
  for (; i < n; ++i) {
    if (x[i] > best[i]) {
      best[i] = x[i];
      winner[i] = who;
    }
  }
}

inline double Route(const float* g, const float* winner, float who, float* out, size_t n) {
  const Vec self = Set(who);
  const Vec zero = Set(0.0f);
  double total = 0;
  for (size_t begin = 0; begin < n; begin += kSumBlock) {
    const size_t end = n - begin < kSumBlock ? n : begin + kSumBlock;
    Vec sum = zero;
    size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      const Vec value = Blend(Equal(Load(winner + i), self), Load(g + i), zero);
      Store(out + i, value);
      sum = Add(sum, value);
    }
    total += ReduceAdd(sum);
    for (; i < end; ++i) {
      out[i] = winner[i] == who ? g[i] : 0.0f;
      total += out[i];
    }
  }
  return total;
}

constexpr prismrec::softmax_loss::Spans kSpans = {
    tile::kKernel, Logits, Maximum, ExpSum, ExpSumNear, TakeBetter,
    Route,         Axpy,   Scale,   Dot,    AllFinite,
};

}  // namespace prismrec::PRISMREC_SIMD_NS::softmax_loss
