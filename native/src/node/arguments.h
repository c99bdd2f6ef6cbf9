// Named arguments: the fields of the one object that an operation takes, read with typed errors.
//
// What an operation is given is its own until it has settled. JavaScript may write to an array,
// transfer it or let it go at any moment after an asynchronous call has returned its promise, so such a
// call reads copies and writes to copies; only memory that is shared, which can be neither detached
// nor shrunk, is read and written where it lies. What addresses memory (indices, row pointers,
// lengths) is copied even then. A synchronous call lets no JavaScript run, and copies only what other
// threads could change and addresses memory.
#ifndef PRISMREC_NODE_ARGUMENTS_H_
#define PRISMREC_NODE_ARGUMENTS_H_

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "node/arrays.h"
#include "node/error.h"
#include "runtime/extent.h"
#include "runtime/large_pages.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"

namespace prismrec {

// A typed array for a result: written by Execute, handed out by Resolve.
template <class T>
struct Buffer {
  T* data = nullptr;
  size_t size = 0;
  uint32_t slot = 0;
};

// Memory that a call has of its own until it has settled.
class CallMemory {
 public:
  CallMemory() = default;
  CallMemory(CallMemory&&) = default;
  CallMemory& operator=(CallMemory&&) = default;

  // A copy of what an array holds now.
  char* Copy(const void* data, size_t bytes);
  // What lies in `copy` belongs into the array in a slot of `held`.
  void Return(std::string name, uint32_t slot, const char* copy, size_t bytes) {
    returns_.push_back({std::move(name), slot, copy, bytes});
  }
  void Keep(MemoryClaim claim) { claims_.push_back(std::move(claim)); }
  // Drops what only Execute needs.
  void Executed();
  // Fails where the caller has given an array away that it asked to be written to.
  Status WriteBack(Napi::Env env, Napi::Array held) const;

 private:
  struct Output {
    std::string name;
    uint32_t slot;
    const char* copy;
    size_t bytes;
  };
  std::vector<LargeVector<char>> copies_;
  std::vector<Output> returns_;
  std::vector<MemoryClaim> claims_;
};

// Every method that takes a name throws a Napi::Error that names the field.
class Args {
 public:
  enum class Mode { kSync, kAsync };

  Args(const Napi::CallbackInfo& info, Mode mode);

  Napi::Env env() const { return env_; }
  // Whether the field is there and not undefined.
  bool Has(const char* name) const;
  // The field as it is, for what the other methods do not read.
  Napi::Value Get(const char* name) const;

  // Values: whatever they are, no address is computed from them.
  template <class T>
  ArrayView<const T> Array(const char* name) {
    return View<const T>(Read<T>(name, Use::kValues, nullptr));
  }
  template <class T>
  ArrayView<const T> Array(const char* name, Extent length) {
    return View<const T>(Read<T>(name, Use::kValues, &length));
  }
  // The null view where the field is absent.
  template <class T>
  ArrayView<const T> OptionalArray(const char* name, Extent length) {
    return Has(name) ? Array<T>(name, length) : ArrayView<const T>();
  }
  // What addresses memory, or decides how much of it an operation needs.
  template <class T>
  ArrayView<const T> Addresses(const char* name) {
    return View<const T>(Read<T>(name, Use::kAddresses, nullptr));
  }
  template <class T>
  ArrayView<const T> Addresses(const char* name, Extent length) {
    return View<const T>(Read<T>(name, Use::kAddresses, &length));
  }
  template <class T>
  ArrayView<const T> OptionalAddresses(const char* name) {
    return Has(name) ? Addresses<T>(name) : ArrayView<const T>();
  }
  template <class T>
  ArrayView<const T> OptionalAddresses(const char* name, Extent length) {
    return Has(name) ? Addresses<T>(name, length) : ArrayView<const T>();
  }
  // An array of the caller's that the operation writes to.
  template <class T>
  ArrayView<T> MutableArray(const char* name, Extent length) {
    return View<T>(Read<T>(name, Use::kWritten, &length));
  }
  template <class T>
  MatrixView<const T> Matrix(const char* name, Extent rows, Extent cols) {
    return {Array<T>(name, rows * cols).data, rows.value(), cols.value()};
  }
  template <class T>
  MatrixView<T> MutableMatrix(const char* name, Extent rows, Extent cols) {
    return {MutableArray<T>(name, rows * cols).data, rows.value(), cols.value()};
  }
  // `values` may be null: no such field. Lengths are checked here, indices by CheckCsr in Execute.
  CsrView Csr(const char* indptr, const char* indices, const char* values, Extent rows,
              Extent cols);
  // As many rows as `indptr` has, without values.
  CsrView Csr(const char* indptr, const char* indices, Extent cols);

  // A zeroed array for the result.
  template <class T>
  Buffer<T> Allocate(Extent length) {
    return BufferOf<T>(New(TypedArrayTraits<T>::kType, length));
  }
  // The caller's array for that result, as it is, where there is one; else one from Allocate.
  template <class T>
  Buffer<T> AllocateUnlessGiven(const char* name, Extent length) {
    return Has(name) ? BufferOf<T>(Read<T>(name, Use::kWritten, &length)) : Allocate<T>(length);
  }

  // Scratch memory that follows from a size which no array bounds; claimed until the call has settled.
  void ClaimScratch(Extent bytes);
  // Fails where a result that Resolve will copy could not be made.
  template <class T>
  void CheckResult(Extent length) const {
    Check(CheckFits(TypedArrayTraits<T>::kType, length));
  }

  double Number(const char* name);
  double Number(const char* name, double fallback);
  // A whole number in [0, 2^53).
  Extent Size(const char* name);
  Extent Size(const char* name, size_t fallback);
  bool Bool(const char* name, bool fallback);
  std::string String(const char* name);
  std::string String(const char* name, const char* fallback);
  // The field `variant`, "" where it is absent: for SelectVariant.
  std::string VariantName() { return String("variant", ""); }
  // The field `cancel`: null where it is absent.
  const int32_t* CancelSlot();
  // Fails where two arrays share memory.
  void CheckApart(const char* written, const char* other) const;

  // Throws `status` unless it is ok.
  void Check(const Status& status) const;
  [[noreturn]] void Fail(const Status& status) const;

  // After the last field has been read. A field may be a property with a getter, which is JavaScript:
  // fails where one has changed an array under our eyes, or where the operation would write to what
  // tells it where to write.
  void Seal() const;

  // The arrays in use: the call keeps them alive.
  Napi::Array held() const { return held_; }
  CallMemory TakeMemory() { return std::move(memory_); }

 private:
  enum class Use { kValues, kAddresses, kWritten };
  struct Raw {
    void* data;
    size_t length;
    uint32_t slot;
  };
  // An array that was read: where it lies in JavaScript's memory, whether it is used there.
  struct Reading {
    const char* name;
    Use use;
    napi_value value;
    const char* data;
    size_t length;
    size_t bytes;
    bool in_place;
  };
  struct RowPointers {
    const char* name;
    const uint32_t* last;
    uint32_t nnz;
  };

  template <class T>
  static ArrayView<T> View(const Raw& raw) {
    return {static_cast<T*>(raw.data), raw.length};
  }
  template <class T>
  static Buffer<T> BufferOf(const Raw& raw) {
    return {static_cast<T*>(raw.data), raw.length, raw.slot};
  }
  template <class T>
  Raw Read(const char* name, Use use, const Extent* length) {
    return ReadAs(name, TypedArrayTraits<T>::kType, TypedArrayTraits<T>::kName, use, length);
  }
  Raw ReadAs(const char* name, napi_typedarray_type type, const char* type_name, Use use,
             const Extent* length);
  Raw New(napi_typedarray_type type, Extent length);
  CsrView CsrOf(const char* name, ArrayView<const uint32_t> pointers, const char* indices,
                const char* values, Extent cols);
  uint32_t Hold(napi_value value);
  const Reading* Find(const char* name) const;

  Napi::Env env_;
  Mode mode_;
  Napi::Object object_;
  Napi::Array held_;
  uint32_t held_count_ = 0;
  CallMemory memory_;
  std::vector<Reading> readings_;
  std::vector<RowPointers> row_pointers_;
};

}  // namespace prismrec

#endif  // PRISMREC_NODE_ARGUMENTS_H_
