#include "runtime/task_group.h"

#include <utility>

#include "runtime/thread_pool.h"

namespace prismrec {

void TaskGroup::Done(int count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  open_ -= count;
  if (open_ == 0) drained_.notify_all();
}

void TaskGroup::Submit(std::function<void()> task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++open_;
  }
  try {
    ThreadPool::Global().Submit(
        [this, task = std::move(task)] {
          task();
          Done(1);
        },
        this);
  } catch (...) {
    Done(1);
    throw;
  }
}

void TaskGroup::Close() {
  Done(ThreadPool::Global().Withdraw(this));
  std::unique_lock<std::mutex> lock(mutex_);
  drained_.wait(lock, [this] { return open_ == 0; });
}

}  // namespace prismrec
