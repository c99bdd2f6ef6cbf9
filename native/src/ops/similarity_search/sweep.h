// The algorithm around the tiles, the same for every instruction set.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_

#include "ops/similarity_search/cpu/tile.h"
#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {

Status Sweep(const TileKernel& kernel, const Query& query, const Outputs& outputs, ThreadPool& pool,
             const CancelFlag& cancel);

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_
