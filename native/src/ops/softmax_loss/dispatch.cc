#include "runtime/dispatch.h"
#include "cuda/library.h"
#include "ops/softmax_loss/plan.h"
#include "ops/softmax_loss/softmax_loss.h"
#include "ops/softmax_loss/sweep.h"

namespace prismrec::softmax_loss {
namespace {

template <const Spans& kSpans>
Status SweepWith(const Args& args, Outputs* outputs, ThreadPool& pool, const CancelFlag& cancel) {
  return Sweep(kSpans, args, outputs, pool, cancel);
}

Status OnCuda(const Args& args, Outputs* outputs, ThreadPool&, const CancelFlag& cancel) {
  return cuda::TheLibrary()->softmax_loss(args, outputs, cancel);
}

constexpr Variant<Fn> kVariants[] = {
    {"reference", Simd::kScalar, Reference},
    {"scalar", Simd::kScalar, SweepWith<kScalarSpans>},
#if defined(PRISMREC_ARCH_X86)
    {"avx2", Simd::kAvx2, SweepWith<kAvx2Spans>},
    {"avx512", Simd::kAvx512, SweepWith<kAvx512Spans>},
#elif defined(PRISMREC_ARCH_ARM64)
    {"neon", Simd::kNeon, SweepWith<kNeonSpans>},
#endif
    {"cuda", Simd::kScalar, OnCuda},
};

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  const Variant<Fn>* selected = nullptr;
  Status status = SelectVariant(kVariants, variant, &selected);
  if (status.ok()) status = CheckArgs(args);
  if (!status.ok()) return status;
  return selected->fn(args, outputs, ThreadPool::Global(), cancel);
}

}  // namespace prismrec::softmax_loss
