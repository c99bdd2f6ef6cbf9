#include "runtime/dispatch.h"

#include <algorithm>
#include <cmath>

#include "ops/dynamic_routing/dynamic_routing.h"
#include "ops/dynamic_routing/routing.h"

namespace prismrec::dynamic_routing {
namespace {

// Null: the reference.
constexpr Variant<const Kernels*> kVariants[] = {
    {"reference", Simd::kScalar, nullptr},
    {"scalar", Simd::kScalar, &kScalarKernels},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &kAvx2Kernels},
    {"avx512", Simd::kAvx512, &kAvx512Kernels},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &kNeonKernels},
#endif
};

Status Check(const Problem& problem) {
  for (size_t b = 0; b < problem.users; ++b) {
    if (problem.lengths[b] <= problem.length) continue;
    return InvalidArgument("lengths[" + std::to_string(b) + "] exceeds the batch's length",
                           "at most " + std::to_string(problem.length),
                           std::to_string(problem.lengths[b]));
  }
  return Status::Ok();
}

Status CheckFinite(const char* what, const float* values, size_t count) {
  const bool finite = std::all_of(values, values + count, [](float x) { return std::isfinite(x); });
  if (finite) return Status::Ok();
  return NonFinite(std::string("dynamic routing meets ") + what + " that is not finite",
                   "finite values whose products fit float32", "infinity or NaN",
                   "A diverging learning rate is the usual cause; look at the step before.");
}

Status Choose(const char* name, const Problem& problem, const Kernels** kernels) {
  const Variant<const Kernels*>* selected = nullptr;
  Status status = SelectVariant(kVariants, name, &selected);
  if (status.ok()) status = Check(problem);
  if (status.ok()) *kernels = selected->fn;
  return status;
}

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Forward(const char* variant, const ForwardArgs& args, const CancelFlag& cancel) {
  const Kernels* kernels = nullptr;
  Status status = Choose(variant, args.problem, &kernels);
  if (!status.ok()) return status;
  if (kernels == nullptr) {
    status = reference::Forward(args, cancel);
  } else {
    status = Forward(*kernels, args, ThreadPool::Global(), cancel);
  }
  const Problem& problem = args.problem;
  return status.ok() ? CheckFinite("an interest", args.vectors,
                                   problem.users * problem.interests * problem.dim)
                     : status;
}

Status Backward(const char* variant, const BackwardArgs& args, const CancelFlag& cancel) {
  const Kernels* kernels = nullptr;
  Status status = Choose(variant, args.problem, &kernels);
  const Problem& problem = args.problem;
  if (status.ok()) {
    status = CheckFinite("a gradient", args.vector_gradient,
                         problem.users * problem.interests * problem.dim);
  }
  if (!status.ok()) return status;
  if (kernels == nullptr) return reference::Backward(args, cancel);
  return Backward(*kernels, args, ThreadPool::Global(), cancel);
}

}  // namespace prismrec::dynamic_routing
