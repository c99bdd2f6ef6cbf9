#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "test_harness.h"

namespace prismrec {
namespace {

// Sets the budget for one test.
class Threads {
 public:
  explicit Threads(int threads) : before_(ThreadPool::Global().threads()) {
    ThreadPool::Global().SetThreads(threads);
  }
  ~Threads() { ThreadPool::Global().SetThreads(before_); }

 private:
  int before_;
};

TEST(every_chunk_runs_exactly_once_for_any_budget) {
  for (int threads : {1, 2, 3, 8}) {
      const Threads budget(threads);
    for (size_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(chunks);
      ThreadPool::Global().ParallelFor(chunks, CancelFlag(),
                                       [&](size_t chunk, int) { ++runs[chunk]; });
      for (const auto& count : runs) EXPECT_EQ(count.load(), 1);
    }
  }
}

// The pauses end before, while and after the other threads fall asleep, who look out before where there
// are processors for all of them.
TEST(work_that_comes_after_any_pause_is_done) {
  for (const int threads : {std::max(2, HardwareThreads()), HardwareThreads() + 2}) {
    const Threads budget(threads);
    ThreadPool& pool = ThreadPool::Global();
    std::atomic<size_t> chunks{0};
    size_t expected = 0;
    for (int pause = 0; pause < 120; ++pause) {
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(pause);
      while (std::chrono::steady_clock::now() < until) {
      }
      pool.ParallelFor(8, CancelFlag(), [&](size_t, int) { ++chunks; });
      expected += 8;
      // Nobody but the pool's threads can do this one.
      std::atomic<bool> done{false};
      pool.Submit([&done] { done = true; });
      while (!done) std::this_thread::yield();
    }
    EXPECT_EQ(chunks.load(), expected);
  }
}

TEST(no_two_chunks_at_a_time_share_a_worker_number) {
  const Threads budget(4);
  ThreadPool& pool = ThreadPool::Global();
  std::vector<std::atomic<int>> busy(pool.threads());
  std::atomic<int> shared{0}, outside{0};
  for (int round = 0; round < 50; ++round) {
    pool.ParallelFor(64, CancelFlag(), [&](size_t, int worker) {
      if (worker < 0 || worker >= 4) {
        ++outside;
        return;
      }
      if (++busy[worker] != 1) ++shared;
      std::this_thread::yield();
      --busy[worker];
    });
  }
  EXPECT_EQ(shared.load(), 0);
  EXPECT_EQ(outside.load(), 0);
}

TEST(several_threads_take_part) {
  const Threads budget(3);
  // Each chunk waits until all three are under way: it would hang if fewer threads than that
  // worked.
  std::atomic<int> arrived{0};
  std::mutex mutex;
  std::condition_variable all;
  ThreadPool::Global().ParallelFor(3, CancelFlag(), [&](size_t, int) {
    std::unique_lock<std::mutex> lock(mutex);
    if (++arrived == 3) all.notify_all();
    all.wait(lock, [&] { return arrived == 3; });
  });
  EXPECT_EQ(arrived.load(), 3);
}

TEST(a_nested_loop_runs_on_its_own_thread) {
  const Threads budget(4);
  std::atomic<int> inner{0}, moved{0};
  ThreadPool::Global().ParallelFor(8, CancelFlag(), [&](size_t, int) {
    const auto self = std::this_thread::get_id();
    ThreadPool::Global().ParallelFor(10, CancelFlag(), [&](size_t, int worker) {
      ++inner;
      if (worker != 0 || std::this_thread::get_id() != self) ++moved;
    });
  });
  EXPECT_EQ(inner.load(), 80);
  EXPECT_EQ(moved.load(), 0);
}

TEST(an_exception_reaches_the_caller_and_the_pool_goes_on) {
  const Threads budget(3);
  for (int round = 0; round < 20; ++round) {
    std::string caught;
    try {
      ThreadPool::Global().ParallelFor(100, CancelFlag(), [](size_t chunk, int) {
        if (chunk == 17) throw std::runtime_error("seventeen");
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    EXPECT_EQ(caught, std::string("seventeen"));
  }
  std::atomic<int> runs{0};
  ThreadPool::Global().ParallelFor(10, CancelFlag(), [&](size_t, int) { ++runs; });
  EXPECT_EQ(runs.load(), 10);
}

TEST(a_raised_flag_leaves_out_the_chunks_that_have_not_begun) {
  for (int threads : {1, 4}) {
    const Threads budget(threads);
    int32_t slot = 0;
    std::atomic<int> runs{0};
    ThreadPool::Global().ParallelFor(1000, CancelFlag(&slot), [&](size_t, int) {
      if (++runs == 5) __atomic_store_n(&slot, 1, __ATOMIC_RELAXED);
    });
    EXPECT_GE(runs.load(), 5);
    EXPECT_LE(runs.load(), 5 + threads);
  }
}

TEST(loops_of_several_threads_at_once_all_end) {
  const Threads budget(3);
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        ThreadPool::Global().ParallelFor(9, CancelFlag(), [&](size_t, int) { ++runs; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(runs.load(), 6 * 100 * 9);
}

TEST(loops_that_end_while_helpers_wake_do_no_harm) {
  const Threads budget(3);
  std::atomic<int> runs{0};
  for (int round = 0; round < 20000; ++round) {
    ThreadPool::Global().ParallelFor(2, CancelFlag(), [&](size_t, int) { ++runs; });
  }
  EXPECT_EQ(runs.load(), 40000);
}

TEST(tasks_run_and_use_loops_of_their_own) {
  const Threads budget(2);
  constexpr int kTasks = 40;
  std::mutex mutex;
  std::condition_variable done;
  int ended = 0;
  std::atomic<int> runs{0};
  for (int t = 0; t < kTasks; ++t) {
    ThreadPool::Global().Submit([&] {
      ThreadPool::Global().ParallelFor(8, CancelFlag(), [&](size_t, int) { ++runs; });
      const std::lock_guard<std::mutex> lock(mutex);
      if (++ended == kTasks) done.notify_all();
    });
  }
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&] { return ended == kTasks; });
  EXPECT_EQ(runs.load(), kTasks * 8);
}

TEST(no_more_tasks_than_the_budget_run_at_a_time) {
  const Threads budget(2);
  std::mutex mutex;
  std::condition_variable done;
  int ended = 0, running = 0, most = 0;
  for (int t = 0; t < 12; ++t) {
    ThreadPool::Global().Submit([&] {
      {
        const std::lock_guard<std::mutex> lock(mutex);
        most = ++running > most ? running : most;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const std::lock_guard<std::mutex> lock(mutex);
      --running;
      if (++ended == 12) done.notify_all();
    });
  }
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&] { return ended == 12; });
  EXPECT_LE(most, 2);
}

TEST(an_operation_keeps_the_budget_it_began_with) {
  const Threads budget(2);
  ThreadPool& pool = ThreadPool::Global();
  const OpScope scope;
  pool.SetThreads(7);
  EXPECT_EQ(pool.threads(), 2);
  std::atomic<int> outside{0};
  pool.ParallelFor(100, CancelFlag(), [&](size_t, int worker) { outside += worker >= 2 ? 1 : 0; });
  EXPECT_EQ(outside.load(), 0);
}

TEST(idle_threads_use_no_processor) {
  const Threads budget(4);
  ThreadPool::Global().ParallelFor(64, CancelFlag(),
                                   [](size_t, int) { std::this_thread::yield(); });
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  EXPECT_LT(seconds, 0.05);
}

TEST(at_least_one_thread_is_granted) {
  EXPECT_GE(HardwareThreads(), 1);
  EXPECT_GE(ThreadPool::Global().threads(), 1);
}

}  // namespace
}  // namespace prismrec
