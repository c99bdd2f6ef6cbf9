// The algorithm around the panels, the same for every instruction set.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_

#include "ops/similarity_search/cpu/panel.h"
#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {

Status Sweep(const PanelKernel& kernel, const Query& query, const Outputs& outputs, ThreadPool& pool,
             const CancelFlag& cancel);

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_SWEEP_H_
