#include "node/arrays.h"

#include <algorithm>
#include <string>

namespace prismrec {
namespace {

// V8's own limit is 2^33 bytes at most, and beyond it V8 ends the process.
constexpr size_t kMostBytes = size_t{1} << 32;

}  // namespace

bool ReadArray(napi_env env, napi_value value, JsArray* array) {
  // An empty array has no memory.
  alignas(8) static char empty[8] = {};
  *array = JsArray{};
  if (napi_get_typedarray_info(env, value, &array->type, &array->length, &array->data,
                               &array->buffer, nullptr) != napi_ok) {
    return false;
  }
  if (array->data == nullptr || array->length == 0) array->data = empty;
  return true;
}

bool Detached(napi_env env, const JsArray& array) {
  bool detached = false;
  return array.length == 0 &&
         napi_is_detached_arraybuffer(env, array.buffer, &detached) == napi_ok && detached;
}

bool Shared(napi_env env, const JsArray& array) {
  bool plain = false;
  return napi_is_arraybuffer(env, array.buffer, &plain) != napi_ok || !plain;
}

bool Resizable(Napi::Env env, const JsArray& array) {
  const char* const property = Shared(env, array) ? "growable" : "resizable";
  napi_value answer = nullptr;
  bool resizable = false;
  if (napi_get_named_property(env, array.buffer, property, &answer) != napi_ok) {
    throw Napi::Error::New(env);
  }
  return napi_get_value_bool(env, answer, &resizable) == napi_ok && resizable;
}

size_t ElementBytes(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return 8;
    default:
      return 0;
  }
}

Status NewArray(napi_env env, napi_typedarray_type type, Extent length, MemoryClaim* claim,
                JsArray* array, napi_value* value) {
  const size_t element = ElementBytes(type);
  const Extent bytes = length * element;
  size_t most = kMostBytes;
  bool fits = !bytes.beyond() && bytes.value() <= kMostBytes;
  if (fits) {
    fits = ProcessMemory().Claim(bytes.value(), &most);
    most = std::min(most, kMostBytes);
    if (fits) *claim = MemoryClaim::Adopt(bytes.value());
  }
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (!fits || napi_create_arraybuffer(env, bytes.value(), &data, &buffer) != napi_ok ||
      napi_create_typedarray(env, type, length.value(), buffer, 0, value) != napi_ok) {
    return OutOfMemory("the result does not fit into memory",
                       "at most " + std::to_string(most >> 20) + " MiB",
                       ToText(length) + " elements of " + std::to_string(element) + " bytes",
                       "Make the problem smaller, or free memory or raise the container's limit.");
  }
  ReadArray(env, *value, array);
  return Status::Ok();
}

}  // namespace prismrec
