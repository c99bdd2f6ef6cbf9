// Typed arrays of JavaScript's: reading them, and making them within the memory there is.
#ifndef PRISMREC_NODE_ARRAYS_H_
#define PRISMREC_NODE_ARRAYS_H_

#include <napi.h>

#include <cstdint>

#include "runtime/extent.h"
#include "runtime/memory.h"
#include "runtime/status.h"

namespace prismrec {

template <class T>
struct TypedArrayTraits;
#define PRISMREC_TYPED_ARRAY(T, Js, Kind)                  \
  template <>                                              \
  struct TypedArrayTraits<T> {                             \
    static constexpr const char* kName = #Js "Array";      \
    static constexpr napi_typedarray_type kType = Kind;    \
  }
PRISMREC_TYPED_ARRAY(float, Float32, napi_float32_array);
PRISMREC_TYPED_ARRAY(double, Float64, napi_float64_array);
PRISMREC_TYPED_ARRAY(int8_t, Int8, napi_int8_array);
PRISMREC_TYPED_ARRAY(uint8_t, Uint8, napi_uint8_array);
PRISMREC_TYPED_ARRAY(int16_t, Int16, napi_int16_array);
PRISMREC_TYPED_ARRAY(uint16_t, Uint16, napi_uint16_array);
PRISMREC_TYPED_ARRAY(int32_t, Int32, napi_int32_array);
PRISMREC_TYPED_ARRAY(uint32_t, Uint32, napi_uint32_array);
#undef PRISMREC_TYPED_ARRAY

// A type that this Node-API has no name for: it leaves the variable as it was.
inline constexpr napi_typedarray_type kUnknownType = static_cast<napi_typedarray_type>(15);

// A typed array where it lies now. Valid until JavaScript runs again: it may detach the memory, or
// change it where it is shared.
struct JsArray {
  napi_typedarray_type type = kUnknownType;
  size_t length = 0;
  void* data = nullptr;  // never null, as null views mean absent arrays
  napi_value buffer = nullptr;
  size_t offset = 0;  // of `data` in the buffer, in bytes

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// False where `value` is no typed array. Runs no JavaScript.
bool ReadArray(napi_env env, napi_value value, JsArray* array);
// Whether the memory has been transferred to somebody else: such an array has no elements.
bool Detached(napi_env env, const JsArray& array);
// Whether other threads may write to the memory; it can be neither detached nor shrunk.
bool Shared(napi_env env, const JsArray& array);
// Whether JavaScript can change the length of the memory. Runs none.
bool Resizable(napi_env env, const JsArray& array);

// The language's own answers to whether a buffer can change its length: a property of that name on a
// buffer might be anything.
class BufferGetters {
 public:
  explicit BufferGetters(napi_env env);
  // The one of an environment that InitBinding has set up.
  static const BufferGetters& Of(napi_env env);
  bool Ask(napi_env env, napi_value buffer, bool shared) const;

 private:
  napi_ref resizable_ = nullptr;
  napi_ref growable_ = nullptr;
};

// Bytes of an element; 0: of another type.
size_t ElementBytes(napi_typedarray_type type);

// OUT_OF_MEMORY where NewArray would not make such an array now.
Status CheckFits(napi_typedarray_type type, Extent length);

// A zeroed array. OUT_OF_MEMORY where it is longer than V8 allows, or large and does not fit beside
// what operations under way have claimed; large ones are claimed by `claim`.
Status NewArray(napi_env env, napi_typedarray_type type, Extent length, MemoryClaim* claim,
                JsArray* array, napi_value* value);

}  // namespace prismrec

#endif  // PRISMREC_NODE_ARRAYS_H_
