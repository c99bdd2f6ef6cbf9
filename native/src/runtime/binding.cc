#include "runtime/binding.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <unordered_map>

#include "runtime/memory.h"
#include "runtime/thread_pool.h"

namespace prismrec {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;
constexpr size_t kLargeBytes = size_t{64} << 20;
constexpr size_t kMostBytes = size_t{1} << 32;

std::string TypeName(const Napi::Value& value) {
  if (value.IsTypedArray()) {
    static constexpr const char* kNames[] = {"Int8Array",     "Uint8Array",    "Uint8ClampedArray",
                                             "Int16Array",    "Uint16Array",   "Int32Array",
                                             "Uint32Array",   "Float32Array",  "Float64Array",
                                             "BigInt64Array", "BigUint64Array"};
    return kNames[value.As<Napi::TypedArray>().TypedArrayType()];
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

// Runs the operation; whatever it throws becomes a status.
Status ExecuteGuarded(Call& call, const CancelFlag& cancel) {
  if (cancel.Cancelled()) return Cancelled();
  try {
    const OpScope scope;
    return call.Execute(cancel);
  } catch (const std::bad_alloc&) {
    return OutOfMemory("the operation ran out of memory");
  } catch (const std::exception& error) {
    return Internal(error.what());
  } catch (...) {
    return Internal("an unknown failure");
  }
}

// A call on its way from the pool back to JavaScript.
struct Pending {
  Pending(Napi::Env env, std::unique_ptr<Call> work, Napi::Array held, const int32_t* slot)
      : call(std::move(work)),
        deferred(Napi::Promise::Deferred::New(env)),
        arrays(Napi::Persistent(held.As<Napi::Object>())),
        cancel_slot(slot) {}

  std::unique_ptr<Call> call;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference arrays;
  const int32_t* cancel_slot;
  Status status;
};

// What one environment (the main thread's or a worker's) has under way.
class EnvState {
 public:
  explicit EnvState(Napi::Env env) : env_(env) {
    napi_value name = Napi::String::New(env, "prismrec");
    const napi_status made = napi_create_threadsafe_function(
        env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, Settle, &settle_);
    if (made != napi_ok) throw Napi::Error::New(env);
    // An environment with nothing under way may end.
    napi_unref_threadsafe_function(env, settle_);
    // Hooks run in reverse order: this one before the function's own.
    napi_add_env_cleanup_hook(env, Close, this);
  }

  Napi::Promise Start(std::unique_ptr<Pending> pending) {
    Pending* const raw = pending.get();
    const Napi::Promise promise = raw->deferred.Promise();
    if (pending_.empty()) napi_ref_threadsafe_function(env_, settle_);
    pending_.emplace(raw, std::move(pending));
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++on_pool_;
    }
    try {
      ThreadPool::Global().Submit([this, raw] { Work(raw); });
    } catch (const std::system_error& error) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        --on_pool_;
      }
      raw->status = Internal(std::string("no thread could be started: ") + error.what());
      Finish(raw);
    }
    return promise;
  }

 private:
  // On the pool.
  void Work(Pending* pending) {
    pending->status = ExecuteGuarded(*pending->call, CancelFlag(pending->cancel_slot, &closing_));
    napi_call_threadsafe_function(settle_, pending, napi_tsfn_blocking);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--on_pool_ == 0) drained_.notify_all();
  }

  // On JavaScript's thread. Without an environment the calls were dropped by Close.
  static void Settle(napi_env env, napi_value, void* context, void* data) {
    if (env == nullptr) return;
    try {
      static_cast<EnvState*>(context)->Finish(static_cast<Pending*>(data));
    } catch (const Napi::Error&) {
      // A worker that is being terminated runs no JavaScript any more, and nobody waits for it.
    }
  }

  void Finish(Pending* raw) {
    const Napi::HandleScope scope(env_);
    const auto entry = pending_.find(raw);
    const std::unique_ptr<Pending> pending = std::move(entry->second);
    pending_.erase(entry);
    if (pending_.empty()) napi_unref_threadsafe_function(env_, settle_);
    if (!pending->status.ok()) {
      pending->deferred.Reject(ToError(env_, pending->status).Value());
      return;
    }
    try {
      Result result(env_, pending->arrays.Value().As<Napi::Array>());
      pending->call->Resolve(result);
      pending->deferred.Resolve(result.value());
    } catch (const Napi::Error& error) {
      pending->deferred.Reject(error.Value());
    } catch (const std::bad_alloc&) {
      pending->deferred.Reject(
          ToError(env_, OutOfMemory("the result does not fit into memory")).Value());
    } catch (const std::exception& error) {
      pending->deferred.Reject(ToError(env_, Internal(error.what())).Value());
    }
  }

  // The environment ends: its arrays go with it, so nothing may still be working on them.
  static void Close(void* self) {
    EnvState& state = *static_cast<EnvState*>(self);
    state.closing_.store(true, std::memory_order_relaxed);
    {
      std::unique_lock<std::mutex> lock(state.mutex_);
      state.drained_.wait(lock, [&state] { return state.on_pool_ == 0; });
    }
    state.pending_.clear();
  }

  const Napi::Env env_;
  napi_threadsafe_function settle_ = nullptr;
  std::atomic<bool> closing_{false};
  std::unordered_map<Pending*, std::unique_ptr<Pending>> pending_;  // JavaScript's thread only
  std::mutex mutex_;
  std::condition_variable drained_;
  int on_pool_ = 0;  // guarded by mutex_
};

// Calls `function`; whatever it throws becomes a JavaScript exception.
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  using Function = Napi::Value (*)(const Napi::CallbackInfo&);
  try {
    return reinterpret_cast<Function>(info.Data())(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw ToError(info.Env(), OutOfMemory("the arguments or the result do not fit into memory"));
  } catch (const std::exception& error) {
    throw ToError(info.Env(), Internal(error.what()));
  }
}

}  // namespace

Napi::Error ToError(Napi::Env env, const Status& status) {
  const Napi::Error error = Napi::Error::New(env, status.message);
  error.Set("code", Napi::String::New(env, StatusCodeName(status.code)));
  if (!status.expected.empty()) error.Set("expected", Napi::String::New(env, status.expected));
  if (!status.received.empty()) error.Set("received", Napi::String::New(env, status.received));
  if (!status.hint.empty()) error.Set("hint", Napi::String::New(env, status.hint));
  return error;
}

Args::Args(const Napi::CallbackInfo& info) : env_(info.Env()), held_(Napi::Array::New(info.Env())) {
  if (info.Length() != 1 || !info[0].IsObject() || info[0].IsTypedArray()) {
    Fail(InvalidArgument("a native operation takes one object of named arguments", "one object",
                         std::to_string(info.Length()) + " arguments"));
  }
  object_ = info[0].As<Napi::Object>();
}

Napi::Value Args::Get(const char* name) const { return object_.Get(name); }

bool Args::Has(const char* name) const { return !Get(name).IsUndefined(); }

void Args::Fail(const Status& status) const { throw ToError(env_, status); }

void Args::Check(const Status& status) const {
  if (!status.ok()) Fail(status);
}

uint32_t Args::Hold(napi_value value) {
  held_.Set(held_count_, value);
  return held_count_++;
}

Args::Raw Args::TypedArray(const char* name, napi_typedarray_type type, const char* type_name) {
  const Napi::Value value = Get(name);
  napi_typedarray_type actual = napi_int8_array;
  Raw raw{};
  if (value.IsTypedArray()) {
    const napi_status read =
        napi_get_typedarray_info(env_, value, &actual, &raw.length, &raw.data, nullptr, nullptr);
    if (read != napi_ok) throw Napi::Error::New(env_);
  }
  if (!value.IsTypedArray() || actual != type) {
    Fail(InvalidArgument(std::string("\"") + name + "\" is of the wrong type",
                         std::string("a ") + type_name, TypeName(value)));
  }
  Hold(value);
  // An empty array has no memory; a null view means an absent one.
  static const uint64_t kEmpty = 0;
  if (raw.data == nullptr) raw.data = const_cast<uint64_t*>(&kEmpty);
  return raw;
}

void Args::CheckLength(const char* name, const char* type_name, size_t length,
                       size_t expected) const {
  if (length == expected) return;
  Fail(ShapeMismatch(std::string("\"") + name + "\" does not have the length its shape asks for",
                     std::string("a ") + type_name + " of length " + std::to_string(expected),
                     "length " + std::to_string(length)));
}

size_t Args::Product(const char* name, size_t rows, size_t cols) const {
  size_t product = 0;
  if (__builtin_mul_overflow(rows, cols, &product)) {
    Fail(ShapeMismatch(std::string("the shape of \"") + name + "\" is beyond any memory",
                       "rows * cols < 2^64", std::to_string(rows) + " x " + std::to_string(cols)));
  }
  return product;
}

void* Args::NewTypedArray(napi_typedarray_type type, size_t element, size_t length,
                          uint32_t* slot) {
  void* data = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  const size_t bytes = length > SIZE_MAX / element ? SIZE_MAX : length * element;
  // The system hands memory out unseen and ends the process when it runs short, so large requests
  // are compared with what is there. Beyond V8's own limit (2^33 bytes at most) V8 would do so.
  const size_t most = bytes < kLargeBytes ? bytes : std::min(kMostBytes, AvailableMemory());
  if (bytes > most || napi_create_arraybuffer(env_, bytes, &data, &buffer) != napi_ok ||
      napi_create_typedarray(env_, type, length, buffer, 0, &array) != napi_ok) {
    Fail(OutOfMemory("the result does not fit into memory",
                     "at most " + std::to_string(most >> 20) + " MiB",
                     std::to_string(length) + " elements of " + std::to_string(element) + " bytes",
                     "Make the problem smaller, or free memory or raise the container's limit."));
  }
  *slot = Hold(array);
  return data;
}

CsrView Args::Csr(const char* indptr, const char* indices, const char* values, size_t rows,
                  size_t cols) {
  CsrView csr;
  csr.rows = rows;
  csr.cols = cols;
  csr.indptr = Array<uint32_t>(indptr, rows + 1).data;
  csr.indices = Array<uint32_t>(indices, csr.nnz()).data;
  if (values != nullptr) csr.values = OptionalArray<float>(values, csr.nnz()).data;
  return csr;
}

double Args::Number(const char* name) {
  const Napi::Value value = Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!std::isfinite(number)) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a finite number", "a finite number",
                         TypeName(value)));
  }
  return number;
}

double Args::Number(const char* name, double fallback) {
  return Has(name) ? Number(name) : fallback;
}

size_t Args::Size(const char* name) {
  const Napi::Value value = Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= 0 && number <= kMaxSafeInteger && number == std::floor(number))) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a whole number from 0",
                         "a whole number from 0", TypeName(value)));
  }
  return static_cast<size_t>(number);
}

size_t Args::Size(const char* name, size_t fallback) { return Has(name) ? Size(name) : fallback; }

bool Args::Bool(const char* name, bool fallback) {
  const Napi::Value value = Get(name);
  if (value.IsUndefined()) return fallback;
  if (!value.IsBoolean()) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be true or false", "a boolean",
                         TypeName(value)));
  }
  return value.As<Napi::Boolean>();
}

std::string Args::String(const char* name) {
  const Napi::Value value = Get(name);
  if (!value.IsString()) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a text", "a string",
                         TypeName(value)));
  }
  return value.As<Napi::String>().Utf8Value();
}

std::string Args::String(const char* name, const char* fallback) {
  return Has(name) ? String(name) : fallback;
}

const int32_t* Args::CancelSlot() {
  if (!Has("cancel")) return nullptr;
  const ArrayView<const int32_t> slot = Array<int32_t>("cancel");
  if (slot.size == 0) {
    Fail(ShapeMismatch("\"cancel\" must hold the flag", "an Int32Array of length 1", "length 0"));
  }
  return slot.data;
}

Napi::Value Result::Copy(napi_typedarray_type type, const void* data, size_t element,
                         size_t length) {
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env_, length * element);
  if (length > 0) std::memcpy(buffer.Data(), data, length * element);
  napi_value array = nullptr;
  const napi_status made = napi_create_typedarray(env_, type, length, buffer, 0, &array);
  if (made != napi_ok) throw Napi::Error::New(env_);
  return Napi::Value(env_, array);
}

Napi::Value RunAsync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call) {
  const Napi::Env env = info.Env();
  try {
    Args args(info);
    const int32_t* const cancel = args.CancelSlot();
    call->Parse(args);
    auto pending = std::make_unique<Pending>(env, std::move(call), args.held(), cancel);
    return env.GetInstanceData<EnvState>()->Start(std::move(pending));
  } catch (const Napi::Error& error) {
    const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error.Value());
    return deferred.Promise();
  }
}

Napi::Value RunSync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call) {
  Args args(info);
  const CancelFlag cancel(args.CancelSlot());
  call->Parse(args);
  args.Check(ExecuteGuarded(*call, cancel));
  Result result(info.Env(), args.held());
  call->Resolve(result);
  return result.value();
}

void ExportFunction(Napi::Env env, Napi::Object exports, const std::string& name,
                    Napi::Value (*function)(const Napi::CallbackInfo& info)) {
  exports.Set(name, Napi::Function::New(env, Guarded, name, reinterpret_cast<void*>(function)));
}

void InitBinding(Napi::Env env) { env.SetInstanceData(new EnvState(env)); }

}  // namespace prismrec
