#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/library.h"
#include "runtime/dispatch.h"

namespace prismrec::cuda {
namespace {

struct Loaded {
  const Library* library = nullptr;
  Report report;
};

// prismrec_cuda.so in the folder that holds this code.
std::string Beside() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&TheLibrary), &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return (slash == std::string::npos ? std::string() : path.substr(0, slash + 1)) + "prismrec_cuda.so";
}

Loaded Load() {
  Loaded loaded;
  const char* named = std::getenv("PRISMREC_CUDA_LIBRARY");
  const bool forced = named != nullptr && *named != '\0';
  const std::string path = forced ? named : Beside();
  // Never closed: threads of the driver run its code.
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const std::string reason = dlerror();
    const bool absent = !forced && reason.find("No such file") != std::string::npos;
    loaded.report.status =
        DeviceUnavailable(absent ? "this installation has no CUDA library" : "the CUDA library cannot be opened",
                          path, absent ? "no such file" : reason, "Build it with: npm run build:cuda");
    return loaded;
  }
  loaded.report.library = path;
  const auto entry = reinterpret_cast<const Library* (*)()>(dlsym(handle, "prismrec_cuda_library"));
  const Library* library = entry != nullptr ? entry() : nullptr;
  if (library == nullptr || std::strcmp(library->abi, kAbi) != 0) {
    loaded.report.status =
        DeviceUnavailable("the CUDA library belongs to another version of prismrec", kAbi,
                          library != nullptr ? library->abi : "no such entry point", "Build it again: npm run build:cuda");
    return loaded;
  }
  library->describe(&loaded.report);
  if (loaded.report.status.ok()) loaded.library = library;
  return loaded;
}

const Loaded& Get() {
  static const Loaded loaded = Load();
  return loaded;
}

[[maybe_unused]] const bool registered = RegisterDevice(
    {"cuda", [] { return TheLibrary() != nullptr; }, [] { return Describe().status; }});

}  // namespace

const Library* TheLibrary() { return Get().library; }

const Report& Describe() { return Get().report; }

}  // namespace prismrec::cuda
