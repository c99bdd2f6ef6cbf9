// The tile kernel, once, on the abstract vector of simd/vec-inl.h; nothing here may call an inline
// function shared with other translation units.
#include "ops/similarity_search/cpu/tile.h"
#include "simd/vec-inl.h"

namespace prismrec::PRISMREC_SIMD_NS::similarity_search {

using prismrec::similarity_search::Tile;

inline Vec LoadUpTo(const float* p, size_t n) { return n < kLanes ? LoadN(p, n) : Load(p); }

inline void StoreUpTo(float* p, Vec v, size_t n) {
  if (n < kLanes) {
    StoreN(p, v, n);
  } else {
    Store(p, v);
  }
}

inline void Reduce(const Tile& tile, float* scores) {
  const Vec threshold = Set(tile.threshold);
  const Vec slack = Set(tile.log_slack);
  const bool sums = tile.log_sum_exp && tile.interests > 1;
  for (size_t i = 0; i < tile.count; i += kLanes) {
    const size_t n = tile.count - i;
    const float* terms = tile.terms + i;
    Vec best = Add(LoadUpTo(terms, n), Set(tile.offsets[0]));
    for (size_t j = 1; j < tile.interests; ++j) {
      best = Max(best, Add(LoadUpTo(terms + j * tile.stride, n), Set(tile.offsets[j])));
    }
    const Vec bias = tile.bias == nullptr ? Zero() : LoadUpTo(tile.bias + i, n);
    Vec score = Add(best, bias);
    if (sums) {
      // Rounding is monotone, so that the bound holds for the rounded sum as well.
      const Vec bound = Add(Add(best, slack), bias);
      if (MaskBits(Greater(bound, threshold)) != 0) {
        Vec sum = Zero();
        for (size_t j = 0; j < tile.interests; ++j) {
          const Vec term = Add(LoadUpTo(terms + j * tile.stride, n), Set(tile.offsets[j]));
          sum = Add(sum, Exp(Sub(term, best)));
        }
        score = Add(Add(best, Log(sum)), bias);
      }
    }
    StoreUpTo(scores + i, score, n);
  }
}

inline size_t Collect(const float* scores, size_t count, float threshold, uint32_t* positions) {
  const Vec limit = Set(threshold);
  size_t found = 0;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    uint32_t bits = MaskBits(Greater(Load(scores + i), limit));
    for (; bits != 0; bits &= bits - 1) {
      positions[found++] = static_cast<uint32_t>(i) + static_cast<uint32_t>(__builtin_ctz(bits));
    }
  }
  for (; i < count; ++i) {
    if (scores[i] > threshold) positions[found++] = static_cast<uint32_t>(i);
  }
  return found;
}

inline constexpr prismrec::similarity_search::TileKernel kTile = {Reduce, Collect};

}  // namespace prismrec::PRISMREC_SIMD_NS::similarity_search
