// Contrastive losses, of pairs and of labelled rows inside groups: see README.md for the formulas.
#ifndef PRISMREC_OPS_CONTRASTIVE_LOSS_CONTRASTIVE_LOSS_H_
#define PRISMREC_OPS_CONTRASTIVE_LOSS_CONTRASTIVE_LOSS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"
#include "runtime/thread_pool.h"

namespace prismrec::contrastive_loss {

enum class Kind { kInfoNce, kSupervised };
enum class Similarity { kCosine, kDot };
// kMean: over the rows that have a positive. kNone sums, for callers that want the row losses.
enum class Reduction { kMean, kSum, kNone };
// Whose candidates a supervised row has: the rest of its group, or all other rows.
enum class Scope { kGroup, kBatch };

struct Args {
  Kind kind = Kind::kInfoNce;
  Similarity similarity = Similarity::kCosine;
  // > 0, finite.
  float temperature = 0;
  Reduction reduction = Reduction::kMean;
  // [n, d]: the queries, or the labelled rows.
  MatrixView<const float> rows;

  // InfoNCE: [n, d], row i is the positive of row i of `rows`.
  MatrixView<const float> positives;
  // InfoNCE: [m, d], data nullable.
  MatrixView<const float> negatives;
  // InfoNCE: [n + m] taken off the logits of the candidates, nullable.
  const float* log_q = nullptr;
  // InfoNCE: [n] and [m], each nullable; a candidate with the id of row i's positive is no negative
  // of row i.
  const uint32_t* positive_ids = nullptr;
  const uint32_t* negative_ids = nullptr;
  // InfoNCE: half of it, and half of finding each query from its positive (without negatives and
  // log_q).
  bool symmetric = false;

  // Supervised: [n].
  const int32_t* groups = nullptr;
  // Supervised: [n], -1: no label.
  const int32_t* labels = nullptr;
  Scope scope = Scope::kGroup;
  // Supervised, batch: [n], nullable; rows of one item that are no positives of each other are no
  // candidates either.
  const uint32_t* item_ids = nullptr;

  size_t n() const { return rows.rows; }
  size_t dim() const { return rows.cols; }
};

// All caller-owned. The gradients that the kind has are null together.
struct Outputs {
  // Nats.
  double loss = 0;
  // Rows with a positive.
  size_t counted_rows = 0;
  // [n], 0 for the others.
  float* row_losses = nullptr;
  // [n, d], of `loss` with respect to the rows as given (before their scaling to unit length).
  float* row_gradient = nullptr;
  // InfoNCE: [n, d]
  float* positive_gradient = nullptr;
  // InfoNCE with negatives: [m, d]
  float* negative_gradient = nullptr;

  bool gradients() const { return row_gradient != nullptr; }
};

using Fn = Status (*)(const Args&, Outputs*, ThreadPool&, const CancelFlag&);

// The oracle: naive, double precision.
Status Reference(const Args& args, Outputs* outputs, ThreadPool& pool, const CancelFlag& cancel);

// The variants that this machine runs, the reference first.
std::vector<const char*> RunnableVariants();

// `variant` nullable: the best this machine runs. The binding has checked lengths and the
// temperature.
Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel);

}  // namespace prismrec::contrastive_loss

#endif  // PRISMREC_OPS_CONTRASTIVE_LOSS_CONTRASTIVE_LOSS_H_
