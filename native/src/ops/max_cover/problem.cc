#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {
namespace {

// Beyond this many element visits, bounds are asked at 0, 1, 2, 4, ... picks only.
constexpr double kEveryPrefixWork = 16777216.0;

Status CheckNumbers(const char* name, const float* values, size_t count, bool positive) {
  for (size_t i = 0; values != nullptr && i < count; ++i) {
    const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
    if (!std::isfinite(values[i])) {
      return NonFinite(at + " is not finite", "finite numbers", std::to_string(values[i]));
    }
    if (positive ? !(values[i] > 0) : !(values[i] >= 0)) {
      return InvalidArgument(at + " is out of range", positive ? "> 0" : ">= 0",
                             std::to_string(values[i]));
    }
  }
  return Status::Ok();
}

Status CheckDistinct(const CsrView& sets) {
  std::vector<uint32_t> seen_in(sets.cols, 0);
  for (size_t s = 0; s < sets.rows; ++s) {
    for (size_t e = sets.indptr[s]; e < sets.indptr[s + 1]; ++e) {
      uint32_t& seen = seen_in[sets.indices[e]];
      if (seen == s + 1) {
        return InvalidArgument("set " + std::to_string(s) + " holds an element twice",
                               "distinct elements in a set", std::to_string(sets.indices[e]));
      }
      seen = static_cast<uint32_t>(s + 1);
    }
  }
  return Status::Ok();
}

Status CheckScalars(const Args& args) {
  if (args.repeats < 1 || args.repeats > kMaxRepeats) {
    return InvalidArgument("repeats must be a positive whole number",
                           "1 to " + std::to_string(kMaxRepeats), std::to_string(args.repeats));
  }
  if (!(args.max_cost >= 0)) {
    return InvalidArgument("maxCost must not be negative", "0 to Infinity",
                           std::to_string(args.max_cost));
  }
  if (args.costs == nullptr && !std::isinf(args.max_cost)) {
    return InvalidArgument("maxCost needs a cost for each set", "costs", "none");
  }
  if (!(args.min_gain >= 0 && args.min_gain <= kMaxTotalUnits / kUnitsPerWeight)) {
    return InvalidArgument("minGain must be a finite number >= 0", ">= 0",
                           std::to_string(args.min_gain));
  }
  if (!(args.sample_loss > 0 && args.sample_loss < 1)) {
    return InvalidArgument("sampleLoss must be between 0 and 1", "0 to 1",
                           std::to_string(args.sample_loss));
  }
  return Status::Ok();
}

}  // namespace

Status Prepare(const Args& args, Problem* problem) {
  const CsrView& sets = args.sets;
  Status status = CheckScalars(args);
  if (status.ok()) status = CheckCsr(sets);
  if (status.ok()) status = CheckNumbers("weights", args.weights, sets.cols, false);
  if (status.ok()) status = CheckNumbers("costs", args.costs, sets.rows, true);
  if (status.ok()) status = CheckDistinct(sets);
  if (!status.ok()) return status;

  std::vector<uint32_t> degree(sets.cols, 0);
  for (size_t e = 0; e < sets.nnz(); ++e) ++degree[sets.indices[e]];
  problem->args = &args;
  problem->units.assign(sets.cols, static_cast<int64_t>(kUnitsPerWeight));
  double total = 0;
  for (size_t i = 0; i < sets.cols; ++i) {
    double units = kUnitsPerWeight;
    if (args.weights != nullptr) units = std::floor(args.weights[i] * kUnitsPerWeight + 0.5);
    total += units * std::min(args.repeats, degree[i]);
    if (total > kMaxTotalUnits) {
      return InvalidArgument("the weights are too large for exact gains",
                             "all sets together worth at most 2^37", std::to_string(total),
                             "Divide the weights by a constant.");
    }
    // An element of no set may weigh more than an integer holds; it is never counted.
    problem->units[i] = degree[i] == 0 ? 0 : static_cast<int64_t>(units);
  }
  problem->attainable = static_cast<int64_t>(total);
  problem->least_gain =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(args.min_gain * kUnitsPerWeight)));
  problem->limit = std::min(args.max_sets, sets.rows);
  problem->every_prefix =
      static_cast<double>(sets.nnz()) * static_cast<double>(problem->limit) <= kEveryPrefixWork;
  return Status::Ok();
}

int64_t Purchasable(const Problem& problem, const std::vector<int64_t>& gains) {
  const Args& args = *problem.args;
  std::vector<uint32_t> affordable;
  std::vector<int64_t> top;
  for (uint32_t s = 0; s < gains.size(); ++s) {
    if (gains[s] <= 0 || !problem.Affordable(s, 0)) continue;
    affordable.push_back(s);
    top.push_back(gains[s]);
  }
  const size_t count = std::min(args.max_sets, top.size());
  if (count < top.size()) {
    std::nth_element(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(count), top.end(),
                     std::greater<int64_t>());
  }
  int64_t most = 0;
  for (size_t n = 0; n < count; ++n) most += top[n];
  if (args.costs == nullptr || std::isinf(args.max_cost)) return most;

  std::sort(affordable.begin(), affordable.end(), [&](uint32_t a, uint32_t b) {
    const double worth_a = problem.WorthOf(gains[a], a, true);
    const double worth_b = problem.WorthOf(gains[b], b, true);
    return worth_a > worth_b || (worth_a == worth_b && a < b);
  });
  double left = args.max_cost;
  int64_t sum = 0;
  for (const uint32_t s : affordable) {
    const double cost = args.costs[s];
    if (cost > left) {
      sum += static_cast<int64_t>(std::ceil(static_cast<double>(gains[s]) * (left / cost)));
      break;
    }
    left -= cost;
    sum += gains[s];
  }
  return std::min(most, sum);
}

Cover::Cover(const Problem& problem)
    : problem_(problem),
      left_(problem.args->sets.cols, static_cast<uint16_t>(problem.args->repeats)) {}

int64_t Cover::GainOf(uint32_t set) const {
  const CsrView& sets = problem_.args->sets;
  int64_t gain = 0;
  for (size_t e = sets.indptr[set]; e < sets.indptr[set + 1]; ++e) {
    const uint32_t element = sets.indices[e];
    if (left_[element] > 0) gain += problem_.units[element];
  }
  return gain;
}

// Of S sets of which `picks` can be afforded, each pick looks at (S / picks) ln(1 / loss): O(S) in all.
Sampler::Sampler(const Problem& problem)
    : problem_(problem), pool_(problem.args->sets.rows), state_(problem.args->seed) {
  const Args& args = *problem.args;
  for (size_t s = 0; s < pool_.size(); ++s) pool_[s] = static_cast<uint32_t>(s);
  double picks = static_cast<double>(problem.limit);
  if (args.costs != nullptr && !pool_.empty()) {
    const float cheapest = *std::min_element(args.costs, args.costs + pool_.size());
    picks = std::min(picks, std::floor(args.max_cost / cheapest));
  }
  const double share = static_cast<double>(pool_.size()) / std::max(1.0, picks);
  sample_ = static_cast<size_t>(std::max(1.0, std::ceil(share * -std::log(args.sample_loss))));
}

double Sampler::Uniform() {
  // Constants of Chris Wellons' search for integer hashes.
  state_ += 0x9e3779b9u;
  uint32_t z = state_;
  z = (z ^ (z >> 16)) * 0x21f0aaadu;
  z = (z ^ (z >> 15)) * 0x735a2d97u;
  return static_cast<double>(z ^ (z >> 15)) / 4294967296.0;
}

}  // namespace prismrec::max_cover
