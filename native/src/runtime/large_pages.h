// Large pages behind memory that is touched all over: with small ones most accesses would miss the
// translation cache, which costs several times as much on a virtual machine.
#ifndef PRISMREC_RUNTIME_LARGE_PAGES_H_
#define PRISMREC_RUNTIME_LARGE_PAGES_H_

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "runtime/memory.h"

namespace prismrec {

inline constexpr size_t kLargePage = size_t{2} << 20;

// Asks the system for large pages behind the whole ones within [begin, begin + bytes); what is
// there stays. Only advice: where the system does not take it, nothing is lost.
void AdviseLargePages(void* begin, size_t bytes);

template <class T>
class LargePageAllocator {
 public:
  using value_type = T;

  LargePageAllocator() = default;
  template <class U>
  LargePageAllocator(const LargePageAllocator<U>&) {}

  T* allocate(size_t count) {
    const size_t bytes = count * sizeof(T);
    if (count > static_cast<size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    if (bytes < kLargePage) return static_cast<T*>(::operator new(bytes));
    if (!ProcessMemory().Claim(bytes)) throw std::bad_alloc();
    void* const data = ::operator new(bytes, std::align_val_t{kLargePage}, std::nothrow);
    if (data == nullptr) {
      ProcessMemory().GiveBack(bytes);
      throw std::bad_alloc();
    }
    AdviseLargePages(data, bytes);
    return static_cast<T*>(data);
  }
  void deallocate(T* data, size_t count) {
    if (count * sizeof(T) < kLargePage) return ::operator delete(data);
    ::operator delete(data, std::align_val_t{kLargePage});
    ProcessMemory().GiveBack(count * sizeof(T));
  }
  // A new value without an initialiser is left unset.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... From>
  void construct(U* at, From&&... from) {
    ::new (static_cast<void*>(at)) U(std::forward<From>(from)...);
  }

  friend bool operator==(LargePageAllocator, LargePageAllocator) { return true; }
  friend bool operator!=(LargePageAllocator, LargePageAllocator) { return false; }
};

// For large arrays. In small pages an operation that is cancelled spends 20 ms on giving 100 MB
// back. resize() leaves what it adds unset: whoever writes it first, all threads maybe, pays for the
// pages.
template <class T>
using LargeVector = std::vector<T, LargePageAllocator<T>>;

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_LARGE_PAGES_H_
