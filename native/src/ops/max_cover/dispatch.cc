#include <algorithm>
#include <utility>

#include "ops/max_cover/max_cover.h"
#include "runtime/dispatch.h"

namespace prismrec::max_cover {
namespace {

struct Implementation {
  Fn solve;
  CountCommon count_common;
};

Status GreedyOnCuda(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
                    Selection* selection) {
  return cuda::TheLibrary()->max_cover(problem, by_ratio, cancel, selection);
}

constexpr Variant<Implementation> kVariants[] = {
    {"reference", Simd::kScalar, {Reference, nullptr}},
    {"scalar", Simd::kScalar, {Greedy, scalar::max_cover::CountCommon}},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, {Greedy, avx2::max_cover::CountCommon}},
    {"avx512", Simd::kAvx512, {Greedy, avx512::max_cover::CountCommon}},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, {Greedy, neon::max_cover::CountCommon}},
#endif
    {"cuda", Simd::kScalar, {GreedyOnCuda, nullptr}},
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
  Selection best;
  status = solve(problem, false, cancel, &best);
  int64_t bound = std::min(problem.attainable, best.bound);
  outputs->by_ratio = false;
  if (status.ok() && args.costs != nullptr) {
    Selection other;
    status = solve(problem, true, cancel, &other);
    bound = std::min(bound, other.bound);
    outputs->by_ratio = other.value > best.value;
    if (outputs->by_ratio) best = std::move(other);
  }
  if (!status.ok()) return status;
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
