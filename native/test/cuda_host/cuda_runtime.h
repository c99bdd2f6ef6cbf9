// The part of CUDA that the kernels and their host side use, for a C++ compiler: names and meanings are NVIDIA's,
// the machine is machine.h's. Found before the real header through the include path.
#ifndef CUDA_HOST_CUDA_RUNTIME_H_
#define CUDA_HOST_CUDA_RUNTIME_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "machine.h"

#define PRISMREC_CUDA_HOST 1

// --- language -------------------------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

using dim3 = cuda_host::Dim3;
#define threadIdx (::cuda_host::ThreadIndex())
#define blockIdx (::cuda_host::BlockIndex())
#define blockDim (::cuda_host::BlockSize())
#define gridDim (::cuda_host::GridSize())

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }

// --- barriers and warp collectives ----------------------------------------------------------------------------
#define __syncthreads() ::cuda_host::BlockBarrier(__FILE__, __LINE__)
#define __shfl_sync(mask, value, ...) ::cuda_host::Shuffle(__FILE__, __LINE__, mask, value, ##__VA_ARGS__)
#define __shfl_xor_sync(mask, value, ...) ::cuda_host::ShuffleXor(__FILE__, __LINE__, mask, value, ##__VA_ARGS__)
#define __shfl_down_sync(mask, value, ...) ::cuda_host::ShuffleDown(__FILE__, __LINE__, mask, value, ##__VA_ARGS__)
#define __shfl_up_sync(mask, value, ...) ::cuda_host::ShuffleUp(__FILE__, __LINE__, mask, value, ##__VA_ARGS__)
#define __ballot_sync(mask, predicate) ::cuda_host::Ballot(__FILE__, __LINE__, mask, predicate)
#define __any_sync(mask, predicate) (::cuda_host::Ballot(__FILE__, __LINE__, mask, predicate) != 0)
#define __all_sync(mask, predicate) (::cuda_host::Ballot(__FILE__, __LINE__, mask, !(predicate)) == 0)

namespace cuda_host {

template <class T>
T FromLane(const Lanes& lanes, unsigned lane) {
  T value;
  ReadLane(lanes, lane, &value, sizeof(T));
  return value;
}
template <class T>
T Shuffle(const char* file, int line, unsigned mask, T value, int source, int width = kWarp) {
  const Lanes lanes = WarpCollective(&value, sizeof value, mask, false, file, line);
  return FromLane<T>(lanes, Lane() / width * width + static_cast<unsigned>(source) % width);
}
template <class T>
T ShuffleXor(const char* file, int line, unsigned mask, T value, int bits, int width = kWarp) {
  const Lanes lanes = WarpCollective(&value, sizeof value, mask, false, file, line);
  const unsigned source = Lane() ^ static_cast<unsigned>(bits);
  return FromLane<T>(lanes, source / width <= Lane() / width ? source : Lane());
}
template <class T>
T ShuffleDown(const char* file, int line, unsigned mask, T value, unsigned delta, int width = kWarp) {
  const Lanes lanes = WarpCollective(&value, sizeof value, mask, false, file, line);
  return FromLane<T>(lanes, Lane() % width + delta < static_cast<unsigned>(width) ? Lane() + delta : Lane());
}
template <class T>
T ShuffleUp(const char* file, int line, unsigned mask, T value, unsigned delta, int width = kWarp) {
  const Lanes lanes = WarpCollective(&value, sizeof value, mask, false, file, line);
  return FromLane<T>(lanes, Lane() % width >= delta ? Lane() - delta : Lane());
}
inline unsigned Ballot(const char* file, int line, unsigned mask, bool predicate) {
  const int mine = predicate ? 1 : 0;
  const Lanes lanes = WarpCollective(&mine, sizeof mine, mask, false, file, line);
  unsigned votes = 0;
  for (unsigned left = lanes.mask; left != 0; left &= left - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(left));
    votes |= static_cast<unsigned>(FromLane<int>(lanes, lane)) << lane;
  }
  return votes;
}

template <class T, class F>
__attribute__((no_sanitize("thread"), noinline)) T Atomic(T* address, F update) {
  CheckAtomic(address, sizeof(T));
  const T before = *address;
  *address = update(before);
  return before;
}

}  // namespace cuda_host

inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cuda_host::WarpCollective(nullptr, 0, mask, true, file, line);
}

template <class T>
T atomicAdd(T* address, std::common_type_t<T> value) {
  static_assert(std::is_integral_v<T>, "sums of floats in the order of arrival are not deterministic");
  return cuda_host::Atomic(address, [=](T before) { return static_cast<T>(before + value); });
}
template <class T>
T atomicSub(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return static_cast<T>(before - value); });
}
template <class T>
T atomicMax(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return std::max<T>(before, value); });
}
template <class T>
T atomicMin(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return std::min<T>(before, value); });
}
template <class T>
T atomicOr(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return static_cast<T>(before | value); });
}
template <class T>
T atomicAnd(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return static_cast<T>(before & value); });
}
template <class T>
T atomicExch(T* address, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T) { return static_cast<T>(value); });
}
template <class T>
T atomicCAS(T* address, std::common_type_t<T> compare, std::common_type_t<T> value) {
  return cuda_host::Atomic(address, [=](T before) { return before == compare ? value : before; });
}

// --- arithmetic -----------------------------------------------------------------------------------------------
using std::max;
using std::min;
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline long long __double_as_longlong(double x) {
  long long bits;
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

// --- host side ------------------------------------------------------------------------------------------------
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchFailure = 719,
  cudaErrorCooperativeLaunchTooLarge = 720,
};
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrCooperativeLaunch = 95,
};
enum { cudaStreamNonBlocking = 1 };
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  size_t sharedMemPerBlockOptin;
  int major, minor, multiProcessorCount;
};
namespace cuda_host {
class Stream;
}
using cudaStream_t = cuda_host::Stream*;

cudaError_t cudaMalloc(void** pointer, size_t bytes);
template <class T>
cudaError_t cudaMalloc(T** pointer, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMallocHost(void** pointer, size_t bytes);
cudaError_t cudaFreeHost(void* pointer);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
const char* cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
// The dynamic shared memory that launches of a kernel may take on the current device, 48 KiB at first.
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

namespace cuda_host {
// A kernel and its arguments.
template <class... Parameters>
struct Bound {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;
  static void Call(const void* bound) {
    std::apply(static_cast<const Bound*>(bound)->kernel, static_cast<const Bound*>(bound)->arguments);
  }
};
// Queued; runs when the stream is synchronised, and keeps `arguments` until then.
cudaError_t Enqueue(Grid grid, const void* kernel, cudaStream_t stream, std::shared_ptr<const void> arguments,
                    size_t bytes, void (*call)(const void*));
// Blocks that a multiprocessor holds at a time; registers are not known.
int ResidentBlocks(size_t threads, size_t shared_bytes);

template <class... Parameters, size_t... kIndex>
std::tuple<Parameters...> Unpacked(void** arguments, std::index_sequence<kIndex...>) {
  return {*static_cast<std::remove_reference_t<Parameters>*>(arguments[kIndex])...};
}
}  // namespace cuda_host

template <class... Parameters>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, void** arguments,
                                        size_t shared_bytes, cudaStream_t stream) {
  using Bound = cuda_host::Bound<Parameters...>;
  const auto bound = std::make_shared<Bound>(
      Bound{kernel, cuda_host::Unpacked<Parameters...>(arguments, std::index_sequence_for<Parameters...>())});
  return cuda_host::Enqueue({"a cooperative kernel", grid, block, shared_bytes, true},
                            reinterpret_cast<const void*>(kernel), stream, bound, sizeof(Bound), Bound::Call);
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int threads, size_t shared_bytes) {
  *blocks = cuda_host::ResidentBlocks(static_cast<size_t>(threads), shared_bytes);
  return cudaSuccess;
}

#endif  // CUDA_HOST_CUDA_RUNTIME_H_
