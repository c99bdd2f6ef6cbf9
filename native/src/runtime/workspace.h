// Scratch memory that a thread keeps from one operation to the next.
#ifndef PRISMREC_RUNTIME_WORKSPACE_H_
#define PRISMREC_RUNTIME_WORKSPACE_H_

#include <cstddef>
#include <new>

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
      data_ = ::operator new(bytes, kAlignment);
      bytes_ = bytes;
    }
    return static_cast<T*>(data_);
  }

 private:
  static constexpr std::align_val_t kAlignment{64};

  void Release() {
    if (data_ != nullptr) ::operator delete(data_, kAlignment);
    data_ = nullptr;
    bytes_ = 0;
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_WORKSPACE_H_
