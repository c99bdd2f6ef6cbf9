#include "runtime/workspace.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "runtime/thread_pool.h"
#include "test_harness.h"

namespace prismrec {
namespace {

// A thread that does what it is told, one step after another.
class Steps {
 public:
  template <class Fn>
  void Do(Fn step) {
    std::unique_lock<std::mutex> lock(mutex_);
    step_ = step;
    given_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !given_; });
  }
  ~Steps() {
    Do([this] { ended_ = true; });
    thread_.join();
  }

 private:
  void Loop() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_) {
      changed_.wait(lock, [this] { return given_; });
      step_();
      given_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> step_;
  bool given_ = false;
  bool ended_ = false;
  std::thread thread_{[this] { Loop(); }};
};

thread_local Workspace memory;

TEST(what_no_operation_uses_is_given_back) {
  Steps other;
  size_t held = 0;
  other.Do([&] {
    const OpScope scope;
    memory.Reserve<float>(1 << 20)[5] = 1;
    held = memory.bytes();
  });
  EXPECT_EQ(held, size_t{4} << 20);
  TrimWorkspaces();
  other.Do([&] { held = memory.bytes(); });
  EXPECT_EQ(held, size_t{0});
  other.Do([&] {
    const OpScope scope;
    memory.Reserve<float>(100)[99] = 1;
    held = memory.bytes();
  });
  EXPECT_EQ(held, size_t{400});
}

TEST(what_an_operation_uses_stays) {
  Steps other;
  bool same = false;
  other.Do([&] {
    const OpScope scope, nested;
    float* const values = memory.Reserve<float>(1000);
    values[999] = 3;
    std::thread([] { TrimWorkspaces(); }).join();
    same = memory.Reserve<float>(1000) == values && values[999] == 3;
  });
  EXPECT_TRUE(same);
  // Used without a scope, nobody knows when it is no longer.
  float* outside = nullptr;
  other.Do([&] { outside = memory.Reserve<float>(2000); });
  TrimWorkspaces();
  other.Do([&] { same = memory.Reserve<float>(2000) == outside; });
  EXPECT_TRUE(same);
}

TEST(very_much_is_not_kept_beyond_the_operation) {
  if (test::Reduced()) return;
  Steps other;
  size_t within = 0, after = 0;
  other.Do([&] {
    {
      const OpScope scope;
      memory.Reserve<char>(size_t{300} << 20);
      within = memory.bytes();
    }
    after = memory.bytes();
  });
  EXPECT_EQ(within, size_t{300} << 20);
  EXPECT_EQ(after, size_t{0});
}

TEST(an_idle_pool_gives_back_what_its_threads_and_callers_hold) {
  const int before = ThreadPool::Global().threads();
  ThreadPool::Global().SetThreads(3);
  Steps caller;
  size_t held = 0;
  caller.Do([&] {
    const OpScope scope;
    ThreadPool::Global().ParallelFor(64, CancelFlag(), [](size_t, int) {
      memory.Reserve<float>(5000)[0] = 1;
      std::this_thread::yield();
    });
    memory.Reserve<float>(5000)[0] = 1;
    held = memory.bytes();
  });
  EXPECT_EQ(held, size_t{20000});
  for (int i = 0; i < 600 && held > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    caller.Do([&] {
      // Outside of a scope the pool may give it back this very moment.
      const ScratchScope scope;
      held = memory.bytes();
    });
  }
  EXPECT_EQ(held, size_t{0});
  ThreadPool::Global().SetThreads(before);
}

}  // namespace
}  // namespace prismrec
