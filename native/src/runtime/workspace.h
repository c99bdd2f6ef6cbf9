// Scratch memory that a thread keeps from one operation to the next.
#ifndef PRISMREC_RUNTIME_WORKSPACE_H_
#define PRISMREC_RUNTIME_WORKSPACE_H_

#include <cstddef>
#include <new>

#include "runtime/large_pages.h"

namespace prismrec {

// Memory aligned for vectors and cache lines, which grows and never shrinks. Not initialised.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace() { Release(); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Room for `count` values; what was there before is lost when it grows. Throws std::bad_alloc.
  template <class T>
  T* Reserve(size_t count) {
    if (count > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_alloc();
    const size_t bytes = count * sizeof(T);
    if (bytes > bytes_) {
      Release();
      alignment_ = std::align_val_t{bytes < kLargePage ? kCacheLine : kLargePage};
      data_ = ::operator new(bytes, alignment_);
      bytes_ = bytes;
      AdviseLargePages(data_, bytes);
    }
    return static_cast<T*>(data_);
  }

 private:
  static constexpr size_t kCacheLine = 64;

  void Release() {
    if (data_ != nullptr) ::operator delete(data_, alignment_);
    data_ = nullptr;
    bytes_ = 0;
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::align_val_t alignment_{kCacheLine};
};

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_WORKSPACE_H_
