#include <algorithm>
#include <utility>

#include "cuda/library.h"
#include "ops/max_cover/max_cover.h"
#include "runtime/dispatch.h"

namespace prismrec::max_cover {
namespace {

struct Implementation {
  Fn solve;
  CountCommon count_common;
};

template <Status (*kRun)(const Problem&, bool, const CancelFlag&, Selection*)>
Status Each(const Problem& problem, const CancelFlag& cancel, Selection* by_gain, Selection* by_ratio) {
  const Status status = kRun(problem, false, cancel, by_gain);
  return status.ok() && by_ratio != nullptr ? kRun(problem, true, cancel, by_ratio) : status;
}

Status OnCuda(const Problem& problem, const CancelFlag& cancel, Selection* by_gain, Selection* by_ratio) {
  return cuda::TheLibrary()->max_cover(problem, cancel, by_gain, by_ratio);
}

constexpr Variant<Implementation> kVariants[] = {
    {"reference", Simd::kScalar, {Each<Reference>, nullptr}},
    {"scalar", Simd::kScalar, {Each<Greedy>, scalar::max_cover::CountCommon}},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, {Each<Greedy>, avx2::max_cover::CountCommon}},
    {"avx512", Simd::kAvx512, {Each<Greedy>, avx512::max_cover::CountCommon}},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, {Each<Greedy>, neon::max_cover::CountCommon}},
#endif
    {"cuda", Simd::kScalar, {OnCuda, nullptr}},
};

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  const Variant<Implementation>* chosen = nullptr;
  Status status = SelectVariant(kVariants, variant, &chosen);
  Problem problem;
  if (status.ok()) status = Prepare(args, cancel, &problem);
  if (!status.ok()) return status;
  const auto [solve, count_common] = chosen->fn;
  problem.count_common = count_common;
  Selection best, other;
  const bool priced = args.costs != nullptr;
  status = solve(problem, cancel, &best, priced ? &other : nullptr);
  if (!status.ok()) return status;
  int64_t bound = std::min(problem.attainable, best.bound);
  if (priced) bound = std::min(bound, other.bound);
  outputs->by_ratio = priced && other.value > best.value;
  if (outputs->by_ratio) best = std::move(other);
  outputs->selected = std::move(best.picks);
  outputs->gains.resize(best.gains.size());
  std::transform(best.gains.begin(), best.gains.end(), outputs->gains.begin(),
                 [](int64_t gain) { return static_cast<double>(gain) / kUnitsPerWeight; });
  outputs->value = static_cast<double>(best.value) / kUnitsPerWeight;
  outputs->attainable = static_cast<double>(problem.attainable) / kUnitsPerWeight;
  outputs->upper_bound = static_cast<double>(bound) / kUnitsPerWeight;
  outputs->cost = best.cost;
  return Status::Ok();
}

}  // namespace prismrec::max_cover
