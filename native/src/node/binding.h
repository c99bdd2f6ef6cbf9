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
#ifndef PRISMREC_NODE_BINDING_H_
#define PRISMREC_NODE_BINDING_H_

#include <napi.h>

#include <memory>
#include <string>

#include "node/arguments.h"
#include "node/error.h"
#include "node/result.h"
#include "runtime/cancel.h"
#include "runtime/status.h"

namespace prismrec {

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

#endif  // PRISMREC_NODE_BINDING_H_
