#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <utility>

#include "ops/max_cover/max_cover.h"
#include "runtime/thread_pool.h"

namespace prismrec::max_cover {
namespace {

// Beyond this many element visits, bounds are asked before the first pick and after the last only.
constexpr double kEveryPrefixWork = 1048576.0;
// Sets that are checked at once.
constexpr size_t kCheckChunk = 64;
// Cancellation is polled after this many numbers.
constexpr size_t kPollEvery = 1024;

Status CheckNumbers(const char* name, const float* values, size_t count, bool positive,
                    const CancelFlag& cancel) {
  const auto at = [&](size_t i) { return std::string(name) + "[" + std::to_string(i) + "]"; };
  for (size_t i = 0; values != nullptr && i < count; ++i) {
    if (i % kPollEvery == 0 && cancel.Cancelled()) return Cancelled();
    if (!std::isfinite(values[i])) {
      return NonFinite(at(i) + " is not finite", "finite numbers", std::to_string(values[i]));
    }
    if (positive ? !(values[i] > 0) : !(values[i] >= 0)) {
      return InvalidArgument(at(i) + " is out of range", positive ? "> 0" : ">= 0",
                             std::to_string(values[i]));
    }
  }
  return Status::Ok();
}

// What is wrong with sets of which something is: one entry after another.
Status Complain(const CsrView& sets) {
  const Status status = CheckCsr(sets);
  if (!status.ok()) return status;
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
  return Internal("the sets changed while they were read");
}

// Whether entries [from, to) are distinct columns, by marks in `marked`, one bit per column, all
// clear before and after.
bool DistinctByMarks(const CsrView& sets, size_t from, size_t to, std::vector<uint64_t>* marked) {
  const uint32_t* row = sets.indices;
  marked->resize(sets.cols / 64 + 1, 0);
  bool distinct = true;
  size_t e = from;
  for (; e < to && distinct; ++e) {
    if (row[e] >= sets.cols) break;
    uint64_t& word = (*marked)[row[e] / 64];
    const uint64_t bit = uint64_t{1} << row[e] % 64;
    distinct = (word & bit) == 0;
    word |= bit;
  }
  const bool all = e == to && distinct;
  while (e-- > from) (*marked)[row[e] / 64] = 0;
  return all;
}

// Whether each of the sets [begin, end) holds distinct columns: at once where they all ascend.
bool DistinctColumns(const CsrView& sets, size_t begin, size_t end, std::vector<uint64_t>* marked) {
  const uint32_t* row = sets.indices;
  const size_t first = sets.indptr[begin], nnz = sets.nnz();
  if (first > nnz) return false;
  // Where one set ends and the next begins, entries may descend.
  size_t may_descend = 0;
  bool in_range = true;
  for (size_t s = begin; s < end; ++s) {
    const size_t from = sets.indptr[s], to = sets.indptr[s + 1];
    if (from > to || to > nnz) return false;
    if (from == to) continue;
    in_range &= row[to - 1] < sets.cols;
    may_descend += from > first && row[from - 1] >= row[from];
  }
  // All sets at once and without an early exit, so that the compiler turns it into vector
  // instructions and few branches are guessed wrong.
  uint32_t descents = 0;
  for (size_t e = first + 1; e < sets.indptr[end]; ++e) descents += row[e - 1] >= row[e];
  if (descents == may_descend) return in_range;
  for (size_t s = begin; s < end; ++s) {
    if (!DistinctByMarks(sets, sets.indptr[s], sets.indptr[s + 1], marked)) return false;
  }
  return true;
}

// [E] in how many sets an element is, if in fewer than `enough`; else `enough`. One pass checks and
// counts, each part of the sets for itself: most entries find enough counted and write nothing.
Status CountDegrees(const CsrView& sets, uint16_t enough, const CancelFlag& cancel,
                    std::vector<uint16_t>* degree) {
  ThreadPool& pool = ThreadPool::Global();
  const size_t nnz = sets.nnz();
  // A part's counts take E values: not more of them than there are entries.
  const size_t parts =
      std::clamp<size_t>(nnz / (sets.cols + 1), 1, static_cast<size_t>(pool.threads()));
  std::vector<std::vector<uint16_t>> counts(parts);
  std::atomic<bool> wrong{sets.indptr[0] != 0};
  pool.ParallelFor(parts, cancel, [&](size_t part, int) {
    std::vector<uint16_t>& count = counts[part];
    count.assign(sets.cols, 0);
    // 1 for each element that needs no more counting: small enough to stay in the cache.
    std::vector<uint8_t> full(sets.cols, 0);
    std::vector<uint64_t> marked;
    const size_t last = sets.rows * (part + 1) / parts;
    for (size_t s = sets.rows * part / parts; s < last; s += kCheckChunk) {
      if (cancel.Cancelled() || wrong.load(std::memory_order_relaxed)) return;
      const size_t end = std::min(last, s + kCheckChunk);
      if (!DistinctColumns(sets, s, end, &marked)) {
        wrong.store(true, std::memory_order_relaxed);
        return;
      }
      const uint32_t* const to = sets.indices + sets.indptr[end];
      for (const uint32_t* at = sets.indices + sets.indptr[s]; enough == 1 && at < to; ++at) {
        full[*at] = 1;
      }
      for (const uint32_t* at = sets.indices + sets.indptr[s]; enough > 1 && at < to; ++at) {
        if (full[*at] == 0 && ++count[*at] == enough) full[*at] = 1;
      }
    }
    if (enough == 1) std::copy(full.begin(), full.end(), count.begin());
  });
  if (cancel.Cancelled()) return Cancelled();
  if (wrong) return Complain(sets);
  *degree = std::move(counts[0]);
  for (size_t part = 1; part < parts; ++part) {
    for (size_t i = 0; i < sets.cols; ++i) {
      (*degree)[i] =
          static_cast<uint16_t>(std::min<uint32_t>(enough, (*degree)[i] + counts[part][i]));
    }
  }
  return Status::Ok();
}

// Rounds the weights and adds up what can be covered.
Status Weigh(const std::vector<uint16_t>& degree, Problem* problem) {
  const Args& args = *problem->args;
  double total = 0, low = HUGE_VAL, high = 0;
  problem->units.resize(args.weights == nullptr ? 0 : degree.size());
  for (size_t i = 0; i < degree.size(); ++i) {
    // An element of no set may weigh anything; it is never counted.
    if (degree[i] == 0) continue;
    double units = kUnitsPerWeight;
    if (args.weights != nullptr) units = std::floor(args.weights[i] * kUnitsPerWeight + 0.5);
    total += units * degree[i];
    if (total > kMaxTotalUnits) {
      return InvalidArgument("the weights are too large for exact gains",
                             "all sets together worth at most 2^37", std::to_string(total),
                             "Divide the weights by a constant.");
    }
    if (args.weights != nullptr) problem->units[i] = static_cast<float>(units);
    if (units > 0) low = std::min(low, units);
    high = std::max(high, units);
  }
  problem->attainable = static_cast<int64_t>(total);
  if (total == 0) high = low = kUnitsPerWeight;
  if (low == high) {
    problem->unit = static_cast<int64_t>(high);
    problem->units = {};
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

Status Prepare(const Args& args, const CancelFlag& cancel, Problem* problem) {
  const CsrView& sets = args.sets;
  problem->args = &args;
  Status status = CheckScalars(args);
  if (status.ok()) status = CheckNumbers("weights", args.weights, sets.cols, false, cancel);
  if (status.ok()) status = CheckNumbers("costs", args.costs, sets.rows, true, cancel);
  if (!status.ok()) return status;
  std::vector<uint16_t> degree;
  status = CountDegrees(sets, static_cast<uint16_t>(args.repeats), cancel, &degree);
  if (status.ok()) status = Weigh(degree, problem);
  problem->least_gain =
      std::max<int64_t>(1, static_cast<int64_t>(std::ceil(args.min_gain * kUnitsPerWeight)));
  problem->limit = std::min(args.max_sets, sets.rows);
  problem->every_prefix =
      static_cast<double>(sets.nnz()) * static_cast<double>(problem->limit) <= kEveryPrefixWork;
  return status;
}

}  // namespace prismrec::max_cover
