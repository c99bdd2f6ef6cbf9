// The two losses as problems for the sweep, and the way of their gradients back to the rows as
// given.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

template <class Fn>
void EachRow(size_t rows, ThreadPool& pool, const CancelFlag& cancel, Fn&& fn) {
  const size_t step = RowsAtOnce(rows, pool.threads() > kFewThreads);
  pool.ParallelFor((rows + step - 1) / step, cancel, [&](size_t part, int) {
    for (size_t i = part * step; i < std::min(rows, (part + 1) * step); ++i) fn(i);
  });
}

// Kept from call to call: a training step would otherwise spend its time on fresh pages.
thread_local Workspace row_memory;
thread_local Workspace column_memory;
thread_local Workspace gradient_memory;

// Rows in the order of the sweep, of unit length for cosine.
struct Side {
  size_t dim = 0;
  const float* h;             // [rows + kRowSlack, dim]; in place: [rows, dim]
  float* copy = nullptr;      // what `h` is, unless it is the caller's
  std::vector<float> length;  // [rows], cosine only

  Side(const Args& args, size_t rows, Workspace* memory) : dim(args.dim()) {
    copy = memory->Reserve<float>((rows + kRowSlack) * dim);
    h = copy;
    std::fill_n(copy + rows * dim, kRowSlack * dim, 0.0f);
    if (args.similarity == Similarity::kCosine) length.resize(rows);
  }
  explicit Side(const MatrixView<const float>& in_place) : dim(in_place.cols), h(in_place.data) {}
};

// Writes the rows of `from`, in `order` where there is one, to those of `side` from `first` on.
void Fill(const Spans& spans, const MatrixView<const float>& from, const uint32_t* order,
          size_t first, Side* side, ThreadPool& pool, const CancelFlag& cancel) {
  const auto fill = [&](size_t i) {
    float* h = side->copy + (first + i) * side->dim;
    std::memcpy(h, from.row(order == nullptr ? i : order[i]), side->dim * sizeof(float));
    if (side->length.empty()) return;
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
  };
  EachRow(from.rows, pool, cancel, fill);
}

// Turns gradients with respect to rows [first, first + count) of `side` into those of the rows as
// given, at `out` in the order of the caller. `gradient` may be `out` where there is no order.
void WriteGradient(const Spans& spans, const Side& side, size_t first, size_t count,
                   const float* gradient, const uint32_t* order, float* out, ThreadPool& pool,
                   const CancelFlag& cancel) {
  const size_t dim = side.dim;
  EachRow(count, pool, cancel, [&](size_t i) {
    const float* h = side.h + (first + i) * dim;
    float* to = out + (order == nullptr ? i : order[i]) * dim;
    if (to != gradient + i * dim) std::memcpy(to, gradient + i * dim, dim * sizeof(float));
    if (side.length.empty()) return;
    const float length = side.length[first + i];
    if (length > 0) {
      spans.axpy(-spans.dot(h, to, dim), h, to, dim);
      spans.scale(1.0f / length, to, dim);
    } else {
      std::fill(to, to + dim, 0.0f);
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

// What ids are compared by inside a tile: floats that are equal where the ids are.
class Identities {
 public:
  std::vector<float> Of(const uint32_t* ids, size_t count) {
    std::vector<float> identities(count);
    for (size_t i = 0; i < count; ++i) {
      identities[i] =
          seen_.try_emplace(ids[i], static_cast<float>(seen_.size())).first->second;
    }
    return identities;
  }

 private:
  // Exact up to 2^24 different ids, of which no batch comes near.
  std::unordered_map<uint32_t, float> seen_;
};

PairProblem Pairs(const Args& args, const Side& rows, const Side& columns, size_t column_count) {
  PairProblem problem;
  problem.rows = rows.h;
  problem.columns = columns.h;
  problem.row_count = args.n();
  problem.column_count = column_count;
  problem.dim = args.dim();
  problem.inverse_temperature = 1.0f / args.temperature;
  problem.weight = Weight(args, args.n()) * (args.symmetric ? 0.5f : 1.0f);
  problem.keep_packed = rows.copy == nullptr && columns.copy == nullptr;
  return problem;
}

Status InfoNce(const Kernel& kernel, const Args& args, Outputs* out, ThreadPool& pool,
               const CancelFlag& cancel) {
  const size_t n = args.n();
  const size_t m = args.negatives.data == nullptr ? 0 : args.negatives.rows;
  const bool as_given = args.similarity == Similarity::kDot && m == 0;
  Side queries = as_given ? Side(args.rows) : Side(args, n, &row_memory);
  Side columns = as_given ? Side(args.positives) : Side(args, n + m, &column_memory);
  if (!as_given) {
    Fill(kernel.spans, args.rows, nullptr, 0, &queries, pool, cancel);
    Fill(kernel.spans, args.positives, nullptr, 0, &columns, pool, cancel);
  }
  if (m > 0) Fill(kernel.spans, args.negatives, nullptr, n, &columns, pool, cancel);
  float* const d_queries = out->row_gradient;
  // Without negatives the output itself can take the sums.
  float* d_columns = out->positive_gradient;
  if (out->gradients()) {
    if (m > 0) d_columns = gradient_memory.Reserve<float>((n + m) * args.dim());
    std::fill_n(d_queries, n * args.dim(), 0.0f);
    std::fill_n(d_columns, (n + m) * args.dim(), 0.0f);
  }

  std::vector<float> ids;
  if (args.positive_ids != nullptr) {
    Identities identities;
    ids = identities.Of(args.positive_ids, n);
    if (m > 0 && args.negative_ids != nullptr) {
      const std::vector<float> others = identities.Of(args.negative_ids, m);
      ids.insert(ids.end(), others.begin(), others.end());
    }
    ids.resize(n + m, -1.0f);  // nobody's
  }
  std::vector<float> shift;
  if (args.log_q != nullptr) {
    for (size_t j = 0; j < n + m; ++j) shift.push_back(-args.log_q[j]);
  }

  std::vector<double> losses(n);
  PairProblem forward = Pairs(args, queries, columns, n + m);
  if (!shift.empty()) forward.shift = shift.data();
  if (!ids.empty()) forward.row_ids = forward.column_ids = ids.data();
  Status status = SweepPairs(kernel, forward, losses.data(), d_queries, d_columns, pool, cancel);
  if (status.ok() && args.symmetric) {
    PairProblem backward = Pairs(args, columns, queries, n);
    if (!ids.empty()) backward.row_ids = backward.column_ids = ids.data();
    status = SweepPairs(kernel, backward, losses.data(), d_columns, d_queries, pool, cancel);
    for (double& loss : losses) loss *= 0.5;
  }
  if (!status.ok()) return status;
  status = Finish(args, losses, n, out);
  if (!status.ok() || !out->gradients()) return status;
  const Spans& spans = kernel.spans;
  WriteGradient(spans, queries, 0, n, d_queries, nullptr, out->row_gradient, pool, cancel);
  WriteGradient(spans, columns, 0, n, d_columns, nullptr, out->positive_gradient, pool, cancel);
  if (m > 0) {
    WriteGradient(spans, columns, n, m, d_columns + n * args.dim(), nullptr, out->negative_gradient,
                  pool, cancel);
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

// By group, then label: groups are blocks, and positives are runs.
struct Order {
  std::vector<uint32_t> rows;
  std::vector<Range> groups, labels;  // runs of `rows`; `labels` are parts of groups

  explicit Order(const Args& args) {
    struct Row {
      uint64_t key;
      uint32_t row;
      bool operator<(const Row& other) const {
        return key < other.key || (key == other.key && row < other.row);
      }
    };
    std::vector<Row> sorted(args.n());
    for (size_t i = 0; i < args.n(); ++i) {
      sorted[i] = {uint64_t{static_cast<uint32_t>(args.groups[i])} << 32 |
                       static_cast<uint32_t>(args.labels[i]),
                   static_cast<uint32_t>(i)};
    }
    std::sort(sorted.begin(), sorted.end());
    rows.reserve(sorted.size());
    for (size_t i = 0; i < sorted.size(); ++i) {
      const uint64_t before = i == 0 ? ~sorted[0].key : sorted[i - 1].key;
      if (sorted[i].key >> 32 != before >> 32) groups.push_back({i, i});
      if (sorted[i].key != before) labels.push_back({i, i});
      groups.back().end = labels.back().end = i + 1;
      rows.push_back(sorted[i].row);
    }
  }
};

Status Supervised(const Kernel& kernel, const Args& args, Outputs* out, ThreadPool& pool,
                  const CancelFlag& cancel) {
  const size_t n = args.n();
  const Order order(args);
  Side side(args, n, &row_memory);
  Fill(kernel.spans, args.rows, order.rows.data(), 0, &side, pool, cancel);

  RowProblem problem;
  problem.rows = side.h;
  problem.row_count = n;
  problem.dim = args.dim();
  problem.inverse_temperature = 1.0f / args.temperature;
  problem.positives.resize(n);
  size_t counted = 0;
  for (const Range& run : order.labels) {
    if (args.labels[order.rows[run.begin]] == -1) continue;
    std::fill_n(problem.positives.begin() + static_cast<std::ptrdiff_t>(run.begin), run.size(),
                run);
    if (run.size() > 1) counted += run.size();
  }
  problem.weight = Weight(args, counted);
  problem.blocks = order.groups;
  std::vector<float> ids;
  if (args.scope == Scope::kBatch) {
    problem.blocks = {{0, n}};
    if (args.item_ids != nullptr) {
      const std::vector<float> given = Identities().Of(args.item_ids, n);
      for (const uint32_t row : order.rows) ids.push_back(given[row]);
      problem.ids = ids.data();
    }
  }

  std::vector<double> sorted_losses(n);
  float* const gradient =
      out->gradients() ? gradient_memory.Reserve<float>(n * args.dim()) : nullptr;
  // The output is written in the end, so until then it can hold sums.
  Status status = SweepRows(kernel, problem, sorted_losses.data(), gradient, out->row_gradient,
                            pool, cancel);
  if (!status.ok()) return status;
  std::vector<double> losses(n);
  for (size_t i = 0; i < n; ++i) losses[order.rows[i]] = sorted_losses[i];
  status = Finish(args, losses, counted, out);
  if (!status.ok() || !out->gradients()) return status;
  WriteGradient(kernel.spans, side, 0, n, gradient, order.rows.data(), out->row_gradient,
                pool, cancel);
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

}  // namespace

Status RunKernel(const Kernel& kernel, const Args& args, Outputs* outputs, ThreadPool& pool,
                 const CancelFlag& cancel) {
  const bool pairs = args.kind == Kind::kInfoNce;
  const Spans& spans = kernel.spans;
  Status status = CheckFinite(spans, pairs ? "queries" : "rows", args.rows);
  if (status.ok() && pairs) status = CheckFinite(spans, "positives", args.positives);
  if (status.ok() && pairs) status = CheckFinite(spans, "negatives", args.negatives);
  if (!status.ok()) return status;
  return pairs ? InfoNce(kernel, args, outputs, pool, cancel)
               : Supervised(kernel, args, outputs, pool, cancel);
}

}  // namespace prismrec::contrastive_loss
