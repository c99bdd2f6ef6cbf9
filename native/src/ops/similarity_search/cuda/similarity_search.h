// The search on a GPU; part of the CUDA library, which takes its arguments from any prismrec.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SIMILARITY_SEARCH_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SIMILARITY_SEARCH_H_

#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {

Status RunOnCuda(const Query& query, const Outputs& outputs, const CancelFlag& cancel);

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_CUDA_SIMILARITY_SEARCH_H_
