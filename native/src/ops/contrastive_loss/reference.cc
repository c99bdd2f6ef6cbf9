// The definition, in double precision and in the order of the formulas: nothing here is meant to be
// fast.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "ops/contrastive_loss/contrastive_loss.h"

namespace prismrec::contrastive_loss {
namespace {

// Rows as the loss sees them, and the gradient with respect to them.
struct Side {
  size_t dim;
  bool cosine;
  std::vector<double> h, length, gradient;

  Side(const Args& args) : dim(args.dim()), cosine(args.similarity == Similarity::kCosine) {}

  void Append(const MatrixView<const float>& rows) {
    for (size_t i = 0; i < rows.rows; ++i) {
      double squares = 0;
      float largest = 0;
      for (size_t k = 0; k < dim; ++k) {
        squares += double{rows.row(i)[k]} * rows.row(i)[k];
        largest = std::max(largest, std::fabs(rows.row(i)[k]));
      }
      // Nothing but subnormal numbers is too short for a direction.
      const double norm = !cosine                                        ? 1.0
                          : largest < std::numeric_limits<float>::min() ? 0.0
                                                                        : std::sqrt(squares);
      length.push_back(norm);
      for (size_t k = 0; k < dim; ++k) h.push_back(norm == 0 ? 0.0 : rows.row(i)[k] / norm);
    }
    gradient.resize(h.size());
  }

  // With respect to rows [first, first + count) as given.
  void Write(size_t first, size_t count, float* out) const {
    for (size_t i = first; i < first + count; ++i) {
      double along = 0;
      for (size_t k = i * dim; k < (i + 1) * dim; ++k) along += h[k] * gradient[k];
      for (size_t k = i * dim; k < (i + 1) * dim; ++k) {
        const double value = !cosine          ? gradient[k]
                             : length[i] == 0 ? 0.0
                                              : (gradient[k] - along * h[k]) / length[i];
        *out++ = static_cast<float>(value);
      }
    }
  }
};

// Log-sum-exp over the candidates of row i minus the mean logit of its positives; adds scale times
// its gradient.
double AddRow(const Args& args, Side* rows, Side* columns, size_t i,
              const std::vector<size_t>& candidates, const std::vector<bool>& positive,
              const float* log_q, double scale) {
  const size_t dim = args.dim();
  std::vector<double> logits;
  double top = -std::numeric_limits<double>::infinity();
  size_t positives = 0;
  for (const size_t j : candidates) {
    double dot = 0;
    for (size_t k = 0; k < dim; ++k) dot += rows->h[i * dim + k] * columns->h[j * dim + k];
    logits.push_back(dot / args.temperature - (log_q == nullptr ? 0.0 : log_q[j]));
    top = std::max(top, logits.back());
    positives += positive[j];
  }
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - top);
  const double normaliser = top + std::log(sum);
  double positive_mean = 0;
  for (size_t c = 0; c < candidates.size(); ++c) {
    const size_t j = candidates[c];
    double share = std::exp(logits[c] - normaliser);
    if (positive[j]) {
      positive_mean += logits[c] / static_cast<double>(positives);
      share -= 1.0 / static_cast<double>(positives);
    }
    const double g = share * scale / args.temperature;
    for (size_t k = 0; k < dim; ++k) {
      rows->gradient[i * dim + k] += g * columns->h[j * dim + k];
      columns->gradient[j * dim + k] += g * rows->h[i * dim + k];
    }
  }
  return normaliser - positive_mean;
}

double Scale(const Args& args, size_t counted) {
  return args.reduction == Reduction::kMean && counted > 0 ? 1.0 / static_cast<double>(counted)
                                                           : 1.0;
}

Status InfoNce(const Args& args, Outputs* out, const CancelFlag& cancel) {
  const size_t n = args.n();
  const size_t m = args.negatives.data == nullptr ? 0 : args.negatives.rows;
  Side queries(args);
  queries.Append(args.rows);
  Side columns(args);
  columns.Append(args.positives);
  if (m > 0) columns.Append(args.negatives);
  const double scale = Scale(args, n) * (args.symmetric ? 0.5 : 1.0);
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    if (cancel.Cancelled()) return Cancelled();
    std::vector<size_t> batch;
    for (size_t j = 0; j < n; ++j) {
      if (j == i || args.positive_ids == nullptr || args.positive_ids[j] != args.positive_ids[i])
        batch.push_back(j);
    }
    std::vector<size_t> candidates = batch;
    for (size_t j = 0; j < m; ++j) {
      const bool same = args.negative_ids != nullptr && args.positive_ids != nullptr &&
                        args.negative_ids[j] == args.positive_ids[i];
      if (!same) candidates.push_back(n + j);
    }
    std::vector<bool> positive(n + m);
    positive[i] = true;
    double loss = AddRow(args, &queries, &columns, i, candidates, positive, args.log_q, scale);
    if (args.symmetric)
      loss = 0.5 * (loss + AddRow(args, &columns, &queries, i, batch, positive, nullptr, scale));
    out->row_losses[i] = static_cast<float>(loss);
    total += loss;
  }
  out->counted_rows = n;
  out->loss = total * Scale(args, n);
  if (!out->gradients()) return Status::Ok();
  queries.Write(0, n, out->row_gradient);
  columns.Write(0, n, out->positive_gradient);
  if (m > 0) columns.Write(n, m, out->negative_gradient);
  return Status::Ok();
}

Status Supervised(const Args& args, Outputs* out, const CancelFlag& cancel) {
  const size_t n = args.n();
  Side side(args);
  side.Append(args.rows);
  const auto is_positive = [&](size_t i, size_t j) {
    return i != j && args.groups[i] == args.groups[j] && args.labels[i] == args.labels[j] &&
           args.labels[i] != -1;
  };
  std::vector<bool> counts(n);
  size_t counted = 0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) counts[i] = counts[i] || is_positive(i, j);
    counted += counts[i];
  }
  const double scale = Scale(args, counted);
  double total = 0;
  for (size_t i = 0; i < n; ++i) {
    if (cancel.Cancelled()) return Cancelled();
    out->row_losses[i] = 0;
    if (!counts[i]) continue;
    std::vector<size_t> candidates;
    std::vector<bool> positive(n);
    for (size_t j = 0; j < n; ++j) {
      if (j == i) continue;
      positive[j] = is_positive(i, j);
      const bool duplicate =
          args.item_ids != nullptr && args.item_ids[i] == args.item_ids[j] && !positive[j];
      if (args.scope == Scope::kGroup ? args.groups[i] == args.groups[j] : !duplicate)
        candidates.push_back(j);
    }
    const double loss = AddRow(args, &side, &side, i, candidates, positive, nullptr, scale);
    out->row_losses[i] = static_cast<float>(loss);
    total += loss;
  }
  out->counted_rows = counted;
  out->loss = total * scale;
  if (out->gradients()) side.Write(0, n, out->row_gradient);
  return Status::Ok();
}

bool AllFinite(const MatrixView<const float>& m) {
  return m.data == nullptr ||
         std::all_of(m.data, m.data + m.size(), [](float x) { return std::isfinite(x); });
}

}  // namespace

Status Reference(const Args& args, Outputs* outputs, ThreadPool&, const CancelFlag& cancel) {
  if (!AllFinite(args.rows) || !AllFinite(args.positives) || !AllFinite(args.negatives)) {
    return NonFinite("the input is not finite", "finite input");
  }
  const Status status = args.kind == Kind::kInfoNce ? InfoNce(args, outputs, cancel)
                                                    : Supervised(args, outputs, cancel);
  if (!status.ok() || std::isfinite(outputs->loss)) return status;
  return NonFinite("the contrastive loss is not finite", "finite input");
}

}  // namespace prismrec::contrastive_loss
