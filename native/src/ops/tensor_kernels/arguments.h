// Positional arguments of the synchronous kernels, read through the plain Node-API: these calls are
// made some hundred times a step on small arrays, and an argument object would cost more than the
// kernel. Lengths are checked, so that no argument can reach past an array.
#ifndef PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_
#define PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_

#include <napi.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <utility>

#include "ops/tensor_kernels/tensor_kernels.h"
#include "runtime/binding.h"
#include "runtime/status.h"
#include "runtime/thread_pool.h"

namespace prismrec::tensor {

struct Array {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

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

  // The argument as it is, for what the other methods do not read.
  Napi::Value Get(size_t at) const { return {env_, values_[at]}; }

  Array Typed(size_t at) {
    Array array;
    if (!ok()) return array;
    if (napi_get_typedarray_info(env_, values_[at], &array.type, &array.length, &array.data,
                                 nullptr, nullptr) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a typed array",
           "something else");
    }
    return array;
  }

  Array Typed(size_t at, napi_typedarray_type type, size_t least) {
    const Array array = Typed(at);
    if (ok() && array.type != type) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at),
           "array type " + std::to_string(type), std::to_string(array.type));
    }
    if (ok() && array.length < least) {
      Fail(StatusCode::kShapeMismatch, "argument " + std::to_string(at) + " is too short",
           std::to_string(least), std::to_string(array.length));
    }
    return array;
  }

  float* Floats(size_t at, size_t least) {
    return Typed(at, napi_float32_array, least).template as<float>();
  }

  size_t Size(size_t at) {
    int64_t value = 0;
    if (!ok()) return 0;
    if (napi_get_value_int64(env_, values_[at], &value) != napi_ok || value < 0) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a size >= 0",
           std::to_string(value));
      return 0;
    }
    return static_cast<size_t>(value);
  }

  double Number(size_t at) {
    double value = 0;
    if (ok() && napi_get_value_double(env_, values_[at], &value) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a number",
           "something else");
    }
    return value;
  }

  bool Flag(size_t at) {
    bool value = false;
    if (ok() && napi_get_value_bool(env_, values_[at], &value) != napi_ok) {
      Fail(StatusCode::kInvalidArgument, "argument " + std::to_string(at), "a boolean",
           "something else");
    }
    return value;
  }

  template <class Op>
  Op Code(size_t at) {
    const size_t value = Size(at);
    if (ok() && value >= static_cast<size_t>(Op::kCount)) {
      Fail(StatusCode::kInvalidArgument, "operation code", "one this build knows",
           std::to_string(value));
    }
    return static_cast<Op>(value);
  }

  // [rank, sizes, strides of the first operand, strides of the second]
  Geometry Shape(size_t at) {
    Geometry geometry;
    const Array array = Typed(at, napi_int32_array, 1);
    if (!ok()) return geometry;
    const int32_t* raw = array.as<int32_t>();
    const int rank = raw[0];
    if (rank < 0 || rank > kMaxRank || array.length < 1 + 3 * static_cast<size_t>(rank)) {
      Fail(StatusCode::kShapeMismatch, "geometry", "rank 0.." + std::to_string(kMaxRank),
           std::to_string(rank));
      return geometry;
    }
    geometry.rank = rank;
    for (int d = 0; d < rank; ++d) {
      geometry.size[d] = static_cast<size_t>(std::max(raw[1 + d], 0));
      geometry.stride_a[d] = raw[1 + rank + d];
      geometry.stride_b[d] = raw[1 + 2 * rank + d];
    }
    return geometry;
  }

  // Checks that offset + every reachable index lies in [0, length).
  void Within(const Geometry& geometry, const std::ptrdiff_t* strides, size_t offset,
              size_t length) {
    if (!ok() || geometry.Count() == 0) return;
    std::ptrdiff_t low = static_cast<std::ptrdiff_t>(offset), high = low;
    for (int d = 0; d < geometry.rank; ++d) {
      const std::ptrdiff_t reach = static_cast<std::ptrdiff_t>(geometry.size[d] - 1) * strides[d];
      (reach < 0 ? low : high) += reach;
    }
    if (low < 0 || high >= static_cast<std::ptrdiff_t>(length)) {
      Fail(StatusCode::kShapeMismatch, "the geometry leaves an array",
           "indices below " + std::to_string(length),
           std::to_string(low) + ".." + std::to_string(high));
    }
  }

  // The innermost step of an elementwise walk is 0 or 1.
  void UnitSteps(const Geometry& geometry) {
    if (!ok() || geometry.rank == 0) return;
    const std::ptrdiff_t a = geometry.stride_a[geometry.rank - 1];
    const std::ptrdiff_t b = geometry.stride_b[geometry.rank - 1];
    if (a < 0 || a > 1 || b < 0 || b > 1 || a + b == 0) {
      Fail(StatusCode::kShapeMismatch, "innermost strides", "0 or 1, not both 0",
           std::to_string(a) + ", " + std::to_string(b));
    }
  }

 private:
  napi_env env_;
  const char* op_;
  std::array<napi_value, N> values_{};
  Status status_ = Status::Ok();
};

// No exception may cross into JavaScript: running out of memory becomes a typed error.
template <napi_callback Call>
napi_value Guarded(napi_env env, napi_callback_info info) {
  try {
    const OpScope scope;
    return Call(env, info);
  } catch (const std::bad_alloc&) {
    ToError(Napi::Env(env), OutOfMemory("a tensor kernel ran out of memory"))
        .ThrowAsJavaScriptException();
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

}  // namespace prismrec::tensor

#endif  // PRISMREC_OPS_TENSOR_KERNELS_ARGUMENTS_H_
