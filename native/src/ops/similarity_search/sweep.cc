#include "ops/similarity_search/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gemm/gemm.h"

namespace prismrec::similarity_search {
namespace {

// A tile of inner products stays in the second-level cache: 256 KiB.
constexpr size_t kTileFloats = 65536;
constexpr size_t kTileItems = 512;
constexpr size_t kBlockRows = 128;
// Enough chunks to keep many threads busy; a constant, so that no result depends on their number.
constexpr size_t kWantedChunks = 64;
constexpr size_t kMinRangeItems = 4096;

// One candidate. `key` orders: score descending, then id ascending, is key descending.
struct Hit {
  uint64_t key;
  uint32_t interest;
};

bool Before(const Hit& a, const Hit& b) { return a.key > b.key; }

uint64_t KeyOf(float score, uint32_t id) {
  const float positive_zero = score + 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &positive_zero, sizeof(bits));
  bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (static_cast<uint64_t>(bits) << 32) | static_cast<uint32_t>(~id);
}

float ScoreOf(uint64_t key) {
  uint32_t bits = static_cast<uint32_t>(key >> 32);
  bits = (bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits;
  float score;
  std::memcpy(&score, &bits, sizeof(score));
  return score;
}

uint32_t IdOf(uint64_t key) { return ~static_cast<uint32_t>(key); }

// The best k of a stream of candidates in ascending order of ids. Those not above the threshold have
// k better ones: an equal score loses, since its id is larger.
class Selection {
 public:
  float threshold() const { return threshold_; }
  std::vector<Hit>& hits() { return hits_; }

  void Add(float score, uint32_t id, uint32_t interest) {
    hits_.push_back({KeyOf(score, id), interest});
  }

  // Called between tiles: keeps memory at O(k) and raises the threshold.
  void Prune(size_t k) {
    if (hits_.size() < 2 * k + kTileItems) return;
    Cut(k);
    threshold_ = ScoreOf(std::min_element(hits_.begin(), hits_.end(), [](const Hit& a, const Hit& b) {
                           return a.key < b.key;
                         })->key);
  }

  void Cut(size_t k) {
    if (hits_.size() <= k) return;
    std::nth_element(hits_.begin(), hits_.begin() + static_cast<std::ptrdiff_t>(k) - 1, hits_.end(),
                     Before);
    hits_.resize(k);
  }

 private:
  std::vector<Hit> hits_;
  float threshold_ = -std::numeric_limits<float>::infinity();
};

// Queries [begin, end) whose packed rows go through the matrix product together.
struct Block {
  size_t begin;
  size_t end;
};

std::vector<Block> MakeBlocks(const Query& query) {
  std::vector<Block> blocks;
  size_t begin = 0;
  while (begin < query.query_count) {
    size_t end = begin + 1;
    while (end < query.query_count && query.first_row[end + 1] - query.first_row[begin] <= kBlockRows) {
      ++end;
    }
    blocks.push_back({begin, end});
    begin = end;
  }
  return blocks;
}

struct Workspace {
  std::vector<float> terms;
  std::vector<float> scores;
  std::vector<uint32_t> positions;
};

uint32_t WinnerOf(const Query& query, size_t first, size_t count, const float* terms, size_t stride) {
  size_t top = 0;
  float best = terms[0] + query.offsets[first];
  for (size_t j = 1; j < count; ++j) {
    const float term = terms[j * stride] + query.offsets[first + j];
    if (term > best) {
      best = term;
      top = j;
    }
  }
  return query.interests[first + top];
}

// A bit above log(count), by more than the rounding of `count` exponentials, their sum and its log.
float LogSlack(size_t count) {
  const double log_count = std::log(static_cast<double>(count));
  return static_cast<float>(log_count * 1.00001 + 1e-5 + 2.5e-7 * static_cast<double>(count));
}

// The lists of one block over the items [item_begin, item_end), unordered.
void SweepRange(const TileKernel& kernel, const Query& query, const Block& block, size_t item_begin,
                size_t item_end, Workspace* space, std::vector<Selection>* selections,
                const CancelFlag& cancel) {
  const MatrixView<const float> items = query.index->items();
  const size_t first = query.first_row[block.begin];
  const size_t rows = query.first_row[block.end] - first;
  selections->assign(block.end - block.begin, Selection());
  if (rows == 0) return;
  const size_t tile_items =
      std::min(kTileItems, std::max<size_t>(16, kTileFloats / rows));
  space->terms.resize(rows * tile_items);
  space->scores.resize(tile_items);
  space->positions.resize(tile_items);

  for (size_t begin = item_begin; begin < item_end; begin += tile_items) {
    if (cancel.Cancelled()) return;
    const size_t count = std::min(tile_items, item_end - begin);
    GemmArgs product;
    product.trans_b = true;
    product.m = rows;
    product.n = count;
    product.k = items.cols;
    product.a = query.rows.data() + first * items.cols;
    product.lda = items.cols;
    product.b = items.row(begin);
    product.ldb = items.cols;
    product.c = space->terms.data();
    product.ldc = tile_items;
    SgemmSerial(product);

    for (size_t q = block.begin; q < block.end; ++q) {
      const size_t own = query.first_row[q];
      const size_t interests = query.first_row[q + 1] - own;
      if (interests == 0) continue;
      Selection& selection = (*selections)[q - block.begin];
      Tile tile;
      tile.terms = space->terms.data() + (own - first) * tile_items;
      tile.stride = tile_items;
      tile.interests = interests;
      tile.offsets = query.offsets.data() + own;
      tile.bias = query.index->bias() == nullptr ? nullptr : query.index->bias() + begin;
      tile.count = count;
      tile.log_sum_exp = query.readout == Readout::kLogSumExp;
      tile.log_slack = LogSlack(interests);
      tile.threshold = selection.threshold();
      kernel.reduce(tile, space->scores.data());

      const auto excluded_end = query.exclude.begin() + query.first_exclude[q + 1];
      auto excluded = std::lower_bound(query.exclude.begin() + query.first_exclude[q], excluded_end, begin);
      for (; excluded != excluded_end && *excluded < begin + count; ++excluded) {
        space->scores[*excluded - begin] = -std::numeric_limits<float>::infinity();
      }
      const size_t found = kernel.collect(space->scores.data(), count, selection.threshold(),
                                          space->positions.data());
      for (size_t n = 0; n < found; ++n) {
        const uint32_t at = space->positions[n];
        selection.Add(space->scores[at], static_cast<uint32_t>(begin) + at,
                      WinnerOf(query, own, interests, tile.terms + at, tile_items));
      }
      selection.Prune(query.k);
    }
  }
  for (Selection& selection : *selections) selection.Cut(query.k);
}

// The list of query q from its candidates, at most k of them, in any order.
void WriteList(std::vector<Hit>& hits, size_t q, size_t k, const Outputs& outputs) {
  std::sort(hits.begin(), hits.end(), Before);
  outputs.counts[q] = static_cast<uint32_t>(hits.size());
  for (size_t n = 0; n < k; ++n) {
    const size_t at = q * k + n;
    const bool valid = n < hits.size();
    outputs.ids[at] = valid ? IdOf(hits[n].key) : kNoItem;
    outputs.scores[at] = valid ? ScoreOf(hits[n].key) : -std::numeric_limits<float>::infinity();
    outputs.interests[at] = valid ? static_cast<uint16_t>(hits[n].interest) : 0;
  }
}

}  // namespace

Status Sweep(const TileKernel& kernel, const Query& query, const Outputs& outputs, ThreadPool& pool,
             const CancelFlag& cancel) {
  const size_t item_count = query.index->items().rows;
  const std::vector<Block> blocks = MakeBlocks(query);
  if (blocks.empty()) return Status::Ok();
  // Few queries: the items are divided as well.
  const size_t wanted = (kWantedChunks + blocks.size() - 1) / blocks.size();
  const size_t ranges =
      std::max<size_t>(1, std::min(wanted, item_count / std::max(kMinRangeItems, 4 * query.k)));
  const size_t range_items = (item_count + ranges - 1) / ranges;

  std::vector<std::vector<Selection>> selections(blocks.size() * ranges);
  std::vector<Workspace> spaces(static_cast<size_t>(pool.threads()));
  pool.ParallelFor(selections.size(), cancel, [&](size_t chunk, int worker) {
    const Block& block = blocks[chunk / ranges];
    const size_t begin = std::min(item_count, (chunk % ranges) * range_items);
    const size_t end = std::min(item_count, begin + range_items);
    std::vector<Selection>& own = selections[chunk];
    SweepRange(kernel, query, block, begin, end, &spaces[static_cast<size_t>(worker)], &own, cancel);
    if (ranges > 1 || cancel.Cancelled()) return;
    for (size_t q = block.begin; q < block.end; ++q) {
      WriteList(own[q - block.begin].hits(), q, query.k, outputs);
    }
    own = {};
  });
  if (cancel.Cancelled()) return Cancelled();
  if (ranges == 1) return Status::Ok();

  pool.ParallelFor(blocks.size(), cancel, [&](size_t b, int) {
    for (size_t q = blocks[b].begin; q < blocks[b].end; ++q) {
      Selection& merged = selections[b * ranges][q - blocks[b].begin];
      for (size_t r = 1; r < ranges; ++r) {
        const std::vector<Hit>& more = selections[b * ranges + r][q - blocks[b].begin].hits();
        merged.hits().insert(merged.hits().end(), more.begin(), more.end());
      }
      merged.Cut(query.k);
      WriteList(merged.hits(), q, query.k, outputs);
    }
  });
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

}  // namespace prismrec::similarity_search
