#include "cuda/runtime.cuh"

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>

namespace prismrec::cuda {
namespace {

// Blocks are kept by size class and handed out again; 12.5 % at most is lost to rounding.
size_t SizeClass(size_t bytes) {
  size_t step = 512;
  while (step * 8 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

// PRISMREC_CUDA_MEMORY (bytes) caps what the process takes of a device.
size_t Cap() {
  static const size_t cap = [] {
    const char* text = std::getenv("PRISMREC_CUDA_MEMORY");
    return text != nullptr ? static_cast<size_t>(std::strtoull(text, nullptr, 10)) : ~size_t{0};
  }();
  return cap;
}

// One for the process. Device and pinned memory of every size class, free for the next call.
class Pool {
 public:
  void* Take(size_t bytes) {
    const size_t size = SizeClass(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    if (void* block = Reuse(&free_, size)) {
      Renew(block, bytes);
      sizes_[block] = size;
      return block;
    }
    if (held_ + size > Cap()) Trim();
    if (held_ + size > Cap()) Refuse(bytes);
    void* block = nullptr;
    cudaError_t error = cudaMalloc(&block, size);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      Trim();
      error = cudaMalloc(&block, size);
    }
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      Refuse(bytes);
    }
    PRISMREC_CUDA_CHECK(error);
    Renew(block, bytes);
    held_ += size;
    sizes_[block] = size;
    return block;
  }
  void Give(void* block) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.emplace(sizes_.at(block), block);
  }
  size_t Available() {
    size_t available = 0;
    size_t total = 0;
    PRISMREC_CUDA_CHECK(cudaMemGetInfo(&available, &total));
    std::lock_guard<std::mutex> lock(mutex_);
    size_t kept = 0;
    for (const auto& [size, block] : free_) kept += size;
    const size_t used = held_ - kept;
    return std::min(available + kept, Cap() > used ? Cap() - used : 0);
  }
  void* TakePinned(size_t bytes) {
    const size_t size = SizeClass(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    void* block = Reuse(&pinned_, size);
    if (block == nullptr) PRISMREC_CUDA_CHECK(cudaMallocHost(&block, size));
    sizes_[block] = size;
    return block;
  }
  void GivePinned(void* block) {
    std::lock_guard<std::mutex> lock(mutex_);
    pinned_.emplace(sizes_.at(block), block);
  }

 private:
  using Free = std::multimap<size_t, void*>;
  static void* Reuse(Free* blocks, size_t size) {
    const auto found = blocks->find(size);
    if (found == blocks->end()) return nullptr;
    void* block = found->second;
    blocks->erase(found);
    return block;
  }
  void Trim() {
    for (const auto& [size, block] : free_) {
      cudaFree(block);
      held_ -= size;
      sizes_.erase(block);
    }
    free_.clear();
  }
  [[noreturn]] void Refuse(size_t bytes) {
    size_t available = 0;
    size_t total = 0;
    if (cudaMemGetInfo(&available, &total) != cudaSuccess) cudaGetLastError();
    throw Error(OutOfMemory("device " + std::to_string(TheDevice()) + " has not enough memory",
                            std::to_string(bytes) + " more bytes",
                            std::to_string(available) + " bytes free of " + std::to_string(total),
                            "Use device \"cpu\", or a smaller batch; PRISMREC_CUDA_MEMORY may cap it too low."));
  }

  std::mutex mutex_;
  Free free_;
  Free pinned_;
  size_t held_ = 0;
  std::map<void*, size_t> sizes_;
};

// Never destroyed: a driver may be gone before static destructors run.
Pool& TheMemory() {
  static Pool* pool = new Pool();
  return *pool;
}

const DeviceTraits& Traits() {
  static const DeviceTraits traits = [] {
    cudaDeviceProp properties;
    PRISMREC_CUDA_CHECK(cudaGetDeviceProperties(&properties, TheDevice()));
    return DeviceTraits{properties.major * 10 + properties.minor, properties.multiProcessorCount,
                        properties.sharedMemPerBlockOptin};
  }();
  return traits;
}

}  // namespace

int WishedDevice() {
  const char* text = std::getenv("PRISMREC_CUDA_DEVICE");
  if (text == nullptr || *text == '\0') return 0;
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  return *end == '\0' && number >= 0 && number <= INT_MAX ? static_cast<int>(number) : -1;
}

int TheDevice() {
  static const int device = WishedDevice();
  return device;
}

void Check(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // what is reported is not to be found again by the next call
  const char* slash = std::strrchr(file, '/');
  const std::string where = std::string(slash != nullptr ? slash + 1 : file) + ":" + std::to_string(line);
  const std::string text = std::string(cudaGetErrorName(error)) + " (" + cudaGetErrorString(error) + ") from " + call +
                           " at " + where;
  switch (error) {
    case cudaErrorMemoryAllocation:
      throw Error(OutOfMemory("the device has not enough memory: " + text));
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
      throw Error(DeviceUnavailable("the device cannot be used: " + text));
    default:
      throw Error(Internal("the device failed: " + text));
  }
}

Retained::Retained(size_t bytes) : block_(TheMemory().Take(bytes)) {}

Retained::~Retained() { TheMemory().Give(block_); }

Session::Session(const CancelFlag& cancel) : cancel_(cancel) {
  PRISMREC_CUDA_CHECK(cudaSetDevice(TheDevice()));
  traits_ = Traits();
  PRISMREC_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Session::~Session() {
  // An error here has been reported by the call that waited for the stream, or the call was cancelled.
  if (cudaStreamSynchronize(stream_) != cudaSuccess) cudaGetLastError();
  Release();
  if (cudaStreamDestroy(stream_) != cudaSuccess) cudaGetLastError();
}

void Session::Release() noexcept {
  for (void* block : blocks_) TheMemory().Give(block);
  for (void* block : staging_) TheMemory().GivePinned(block);
  for (void* block : passing_) TheMemory().GivePinned(block);
  blocks_.clear();
  staging_.clear();
  passing_.clear();
}

size_t Session::available_bytes() const { return TheMemory().Available(); }

void* Session::AllocateBytes(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* block = TheMemory().Take(bytes);
  blocks_.push_back(block);
  return block;
}

char* Session::Stage(size_t bytes) {
  void* block = TheMemory().TakePinned(bytes);
  staging_.push_back(block);
  return static_cast<char*>(block);
}

char* Session::StagePassing(size_t bytes) {
  void* block = TheMemory().TakePinned(bytes);
  passing_.push_back(block);
  return static_cast<char*>(block);
}

void Session::UploadBytes(void* device, const void* host, size_t bytes) {
  char* staged = StagePassing(bytes);
  std::memcpy(staged, host, bytes);
  PRISMREC_CUDA_CHECK(cudaMemcpyAsync(device, staged, bytes, cudaMemcpyHostToDevice, stream_));
}

void Session::DownloadBytes(void* host, const void* device, size_t bytes) {
  char* staged = StagePassing(bytes);
  PRISMREC_CUDA_CHECK(cudaMemcpyAsync(staged, device, bytes, cudaMemcpyDeviceToHost, stream_));
  landings_.push_back({host, staged, bytes});
}

void Session::CheckCancelled() const {
  if (cancel_.Cancelled()) throw Error(Cancelled());
}

void Session::Synchronize() {
  PRISMREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  CheckCancelled();
  for (const Landing& landing : landings_) std::memcpy(landing.host, landing.staged, landing.bytes);
  landings_.clear();
  for (void* block : passing_) TheMemory().GivePinned(block);
  passing_.clear();
}

}  // namespace prismrec::cuda
