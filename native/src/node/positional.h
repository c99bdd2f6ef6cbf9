// Positional arguments of the synchronous kernels, read through the plain Node-API: these calls are
// made some hundred times a step on small arrays, and an argument object would cost more than the
// kernel. Lengths are checked, so that no argument can reach past an array. No JavaScript runs between
// reading an argument and the end of a call; other threads may, hence Addresses.
#ifndef PRISMREC_NODE_POSITIONAL_H_
#define PRISMREC_NODE_POSITIONAL_H_

#include <napi.h>

#include <array>
#include <cmath>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "node/arrays.h"
#include "node/error.h"
#include "runtime/extent.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"
#include "runtime/thread_pool.h"

namespace prismrec::positional {

// Reads positional arguments and remembers the first thing wrong with them.
template <size_t N>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info, const char* op) : env_(env), op_(op) {
    size_t count = N;
    napi_get_cb_info(env, info, &count, values_.data(), nullptr, nullptr);
    if (count < N) {
      Fail(StatusCode::kInvalidArgument, "too few arguments", std::to_string(N),
           std::to_string(count));
    }
  }

  bool ok() const { return status_.ok(); }

  // Turns the first error into a JavaScript exception.
  napi_value Result() {
    if (!status_.ok()) ToError(Napi::Env(env_), status_).ThrowAsJavaScriptException();
    return nullptr;
  }

  void Fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  void Fail(StatusCode code, const std::string& what, const std::string& expected,
            const std::string& received) {
    Fail(MakeStatus(code, std::string(op_) + ": " + what, expected, received,
                    "This is a mistake of the caller in core, not of a model."));
  }

  // Values of any type that are read.
  JsArray Typed(size_t at) {
    JsArray array;
    if (!ok()) return array;
    if (!ReadArray(env_, values_[at], &array)) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a typed array",
           Describe({env_, values_[at]}));
    } else if (Detached(env_, array)) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at) + " has been given away",
           "an array with its memory", "a detached one");
    } else if (Resizable(env_, array)) {
      Fail(StatusCode::kInvalidArgument,
           "argument " + std::to_string(at) + " lies in memory whose length can change",
           "an array of fixed length", "one on a buffer that can grow or shrink");
    }
    return array;
  }

  JsArray Typed(size_t at, napi_typedarray_type type, Extent least) {
    const JsArray array = Typed(at);
    if (ok() && array.type != type) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at),
           "array type " + std::to_string(type), Describe({env_, values_[at]}));
    }
    if (ok() && (least.beyond() || array.length < least.value())) {
      Fail(StatusCode::kShapeMismatch, "argument " + std::to_string(at) + " is too short",
           ToText(least), std::to_string(array.length));
    }
    return array;
  }

  const float* Floats(size_t at, Extent least) {
    return Typed(at, napi_float32_array, least).template as<float>();
  }

  // The same to be written to.
  JsArray Written(size_t at) { return Wrote(at, Typed(at)); }
  JsArray Written(size_t at, napi_typedarray_type type, Extent least) {
    return Wrote(at, Typed(at, type, least));
  }
  float* WrittenFloats(size_t at, Extent least) {
    return Written(at, napi_float32_array, least).template as<float>();
  }

  // What addresses memory: a copy where other threads could change it.
  template <class T>
  ArrayView<const T> Addresses(size_t at, Extent least = 0) {
    const JsArray array = Typed(at, TypedArrayTraits<T>::kType, least);
    if (!ok()) return {};
    if (Shared(env_, array)) {
      copies_.emplace_back(array.as<char>(), array.as<char>() + array.length * sizeof(T));
      // A null view would mean an absent array.
      copies_.back().reserve(1);
      return {reinterpret_cast<const T*>(copies_.back().data()), array.length};
    }
    const Span span{array.as<char>(), array.length * sizeof(T)};
    for (size_t i = 0; i < written_count_; ++i) CheckApart(at, span, written_[i]);
    addresses_[addresses_count_++] = span;
    return {array.as<T>(), array.length};
  }

  // The Float32Arrays of a list, to be read before any other argument: an entry may be a property with a
  // getter, which is JavaScript.
  std::vector<ArrayView<const float>> FloatArrays(size_t at) {
    std::vector<ArrayView<const float>> arrays;
    if (!ok()) return arrays;
    uint32_t count = 0;
    if (napi_get_array_length(env_, values_[at], &count) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at),
           "an array of Float32Arrays", Describe({env_, values_[at]}));
      return arrays;
    }
    std::vector<napi_value> entries(count);
    for (uint32_t i = 0; i < count; ++i) {
      if (napi_get_element(env_, values_[at], i, &entries[i]) != napi_ok) {
        throw Napi::Error::New(env_);
      }
    }
    for (const napi_value entry : entries) {
      JsArray array;
      if (!ReadArray(env_, entry, &array) || array.type != napi_float32_array ||
          Detached(env_, array) || Resizable(env_, array)) {
        Fail(StatusCode::kInvalidArgument, "an entry of a list of arrays is no Float32Array of fixed length",
             "Float32Array", Describe({env_, entry}));
        break;
      }
      arrays.push_back({array.as<float>(), array.length});
    }
    return arrays;
  }

  // A whole number in [0, 2^53).
  Extent Size(size_t at) {
    double value = 0;
    if (!ok()) return 0;
    if (napi_get_value_double(env_, values_[at], &value) != napi_ok || !(value >= 0) ||
        value >= static_cast<double>(Extent::kBeyond) || value != std::floor(value)) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at),
           "a whole number from 0, below 2^53", Describe({env_, values_[at]}));
      return 0;
    }
    return static_cast<size_t>(value);
  }

  // A whole number in [0, 2^32).
  uint32_t Word(size_t at) {
    const Extent value = Size(at);
    if (ok() && value.value() > UINT32_MAX) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "below 2^32",
           ToText(value));
    }
    return static_cast<uint32_t>(value.value());
  }

  double Number(size_t at) {
    double value = 0;
    if (ok() && napi_get_value_double(env_, values_[at], &value) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a number",
           Describe({env_, values_[at]}));
    }
    return value;
  }

  bool Flag(size_t at) {
    bool value = false;
    if (ok() && napi_get_value_bool(env_, values_[at], &value) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a boolean",
           Describe({env_, values_[at]}));
    }
    return value;
  }

  // A new Uint32Array; null where it does not fit into memory.
  napi_value Words(const std::vector<uint32_t>& values) {
    MemoryClaim claim;
    JsArray array;
    napi_value value = nullptr;
    Fail(NewArray(env_, napi_uint32_array, values.size(), &claim, &array, &value));
    if (!ok()) return Result();
    std::copy(values.begin(), values.end(), array.template as<uint32_t>());
    return value;
  }

 private:
  struct Span {
    const char* data;
    size_t bytes;
  };

  JsArray Wrote(size_t at, const JsArray& array) {
    if (!ok()) return array;
    const Span span{array.as<char>(), array.length * ElementBytes(array.type)};
    for (size_t i = 0; i < addresses_count_; ++i) CheckApart(at, span, addresses_[i]);
    written_[written_count_++] = span;
    return array;
  }

  // Nothing may be written over what tells where to write.
  void CheckApart(size_t at, const Span& a, const Span& b) {
    if (a.data >= b.data + b.bytes || b.data >= a.data + a.bytes) return;
    Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at) + " overlaps another",
         "memory of its own", "memory that an array of addresses and an output share");
  }

  napi_env env_;
  const char* op_;
  std::array<napi_value, N> values_{};
  std::array<Span, N> written_;
  size_t written_count_ = 0;
  std::array<Span, N> addresses_;
  size_t addresses_count_ = 0;
  std::vector<std::vector<char>> copies_;
  Status status_ = Status::Ok();
};

// No exception may cross into JavaScript: running out of memory becomes a typed error.
template <napi_callback Call>
napi_value Guarded(napi_env env, napi_callback_info info) {
  try {
    const OpScope scope;
    return Call(env, info);
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    ToError(Napi::Env(env), OutOfMemory("a kernel ran out of memory")).ThrowAsJavaScriptException();
  } catch (const std::exception& error) {
    ToError(Napi::Env(env), Internal(error.what())).ThrowAsJavaScriptException();
  }
  return nullptr;
}

template <napi_callback Call>
void Export(napi_env env, napi_value exports, const char* name) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, Guarded<Call>, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace prismrec::positional

#endif  // PRISMREC_NODE_POSITIONAL_H_
