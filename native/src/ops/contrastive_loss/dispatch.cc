#include "runtime/dispatch.h"
#include "ops/contrastive_loss/contrastive_loss.h"
#include "ops/contrastive_loss/sweep.h"

namespace prismrec::contrastive_loss {
namespace {

template <const Spans& kSpans>
Status SweepWith(const Args& args, Outputs* outputs, ThreadPool& pool, const CancelFlag& cancel) {
  return RunSpans(kSpans, args, outputs, pool, cancel);
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
};

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  const Variant<Fn>* selected = nullptr;
  const Status status = SelectVariant(kVariants, variant, &selected);
  if (!status.ok()) return status;
  return selected->fn(args, outputs, ThreadPool::Global(), cancel);
}

}  // namespace prismrec::contrastive_loss
