// The host side of the pretended GPU. Work on a stream waits until somebody synchronises, so that reading a result or
// changing a pinned buffer too early shows. Environment variables choose the machine to pretend:
//   PRISMREC_CUDA_HOST_SM      75, 80, 86, 89 or 90 (the default)
//   PRISMREC_CUDA_HOST_MEMORY  bytes of device memory (default 1 GiB)
//   PRISMREC_CUDA_HOST_DEVICES how many there are (default 1)
//   PRISMREC_CUDA_HOST_DRIVER  none: no driver; old: one that this runtime cannot use
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cuda_runtime.h"

namespace cuda_host {

class Stream {
 public:
  explicit Stream(int of) : device(of) {}
  const int device;
  std::deque<std::function<cudaError_t()>> work;
};

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
// What cudaFuncSetAttribute has set, by device and kernel.
std::mutex allowed_mutex;
std::map<std::pair<int, const void*>, size_t> allowed_shared;
std::mutex pinned_mutex;
std::set<std::pair<const char*, size_t>> pinned;

long Setting(const char* name, long fallback) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : fallback;
}
std::string Driver() {
  const char* text = std::getenv("PRISMREC_CUDA_HOST_DRIVER");
  return text != nullptr ? text : "";
}
int Capability() { return static_cast<int>(Setting("PRISMREC_CUDA_HOST_SM", 90)); }
size_t SharedLimit() {
  switch (Capability()) {
    case 75: return 64 << 10;
    case 80: return 163 << 10;
    case 86:
    case 89: return 99 << 10;
    default: return 227 << 10;
  }
}
constexpr int kMultiprocessors = 4;
// What it holds at a time (CUDA's programming guide, "Compute Capabilities").
struct Multiprocessor {
  size_t threads, blocks, shared_bytes, reserved_shared_bytes;
};
Multiprocessor TheMultiprocessor() {
  switch (Capability()) {
    case 75: return {1024, 16, 64 << 10, 0};
    case 80: return {2048, 32, 164 << 10, 1 << 10};
    case 86: return {1536, 16, 100 << 10, 1 << 10};
    case 89: return {1536, 24, 100 << 10, 1 << 10};
    default: return {2048, 32, 228 << 10, 1 << 10};
  }
}
bool IsPinned(const void* pointer) {
  std::lock_guard<std::mutex> lock(pinned_mutex);
  for (const auto& [begin, bytes] : pinned) {
    if (pointer >= begin && pointer < begin + bytes) return true;
  }
  return false;
}
cudaError_t Failed(cudaError_t error) {
  last_error = error;
  return error;
}
size_t AllowedShared(const void* kernel) {
  const std::lock_guard<std::mutex> lock(allowed_mutex);
  const auto entry = allowed_shared.find({current_device, kernel});
  return entry == allowed_shared.end() ? 48 << 10 : entry->second;
}
cudaError_t Drain(Stream* stream) {
  while (!stream->work.empty()) {
    const auto next = std::move(stream->work.front());
    stream->work.pop_front();
    if (const cudaError_t error = next(); error != cudaSuccess) {
      stream->work.clear();
      return Failed(error);
    }
  }
  return cudaSuccess;
}

}  // namespace

int ResidentBlocks(size_t threads, size_t shared_bytes) {
  const Multiprocessor limits = TheMultiprocessor();
  const size_t warps = (threads + kWarp - 1) / kWarp;
  const size_t shared = shared_bytes + limits.reserved_shared_bytes;
  return static_cast<int>(std::min({limits.blocks, limits.threads / (warps * kWarp),
                                    shared == 0 ? limits.blocks : limits.shared_bytes / shared}));
}

cudaError_t Enqueue(Grid grid, const void* kernel, cudaStream_t stream, std::shared_ptr<const void> arguments,
                    size_t bytes, void (*call)(const void*)) {
  if (grid.shared_bytes > SharedLimit() || grid.size.volume() == 0 || grid.block.volume() == 0 ||
      grid.block.volume() > 1024 || grid.size.y > 65535 || grid.size.z > 65535) {
    return Failed(cudaErrorInvalidConfiguration);
  }
  if (grid.shared_bytes > AllowedShared(kernel)) return Failed(cudaErrorInvalidValue);
  if (grid.cooperative && grid.size.volume() > static_cast<size_t>(kMultiprocessors) *
                                                   ResidentBlocks(grid.block.volume(), grid.shared_bytes)) {
    return Failed(cudaErrorCooperativeLaunchTooLarge);
  }
  if (stream->device != current_device) return Failed(cudaErrorInvalidResourceHandle);
  grid.capability = Capability();
  grid.device = current_device;
  stream->work.push_back([=] {
    const Body body{call, arguments.get(), bytes};
    return RunGrid(grid, body) ? cudaSuccess : cudaErrorIllegalAddress;
  });
  return cudaSuccess;
}

}  // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > SharedLimit()) return Failed(cudaErrorInvalidValue);
  {
    const std::lock_guard<std::mutex> lock(allowed_mutex);
    allowed_shared[{current_device, kernel}] = static_cast<size_t>(value);
  }
  // Others have their turn before the launch that it was meant for.
  std::this_thread::yield();
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (bytes == 0) {
    *pointer = nullptr;
    return cudaSuccess;
  }
  const size_t total = static_cast<size_t>(Setting("PRISMREC_CUDA_HOST_MEMORY", 1L << 30));
  if (AllocatedBytes() + bytes > total) return Failed(cudaErrorMemoryAllocation);
  *pointer = Allocate(current_device, bytes);
  return *pointer != nullptr ? cudaSuccess : Failed(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* pointer) {
  return pointer == nullptr || Release(pointer) ? cudaSuccess : Failed(cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  *pointer = std::malloc(bytes);
  if (*pointer == nullptr) return Failed(cudaErrorMemoryAllocation);
  std::lock_guard<std::mutex> lock(pinned_mutex);
  pinned.insert({static_cast<const char*>(*pointer), bytes});
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  std::lock_guard<std::mutex> lock(pinned_mutex);
  for (auto it = pinned.begin(); it != pinned.end(); ++it) {
    if (it->first != pointer) continue;
    pinned.erase(it);
    std::free(pointer);
    return cudaSuccess;
  }
  return Failed(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const auto copy = [=](const void* source) {
    if (kind != cudaMemcpyHostToDevice && !CheckRead(source, bytes)) return cudaErrorIllegalAddress;
    if (kind != cudaMemcpyDeviceToHost && !MarkWritten(to, bytes)) return cudaErrorInvalidValue;
    std::memcpy(to, source, bytes);
    return cudaSuccess;
  };
  if (kind == cudaMemcpyHostToDevice && !IsPinned(from)) {
    // Pageable memory is read before the call returns.
    const char* begin = static_cast<const char*>(from);
    stream->work.push_back([copy, staged = std::vector<char>(begin, begin + bytes)] { return copy(staged.data()); });
    return cudaSuccess;
  }
  stream->work.push_back([copy, from] { return copy(from); });
  return kind == cudaMemcpyDeviceToHost && !IsPinned(to) ? Drain(stream) : cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  stream->work.push_back([=] {
    if (!MarkWritten(pointer, bytes)) return cudaErrorInvalidValue;
    std::memset(pointer, value, bytes);
    return cudaSuccess;
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream(current_device);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = Drain(stream);
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return Drain(stream); }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorNoKernelImageForDevice: return "cudaErrorNoKernelImageForDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorCooperativeLaunchTooLarge: return "cudaErrorCooperativeLaunchTooLarge";
  }
  return "?";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (!Driver().empty()) return Failed(cudaErrorInsufficientDriver);
  *count = static_cast<int>(Setting("PRISMREC_CUDA_HOST_DEVICES", 1));
  return *count > 0 ? cudaSuccess : Failed(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return error;
  if (device < 0 || device >= count) return Failed(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  const int sm = Capability();
  std::snprintf(properties->name, sizeof properties->name, "pretended sm_%d #%d", sm, device);
  properties->totalGlobalMem = static_cast<size_t>(Setting("PRISMREC_CUDA_HOST_MEMORY", 1L << 30));
  properties->sharedMemPerBlockOptin = SharedLimit();
  properties->major = sm / 10;
  properties->minor = sm % 10;
  properties->multiProcessorCount = kMultiprocessors;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = kMultiprocessors; break;
    case cudaDevAttrComputeCapabilityMajor: *value = Capability() / 10; break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
  }
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = static_cast<size_t>(Setting("PRISMREC_CUDA_HOST_MEMORY", 1L << 30));
  const size_t used = AllocatedBytes();
  *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = Driver() == "none" ? 0 : Driver() == "old" ? 10010 : 13050;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13050;
  return cudaSuccess;
}
