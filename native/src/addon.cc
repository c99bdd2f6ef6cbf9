// The addon's entry: one initialisation per JavaScript environment.
#include <dlfcn.h>
#include <napi.h>

#include <cstdlib>

#include "cuda/library.h"
#include "node/binding.h"
#include "register_ops.h"
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

// Opens the CUDA library on its first call.
Napi::Value CudaInfo(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const cuda::Report& report = cuda::Describe();
  Napi::Object result = Napi::Object::New(env);
  result.Set("usable", report.status.ok());
  if (!report.status.ok()) {
    result.Set("reason", report.status.message);
    result.Set("expected", report.status.expected);
    result.Set("received", report.status.received);
    result.Set("hint", report.status.hint);
  }
  result.Set("library", report.library);
  result.Set("driver", report.driver);
  result.Set("runtime", report.runtime);
  Napi::Array devices = Napi::Array::New(env);
  for (const cuda::Device& device : report.devices) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", device.name);
    entry.Set("capability", device.capability);
    entry.Set("memoryBytes", static_cast<double>(device.memory_bytes));
    entry.Set("freeBytes", static_cast<double>(device.free_bytes));
    devices.Set(devices.Length(), entry);
  }
  result.Set("devices", devices);
  return result;
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
  ExportFunction(env, exports, "cudaInfo", CudaInfo);
  RegisterOps(env, exports);
  return exports;
}

}  // namespace
}  // namespace prismrec

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  return prismrec::Init(env, exports);
}

NODE_API_MODULE(prismrec_native, InitAddon)
