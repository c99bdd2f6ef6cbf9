// The addon's entry: one initialisation per JavaScript environment.
#include <dlfcn.h>
#include <napi.h>

#include <cstdlib>

#include "register_ops.h"
#include "runtime/binding.h"
#include "runtime/cpu_features.h"
#include "runtime/thread_pool.h"

namespace prismrec {
namespace {

// Node unloads an addon with the last worker that used it; the pool's threads would go on without
// code.
void PinLibrary() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&PinLibrary), &self) != 0) {
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

Napi::Value RuntimeInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object result = Napi::Object::New(env);
  Napi::Array supported = Napi::Array::New(env);
  uint32_t count = 0;
  for (Simd simd : kAllSimd) {
    if (Supported(simd)) supported.Set(count++, SimdName(simd));
  }
  result.Set("simd", SimdName(ActiveSimd()));
  result.Set("supportedSimd", supported);
  result.Set("threads", ThreadPool::Global().threads());
  result.Set("hardwareThreads", HardwareThreads());
  result.Set("compiler", PRISMREC_COMPILER);
  return result;
}

Napi::Value SetThreads(const Napi::CallbackInfo& info) {
  const double threads = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : 0;
  if (!(threads >= 1 && threads <= ThreadPool::kMaxThreads) ||
      threads != static_cast<int>(threads)) {
    throw ToError(info.Env(),
                  InvalidArgument("the number of threads is out of range",
                                  "a whole number from 1 to 1024", info[0].ToString().Utf8Value()));
  }
  ThreadPool::Global().SetThreads(static_cast<int>(threads));
  return info.Env().Undefined();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  PinLibrary();
  Simd simd = Simd::kScalar;
  if (const Status status = ResolveSimd(std::getenv("PRISMREC_SIMD"), &simd); !status.ok()) {
    throw ToError(env, status);
  }
  InitBinding(env);
  ExportFunction(env, exports, "runtimeInfo", RuntimeInfo);
  ExportFunction(env, exports, "setThreads", SetThreads);
  RegisterOps(env, exports);
  return exports;
}

}  // namespace
}  // namespace prismrec

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  return prismrec::Init(env, exports);
}

NODE_API_MODULE(prismrec_native, InitAddon)
