#include "node/arrays.h"

#include <algorithm>
#include <string>

namespace prismrec {
namespace {

// V8's own limit is 2^33 bytes at most, and beyond it V8 ends the process.
constexpr size_t kMostBytes = size_t{1} << 32;

constexpr size_t kSmallestPage = 4096;

Status TooLarge(napi_typedarray_type type, Extent length, size_t most) {
  return OutOfMemory("the result does not fit into memory",
                     "at most " + std::to_string(most >> 20) + " MiB",
                     ToText(length) + " elements of " + std::to_string(ElementBytes(type)) + " bytes",
                     "Make the problem smaller, or free memory or raise the container's limit.");
}

Status ClaimArray(napi_typedarray_type type, Extent length, MemoryClaim* claim) {
  const Extent bytes = length * ElementBytes(type);
  if (bytes.beyond() || bytes.value() > kMostBytes) return TooLarge(type, length, kMostBytes);
  size_t most = kMostBytes;
  if (!ProcessMemory().Claim(bytes.value(), &most)) {
    return TooLarge(type, length, std::min(most, kMostBytes));
  }
  *claim = MemoryClaim::Adopt(bytes.value());
  return Status::Ok();
}

}  // namespace

bool ReadArray(napi_env env, napi_value value, JsArray* array) {
  // An empty array has no memory.
  alignas(8) static char empty[8] = {};
  *array = JsArray{};
  if (napi_get_typedarray_info(env, value, &array->type, &array->length, &array->data,
                               &array->buffer, &array->offset) != napi_ok) {
    return false;
  }
  if (array->data == nullptr || array->length == 0) {
    array->data = empty;
    array->offset = 0;
  }
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

bool Resizable(napi_env env, const JsArray& array) {
  // The engine reserves whole pages for a buffer that may grow. Other memory seldom begins at one, and
  // the question costs as much as a small kernel. An empty array lies nowhere.
  const size_t begin = reinterpret_cast<uintptr_t>(array.data) - array.offset;
  if (array.length > 0 && begin % kSmallestPage != 0) return false;
  return BufferGetters::Of(env).Ask(env, array.buffer, Shared(env, array));
}

BufferGetters::BufferGetters(napi_env env) {
  const Napi::Object global = Napi::Env(env).Global();
  const auto getter = [&](const char* type, const char* property, napi_ref* kept) {
    const Napi::Object prototype =
        global.Get(type).As<Napi::Object>().Get("prototype").As<Napi::Object>();
    const Napi::Value described = global.Get("Object")
                                      .As<Napi::Object>()
                                      .Get("getOwnPropertyDescriptor")
                                      .As<Napi::Function>()
                                      .Call({prototype, Napi::String::New(env, property)});
    // An engine without it has no such buffers.
    if (!described.IsObject()) return;
    napi_create_reference(env, described.As<Napi::Object>().Get("get"), 1, kept);
  };
  getter("ArrayBuffer", "resizable", &resizable_);
  getter("SharedArrayBuffer", "growable", &growable_);
}

bool BufferGetters::Ask(napi_env env, napi_value buffer, bool shared) const {
  const napi_ref kept = shared ? growable_ : resizable_;
  napi_value getter = nullptr, answer = nullptr;
  bool yes = false;
  return kept != nullptr && napi_get_reference_value(env, kept, &getter) == napi_ok &&
         napi_call_function(env, buffer, getter, 0, nullptr, &answer) == napi_ok &&
         napi_get_value_bool(env, answer, &yes) == napi_ok && yes;
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

Status CheckFits(napi_typedarray_type type, Extent length) {
  MemoryClaim claim;
  return ClaimArray(type, length, &claim);
}

Status NewArray(napi_env env, napi_typedarray_type type, Extent length, MemoryClaim* claim,
                JsArray* array, napi_value* value) {
  if (Status status = ClaimArray(type, length, claim); !status.ok()) return status;
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, length.value() * ElementBytes(type), &data, &buffer) != napi_ok ||
      napi_create_typedarray(env, type, length.value(), buffer, 0, value) != napi_ok) {
    return TooLarge(type, length, kMostBytes);
  }
  ReadArray(env, *value, array);
  return Status::Ok();
}

}  // namespace prismrec
