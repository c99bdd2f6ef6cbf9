// What differs between instruction sets: turning a tile of inner products into scores, and finding
// those that could enter a list.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CPU_TILE_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CPU_TILE_H_

#include <cstddef>
#include <cstdint>

namespace prismrec::similarity_search {

// One query against `count` neighbouring items.
struct Tile {
  const float* terms;    // [interests, stride] inner products
  size_t stride;
  size_t interests;      // >= 1
  const float* offsets;  // [interests]
  const float* bias;     // [count], nullable
  size_t count;
  // Log-sum-exp instead of the maximum.
  bool log_sum_exp;
  // At least log(interests) as the kernel computes it: with the largest term it bounds a log-sum-exp.
  float log_slack;
  // Scores that are not above it need not be right, only not above it either.
  float threshold;
};

struct TileKernel {
  // scores [tile.count] = readout over interests of (terms + offset) + bias.
  void (*reduce)(const Tile& tile, float* scores);
  // The positions of scores above `threshold`, ascending; `positions` holds `count`. Returns how many.
  size_t (*collect)(const float* scores, size_t count, float threshold, uint32_t* positions);
};

extern const TileKernel kScalarTile;
extern const TileKernel kAvx2Tile;
extern const TileKernel kAvx512Tile;
extern const TileKernel kNeonTile;

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_CPU_TILE_H_
