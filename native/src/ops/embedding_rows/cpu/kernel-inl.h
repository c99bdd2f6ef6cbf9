// Spans of floats: Adam and rows on the abstract vector, sums of squares in double.
#include "ops/embedding_rows/cpu/spans.h"
#include "ops/embedding_rows/embedding_rows.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::embedding_rows {

using prismrec::embedding_rows::AdamFactors;
using prismrec::embedding_rows::kNoRow;

struct AdamVectors {
  Vec beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, rate, inverse_root, keep, scale;
};

inline void AdamStep(const AdamVectors& f, Vec gradient, Vec* value, Vec* m, Vec* v) {
  const Vec g = Mul(gradient, f.scale);
  *m = Fma(f.beta1, *m, Mul(f.one_minus_beta1, g));
  *v = Fma(f.beta2, *v, Mul(f.one_minus_beta2, Mul(g, g)));
  const Vec denominator = Fma(Sqrt(*v), f.inverse_root, f.epsilon);
  *value = Sub(Mul(*value, f.keep), Div(Mul(f.rate, *m), denominator));
}

void AdamSpan(const AdamFactors& factors, float* values, float* m, float* v, const float* gradients,
              size_t n) {
  const AdamVectors f = {Set(factors.beta1),         Set(factors.one_minus_beta1),
                         Set(factors.beta2),         Set(factors.one_minus_beta2),
                         Set(factors.epsilon),       Set(factors.rate),
                         Set(factors.inverse_root),  Set(factors.keep),
                         Set(factors.gradient_scale)};
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec value = Load(values + i), first = Load(m + i), second = Load(v + i);
    AdamStep(f, Load(gradients + i), &value, &first, &second);
    Store(values + i, value);
    Store(m + i, first);
    Store(v + i, second);
  }
  if (i < n) {
    const size_t r = n - i;
    Vec value = LoadN(values + i, r), first = LoadN(m + i, r), second = LoadN(v + i, r);
    AdamStep(f, LoadN(gradients + i, r), &value, &first, &second);
    StoreN(values + i, value, r);
    StoreN(m + i, first, r);
    StoreN(v + i, second, r);
  }
}

double SquaredSum(const float* x, size_t n) {
  // As many sums as two of the widest vectors hold, joined in order.
  constexpr size_t kSums = 16;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (size_t lane = 0; lane < kSums; ++lane) {
      const double value = x[i + lane];
      sums[lane] += value * value;
    }
  }
  for (; i < n; ++i) sums[0] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

// Rows of a large table lie all over memory: as many as hide one access to it are asked for ahead
// of their turn. No more lines at a time than leave room in the first level of the cache; where one
// row has more, the processor has seen by then that its lines follow on each other.
inline constexpr size_t kLine = 64 / sizeof(float);
inline constexpr size_t kMostLines = 128;
inline constexpr size_t kMostRows = 32;

inline size_t RowsAhead(size_t cols) {
  const size_t rows = kMostLines / (cols / kLine + 1);
  return rows < 1 ? 1 : rows < kMostRows ? rows : kMostRows;
}

inline void Prefetch(const float* row, size_t cols) {
  const size_t end = cols < kMostLines * kLine ? cols : kMostLines * kLine;
  for (size_t c = 0; c < end; c += kLine) __builtin_prefetch(row + c);
  // A row that does not begin with a line ends in one more.
  __builtin_prefetch(row + end - 1);
}

inline void CopyRow(const float* from, float* to, size_t cols) {
  size_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) Store(to + c, Load(from + c));
  if (c < cols) StoreN(to + c, LoadN(from + c, cols - c), cols - c);
}

inline void AddRow(const float* from, float* to, size_t cols) {
  size_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) Store(to + c, Add(Load(to + c), Load(from + c)));
  if (c < cols) {
    const size_t r = cols - c;
    StoreN(to + c, Add(LoadN(to + c, r), LoadN(from + c, r)), r);
  }
}

void Gather(const float* table, const uint32_t* ids, float* out, size_t count, size_t cols) {
  const size_t ahead = RowsAhead(cols);
  for (size_t i = 0; i < count; ++i) {
    if (i + ahead < count && ids[i + ahead] != kNoRow) {
      Prefetch(table + ids[i + ahead] * cols, cols);
    }
    float* const to = out + i * cols;
    if (ids[i] == kNoRow) {
      std::memset(to, 0, cols * sizeof(float));
    } else {
      CopyRow(table + ids[i] * cols, to, cols);
    }
  }
}

void ScatterAdd(float* table, const uint32_t* ids, const uint32_t* positions, const float* rows,
                size_t count, size_t cols) {
  const size_t ahead = RowsAhead(cols);
  for (size_t k = 0; k < count; ++k) {
    if (k + ahead < count) {
      const size_t next = positions == nullptr ? k + ahead : positions[k + ahead];
      if (ids[next] != kNoRow) Prefetch(table + ids[next] * cols, cols);
      // Short ones are next to each other or nearly so.
      if (cols > kLine) Prefetch(rows + next * cols, cols);
    }
    const size_t i = positions == nullptr ? k : positions[k];
    if (ids[i] != kNoRow) AddRow(rows + i * cols, table + ids[i] * cols, cols);
  }
}

void SumGroups(const float* const* rows, const uint32_t* starts, float* out, size_t groups,
               size_t cols) {
  const size_t ahead = RowsAhead(cols);
  const size_t count = starts[groups] - starts[0];
  const size_t tail = cols % kLanes, whole = cols - tail;
  for (size_t g = 0; g < groups; ++g) {
    const size_t first = starts[g] - starts[0], end = starts[g + 1] - starts[0];
    float* const to = out + g * cols;
    for (size_t n = first; n < end; ++n) {
      if (n + ahead < count) Prefetch(rows[n + ahead], cols);
      if (n == first) {
        CopyRow(rows[n], to, whole);
      } else {
        AddRow(rows[n], to, whole);
      }
    }
    if (tail == 0) continue;
    // In a register: part of a vector that has just been written is slow to read back.
    Vec sum = LoadN(rows[first] + whole, tail);
    for (size_t n = first + 1; n < end; ++n) sum = Add(sum, LoadN(rows[n] + whole, tail));
    StoreN(to + whole, sum, tail);
  }
}

const prismrec::embedding_rows::Spans kSpans = {AdamSpan, SquaredSum, Gather, ScatterAdd,
                                                SumGroups};

}  // namespace prismrec::PRISMREC_SIMD_NS::embedding_rows
