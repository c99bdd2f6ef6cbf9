#include "ops/contrastive_loss/cuda/contrastive_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/rows.cuh"
#include "cuda/runtime.cuh"
#include "ops/contrastive_loss/cuda/kernels.cuh"

namespace prismrec::contrastive_loss {
namespace {

using cuda::DeviceRows;
using cuda::Session;

void CheckFinite(const char* name, const MatrixView<const float>& rows) {
  if (rows.data == nullptr ||
      std::all_of(rows.data, rows.data + rows.size(), [](float x) { return std::isfinite(x); })) {
    return;
  }
  throw cuda::Error(
      NonFinite(std::string(name) + " hold a value that is not finite", "finite values", "NaN or infinity",
                "A diverging learning rate is the usual cause; look at the step before this one."));
}

unsigned Tiles(int count) { return static_cast<unsigned>((count + kTile - 1) / kTile); }

template <bool kPairs>
void FindStatistics(Session& session, const DeviceProblem& problem, const Statistics& statistics) {
  cuda::WithTile(session.traits(), [&](auto dim, auto tensor) {
    constexpr int kDim = decltype(dim)::value;
    constexpr bool kTensor = decltype(tensor)::value;
    PRISMREC_CUDA_LAUNCH((StatisticsKernel<kDim, kTensor, kPairs>), dim3(Tiles(problem.shape.row_count)),
                         dim3(kTileThreads), cuda::SweepBytes<kDim>(), session.stream(), problem, statistics);
  });
}

template <Owner kOwner>
void FindGradient(Session& session, const DeviceProblem& problem, const Statistics& statistics, float scale, bool add,
                  float* gradient) {
  cuda::SweepShape shape = problem.shape;
  if (kOwner == Owner::kColumns) {
    std::swap(shape.rows, shape.columns);
    std::swap(shape.row_count, shape.column_count);
  }
  cuda::WithTile(session.traits(), [&](auto dim, auto tensor) {
    constexpr int kDim = decltype(dim)::value;
    constexpr bool kTensor = decltype(tensor)::value;
    const unsigned slices = static_cast<unsigned>((shape.stride + kDim - 1) / kDim);
    PRISMREC_CUDA_LAUNCH((GradientKernel<kDim, kTensor, kOwner>), dim3(Tiles(shape.row_count), slices),
                         dim3(kTileThreads), cuda::SweepBytes<kDim>(), session.stream(), problem, shape, statistics,
                         scale, add, gradient);
  });
}

Statistics AllocateStatistics(Session& session, size_t rows) {
  return {session.Allocate<float>(rows), session.Allocate<float>(rows), session.Allocate<float>(rows)};
}

void Finish(const Args& args, size_t counted, Outputs* out) {
  double total = 0;
  for (size_t i = 0; i < args.n(); ++i) total += out->row_losses[i];
  out->counted_rows = counted;
  out->loss = args.reduction == Reduction::kMean && counted > 0 ? total / static_cast<double>(counted) : total;
  if (std::isfinite(out->loss)) return;
  throw cuda::Error(NonFinite("the contrastive loss is not finite",
                              "similarities over the temperature that fit float32", std::to_string(out->loss),
                              "A diverging learning rate or too small a temperature with similarity \"dot\" are the "
                              "usual causes."));
}

float Weight(const Args& args, size_t counted) {
  return args.reduction == Reduction::kMean && counted > 0 ? 1.0f / static_cast<float>(counted) : 1.0f;
}

void RunPairs(Session& session, const Args& args, Outputs* out) {
  const size_t n = args.n();
  const size_t m = args.negatives.data == nullptr ? 0 : args.negatives.rows;
  const bool unit = args.similarity == Similarity::kCosine;
  const DeviceRows rows = cuda::AllocateRows(session, n, args.dim(), unit);
  const DeviceRows columns = cuda::AllocateRows(session, n + m, args.dim(), unit);
  cuda::FillRows(session, args.rows, nullptr, 0, rows);
  cuda::FillRows(session, args.positives, nullptr, 0, columns);
  if (m > 0) cuda::FillRows(session, args.negatives, nullptr, n, columns);

  DeviceProblem problem{};
  problem.shape = {rows.data, rows.count, columns.data, columns.count, rows.stride};
  problem.inverse_temperature = 1.0f / args.temperature;
  std::vector<float> shift;
  if (args.log_q != nullptr) {
    for (size_t j = 0; j < n + m; ++j) shift.push_back(-args.log_q[j]);
    problem.shift = session.Upload(shift.data(), shift.size());
  }
  std::vector<uint32_t> ids;
  if (args.positive_ids != nullptr) {
    ids.assign(args.positive_ids, args.positive_ids + n);
    problem.row_ids = session.Upload(ids.data(), n);
    if (args.negative_ids != nullptr) ids.insert(ids.end(), args.negative_ids, args.negative_ids + m);
    // Negatives without ids are negatives of all rows: only the positives' part is compared then.
    if (args.negative_ids == nullptr && m > 0) {
      uint32_t unused = 0;
      std::vector<uint32_t> sorted = ids;
      std::sort(sorted.begin(), sorted.end());
      for (const uint32_t id : sorted) unused += id == unused ? 1 : 0;
      ids.insert(ids.end(), m, unused);
    }
    problem.column_ids = session.Upload(ids.data(), ids.size());
  }

  const float weight = Weight(args, n) * (args.symmetric ? 0.5f : 1.0f) * problem.inverse_temperature;
  const Statistics statistics = AllocateStatistics(session, n);
  FindStatistics<true>(session, problem, statistics);
  std::vector<float> losses(n);
  session.Download(out->row_losses, statistics.loss, n);
  float* row_gradient = nullptr;
  float* column_gradient = nullptr;
  if (out->gradients()) {
    row_gradient = session.Allocate<float>(n * static_cast<size_t>(rows.stride));
    column_gradient = session.Allocate<float>((n + m) * static_cast<size_t>(rows.stride));
    FindGradient<Owner::kRows>(session, problem, statistics, weight, false, row_gradient);
    session.CheckCancelled();
    FindGradient<Owner::kColumns>(session, problem, statistics, weight, false, column_gradient);
  }
  if (args.symmetric) {
    // The same with the sides exchanged; there are neither negatives nor shifts here.
    DeviceProblem back = problem;
    back.shape = {columns.data, static_cast<int>(n), rows.data, rows.count, rows.stride};
    back.shift = nullptr;
    back.column_ids = back.row_ids;
    const Statistics back_statistics = AllocateStatistics(session, n);
    FindStatistics<true>(session, back, back_statistics);
    session.Download(losses.data(), back_statistics.loss, n);
    if (out->gradients()) {
      FindGradient<Owner::kRows>(session, back, back_statistics, weight, true, column_gradient);
      session.CheckCancelled();
      FindGradient<Owner::kColumns>(session, back, back_statistics, weight, true, row_gradient);
    }
  }
  if (out->gradients()) {
    cuda::DownloadGradient(session, rows, 0, n, row_gradient, nullptr, out->row_gradient);
    cuda::DownloadGradient(session, columns, 0, n, column_gradient, nullptr, out->positive_gradient);
    cuda::DownloadGradient(session, columns, n, m, column_gradient + n * static_cast<size_t>(rows.stride), nullptr,
                           out->negative_gradient);
  }
  session.Synchronize();
  for (size_t i = 0; args.symmetric && i < n; ++i) out->row_losses[i] = 0.5f * (out->row_losses[i] + losses[i]);
  Finish(args, n, out);
}

// Rows in the order of their groups, so that a group's rows are neighbours.
struct Grouping {
  std::vector<uint32_t> order;
  std::vector<int32_t> groups, labels;
  std::vector<uint32_t> ids;
  std::vector<int2> ranges;

  explicit Grouping(const Args& args) : order(args.n()) {
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return args.groups[a] < args.groups[b]; });
    for (const uint32_t i : order) {
      groups.push_back(args.groups[i]);
      labels.push_back(args.labels[i]);
      if (args.item_ids != nullptr) ids.push_back(args.item_ids[i]);
    }
    if (args.scope != Scope::kGroup) return;
    for (size_t first = 0; first < order.size(); first += kTile) {
      const size_t last = std::min(order.size(), first + kTile) - 1;
      const auto begin = std::lower_bound(groups.begin(), groups.end(), groups[first]);
      const auto end = std::upper_bound(groups.begin(), groups.end(), groups[last]);
      ranges.push_back({static_cast<int>(begin - groups.begin()), static_cast<int>(end - groups.begin())});
    }
  }
};

void RunSupervised(Session& session, const Args& args, Outputs* out) {
  const size_t n = args.n();
  const Grouping grouping(args);
  const uint32_t* order = session.Upload(grouping.order.data(), n);
  const DeviceRows rows = cuda::AllocateRows(session, n, args.dim(), args.similarity == Similarity::kCosine);
  cuda::FillRows(session, args.rows, order, 0, rows);

  DeviceProblem problem{};
  problem.shape = {rows.data, rows.count, rows.data, rows.count, rows.stride};
  problem.inverse_temperature = 1.0f / args.temperature;
  problem.groups = session.Upload(grouping.groups.data(), n);
  problem.labels = session.Upload(grouping.labels.data(), n);
  problem.batch = args.scope == Scope::kBatch;
  if (problem.batch) {
    problem.row_ids = problem.column_ids = session.Upload(grouping.ids.data(), grouping.ids.size());
  }
  problem.ranges = session.Upload(grouping.ranges.data(), grouping.ranges.size());

  const Statistics statistics = AllocateStatistics(session, n);
  FindStatistics<false>(session, problem, statistics);
  std::vector<float> losses(n);
  std::vector<float> positives(n);
  session.Download(losses.data(), statistics.loss, n);
  session.Download(positives.data(), statistics.positive_weight, n);
  session.Synchronize();
  size_t counted = 0;
  for (size_t i = 0; i < n; ++i) {
    out->row_losses[grouping.order[i]] = losses[i];
    counted += positives[i] != 0 ? 1 : 0;
  }
  if (out->gradients()) {
    float* gradient = session.Allocate<float>(n * static_cast<size_t>(rows.stride));
    FindGradient<Owner::kBoth>(session, problem, statistics, Weight(args, counted) * problem.inverse_temperature,
                               false, gradient);
    cuda::DownloadGradient(session, rows, 0, n, gradient, order, out->row_gradient);
    session.Synchronize();
  }
  Finish(args, counted, out);
}

}  // namespace

Status RunOnCuda(const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  return cuda::Guarded(cancel, [&](Session& session) {
    CheckFinite("rows", args.rows);
    CheckFinite("positives", args.positives);
    CheckFinite("negatives", args.negatives);
    if (args.n() == 0) {
      outputs->loss = 0;
      outputs->counted_rows = 0;
      return;
    }
    args.kind == Kind::kInfoNce ? RunPairs(session, args, outputs) : RunSupervised(session, args, outputs);
  });
}

}  // namespace prismrec::contrastive_loss
