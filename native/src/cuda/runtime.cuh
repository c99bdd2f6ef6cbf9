// The host side of the CUDA variants: errors as exceptions inside the library (they end as a Status at its border), one
// pool of device memory, and a session per call that owns a stream and all that the call allocates.
#ifndef PRISMREC_CUDA_RUNTIME_CUH_
#define PRISMREC_CUDA_RUNTIME_CUH_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "cuda/kernel.cuh"
#include "runtime/cancel.h"
#include "runtime/status.h"

namespace prismrec::cuda {

class Error : public std::exception {
 public:
  explicit Error(Status status) : status_(std::move(status)) {}
  const Status& status() const { return status_; }
  const char* what() const noexcept override { return status_.message.c_str(); }

 private:
  Status status_;
};

// Throws an Error with the call, file and line where `error` is one.
void Check(cudaError_t error, const char* call, const char* file, int line);
#define PRISMREC_CUDA_CHECK(call) ::prismrec::cuda::Check(call, #call, __FILE__, __LINE__)

// The number in PRISMREC_CUDA_DEVICE, 0 without it; -1: it is no number.
int WishedDevice();
// The process's device, what was wished for when it was first used: the pool's memory and an index's copy are there.
int TheDevice();

struct DeviceTraits {
  int capability = 0;  // 80: compute capability 8.0
  int processors = 0;
  size_t shared_bytes = 0;  // per block
};

// Device memory that outlives the call (and its session) that made it. Nothing may use it any more when it goes.
class Retained {
 public:
  explicit Retained(size_t bytes);
  ~Retained();
  Retained(const Retained&) = delete;
  Retained& operator=(const Retained&) = delete;
  void* data() const { return block_; }

 private:
  void* block_ = nullptr;
};

// One call's stream and memory. Everything is given back at the end, after the stream has come to rest.
class Session {
 public:
  explicit Session(const CancelFlag& cancel);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  cudaStream_t stream() const { return stream_; }
  const DeviceTraits& traits() const { return traits_; }
  // Bytes of device memory that this process may still take.
  size_t available_bytes() const;

  // Uninitialised device memory of this call; null for none.
  template <class T>
  T* Allocate(size_t count) {
    return static_cast<T*>(AllocateBytes(count * sizeof(T)));
  }
  template <class T>
  T* Zeros(size_t count) {
    T* array = Allocate<T>(count);
    if (array != nullptr) PRISMREC_CUDA_CHECK(cudaMemsetAsync(array, 0, count * sizeof(T), stream_));
    return array;
  }
  // A copy of the host's array on the device; null stays null.
  template <class T>
  T* Upload(const T* host, size_t count) {
    if (host == nullptr || count == 0) return nullptr;
    T* array = Allocate<T>(count);
    UploadBytes(array, host, count * sizeof(T));
    return array;
  }
  // The same into memory that there is.
  template <class T>
  void UploadTo(T* device, const T* host, size_t count) {
    if (count > 0) UploadBytes(device, host, count * sizeof(T));
  }
  // Pinned memory of the host, for as long as the session lives.
  char* Stage(size_t bytes);
  // Queues; the host's array is filled when Synchronize returns.
  template <class T>
  void Download(T* host, const T* device, size_t count) {
    if (host != nullptr && count > 0) DownloadBytes(host, device, count * sizeof(T));
  }
  // Throws CANCELLED where it is wished for.
  void Synchronize();
  void CheckCancelled() const;

 private:
  struct Landing {
    void* host;
    const void* staged;
    size_t bytes;
  };
  void* AllocateBytes(size_t bytes);
  void UploadBytes(void* device, const void* host, size_t bytes);
  void DownloadBytes(void* host, const void* device, size_t bytes);
  char* StagePassing(size_t bytes);
  void Release() noexcept;

  const CancelFlag& cancel_;
  DeviceTraits traits_;
  cudaStream_t stream_ = nullptr;
  std::vector<void*> blocks_;
  // Pinned memory; of it, that for what is on its way until the stream is synchronised; and where that goes.
  std::vector<void*> staging_;
  std::vector<void*> passing_;
  std::vector<Landing> landings_;
};

// Turns what `body` throws into a Status.
template <class Body>
Status Guarded(const CancelFlag& cancel, Body body) noexcept {
  try {
    Session session(cancel);
    body(session);
    return Status::Ok();
  } catch (const Error& error) {
    return error.status();
  } catch (const std::bad_alloc&) {
    return OutOfMemory("the host has no memory left for the device's data");
  } catch (const std::exception& error) {
    return Internal(error.what());
  }
}

}  // namespace prismrec::cuda

#endif  // PRISMREC_CUDA_RUNTIME_CUH_
