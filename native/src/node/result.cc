#include "node/result.h"

#include <cstring>

#include "node/error.h"

namespace prismrec {

Napi::Value Result::Copy(napi_typedarray_type type, const void* data, size_t length) {
  MemoryClaim claim;
  JsArray array;
  napi_value value = nullptr;
  if (const Status made = NewArray(env_, type, length, &claim, &array, &value); !made.ok()) {
    throw ToError(env_, made);
  }
  if (length > 0) std::memcpy(array.data, data, length * ElementBytes(type));
  return {env_, value};
}

}  // namespace prismrec
