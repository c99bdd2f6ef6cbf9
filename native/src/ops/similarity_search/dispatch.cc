#include "cuda/library.h"
#include "ops/similarity_search/similarity_search.h"
#include "ops/similarity_search/sweep.h"
#include "runtime/dispatch.h"

namespace prismrec::similarity_search {
namespace {

template <const PanelKernel& kKernel>
Status SweepWith(const Query& query, const Outputs& outputs, ThreadPool& pool,
                 const CancelFlag& cancel) {
  return Sweep(kKernel, query, outputs, pool, cancel);
}

Status OnCuda(const Query& query, const Outputs& outputs, ThreadPool&, const CancelFlag& cancel) {
  if (query.adds()) {
    return InvalidArgument("additive scores are not added on a GPU", "a variant of the processor", "cuda",
                           "Leave the variant out.");
  }
  return cuda::TheLibrary()->similarity_search(query, outputs, cancel);
}

constexpr Variant<Fn> kVariants[] = {
    {"reference", Simd::kScalar, Reference},
    {"scalar", Simd::kScalar, SweepWith<kScalarPanel>},
#if defined(PRISMREC_ARCH_X86)
    {"avx2", Simd::kAvx2, SweepWith<kAvx2Panel>},
    {"avx512", Simd::kAvx512, SweepWith<kAvx512Panel>},
#elif defined(PRISMREC_ARCH_ARM64)
    {"neon", Simd::kNeon, SweepWith<kNeonPanel>},
#endif
    {"cuda", Simd::kScalar, OnCuda},
};

}  // namespace

std::vector<const char*> RunnableVariants() { return prismrec::RunnableVariants(kVariants); }

Status Run(const char* variant, const Args& args, const Outputs& outputs, ThreadPool& pool,
           const CancelFlag& cancel) {
  const Variant<Fn>* selected = nullptr;
  Status status = SelectVariant(kVariants, variant, &selected);
  Query query;
  if (status.ok()) status = Prepare(args, pool, cancel, &query);
  if (!status.ok()) return status;
  return selected->fn(query, outputs, pool, cancel);
}

}  // namespace prismrec::similarity_search
