// What kernels need beyond plain CUDA: launches, pieces of shared memory, wide and asynchronous loads, tensor-core
// instructions. Everything that a C++ compiler cannot read is behind these wrappers, so that the same kernels also
// compile for the machine that the tests pretend (native/test/cuda_host).
#ifndef PRISMREC_CUDA_KERNEL_CUH_
#define PRISMREC_CUDA_KERNEL_CUH_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

namespace prismrec::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ __forceinline__ int WarpIndex() { return static_cast<int>(threadIdx.x) / kWarpSize; }

template <class T>
__device__ __forceinline__ T WarpMax(T value) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(kFullWarp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// The same sum in every lane, in an order that does not depend on anything.
template <class T>
__device__ __forceinline__ T WarpSum(T value) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) value += __shfl_xor_sync(kFullWarp, value, step);
  return value;
}

// Bytes that a piece of shared memory takes.
template <class T>
__host__ __device__ constexpr size_t SharedBytes(size_t count) {
  return (count * sizeof(T) + 15) / 16 * 16;
}

// Lets launches of a kernel on the current device take so much dynamic shared memory. The permission belongs to the
// kernel, not to a launch, and calls of other shapes launch the same kernel at the same time: it only ever grows.
inline cudaError_t AllowSharedMemory(const void* kernel, size_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<int, const void*>, size_t> allowed;
  if (bytes <= (48 << 10)) return cudaSuccess;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  size_t& most = allowed[{device, kernel}];
  if (bytes <= most) return cudaSuccess;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error == cudaSuccess) most = bytes;
  return error;
}

#if defined(__CUDACC__)

// Hands out the block's dynamic shared memory, in pieces of 16 bytes, in the same order in every thread.
class SharedMemory {
 public:
  template <class T>
  __device__ __forceinline__ T* Take(int count) {
    extern __shared__ __align__(16) char shared_memory[];
    T* piece = reinterpret_cast<T*>(shared_memory + used_);
    used_ += static_cast<int>(SharedBytes<T>(count));
    return piece;
  }

 private:
  int used_ = 0;
};

// Queues a kernel; the caller checks cudaGetLastError.
template <class... Parameters, class... Arguments>
inline void Launch([[maybe_unused]] const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                   size_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
  if (AllowSharedMemory(reinterpret_cast<const void*>(kernel), shared_bytes) != cudaSuccess) return;
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
}

// One 16-byte access; the address must be a multiple of 16.
__device__ __forceinline__ float4 Load4(const float* address) { return *reinterpret_cast<const float4*>(address); }
__device__ __forceinline__ void Store4(float* address, float4 value) { *reinterpret_cast<float4*>(address) = value; }

// Copies 16 bytes from global to shared memory (zeros where not `valid`), on sm_80 and newer without going through
// registers. Seen by this thread after CpAsyncWait, by others after a barrier that follows it.
__device__ __forceinline__ void CpAsync16(float* shared, const float* global, bool valid) {
#if __CUDA_ARCH__ >= 800
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(to), "l"(global), "r"(bytes) : "memory");
#else
  Store4(shared, valid ? Load4(global) : make_float4(0, 0, 0, 0));
#endif
}
// As CpAsync16, 4 bytes: for rows that do not start at a multiple of 16.
__device__ __forceinline__ void CpAsync4(float* shared, const float* global, bool valid) {
#if __CUDA_ARCH__ >= 800
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(to), "l"(global), "r"(bytes) : "memory");
#else
  *shared = valid ? *global : 0.0f;
#endif
}
__device__ __forceinline__ void CpAsyncCommit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}
// Until at most kPending of this thread's groups are on their way.
template <int kPending>
__device__ __forceinline__ void CpAsyncWait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
#endif
}

// The nearest number with 10 bits of fraction, as a tensor core reads it (ties away from zero).
__device__ __forceinline__ uint32_t ToTf32(float x) {
#if __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
  return bits;
#else
  return __float_as_uint(x);
#endif
}

// accumulator [16, 8] += a [16, 8] x b [8, 8], by a warp. With g = lane / 4 and t = lane % 4 (PTX ISA, mma.m16n8k8):
//   a: (g, t) (g + 8, t) (g, t + 4) (g + 8, t + 4)   b: (t, g) (t + 4, g)
//   accumulator: (g, 2 t) (g, 2 t + 1) (g + 8, 2 t) (g + 8, 2 t + 1)
__device__ __forceinline__ void MmaTf32(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(accumulator[0]), "+f"(accumulator[1]), "+f"(accumulator[2]), "+f"(accumulator[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // chosen on sm_80 and newer only
#endif
}

// Both numbers with 7 bits of fraction (to nearest, ties to even), `low` in the lower half.
__device__ __forceinline__ uint32_t ToBf16x2(float low, float high) {
#if __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
#else
  __trap();  // chosen on sm_80 and newer only
  return 0;
#endif
}

// accumulator [16, 8] += a [16, 16] x b [16, 8], by a warp; a register holds two neighbours along the 16, the first in
// the lower half. With g = lane / 4 and t = lane % 4 (PTX ISA, mma.m16n8k16), named by their first:
//   a: (g, 2 t) (g + 8, 2 t) (g, 2 t + 8) (g + 8, 2 t + 8)   b: (2 t, g) (2 t + 8, g)   accumulator: as of MmaTf32
__device__ __forceinline__ void MmaBf16(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(accumulator[0]), "+f"(accumulator[1]), "+f"(accumulator[2]), "+f"(accumulator[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // chosen on sm_80 and newer only
#endif
}

// A new life for memory that a pool hands out again; only the pretended machine cares.
inline void Renew(void*, size_t) {}

#else
#include "kernel_host.h"
#endif

// Two numbers as sums of three of 8 bits, but for 2^-24 of them; by halves of the registers as ToBf16x2.
struct SplitBf16 {
  uint32_t high, middle, low;
};
__device__ __forceinline__ SplitBf16 SplitToBf16(float first, float second) {
  SplitBf16 split;
  uint32_t* const parts[3] = {&split.high, &split.middle, &split.low};
#pragma unroll
  for (uint32_t* part : parts) {
    *part = ToBf16x2(first, second);
    first -= __uint_as_float(*part << 16);
    second -= __uint_as_float(*part & 0xffff0000u);
  }
  return split;
}

}  // namespace prismrec::cuda

// A launch with the kernel's name, for messages.
#define PRISMREC_CUDA_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                        \
  do {                                                                                                              \
    ::prismrec::cuda::Launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__);                      \
    ::prismrec::cuda::Check(cudaGetLastError(), #kernel, __FILE__, __LINE__);                                       \
  } while (false)

#endif  // PRISMREC_CUDA_KERNEL_CUH_
