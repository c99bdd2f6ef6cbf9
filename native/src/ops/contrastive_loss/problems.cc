// The two losses as problems for the sweep, and the way of their gradients back to the rows as
// given.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>
#include <unordered_map>

#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

constexpr size_t kRowsAtOnce = 512;

// Rows in the order of the sweep, of unit length for cosine.
struct Side {
  size_t dim = 0;
  std::vector<float> h;       // [rows, dim]
  std::vector<float> length;  // [rows], cosine only
};

// Appends the rows of `from` to `side`, in `order` where there is one.
void Append(const Spans& spans, const Args& args, const MatrixView<const float>& from,
            const uint32_t* order, Side* side) {
  const size_t first = side->h.size() / args.dim();
  side->dim = args.dim();
  side->h.resize((first + from.rows) * side->dim);
  if (args.similarity == Similarity::kCosine) side->length.resize(first + from.rows);
  for (size_t i = 0; i < from.rows; ++i) {
    float* h = &side->h[(first + i) * side->dim];
    std::memcpy(h, from.row(order == nullptr ? i : order[i]), side->dim * sizeof(float));
    if (args.similarity == Similarity::kDot) continue;
    // Scaled first, so that neither tiny nor huge rows lose their length to the square.
    float largest = 0;
    for (size_t k = 0; k < side->dim; ++k) largest = std::max(largest, std::fabs(h[k]));
    float length = 0;
    if (largest < std::numeric_limits<float>::min()) {
      std::fill(h, h + side->dim, 0.0f);  // too short for a direction
    } else {
      spans.scale(1.0f / largest, h, side->dim);
      const float scaled = std::sqrt(spans.dot(h, h, side->dim));
      spans.scale(1.0f / scaled, h, side->dim);
      length = scaled * largest;
    }
    side->length[first + i] = length;
  }
}

// Turns gradients with respect to rows [first, first + count) of `side` into those of the rows as
// given, at `out` in the order of the caller. `gradient` may be `out` where there is no order.
void WriteGradient(const Spans& spans, const Side& side, size_t first, size_t count,
                   const float* gradient, const uint32_t* order, float* out, ThreadPool& pool,
                   const CancelFlag& cancel) {
  const size_t dim = side.dim;
  pool.ParallelFor((count + kRowsAtOnce - 1) / kRowsAtOnce, cancel, [&](size_t part, int) {
    for (size_t i = part * kRowsAtOnce; i < std::min(count, (part + 1) * kRowsAtOnce); ++i) {
      const float* h = &side.h[(first + i) * dim];
      float* to = out + (order == nullptr ? i : order[i]) * dim;
      if (to != gradient + i * dim) std::memcpy(to, gradient + i * dim, dim * sizeof(float));
      if (side.length.empty()) continue;
      const float length = side.length[first + i];
      if (length > 0) {
        spans.axpy(-spans.dot(h, to, dim), h, to, dim);
        spans.scale(1.0f / length, to, dim);
      } else {
        std::fill(to, to + dim, 0.0f);
      }
    }
  });
}

Status CheckFinite(const Spans& spans, const char* name, const MatrixView<const float>& rows) {
  if (rows.data == nullptr || spans.all_finite(rows.data, rows.size())) return Status::Ok();
  return NonFinite(
      std::string(name) + " hold a value that is not finite", "finite values", "NaN or infinity",
      "A diverging learning rate is the usual cause; look at the step before this one.");
}

float Weight(const Args& args, size_t counted) {
  return args.reduction == Reduction::kMean && counted > 0 ? 1.0f / static_cast<float>(counted)
                                                           : 1.0f;
}

Status Finish(const Args& args, const std::vector<double>& losses, size_t counted, Outputs* out) {
  double total = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
    out->row_losses[i] = static_cast<float>(losses[i]);
    total += losses[i];
  }
  out->counted_rows = counted;
  out->loss = args.reduction == Reduction::kMean && counted > 0
                  ? total / static_cast<double>(counted)
                  : total;
  if (std::isfinite(out->loss)) return Status::Ok();
  return NonFinite("the contrastive loss is not finite",
                   "similarities over the temperature that fit float32", std::to_string(out->loss),
                   "A diverging learning rate or too small a temperature with similarity \"dot\" "
                   "are the usual causes.");
}

// Rows by id: the places of each.
using Places = std::unordered_map<uint32_t, std::vector<uint32_t>>;

Places PlacesOf(const uint32_t* ids, size_t count) {
  Places places;
  for (size_t i = 0; i < count; ++i) places[ids[i]].push_back(static_cast<uint32_t>(i));
  return places;
}

void FalseNegatives(const Args& args, bool with_negatives, Problem* problem) {
  if (args.positive_ids == nullptr) return;
  const size_t n = args.n();
  const Places batch = PlacesOf(args.positive_ids, n);
  Places explicit_places;
  if (with_negatives && args.negative_ids != nullptr)
    explicit_places = PlacesOf(args.negative_ids, args.negatives.rows);
  problem->row_removed.push_back(0);
  for (size_t i = 0; i < n; ++i) {
    const uint32_t id = args.positive_ids[i];
    for (const uint32_t j : batch.at(id)) {
      if (j != i) problem->removed.push_back(j);
    }
    if (const auto at = explicit_places.find(id); at != explicit_places.end()) {
      for (const uint32_t j : at->second) problem->removed.push_back(static_cast<uint32_t>(n) + j);
    }
    problem->row_removed.push_back(problem->removed.size());
  }
}

Problem PairProblem(const Args& args, const Side& rows, const Side& columns, size_t column_count,
                    bool forward) {
  Problem problem;
  problem.rows = rows.h.data();
  problem.columns = columns.h.data();
  problem.row_count = args.n();
  problem.column_count = column_count;
  problem.dim = args.dim();
  problem.inverse_temperature = 1.0f / args.temperature;
  problem.blocks = {{{0, args.n()}, {0, column_count}}};
  problem.positives.resize(args.n());
  for (size_t i = 0; i < args.n(); ++i) problem.positives[i] = {i, i + 1};
  problem.weight = Weight(args, args.n()) * (args.symmetric ? 0.5f : 1.0f);
  FalseNegatives(args, forward, &problem);
  return problem;
}

Status InfoNce(const Spans& spans, const Args& args, Outputs* out, ThreadPool& pool,
               const CancelFlag& cancel) {
  const size_t n = args.n();
  const size_t m = args.negatives.data == nullptr ? 0 : args.negatives.rows;
  Side queries;
  Side columns;
  Append(spans, args, args.rows, nullptr, &queries);
  Append(spans, args, args.positives, nullptr, &columns);
  if (m > 0) Append(spans, args, args.negatives, nullptr, &columns);
  std::vector<float> column_gradient;
  if (out->gradients()) {
    std::fill(out->row_gradient, out->row_gradient + n * args.dim(), 0.0f);
    column_gradient.resize((n + m) * args.dim());
  }
  float* const d_columns = out->gradients() ? column_gradient.data() : nullptr;

  std::vector<double> losses(n);
  Problem forward = PairProblem(args, queries, columns, n + m, true);
  std::vector<float> shift;
  if (args.log_q != nullptr) {
    for (size_t j = 0; j < n + m; ++j) shift.push_back(-args.log_q[j]);
    forward.shift = shift.data();
  }
  Status status = Sweep(spans, forward, losses.data(), out->row_gradient, d_columns, pool, cancel);
  if (status.ok() && args.symmetric) {
    const Problem backward = PairProblem(args, columns, queries, n, false);
    status = Sweep(spans, backward, losses.data(), d_columns, out->row_gradient, pool, cancel);
    for (double& loss : losses) loss *= 0.5;
  }
  if (!status.ok()) return status;
  status = Finish(args, losses, n, out);
  if (!status.ok() || !out->gradients()) return status;
  WriteGradient(spans, queries, 0, n, out->row_gradient, nullptr, out->row_gradient, pool, cancel);
  WriteGradient(spans, columns, 0, n, d_columns, nullptr, out->positive_gradient, pool, cancel);
  if (m > 0) {
    WriteGradient(spans, columns, n, m, d_columns + n * args.dim(), nullptr, out->negative_gradient,
                  pool, cancel);
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

// Batch scope: the other rows of a row's item are no candidates, unless they are its positives.
void Duplicates(const Args& args, const std::vector<uint32_t>& order, Problem* problem) {
  if (args.scope != Scope::kBatch || args.item_ids == nullptr) return;
  std::vector<uint32_t> ids(order.size());
  for (size_t i = 0; i < order.size(); ++i) ids[i] = args.item_ids[order[i]];
  const Places places = PlacesOf(ids.data(), ids.size());
  problem->row_removed.push_back(0);
  for (size_t i = 0; i < order.size(); ++i) {
    const Range& positives = problem->positives[i];
    for (const uint32_t j : places.at(ids[i])) {
      if (j != i && (j < positives.begin || j >= positives.end)) problem->removed.push_back(j);
    }
    problem->row_removed.push_back(problem->removed.size());
  }
}

Status Supervised(const Spans& spans, const Args& args, Outputs* out, ThreadPool& pool,
                  const CancelFlag& cancel) {
  const size_t n = args.n();
  // By group, then label: groups are blocks, and positives are runs.
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(args.groups[a], args.labels[a], a) <
           std::tie(args.groups[b], args.labels[b], b);
  });
  Side side;
  Append(spans, args, args.rows, order.data(), &side);

  Problem problem;
  problem.rows = side.h.data();
  problem.columns = side.h.data();
  problem.row_count = n;
  problem.column_count = n;
  problem.dim = args.dim();
  problem.inverse_temperature = 1.0f / args.temperature;
  problem.without_self = true;
  problem.positives.resize(n);
  const auto end_of_run = [&](size_t begin, bool labels) {
    const auto same = [&](uint32_t a, uint32_t b) {
      return args.groups[a] == args.groups[b] && (!labels || args.labels[a] == args.labels[b]);
    };
    size_t end = begin;
    while (end < n && same(order[begin], order[end])) ++end;
    return end;
  };
  for (size_t begin = 0, end; begin < n; begin = end) {
    end = end_of_run(begin, true);
    if (args.labels[order[begin]] == -1) continue;
    std::fill(problem.positives.begin() + static_cast<std::ptrdiff_t>(begin),
              problem.positives.begin() + static_cast<std::ptrdiff_t>(end), Range{begin, end});
  }
  if (args.scope == Scope::kBatch) {
    problem.blocks = {{{0, n}, {0, n}}};
  } else {
    for (size_t begin = 0, end; begin < n; begin = end) {
      end = end_of_run(begin, false);
      problem.blocks.push_back({{begin, end}, {begin, end}});
    }
  }
  Duplicates(args, order, &problem);
  size_t counted = 0;
  for (size_t i = 0; i < n; ++i) counted += problem.PositiveCount(i) > 0;
  problem.weight = Weight(args, counted);

  std::vector<double> sorted_losses(n);
  std::vector<float> gradient(out->gradients() ? n * args.dim() : 0);
  float* const d_rows = out->gradients() ? gradient.data() : nullptr;
  Status status = Sweep(spans, problem, sorted_losses.data(), d_rows, d_rows, pool, cancel);
  if (!status.ok()) return status;
  std::vector<double> losses(n);
  for (size_t i = 0; i < n; ++i) losses[order[i]] = sorted_losses[i];
  status = Finish(args, losses, counted, out);
  if (!status.ok() || !out->gradients()) return status;
  WriteGradient(spans, side, 0, n, d_rows, order.data(), out->row_gradient, pool, cancel);
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

}  // namespace

Status RunSpans(const Spans& spans, const Args& args, Outputs* outputs, ThreadPool& pool,
                const CancelFlag& cancel) {
  const bool pairs = args.kind == Kind::kInfoNce;
  Status status = CheckFinite(spans, pairs ? "queries" : "rows", args.rows);
  if (status.ok() && pairs) status = CheckFinite(spans, "positives", args.positives);
  if (status.ok() && pairs) status = CheckFinite(spans, "negatives", args.negatives);
  if (!status.ok()) return status;
  return pairs ? InfoNce(spans, args, outputs, pool, cancel)
               : Supervised(spans, args, outputs, pool, cancel);
}

}  // namespace prismrec::contrastive_loss
