// The tasks that one owner has on the pool, so that the owner can end.
#ifndef PRISMREC_RUNTIME_TASK_GROUP_H_
#define PRISMREC_RUNTIME_TASK_GROUP_H_

#include <condition_variable>
#include <functional>
#include <mutex>

namespace prismrec {

class TaskGroup {
 public:
  TaskGroup() = default;
  ~TaskGroup() { Close(); }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs `task`, which must not throw, on one of the pool's threads. Where no memory or no thread can be
  // had it throws, and the task never runs.
  void Submit(std::function<void()> task);

  // Drops the tasks that have not begun and waits for those that have: not for what others have on the
  // pool. No Submit may follow.
  void Close();

 private:
  void Done(int count);

  std::mutex mutex_;
  std::condition_variable drained_;
  int open_ = 0;  // guarded by mutex_
};

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_TASK_GROUP_H_
