// The table of an operation's implementations, and the one place where hardware decides.
#ifndef PRISMREC_RUNTIME_DISPATCH_H_
#define PRISMREC_RUNTIME_DISPATCH_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/cpu_features.h"
#include "runtime/status.h"

namespace prismrec {

template <class Fn>
struct Variant {
  const char* name;  // "reference", SimdName(simd) or a device's
  Simd simd;
  Fn fn;
};

// What runs the variants that are not for this machine's processor, e.g. those named "cuda".
struct Device {
  const char* name;
  bool (*usable)();
  Status (*status)();  // ok: it is usable
};

// Once for a device, before main: whoever can load it knows it, and tables do not.
bool RegisterDevice(const Device& device);
// Null: no such device is known.
const Device* FindDevice(const char* name);

template <class Fn>
bool OnDevice(const Variant<Fn>& variant) {
  return std::strcmp(variant.name, "reference") != 0 &&
         std::strcmp(variant.name, SimdName(variant.simd)) != 0;
}

template <class Fn>
bool Runs(const Variant<Fn>& variant) {
  if (!OnDevice(variant)) return Supported(variant.simd);
  const Device* const device = FindDevice(variant.name);
  return device != nullptr && device->usable();
}

// `forced` (null or empty: none) names a variant; it must be in the table and run here. Without it:
// the variant of ActiveSimd(), else the widest one below it; never "reference" or a device's. Null: there
// is none.
template <class Fn, size_t N>
const Variant<Fn>* Select(const Variant<Fn> (&table)[N], const char* forced) {
  const Variant<Fn>* best = nullptr;
  for (const Variant<Fn>& variant : table) {
    if (forced != nullptr && *forced != '\0') {
      if (std::strcmp(variant.name, forced) == 0) return Runs(variant) ? &variant : nullptr;
    } else if (!OnDevice(variant) && Supported(variant.simd) &&
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
  const Device* const device = forced == nullptr ? nullptr : FindDevice(forced);
  if (device != nullptr && !device->usable()) return device->status();
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
