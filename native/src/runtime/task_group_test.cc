// A driver of the runtime as the environments of JavaScript use it: many owners with tasks of their own, cancelled and
// ended at any moment, while others go on. Under -fsanitize=thread it looks for races.
#include "runtime/task_group.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"
#include "test_harness.h"

namespace prismrec {
namespace {

class Threads {
 public:
  explicit Threads(int threads) : before_(ThreadPool::Global().threads()) {
    ThreadPool::Global().SetThreads(threads);
  }
  ~Threads() { ThreadPool::Global().SetThreads(before_); }

 private:
  int before_;
};

// Holds a task until it is opened.
class Gate {
 public:
  void Pass() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

TEST(an_owner_ends_without_waiting_for_others) {
  const Threads budget(1);
  Gate gate;
  std::atomic<bool> entered{false};
  TaskGroup other;
  other.Submit([&] {
    entered = true;
    gate.Pass();
  });
  while (!entered) std::this_thread::yield();
  std::atomic<int> ran{0};
  {
    // Behind the task at the gate, which nobody opens before this owner has ended.
    TaskGroup mine;
    for (int i = 0; i < 5; ++i) mine.Submit([&] { ++ran; });
  }
  EXPECT_EQ(ran.load(), 0);
  gate.Open();
  other.Close();
}

TEST(what_has_begun_is_waited_for) {
  const Threads budget(2);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> begun{0}, ended{0};
    {
      TaskGroup group;
      for (int i = 0; i < 4; ++i) {
        group.Submit([&] {
          ++begun;
          std::this_thread::yield();
          ++ended;
        });
      }
    }
    EXPECT_EQ(begun.load(), ended.load());
  }
}

thread_local Workspace scratch;

// What one environment does: starts operations, cancels some, ends with some under way.
void Environment(unsigned seed, std::atomic<int>* wrong) {
  std::mt19937 random(seed);
  for (int life = 0; life < 6; ++life) {
    std::atomic<bool> closing{false};
    struct Call {
      int32_t cancel = 0;
      std::vector<int> results;
      std::atomic<bool> done{false};
    };
    std::vector<std::unique_ptr<Call>> calls;
    TaskGroup group;
    const int count = 1 + static_cast<int>(random() % 12);
    for (int c = 0; c < count; ++c) {
      calls.push_back(std::make_unique<Call>());
      Call* const call = calls.back().get();
      const size_t chunks = 1 + random() % 40;
      group.Submit([call, chunks, &closing, wrong] {
        const CancelFlag cancel(&call->cancel, &closing);
        const OpScope scope;
        const int budget = ThreadPool::Global().threads();
        std::vector<int> results(chunks, 0);
        ThreadPool::Global().ParallelFor(chunks, cancel, [&](size_t chunk, int worker) {
          int* const memory = scratch.Reserve<int>(64 + chunk);
          memory[chunk] = static_cast<int>(chunk);
          if (worker < 0 || worker >= budget) ++*wrong;
          results[chunk] = memory[chunk] + 1;
        });
        if (!cancel.Cancelled()) {
          for (size_t i = 0; i < chunks; ++i) *wrong += results[i] != static_cast<int>(i) + 1;
        }
        call->results = std::move(results);
        call->done = true;
      });
      if (random() % 3 == 0) __atomic_store_n(&calls[random() % calls.size()]->cancel, 1, __ATOMIC_RELAXED);
      if (random() % 5 == 0) TrimWorkspaces();
      if (random() % 7 == 0) ThreadPool::Global().SetThreads(1 + static_cast<int>(random() % 4));
    }
    if (random() % 2 == 0) {
      for (const auto& call : calls) {
        while (!call->done) std::this_thread::yield();
      }
    }
    closing = true;
    group.Close();
  }
}

TEST(environments_come_and_go_at_the_same_time) {
  const Threads budget(4);
  std::atomic<int> wrong{0};
  for (unsigned round = 0; round < (test::Reduced() ? 4u : 20u); ++round) {
    std::vector<std::thread> environments;
    for (unsigned e = 0; e < 5; ++e) environments.emplace_back(Environment, 100 * round + e, &wrong);
    for (std::thread& environment : environments) environment.join();
  }
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace prismrec
