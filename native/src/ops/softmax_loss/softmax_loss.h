// Softmax cross-entropy of rows of interests against items: see README.md for the formulas.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_SOFTMAX_LOSS_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_SOFTMAX_LOSS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/dispatch.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"
#include "runtime/thread_pool.h"

namespace prismrec::softmax_loss {

// How the logits of a row's interests become one score per item. kMax: the first interest wins
// ties.
enum class Readout { kLogSumExp, kMax };

struct Args {
  // [R * J, d]; interest j of row r is row r * J + j.
  MatrixView<const float> interests;
  // J >= 1.
  size_t interests_per_row = 1;
  // [R * J] log prior, -infinity: absent (its row of `interests` is not read). Nullable: all 0.
  const float* offsets = nullptr;
  // [N, d]
  MatrixView<const float> items;
  // [N], nullable: 0.
  const float* item_bias = nullptr;
  // R x N; values are not read. A row without entries is skipped.
  CsrView targets;
  // R x N, indptr nullable: nothing is masked. A row's own targets stay in its softmax.
  CsrView mask;
  Readout readout = Readout::kLogSumExp;
  // Nullable: the full catalog. Else [candidate_count] rows of `items`, shared by all rows; repeats
  // count.
  const uint32_t* candidates = nullptr;
  size_t candidate_count = 0;
  // `candidates` is [R, candidate_count]: each row has its own.
  bool candidates_per_row = false;
  // As `candidates`, taken off their logits. Nullable: 0.
  const float* log_q = nullptr;
  // [entries of targets], taken off the targets' logits when sampled; a repeat takes the first's.
  // Nullable: 0.
  const float* target_log_q = nullptr;

  size_t rows() const { return targets.rows; }
  size_t dim() const { return items.cols; }
  size_t candidate_entries() const { return candidate_count * (candidates_per_row ? rows() : 1); }
};

// All caller-owned. The gradients are null together.
struct Outputs {
  // Mean over the counted rows, nats.
  double loss = 0;
  // Rows that have targets.
  size_t counted_rows = 0;
  // [R], 0 for skipped rows.
  float* row_losses = nullptr;
  // [R * J, d]
  float* interest_gradient = nullptr;
  // [R * J]
  float* offset_gradient = nullptr;
  // [N, d], or room for [GradientRows(args), d] when sampled.
  float* item_gradient = nullptr;
  // [N], or room for [GradientRows(args)] when sampled.
  float* bias_gradient = nullptr;
  // Sampled only: room for [GradientRows(args)]; strictly ascending rows of `items`.
  uint32_t* item_ids = nullptr;
  // Valid rows of item_gradient, bias_gradient and item_ids.
  size_t gradient_rows = 0;

  bool gradients() const { return interest_gradient != nullptr; }
};

// Upper bound of the rows of the item gradient.
size_t GradientRows(const Args& args);

using Fn = Status (*)(const Args&, Outputs*, ThreadPool&, const CancelFlag&);

// The variants that this machine runs, the reference first.
std::vector<const char*> RunnableVariants();

// NON_FINITE where a value that the loss reads (sampled: of candidates and targets alone) is not
// finite. `variant` nullable: the best this machine runs. Checks indices and presence; the binding
// has checked lengths.
Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel);

// The oracle: naive, double precision.
Status Reference(const Args& args, Outputs* outputs, ThreadPool& pool, const CancelFlag& cancel);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_SOFTMAX_LOSS_H_
