#include "node/error.h"

#include <iterator>

namespace prismrec {

Napi::Error ToError(Napi::Env env, const Status& status) {
  const Napi::Error error = Napi::Error::New(env, status.message);
  error.Set("code", Napi::String::New(env, StatusCodeName(status.code)));
  if (!status.expected.empty()) error.Set("expected", Napi::String::New(env, status.expected));
  if (!status.received.empty()) error.Set("received", Napi::String::New(env, status.received));
  if (!status.hint.empty()) error.Set("hint", Napi::String::New(env, status.hint));
  return error;
}

std::string Describe(const Napi::Value& value) {
  if (value.IsTypedArray()) {
    static constexpr const char* kNames[] = {"Int8Array",     "Uint8Array",    "Uint8ClampedArray",
                                             "Int16Array",    "Uint16Array",   "Int32Array",
                                             "Uint32Array",   "Float32Array",  "Float64Array",
                                             "BigInt64Array", "BigUint64Array"};
    // A type that this Node-API does not know leaves the variable as it is.
    int type = -1;
    static_assert(sizeof(napi_typedarray_type) == sizeof(type), "read as a number");
    napi_get_typedarray_info(value.Env(), value, reinterpret_cast<napi_typedarray_type*>(&type),
                             nullptr, nullptr, nullptr, nullptr);
    const bool known = type >= 0 && type < static_cast<int>(std::size(kNames));
    return known ? kNames[type] : "a typed array of another type";
  }
  if (value.IsNull()) return "null";
  if (value.IsArray()) return "an ordinary array";
  switch (value.Type()) {
    case napi_undefined:
      return "nothing";
    case napi_boolean:
      return value.As<Napi::Boolean>() ? "true" : "false";
    case napi_number:
      return value.ToString().Utf8Value();
    case napi_string:
      return "the text \"" + value.As<Napi::String>().Utf8Value() + "\"";
    case napi_function:
      return "a function";
    case napi_object:
      return "an object";
    default:
      return "a value of another type";
  }
}

}  // namespace prismrec
