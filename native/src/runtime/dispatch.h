// The table of an operation's implementations, and the one place where hardware decides.
#ifndef PRISMREC_RUNTIME_DISPATCH_H_
#define PRISMREC_RUNTIME_DISPATCH_H_

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/cpu_features.h"
#include "runtime/status.h"

namespace prismrec {

template <class Fn>
struct Variant {
  const char* name;  // "reference", or SimdName(simd)
  Simd simd;
  Fn fn;
};

// `forced` (null or empty: none) names a variant; it must be in the table and run here. Without it:
// the variant of ActiveSimd(), else the widest one below it; never "reference". Null: there is
// none.
template <class Fn, size_t N>
const Variant<Fn>* Select(const Variant<Fn> (&table)[N], const char* forced) {
  const Variant<Fn>* best = nullptr;
  for (const Variant<Fn>& variant : table) {
    if (!Supported(variant.simd)) continue;
    if (forced != nullptr && *forced != '\0') {
      if (std::strcmp(variant.name, forced) == 0) return &variant;
    } else if (std::strcmp(variant.name, "reference") != 0 && variant.simd <= ActiveSimd() &&
               (best == nullptr || variant.simd > best->simd)) {
      best = &variant;
    }
  }
  return best;
}

// The names of the variants that run on this machine, in the table's order.
template <class Fn, size_t N>
std::vector<const char*> RunnableVariants(const Variant<Fn> (&table)[N]) {
  std::vector<const char*> names;
  for (const Variant<Fn>& variant : table) {
    if (Supported(variant.simd)) names.push_back(variant.name);
  }
  return names;
}

// As Select, with a typed error that lists what there is.
template <class Fn, size_t N>
Status SelectVariant(const Variant<Fn> (&table)[N], const char* forced,
                     const Variant<Fn>** selected) {
  *selected = Select(table, forced);
  if (*selected != nullptr) return Status::Ok();
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
