#include <cmath>
#include <string>

#include "runtime/dispatch.h"
#include "cuda/library.h"
#include "ops/contrastive_loss/contrastive_loss.h"
#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

template <const Spans& kSpans, const gemm::Kernel& kGemm>
Status SweepWith(const Args& args, Outputs* outputs, ThreadPool& pool, const CancelFlag& cancel) {
  return RunKernel({kSpans, kGemm}, args, outputs, pool, cancel);
}

Status OnCuda(const Args& args, Outputs* outputs, ThreadPool&, const CancelFlag& cancel) {
  return cuda::TheLibrary()->contrastive_loss(args, outputs, cancel);
}

constexpr Variant<Fn> kVariants[] = {
    {"reference", Simd::kScalar, Reference},
    {"scalar", Simd::kScalar, SweepWith<kScalarSpans, gemm::kScalarKernel>},
#if defined(PRISMREC_ARCH_X86)
    {"avx2", Simd::kAvx2, SweepWith<kAvx2Spans, gemm::kAvx2Kernel>},
    {"avx512", Simd::kAvx512, SweepWith<kAvx512Spans, gemm::kAvx512Kernel>},
#elif defined(PRISMREC_ARCH_ARM64)
    {"neon", Simd::kNeon, SweepWith<kNeonSpans, gemm::kNeonKernel>},
#endif
    {"cuda", Simd::kScalar, OnCuda},
};

Status CheckLogQ(const Args& args) {
  const size_t candidates = args.positives.rows + args.negatives.rows;
  for (size_t j = 0; args.log_q != nullptr && j < candidates; ++j) {
    if (std::isfinite(args.log_q[j])) continue;
    return NonFinite("logQ[" + std::to_string(j) + "] is not finite", "a finite logarithm",
                     std::to_string(args.log_q[j]));
  }
  return Status::Ok();
}

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  const Variant<Fn>* selected = nullptr;
  Status status = SelectVariant(kVariants, variant, &selected);
  if (status.ok()) status = CheckLogQ(args);
  if (!status.ok()) return status;
  return selected->fn(args, outputs, ThreadPool::Global(), cancel);
}

}  // namespace prismrec::contrastive_loss
