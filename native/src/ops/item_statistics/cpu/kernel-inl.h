// Loops that the compiler turns into vectors of each instruction set.
#include "ops/item_statistics/cpu/spans.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::item_statistics {

// Columns that are multiplied at a time: as many as stay in registers, else few.
constexpr size_t kFew = 16, kMany = 4 * kLanes > kFew ? 4 * kLanes : kFew;

// Rows of `in` lie apart, so they are asked for this long before their turn.
constexpr size_t kAhead = 12;

// The part of a row of A * in that N columns make, where `entries` are the row's and `left` are there.
template <size_t N>
inline void MultiplyColumns(const uint32_t* indices, const float* values, size_t entries, size_t left,
                            const float* in, size_t width, float* out) {
  constexpr size_t kLine = 64 / sizeof(float);
  float sum[N] = {};
  for (size_t e = 0; e < entries; ++e) {
    if (N >= kLine && e + kAhead < left) {
      const float* const next = in + indices[e + kAhead] * width;
      for (size_t i = 0; i < N; i += kLine) __builtin_prefetch(next + i);
    }
    const float value = values == nullptr ? 1.0f : values[e];
    const float* const from = in + indices[e] * width;
    for (size_t i = 0; i < N; ++i) sum[i] += value * from[i];
  }
  for (size_t i = 0; i < N; ++i) out[i] = sum[i];
}

void Multiply(const uint32_t* indptr, const uint32_t* indices, const float* values, size_t rows,
              const float* in, size_t width, float* out) {
  for (size_t r = 0; r < rows; ++r, out += width) {
    const uint32_t* const at = indices + indptr[r];
    const float* const value = values == nullptr ? nullptr : values + indptr[r];
    const size_t entries = indptr[r + 1] - indptr[r], left = indptr[rows] - indptr[r];
    size_t c = 0;
    for (; c + kMany <= width; c += kMany) {
      MultiplyColumns<kMany>(at, value, entries, left, in + c, width, out + c);
    }
    for (; c + kFew <= width; c += kFew) {
      MultiplyColumns<kFew>(at, value, entries, left, in + c, width, out + c);
    }
    for (; c + 4 <= width; c += 4) {
      MultiplyColumns<4>(at, value, entries, left, in + c, width, out + c);
    }
    for (; c < width; ++c) MultiplyColumns<1>(at, value, entries, left, in + c, width, out + c);
  }
}

void AddGram(const float* panel, size_t rows, size_t width, double* __restrict scratch,
             double* __restrict gram) {
  // Some rows at a time, so that a sum is loaded and stored once for them.
  constexpr size_t kTogether = 4;
  size_t r = 0;
  for (; r + kTogether <= rows; r += kTogether) {
    for (size_t i = 0; i < kTogether * width; ++i) scratch[i] = panel[r * width + i];
    const double* const x0 = scratch;
    const double* const x1 = x0 + width;
    const double* const x2 = x1 + width;
    const double* const x3 = x2 + width;
    for (size_t a = 0; a < width; ++a) {
      double* const to = gram + a * width;
      for (size_t b = 0; b <= a; ++b) {
        to[b] = (((to[b] + x0[a] * x0[b]) + x1[a] * x1[b]) + x2[a] * x2[b]) + x3[a] * x3[b];
      }
    }
  }
  for (; r < rows; ++r) {
    for (size_t i = 0; i < width; ++i) scratch[i] = panel[r * width + i];
    for (size_t a = 0; a < width; ++a) {
      double* const to = gram + a * width;
      for (size_t b = 0; b <= a; ++b) to[b] += scratch[a] * scratch[b];
    }
  }
}

const prismrec::item_statistics::Spans kSpans = {Multiply, AddGram};

}  // namespace prismrec::PRISMREC_SIMD_NS::item_statistics
