// The wrappers of native/src/cuda/kernel.cuh for the pretended machine; included inside prismrec::cuda.

class SharedMemory {
 public:
  template <class T>
  T* Take(int count) {
    return reinterpret_cast<T*>(::cuda_host::TakeShared(&cursor_, static_cast<size_t>(count) * sizeof(T), 16));
  }

 private:
  size_t cursor_ = 0;
};

template <class... Parameters, class... Arguments>
inline void Launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
  using Bound = ::cuda_host::Bound<Parameters...>;
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (AllowSharedMemory(function, shared_bytes) != cudaSuccess) return;
  const auto bound = std::make_shared<Bound>(Bound{kernel, {arguments...}});
  // An error stays for cudaGetLastError.
  (void)::cuda_host::Enqueue({name, grid, block, shared_bytes}, function, stream, bound, sizeof(Bound), Bound::Call);
}

// Checked as one access; the parts of it are out of the hooks' sight.
__attribute__((noinline, no_sanitize("thread"))) inline float4 Load4(const float* address) {
  ::cuda_host::CheckAccess(address, 16, false, 16);
  return *reinterpret_cast<const float4*>(address);
}
__attribute__((noinline, no_sanitize("thread"))) inline void Store4(float* address, float4 value) {
  ::cuda_host::CheckAccess(address, 16, true, 16);
  *reinterpret_cast<float4*>(address) = value;
}

inline void CpAsync16(float* shared, const float* global, bool valid) {
  ::cuda_host::AsyncCopy(shared, global, 16, valid ? 16 : 0);
}
inline void CpAsync4(float* shared, const float* global, bool valid) {
  ::cuda_host::AsyncCopy(shared, global, 4, valid ? 4 : 0);
}
inline void CpAsyncCommit() { ::cuda_host::AsyncCommit(); }
template <int kPending>
inline void CpAsyncWait() {
  ::cuda_host::AsyncWait(kPending);
}

inline uint32_t ToTf32(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & ~0x1fffu;
}

inline void MmaTf32(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  ::cuda_host::MmaTf32(accumulator, a, b);
}

inline uint32_t ToBf16x2(float low, float high) {
  ::cuda_host::Require(80, "cvt.rn.bf16x2.f32");
  return ::cuda_host::ToBf16(low) | ::cuda_host::ToBf16(high) << 16;
}

inline void MmaBf16(float (&accumulator)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  ::cuda_host::MmaBf16(accumulator, a, b);
}

inline void Renew(void* pointer, size_t bytes) { ::cuda_host::Renew(pointer, bytes); }
