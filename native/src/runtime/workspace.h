// Scratch memory that a thread keeps from one operation to the next, for a while.
#ifndef PRISMREC_RUNTIME_WORKSPACE_H_
#define PRISMREC_RUNTIME_WORKSPACE_H_

#include <cstddef>
#include <new>

namespace prismrec {

// Memory aligned for vectors and cache lines, which grows with what is asked for. Not initialised. What a
// thread holds of it between operations goes when nothing has run for a while (TrimWorkspaces), and at
// once where it is very much; inside an operation (an OpScope) it stays.
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Room for `count` values; what was there before is lost when it grows. Throws std::bad_alloc.
  template <class T>
  T* Reserve(size_t count) {
    if (count > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_alloc();
    const size_t bytes = count * sizeof(T);
    if (bytes > bytes_) Grow(bytes);
    return static_cast<T*>(data_);
  }

  size_t bytes() const { return bytes_; }
  void Release();

 private:
  friend class ThreadScratch;

  void Grow(size_t bytes);

  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::align_val_t alignment_{1};
  Workspace* next_ = nullptr;  // of the same thread
};

// Marks the time in which a thread uses its workspaces; may be nested.
class ScratchScope {
 public:
  ScratchScope();
  ~ScratchScope();
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;
};

// Gives back the workspaces of every thread that is in no scope. Those of a thread that has used them
// outside of one stay.
void TrimWorkspaces();

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_WORKSPACE_H_
