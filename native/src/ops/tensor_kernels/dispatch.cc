#include "ops/tensor_kernels/dispatch.h"

#include "runtime/dispatch.h"

namespace prismrec::tensor {
namespace {

constexpr Variant<const KernelTable*> kTables[] = {
    {"scalar", Simd::kScalar, &kScalarTable},
#ifdef PRISMREC_ARCH_X86
    {"avx2", Simd::kAvx2, &kAvx2Table},
    {"avx512", Simd::kAvx512, &kAvx512Table},
#endif
#ifdef PRISMREC_ARCH_ARM64
    {"neon", Simd::kNeon, &kNeonTable},
#endif
};

}  // namespace

const KernelTable& ActiveTable() {
  static const KernelTable& table = *Select(kTables, nullptr)->fn;
  return table;
}

const KernelTable* TableNamed(const char* name) {
  const Variant<const KernelTable*>* variant = Select(kTables, name);
  return variant == nullptr ? nullptr : variant->fn;
}

}  // namespace prismrec::tensor
