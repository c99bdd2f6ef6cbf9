// What a call answers with.
#ifndef PRISMREC_NODE_RESULT_H_
#define PRISMREC_NODE_RESULT_H_

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "node/arguments.h"
#include "node/arrays.h"

namespace prismrec {

// An object of the fields that are set, or the one value that is returned.
class Result {
 public:
  Result(Napi::Env env, Napi::Array held)
      : env_(env), object_(Napi::Object::New(env)), value_(object_), held_(held) {}

  Napi::Env env() const { return env_; }
  Napi::Value value() const { return value_; }
  void Return(Napi::Value value) { value_ = value; }

  template <class T>
  void Set(const char* name, const Buffer<T>& buffer) {
    object_.Set(name, held_.Get(buffer.slot));
  }
  // A copy as a typed array.
  template <class T, class Allocator>
  void Set(const char* name, const std::vector<T, Allocator>& values) {
    object_.Set(name, Copy(TypedArrayTraits<T>::kType, values.data(), values.size()));
  }
  void Set(const char* name, double value) { object_.Set(name, Napi::Number::New(env_, value)); }
  void Set(const char* name, bool value) { object_.Set(name, Napi::Boolean::New(env_, value)); }
  void Set(const char* name, const std::string& value) {
    object_.Set(name, Napi::String::New(env_, value));
  }
  void Set(const char* name, const char* value) {
    object_.Set(name, Napi::String::New(env_, value));
  }
  void Set(const char* name, size_t value) { Set(name, static_cast<double>(value)); }
  void Set(const char* name, uint32_t value) { Set(name, static_cast<double>(value)); }
  void Set(const char* name, int value) { Set(name, static_cast<double>(value)); }

 private:
  Napi::Value Copy(napi_typedarray_type type, const void* data, size_t length);

  Napi::Env env_;
  Napi::Object object_;
  Napi::Value value_;
  Napi::Array held_;
};

}  // namespace prismrec

#endif  // PRISMREC_NODE_RESULT_H_
