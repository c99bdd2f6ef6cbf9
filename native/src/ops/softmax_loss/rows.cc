#include "ops/softmax_loss/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace prismrec::softmax_loss {
namespace {

// Kept from call to call: a training step would otherwise spend its time on fresh pages.
thread_local Workspace row_memory;
// A row's interests' shares of one target.
thread_local std::vector<float> shares;

}  // namespace

Rows::Rows(const Problem& problem)
    : problem_(problem),
      dim_(problem.dim()),
      sums_(problem.counted()),
      tops_(problem.counted()) {
  logits_begin_.push_back(0);
  for (size_t row = 0; row < problem.counted(); ++row) {
    logits_begin_.push_back(logits_begin_.back() + pairs(row) * targets(row));
  }
  const size_t all = problem.plan.pairs.size();
  LayOut(&row_memory, {{&interests_, all * dim_},
                       {&offsets_, all},
                       {&target_logits_, logits_begin_.back()}});
}

Rows::Facts Rows::Gather(size_t row0, size_t row1) {
  const Args& args = problem_.args;
  const Spans& spans = problem_.spans;
  Facts facts;
  for (size_t p = pair(row0); p < pair(row1); ++p) {
    const size_t from = problem_.plan.pairs[p];
    std::memcpy(&interests_[p * dim_], args.interests.data + from * dim_, dim_ * sizeof(float));
    offsets_[p] = args.offsets == nullptr ? 0.0f : args.offsets[from];
    facts.longest = std::max(facts.longest, spans.dot(interests(p), interests(p), dim_));
    facts.farthest = std::max(facts.farthest, std::fabs(offsets_[p]));
  }
  const size_t first = pair(row0), count = pair(row1) - first;
  facts.finite = spans.all_finite(interests(first), count * dim_) &&
                 spans.all_finite(offsets(first), count);
  for (size_t row = row0; problem_.sampled() && row < row1; ++row) {
    for (size_t t = 0; t < targets(row); ++t) {
      const Target& target = problem_.plan.targets[problem_.plan.row_targets[row] + t];
      const float* const item = problem_.Item(target.item);
      facts.targets_finite = facts.targets_finite && std::isfinite(target.shift) &&
                             spans.all_finite(item, dim_);
      for (size_t j = 0; j < pairs(row); ++j) {
        const size_t p = pair(row) + j;
        const float logit = spans.dot(interests(p), item, dim_) + target.shift + offsets_[p];
        target_logits(row)[j * targets(row) + t] = logit;
        facts.near_targets = facts.near_targets && std::fabs(logit) <= kNearLogit;
      }
    }
  }
  return facts;
}

float Rows::TargetTop(size_t row) const {
  if (!problem_.sampled()) return kNegativeInfinity;
  return problem_.spans.maximum(target_logits(row), pairs(row) * targets(row));
}

void Rows::KeepTargets(size_t row, size_t first, size_t width, const float* x, size_t stride) {
  const size_t target0 = problem_.plan.row_targets[row];
  for (size_t t = 0; t < targets(row); ++t) {
    const size_t column = problem_.plan.targets[target0 + t].column - first;
    if (column >= width) continue;
    for (size_t j = 0; j < pairs(row); ++j) {
      target_logits(row)[j * targets(row) + t] = x[j * stride + column];
    }
  }
}

// Derivative of a target's score with respect to each of the row's interests; returns the score.
float Rows::Shares(size_t row, size_t target, std::vector<float>* share) const {
  const size_t count = pairs(row), stride = targets(row);
  const float* const logits = target_logits(row) + target;
  size_t winner = 0;
  for (size_t j = 1; j < count; ++j) {
    if (logits[j * stride] > logits[winner * stride]) winner = j;
  }
  const float best = logits[winner * stride];
  share->assign(count, 0.0f);
  (*share)[winner] = 1.0f;
  if (problem_.args.readout == Readout::kMax) return best;
  float sum = 0;
  for (size_t j = 0; j < count; ++j) {
    (*share)[j] = std::exp(logits[j * stride] - best);
    sum += (*share)[j];
  }
  for (float& part : *share) part /= sum;
  return best + std::log(sum);
}

void Rows::Finish(size_t row, float top, double sum) {
  double target_mean = 0;
  for (size_t t = 0; t < targets(row); ++t) {
    const double score = Shares(row, t, &shares);
    target_mean += problem_.plan.targets[problem_.plan.row_targets[row] + t].weight * score;
    if (problem_.sampled()) sum += std::exp(score - top);
  }
  sums_[row] = sum;
  tops_[row] = top;
  problem_.outputs->row_losses[problem_.plan.rows[row]] =
      static_cast<float>(top + std::log(sum) - target_mean);
}

void Rows::TakeTargets(size_t row, size_t first, size_t width, float* x, size_t stride) const {
  const size_t target0 = problem_.plan.row_targets[row];
  for (size_t t = 0; t < targets(row); ++t) {
    const Target& target = problem_.plan.targets[target0 + t];
    const size_t column = target.column - first;
    if (column >= width) continue;
    Shares(row, t, &shares);
    for (size_t j = 0; j < pairs(row); ++j) {
      const double part = sums_[row] * target.weight * shares[j];
      x[j * stride + column] -= static_cast<float>(part);
    }
  }
}

void Rows::Gradient(size_t row, double* pair_sums, float* products) {
  const Spans& spans = problem_.spans;
  const double sum = sums_[row];
  const size_t target0 = problem_.plan.row_targets[row];
  for (size_t t = 0; t < targets(row); ++t) {
    const Target& target = problem_.plan.targets[target0 + t];
    const double score = Shares(row, t, &shares);
    double weight = -sum * target.weight;
    if (problem_.sampled()) weight += std::exp(score - tops_[row]);
    for (size_t j = 0; j < pairs(row); ++j) {
      const double g = weight * shares[j];
      pair_sums[j] += g;
      spans.axpy(static_cast<float>(g), problem_.Item(target.item), products + j * dim_, dim_);
      if (problem_.sampled()) {
        target_logits(row)[j * targets(row) + t] = static_cast<float>(g);
      }
    }
  }
  const float factor = scale(row);
  for (size_t j = 0; j < pairs(row); ++j) {
    const size_t out = problem_.plan.pairs[pair(row) + j];
    spans.axpy(factor, products + j * dim_, problem_.outputs->interest_gradient + out * dim_, dim_);
    problem_.outputs->offset_gradient[out] = static_cast<float>(factor * pair_sums[j]);
  }
}

}  // namespace prismrec::softmax_loss
