// The counted rows: their present interests, their targets, and what becomes of their loss and
// gradients once the columns have been met.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_ROWS_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_ROWS_H_

#include <cstddef>
#include <vector>

#include "ops/softmax_loss/problem.h"

namespace prismrec::softmax_loss {

class Rows {
 public:
  // Its memory is the calling thread's: one at a time.
  explicit Rows(const Problem& problem);

  struct Facts {
    bool finite = true, targets_finite = true;
    float longest = 0;   // square of the longest interest's length
    float farthest = 0;  // offset from 0
    bool near_targets = true;  // sampled: logits of targets
  };
  // Copies the interests of rows [row0, row1); sampled: computes their targets' logits.
  Facts Gather(size_t row0, size_t row1);

  const float* interests(size_t pair) const { return interests_ + pair * dim_; }
  const float* offsets(size_t pair) const { return offsets_ + pair; }
  size_t pair(size_t row) const { return problem_.plan.row_pairs[row]; }
  size_t pairs(size_t row) const { return pair(row + 1) - pair(row); }
  size_t targets(size_t row) const {
    return problem_.plan.row_targets[row + 1] - problem_.plan.row_targets[row];
  }
  // [pairs of the row, its targets]; sampled: after Gradient the derivatives by them, times the sum.
  float* target_logits(size_t row) const { return target_logits_ + logits_begin_[row]; }
  // The largest of them, sampled; else -infinity.
  float TargetTop(size_t row) const;
  float top(size_t row) const { return tops_[row]; }
  // What the row's derivatives are multiplied by.
  float scale(size_t row) const { return problem_.ScaleOf(sums_[row]); }

  // Columns [first, first + width) have just become logits x [pairs of the row, width], `stride`
  // apart: keeps those of the row's targets. Full softmax only.
  void KeepTargets(size_t row, size_t first, size_t width, const float* x, size_t stride);
  // The row's loss from the sum of its columns' exponentials, relative to `top`.
  void Finish(size_t row, float top, double sum);
  // Takes the targets' shares off the exponentials of columns [first, first + width). Full softmax
  // only.
  void TakeTargets(size_t row, size_t first, size_t width, float* x, size_t stride) const;
  // The row's gradients, from the sums over the columns of exponentials, [pairs of the row], and of
  // exponentials times columns, [pairs of the row, d]; both are changed.
  void Gradient(size_t row, double* pair_sums, float* products);

 private:
  float Shares(size_t row, size_t target, std::vector<float>* share) const;

  const Problem& problem_;
  const size_t dim_;
  float *interests_, *offsets_, *target_logits_;
  std::vector<size_t> logits_begin_;
  std::vector<double> sums_;
  std::vector<float> tops_;
};

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_ROWS_H_
