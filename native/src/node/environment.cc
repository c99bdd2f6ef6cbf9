// What one environment (the main thread's or a worker's) has under way, from a call to its promise.
#include <atomic>
#include <exception>
#include <new>
#include <unordered_map>
#include <utility>

#include "node/binding.h"
#include "runtime/task_group.h"
#include "runtime/thread_pool.h"

namespace prismrec {
namespace {

// What went wrong, of the exception that is being handled. Memory for words may be missing too.
Status Caught(const char* out_of_memory) noexcept {
  try {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      return OutOfMemory(out_of_memory);
    } catch (const std::exception& error) {
      return Internal(error.what());
    } catch (...) {
      return Internal("an unknown failure");
    }
  } catch (...) {
    Status status;
    status.code = StatusCode::kOutOfMemory;
    return status;
  }
}

// Runs the operation; whatever it throws becomes a status.
Status ExecuteGuarded(Call& call, const CancelFlag& cancel) noexcept {
  try {
    if (cancel.Cancelled()) return Cancelled();
    const OpScope scope;
    return call.Execute(cancel);
  } catch (...) {
    return Caught("the operation ran out of memory");
  }
}

// A call on its way from the pool back to JavaScript.
struct Pending {
  Pending(Napi::Env env, std::unique_ptr<Call> work, Args& args, const int32_t* slot)
      : call(std::move(work)),
        deferred(Napi::Promise::Deferred::New(env)),
        arrays(Napi::Persistent(args.held().As<Napi::Object>())),
        memory(args.TakeMemory()),
        cancel_slot(slot) {}

  std::unique_ptr<Call> call;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference arrays;
  CallMemory memory;
  const int32_t* cancel_slot;
  Status status;
};

class EnvState {
 public:
  explicit EnvState(Napi::Env env) : env_(env), getters_(env) {
    napi_value name = Napi::String::New(env, "prismrec");
    const napi_status made = napi_create_threadsafe_function(
        env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, Settle, &settle_);
    if (made != napi_ok) throw Napi::Error::New(env);
    // An environment with nothing under way may end.
    napi_unref_threadsafe_function(env, settle_);
    // Hooks run in reverse order: this one before the function's own.
    napi_add_env_cleanup_hook(env, Close, this);
  }

  const BufferGetters& getters() const { return getters_; }

  Napi::Promise Start(std::unique_ptr<Pending> pending) {
    Pending* const raw = pending.get();
    const Napi::Promise promise = raw->deferred.Promise();
    pending_.emplace(raw, std::move(pending));
    if (pending_.size() == 1) napi_ref_threadsafe_function(env_, settle_);
    try {
      tasks_.Submit([this, raw] { Work(raw); });
    } catch (...) {
      raw->status = Caught("there is no memory for one more operation under way");
      Finish(raw);
    }
    return promise;
  }

 private:
  // On the pool.
  void Work(Pending* pending) noexcept {
    pending->status = ExecuteGuarded(*pending->call, CancelFlag(pending->cancel_slot, &closing_));
    pending->memory.Executed();
    napi_call_threadsafe_function(settle_, pending, napi_tsfn_blocking);
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
      const Napi::Array held = pending->arrays.Value().As<Napi::Array>();
      if (const Status written = pending->memory.WriteBack(env_, held); !written.ok()) {
        pending->deferred.Reject(ToError(env_, written).Value());
        return;
      }
      Result result(env_, held);
      pending->call->Resolve(result);
      pending->deferred.Resolve(result.value());
    } catch (const Napi::Error& error) {
      pending->deferred.Reject(error.Value());
    } catch (...) {
      pending->deferred.Reject(ToError(env_, Caught("the result does not fit into memory")).Value());
    }
  }

  // The environment ends: its arrays go with it, so nothing may still be working on them.
  static void Close(void* self) {
    EnvState& state = *static_cast<EnvState*>(self);
    state.closing_.store(true, std::memory_order_relaxed);
    state.tasks_.Close();
    state.pending_.clear();
  }

  const Napi::Env env_;
  const BufferGetters getters_;
  napi_threadsafe_function settle_ = nullptr;
  std::atomic<bool> closing_{false};
  std::unordered_map<Pending*, std::unique_ptr<Pending>> pending_;  // JavaScript's thread only
  TaskGroup tasks_;
};

// Calls `function`; whatever it throws becomes a JavaScript exception.
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  using Function = Napi::Value (*)(const Napi::CallbackInfo&);
  try {
    return reinterpret_cast<Function>(info.Data())(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw ToError(info.Env(), Caught("the arguments or the result do not fit into memory"));
  }
}

}  // namespace

Napi::Value RunAsync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call) {
  const Napi::Env env = info.Env();
  const auto rejected = [env](const Napi::Error& error) {
    const Napi::Promise::Deferred deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error.Value());
    return deferred.Promise();
  };
  try {
    Args args(info, Args::Mode::kAsync);
    const int32_t* const cancel = args.CancelSlot();
    call->Parse(args);
    args.Seal();
    auto pending = std::make_unique<Pending>(env, std::move(call), args, cancel);
    return env.GetInstanceData<EnvState>()->Start(std::move(pending));
  } catch (const Napi::Error& error) {
    return rejected(error);
  } catch (...) {
    return rejected(ToError(env, Caught("the arguments do not fit into memory")));
  }
}

Napi::Value RunSync(const Napi::CallbackInfo& info, std::unique_ptr<Call> call) {
  Args args(info, Args::Mode::kSync);
  const CancelFlag cancel(args.CancelSlot());
  call->Parse(args);
  args.Seal();
  args.Check(ExecuteGuarded(*call, cancel));
  Result result(info.Env(), args.held());
  call->Resolve(result);
  return result.value();
}

void ExportFunction(Napi::Env env, Napi::Object exports, const std::string& name,
                    Napi::Value (*function)(const Napi::CallbackInfo& info)) {
  exports.Set(name, Napi::Function::New(env, Guarded, name, reinterpret_cast<void*>(function)));
}

const BufferGetters& BufferGetters::Of(napi_env env) {
  return Napi::Env(env).GetInstanceData<EnvState>()->getters();
}

void InitBinding(Napi::Env env) { env.SetInstanceData(new EnvState(env)); }

}  // namespace prismrec
