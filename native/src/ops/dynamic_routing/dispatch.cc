#include "runtime/dispatch.h"

#include <algorithm>
#include <cmath>

#include "cuda/library.h"
#include "ops/dynamic_routing/dynamic_routing.h"
#include "ops/dynamic_routing/routing.h"

namespace prismrec::dynamic_routing {
namespace {

struct Implementation {
  Status (*forward)(const ForwardArgs& args, const CancelFlag& cancel);
  Status (*backward)(const BackwardArgs& args, const CancelFlag& cancel);
};

template <const Kernels& kKernels>
Status ForwardWith(const ForwardArgs& args, const CancelFlag& cancel) {
  return Forward(kKernels, args, ThreadPool::Global(), cancel);
}
template <const Kernels& kKernels>
Status BackwardWith(const BackwardArgs& args, const CancelFlag& cancel) {
  return Backward(kKernels, args, ThreadPool::Global(), cancel);
}

// The events of a table, [B, T, d], in `memory`; what lies beyond a user's length is 0.
Problem Gathered(Problem problem, std::vector<float>* memory) {
  if (problem.rows == nullptr) return problem;
  memory->resize(problem.users * problem.length * problem.dim);
  for (size_t b = 0; b < problem.users; ++b) {
    for (size_t t = 0; t < problem.lengths[b]; ++t) {
      const size_t at = b * problem.length + t;
      std::copy_n(problem.event(at), problem.dim, memory->data() + at * problem.dim);
    }
  }
  problem.events = memory->data();
  problem.rows = nullptr;
  return problem;
}

// The device is sent the events alone, not the table.
Status ForwardOnCuda(const ForwardArgs& args, const CancelFlag& cancel) {
  std::vector<float> events;
  ForwardArgs gathered = args;
  gathered.problem = Gathered(args.problem, &events);
  return cuda::TheLibrary()->dynamic_routing_forward(gathered, cancel);
}
Status BackwardOnCuda(const BackwardArgs& args, const CancelFlag& cancel) {
  std::vector<float> events;
  BackwardArgs gathered = args;
  gathered.problem = Gathered(args.problem, &events);
  return cuda::TheLibrary()->dynamic_routing_backward(gathered, cancel);
}

constexpr Variant<Implementation> kVariants[] = {
    {"reference", Simd::kScalar, {reference::Forward, reference::Backward}},
    {"scalar", Simd::kScalar, {ForwardWith<kScalarKernels>, BackwardWith<kScalarKernels>}},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, {ForwardWith<kAvx2Kernels>, BackwardWith<kAvx2Kernels>}},
    {"avx512", Simd::kAvx512, {ForwardWith<kAvx512Kernels>, BackwardWith<kAvx512Kernels>}},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, {ForwardWith<kNeonKernels>, BackwardWith<kNeonKernels>}},
#endif
    {"cuda", Simd::kScalar, {ForwardOnCuda, BackwardOnCuda}},
};

Status Check(const Problem& problem) {
  for (size_t b = 0; b < problem.users; ++b) {
    if (problem.lengths[b] > problem.length) {
      return InvalidArgument("lengths[" + std::to_string(b) + "] exceeds the batch's length",
                             "at most " + std::to_string(problem.length),
                             std::to_string(problem.lengths[b]));
    }
    for (size_t t = 0; problem.rows != nullptr && t < problem.lengths[b]; ++t) {
      const uint32_t row = problem.rows[b * problem.length + t];
      if (row < problem.table_rows) continue;
      return InvalidArgument("an event's row is outside the table",
                             "below " + std::to_string(problem.table_rows), std::to_string(row));
    }
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

Status Choose(const char* name, const Problem& problem, Implementation* implementation) {
  const Variant<Implementation>* selected = nullptr;
  Status status = SelectVariant(kVariants, name, &selected);
  if (status.ok()) status = Check(problem);
  if (status.ok()) *implementation = selected->fn;
  return status;
}

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Forward(const char* variant, const ForwardArgs& args, const CancelFlag& cancel) {
  const Problem& problem = args.problem;
  Implementation implementation{};
  Status status = Choose(variant, problem, &implementation);
  if (status.ok()) status = implementation.forward(args, cancel);
  return status.ok() ? CheckFinite("an interest", args.vectors,
                                   problem.users * problem.interests * problem.dim)
                     : status;
}

Status Backward(const char* variant, const BackwardArgs& args, const CancelFlag& cancel) {
  const Problem& problem = args.problem;
  Implementation implementation{};
  Status status = Choose(variant, problem, &implementation);
  if (status.ok()) {
    status = CheckFinite("a gradient", args.vector_gradient,
                         problem.users * problem.interests * problem.dim);
  }
  return status.ok() ? implementation.backward(args, cancel) : status;
}

}  // namespace prismrec::dynamic_routing
