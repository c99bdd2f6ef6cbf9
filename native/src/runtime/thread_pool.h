// The one set of threads of a process: it runs asynchronous operations and the chunks inside them,
// never more at a time than the thread budget. Threads start when first needed and sleep when idle.
#ifndef PRISMREC_RUNTIME_THREAD_POOL_H_
#define PRISMREC_RUNTIME_THREAD_POOL_H_

#include <cstddef>
#include <functional>
#include <type_traits>

#include "runtime/cancel.h"
#include "runtime/workspace.h"

namespace prismrec {

class ThreadPool {
 public:
  // Lives until the process ends, so that no thread outlasts it.
  static ThreadPool& Global();

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The budget. Inside an operation (an OpScope) it is what it was when the operation began, so
  // storage of one slot per worker stays large enough.
  int threads() const;
  // 1 to kMaxThreads; operations under way keep theirs.
  void SetThreads(int threads);

  // Calls fn(size_t chunk, int worker) once for every chunk, on this thread and on idle ones, and
  // returns when all are done. `worker` is in [0, threads()), and no two calls at a time share one.
  // Which worker gets which chunk differs from run to run: results must not depend on it, so reduce
  // into one partial per chunk and add these up in order. Once cancelled, the remaining chunks are
  // left out. An exception of fn ends the loop and is rethrown here. Called from inside fn, it runs
  // on the calling thread alone, with worker 0.
  template <class Fn>
  void ParallelFor(size_t chunks, const CancelFlag& cancel, Fn&& fn) {
    using Body = std::remove_reference_t<Fn>;
    Run(chunks, cancel, const_cast<void*>(static_cast<const void*>(&fn)),
        [](void* body, size_t chunk, int worker) { (*static_cast<Body*>(body))(chunk, worker); });
  }

  // Runs `task` on one of the pool's threads. Throws where there is no memory for it, or where no thread
  // can be made and there is none; then the task never runs.
  void Submit(std::function<void()> task, const void* owner = nullptr);
  // Drops the tasks of an owner that have not begun; how many.
  int Withdraw(const void* owner);

  static constexpr int kMaxThreads = 1024;

 private:
  struct Impl;
  struct Job;
  using Invoke = void (*)(void* body, size_t chunk, int worker);

  ThreadPool();
  void Run(size_t chunks, const CancelFlag& cancel, void* body, Invoke invoke);

  Impl* impl_;
};

// Fixes threads() of the current thread, and keeps its scratch memory, for the duration of one operation.
class OpScope {
 public:
  OpScope();
  ~OpScope();
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  ScratchScope scratch_;
  int outer_;
};

// min(hardware threads this process may use, the container's quota), at least 1.
int HardwareThreads();

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_THREAD_POOL_H_
