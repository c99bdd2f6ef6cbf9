// The table of an operation's implementations, and the one place where hardware decides.
#ifndef PRISMREC_RUNTIME_DISPATCH_H_
#define PRISMREC_RUNTIME_DISPATCH_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/library.h"
#include "runtime/cpu_features.h"
#include "runtime/status.h"

namespace prismrec {

template <class Fn>
struct Variant {
  const char* name;  // "reference", "cuda" or SimdName(simd)
  Simd simd;
  Fn fn;
};

template <class Fn>
bool IsCuda(const Variant<Fn>& variant) {
  return std::strcmp(variant.name, "cuda") == 0;
}

template <class Fn>
bool Runs(const Variant<Fn>& variant) {
  return IsCuda(variant) ? cuda::TheLibrary() != nullptr : Supported(variant.simd);
}

// `forced` (null or empty: none) names a variant; it must be in the table and run here. Without it:
// the variant of ActiveSimd(), else the widest one below it; never "reference" or "cuda". Null: there
// is none.
template <class Fn, size_t N>
const Variant<Fn>* Select(const Variant<Fn> (&table)[N], const char* forced) {
  const Variant<Fn>* best = nullptr;
  for (const Variant<Fn>& variant : table) {
    if (forced != nullptr && *forced != '\0') {
      if (std::strcmp(variant.name, forced) == 0) return Runs(variant) ? &variant : nullptr;
    } else if (!IsCuda(variant) && Supported(variant.simd) &&
               std::strcmp(variant.name, "reference") != 0 && variant.simd <= ActiveSimd() &&
               (best == nullptr || variant.simd > best->simd)) {
      best = &variant;
    }
  }
  return best;
}

// The names of the variants that run on this machine, in the table's order; of those only the ones in
// PRISMREC_VARIANTS (a list with commas), where a test run sets it.
template <class Fn, size_t N>
std::vector<const char*> RunnableVariants(const Variant<Fn> (&table)[N]) {
  std::vector<const char*> names;
  const char* wished = std::getenv("PRISMREC_VARIANTS");
  const std::string list = wished != nullptr ? "," + std::string(wished) + "," : "";
  for (const Variant<Fn>& variant : table) {
    const bool chosen = list.empty() || list.find("," + std::string(variant.name) + ",") != std::string::npos;
    if (chosen && Runs(variant)) names.push_back(variant.name);
  }
  return names;
}

// As Select, with a typed error that lists what there is.
template <class Fn, size_t N>
Status SelectVariant(const Variant<Fn> (&table)[N], const char* forced,
                     const Variant<Fn>** selected) {
  *selected = Select(table, forced);
  if (*selected != nullptr) return Status::Ok();
  if (forced != nullptr && std::strcmp(forced, "cuda") == 0 && !cuda::Describe().status.ok()) {
    return cuda::Describe().status;
  }
  std::string names;
  for (const char* name : RunnableVariants(table)) {
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return DeviceUnavailable("the operation has no such variant on this machine", names,
                           forced == nullptr ? "" : forced,
                           "Leave out `variant` for the best one.");
}

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_DISPATCH_H_
