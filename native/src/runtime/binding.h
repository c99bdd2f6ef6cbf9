// Between JavaScript and the operations: reading arguments with typed errors, running on the pool,
// settling promises. Included by binding.cc files only.
//
// An operation is bound by a struct:
//   struct Example {
//     MatrixView<const float> x;       // what it needs
//     Buffer<float> y;                 // what it makes
//     void Parse(Args& args);          // JavaScript's thread; throws Napi::Error
//     Status Execute(const CancelFlag& cancel);  // any thread, nothing of JavaScript
//     void Resolve(Result& result);    // JavaScript's thread, after an Execute that was ok
//   };
//   void RegisterExample(Napi::Env env, Napi::Object exports) {
//     ExportOp<Example>(env, exports, "example");  // example(args): Promise, exampleSync(args)
//   }
#ifndef PRISMREC_RUNTIME_BINDING_H_
#define PRISMREC_RUNTIME_BINDING_H_

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"

namespace prismrec {

// The JavaScript Error of a failed status: `code`, `expected`, `received` and `hint` beside the
// message.
Napi::Error ToError(Napi::Env env, const Status& status);

template <class T>
struct TypedArrayTraits;
#define PRISMREC_TYPED_ARRAY(T, Js)                                       \
  template <>                                                             \
  struct TypedArrayTraits<T> {                                            \
    static constexpr const char* kName = #Js "Array";                     \
    static constexpr napi_typedarray_type kType = napi_##T##_array_alias; \
  }
inline constexpr napi_typedarray_type napi_float_array_alias = napi_float32_array;
inline constexpr napi_typedarray_type napi_double_array_alias = napi_float64_array;
inline constexpr napi_typedarray_type napi_int8_t_array_alias = napi_int8_array;
inline constexpr napi_typedarray_type napi_uint8_t_array_alias = napi_uint8_array;
inline constexpr napi_typedarray_type napi_int16_t_array_alias = napi_int16_array;
inline constexpr napi_typedarray_type napi_uint16_t_array_alias = napi_uint16_array;
inline constexpr napi_typedarray_type napi_int32_t_array_alias = napi_int32_array;
inline constexpr napi_typedarray_type napi_uint32_t_array_alias = napi_uint32_array;
PRISMREC_TYPED_ARRAY(float, Float32);
PRISMREC_TYPED_ARRAY(double, Float64);
PRISMREC_TYPED_ARRAY(int8_t, Int8);
PRISMREC_TYPED_ARRAY(uint8_t, Uint8);
PRISMREC_TYPED_ARRAY(int16_t, Int16);
PRISMREC_TYPED_ARRAY(uint16_t, Uint16);
PRISMREC_TYPED_ARRAY(int32_t, Int32);
PRISMREC_TYPED_ARRAY(uint32_t, Uint32);
#undef PRISMREC_TYPED_ARRAY

// A typed array made for a result: written by Execute, handed out by Resolve.
template <class T>
struct Buffer {
  T* data = nullptr;
  size_t size = 0;
  uint32_t slot = 0;
};

// Reads the fields of the one argument object. Every method that takes a name throws a Napi::Error
// that names the field. Arrays read or made here stay alive until the call has settled; a caller
// must not detach or transfer them before.
class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info);

  Napi::Env env() const { return env_; }
  // Whether the field is there and not undefined.
  bool Has(const char* name) const;
  // The field as it is, for what the other methods do not read.
  Napi::Value Get(const char* name) const;
  // Keeps a value alive until the call has settled.
  uint32_t Hold(napi_value value);

  template <class T>
  ArrayView<const T> Array(const char* name) {
    const Raw raw = TypedArray(name, TypedArrayTraits<T>::kType, TypedArrayTraits<T>::kName);
    return {static_cast<const T*>(raw.data), raw.length};
  }
  template <class T>
  ArrayView<const T> Array(const char* name, size_t length) {
    const ArrayView<const T> array = Array<T>(name);
    CheckLength(name, TypedArrayTraits<T>::kName, array.size, length);
    return array;
  }
  // The null view where the field is absent.
  template <class T>
  ArrayView<const T> OptionalArray(const char* name, size_t length) {
    return Has(name) ? Array<T>(name, length) : ArrayView<const T>();
  }
  template <class T>
  ArrayView<const T> OptionalArray(const char* name) {
    return Has(name) ? Array<T>(name) : ArrayView<const T>();
  }
  // An array of the caller's that the operation writes to.
  template <class T>
  ArrayView<T> MutableArray(const char* name, size_t length) {
    const ArrayView<const T> array = Array<T>(name, length);
    return {const_cast<T*>(array.data), array.size};
  }
  template <class T>
  MatrixView<const T> Matrix(const char* name, size_t rows, size_t cols) {
    return {Array<T>(name, Product(name, rows, cols)).data, rows, cols};
  }
  template <class T>
  MatrixView<const T> OptionalMatrix(const char* name, size_t rows, size_t cols) {
    return {OptionalArray<T>(name, Product(name, rows, cols)).data, rows, cols};
  }
  template <class T>
  MatrixView<T> MutableMatrix(const char* name, size_t rows, size_t cols) {
    return {MutableArray<T>(name, Product(name, rows, cols)).data, rows, cols};
  }
  // `values` may be null: no such field. Lengths are checked here, indices by CheckCsr in Execute.
  CsrView Csr(const char* indptr, const char* indices, const char* values, size_t rows,
              size_t cols);

  // A zeroed array for the result.
  template <class T>
  Buffer<T> Allocate(size_t length) {
    uint32_t slot = 0;
    void* data = NewTypedArray(TypedArrayTraits<T>::kType, sizeof(T), length, &slot);
    return {static_cast<T*>(data), length, slot};
  }
  // The caller's array for that result, as it is, where there is one; else one from Allocate.
  template <class T>
  Buffer<T> AllocateUnlessGiven(const char* name, size_t length) {
    if (!Has(name)) return Allocate<T>(length);
    const ArrayView<T> given = MutableArray<T>(name, length);
    return {given.data, length, Hold(Get(name))};
  }

  double Number(const char* name);
  double Number(const char* name, double fallback);
  // A whole number in [0, 2^53).
  size_t Size(const char* name);
  size_t Size(const char* name, size_t fallback);
  bool Bool(const char* name, bool fallback);
  std::string String(const char* name);
  std::string String(const char* name, const char* fallback);
  // The field `variant`, "" where it is absent: for SelectVariant.
  std::string VariantName() { return String("variant", ""); }
  // The field `cancel`: null where it is absent.
  const int32_t* CancelSlot();

  // Throws `status` unless it is ok.
  void Check(const Status& status) const;
  [[noreturn]] void Fail(const Status& status) const;

  // The arrays in use: the call keeps them alive.
  Napi::Array held() const { return held_; }

 private:
  struct Raw {
    void* data;
    size_t length;
  };
  Raw TypedArray(const char* name, napi_typedarray_type type, const char* type_name);
  void CheckLength(const char* name, const char* type_name, size_t length, size_t expected) const;
  size_t Product(const char* name, size_t rows, size_t cols) const;
  void* NewTypedArray(napi_typedarray_type type, size_t element, size_t length, uint32_t* slot);

  Napi::Env env_;
  Napi::Object object_;
  Napi::Array held_;
  uint32_t held_count_ = 0;
};

// What a call answers with: an object of the fields that are set, or the one value that is
// returned.
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
    object_.Set(name, Copy(TypedArrayTraits<T>::kType, values.data(), sizeof(T), values.size()));
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
  Napi::Value Copy(napi_typedarray_type type, const void* data, size_t element, size_t length);

  Napi::Env env_;
  Napi::Object object_;
  Napi::Value value_;
  Napi::Array held_;
};

// One call under way; type-erased for the runtime.
class Call {
 public:
  virtual ~Call() = default;
  virtual void Parse(Args& args) = 0;
  virtual Status Execute(const CancelFlag& cancel) = 0;
  virtual void Resolve(Result& result) = 0;
};

// Runs `call` on the pool and returns its promise. A bad argument rejects as well.
Napi::Value RunAsync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call);
// Runs `call` on this thread, with the pool's help, and returns its result or throws.
Napi::Value RunSync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call);

template <class Op>
class CallOf final : public Call {
 public:
  void Parse(Args& args) override { op_.Parse(args); }
  Status Execute(const CancelFlag& cancel) override { return op_.Execute(cancel); }
  void Resolve(Result& result) override { op_.Resolve(result); }

 private:
  Op op_;
};

// Adds a function to the exports that takes the one argument object.
void ExportFunction(Napi::Env env, Napi::Object exports, const std::string& name,
                    Napi::Value (*function)(const Napi::CallbackInfo& info));

// Adds `name` (a promise) and `name` + "Sync".
template <class Op>
void ExportOp(Napi::Env env, Napi::Object exports, const char* name) {
  ExportFunction(env, exports, name, [](const Napi::CallbackInfo& info) {
    return RunAsync(info, std::make_unique<CallOf<Op>>());
  });
  ExportFunction(env, exports, std::string(name) + "Sync", [](const Napi::CallbackInfo& info) {
    return RunSync(info, std::make_unique<CallOf<Op>>());
  });
}

// Sets up what an environment needs for asynchronous calls; once per environment, from the addon's
// initialisation.
void InitBinding(Napi::Env env);

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_BINDING_H_
