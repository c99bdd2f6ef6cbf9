// Greedy cover on a GPU; part of the CUDA library, which takes its arguments from any prismrec.
#ifndef PRISMREC_OPS_MAX_COVER_CUDA_MAX_COVER_H_
#define PRISMREC_OPS_MAX_COVER_CUDA_MAX_COVER_H_

#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {

Status GreedyOnCuda(const Problem& problem, const CancelFlag& cancel, Selection* by_gain, Selection* by_ratio);

}  // namespace prismrec::max_cover

#endif  // PRISMREC_OPS_MAX_COVER_CUDA_MAX_COVER_H_
