#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#include "runtime/memory.h"
#include "runtime/workspace.h"

namespace prismrec {
namespace {

// How long nothing must have run before scratch memory is given back.
constexpr std::chrono::seconds kTidyAfter{2};

// How long a thread looks out for work, or for the end of others', before it sleeps: the loops of one
// operation follow each other closely, and being woken takes longer than most of the pauses between them.
constexpr std::chrono::microseconds kLookOut{20};

// Returns when `done` holds, or after kLookOut. Gives way: who is waited for may want this processor.
template <class Fn>
void LookOut(Fn&& done) {
  const auto end = std::chrono::steady_clock::now() + kLookOut;
  while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

// The budget of the operation that this thread runs; 0 outside of one.
thread_local int scoped_threads = 0;
// Whether this thread is inside the body of a ParallelFor.
thread_local bool inside_body = false;
// Whether this thread belongs to the pool and so counts as running already.
thread_local bool pool_thread = false;

// The processors that a quota file pair grants, rounded up; infinity without a quota.
double QuotaOf(const std::string& folder) {
  std::string quota;
  double period = 0;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> quota >> period) {
    return quota == "max" || period <= 0 ? INFINITY : std::atof(quota.c_str()) / period;
  }
  double micros = -1;
  std::ifstream v1_quota(folder + "/cpu.cfs_quota_us");
  std::ifstream v1_period(folder + "/cpu.cfs_period_us");
  if (v1_quota >> micros && v1_period >> period && micros > 0 && period > 0) return micros / period;
  return INFINITY;
}

// The tightest quota of this process's control group and of those above it.
double CgroupQuota() {
  double quota = INFINITY;
  ForEachControlGroup(
      "cpu", [&](const std::string& folder) { quota = std::min(quota, QuotaOf(folder)); });
  return quota;
}

// The processors that the scheduler may put this process on.
int AllowedProcessors() {
#ifdef __linux__
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

int DefaultThreads() {
  const int hardware = HardwareThreads();
  const char* wish = std::getenv("PRISMREC_THREADS");
  if (wish == nullptr) return hardware;
  const int threads = std::atoi(wish);
  return threads >= 1 ? std::min(threads, ThreadPool::kMaxThreads) : hardware;
}

}  // namespace

int HardwareThreads() {
  static const int threads = [] {
    const int hardware = std::max(1, AllowedProcessors());
    const double quota = std::ceil(CgroupQuota());
    const int granted = quota < hardware ? std::max(1, static_cast<int>(quota)) : hardware;
    return std::min(granted, ThreadPool::kMaxThreads);
  }();
  return threads;
}

// Lives on the stack of the ParallelFor that made it.
struct ThreadPool::Job {
  size_t chunks;
  const CancelFlag& cancel;
  void* body;
  Invoke invoke;
  int max_helpers;

  std::atomic<size_t> next{0};
  // Changed under the pool's mutex.
  std::atomic<int> helpers_active{0};
  // Guarded by the pool's mutex.
  int helpers_joined = 0;
  std::exception_ptr error{};
  std::condition_variable idle{};

  bool WantsHelp() const {
    return helpers_joined < max_helpers && next.load(std::memory_order_relaxed) < chunks;
  }

  void Work(int worker, std::mutex& mutex) {
    const bool outer = inside_body;
    inside_body = true;
    try {
      for (size_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
        if (cancel.Cancelled()) break;
        invoke(body, chunk, worker);
      }
    } catch (...) {
      next.store(chunks, std::memory_order_relaxed);
      const std::lock_guard<std::mutex> lock(mutex);
      if (error == nullptr) error = std::current_exception();
    }
    inside_body = outer;
  }
};

struct ThreadPool::Impl {
  std::atomic<int> threads{DefaultThreads()};
  std::mutex mutex;
  std::condition_variable work;
  // Guarded by `mutex`.
  struct Task {
    std::function<void()> run;
    const void* owner;
  };
  std::deque<Task> tasks;
  std::deque<Job*> jobs;
  int spawned = 0;
  int idle = 0;
  int waking = 0;   // of the idle ones: signalled, not yet awake
  // Changed with the mutex held, read without it too: how often a thread was asked for.
  std::atomic<size_t> calls{0};
  int running = 0;  // pool threads at work, and other threads inside a ParallelFor
  bool tidy = true;  // nothing has run since scratch memory was given back

  Job* JobInNeed() {
    for (Job* job : jobs) {
      if (job->WantsHelp()) return job;
    }
    return nullptr;
  }

  // Whether there is something to do within the budget: help for `*job`, or, where that is null,
  // the first task. A job may run out of chunks at any moment, so it is looked for once.
  bool FindWork(Job** job) {
    if (running >= threads.load(std::memory_order_relaxed)) return false;
    *job = JobInNeed();
    return *job != nullptr || !tasks.empty();
  }

  // Wakes one more thread where there is work left for it.
  void PassOn() {
    Job* job = nullptr;
    if (FindWork(&job)) TrySummon(1);
  }

  // Wakes or makes as many threads as `wanted` work can use. Mutex held.
  void Summon(int wanted) {
    const int budget = threads.load(std::memory_order_relaxed) - running;
    const int count = std::min(wanted, budget);
    for (int i = 0; i < count; ++i) {
      if (waking < idle) {
        ++waking;
        Call();
      } else if (spawned < threads.load(std::memory_order_relaxed)) {
        std::thread([this] { Loop(); }).detach();
        ++spawned;
      }
    }
  }

  // Where no thread can be made, for want of memory maybe, the present ones do the work.
  void TrySummon(int wanted) {
    try {
      Summon(wanted);
    } catch (const std::exception&) {
      Call();
    }
  }

  // One thread at least that sleeps or looks out will look for work.
  void Call() {
    calls.fetch_add(1, std::memory_order_release);
    work.notify_one();
  }

  // Where there are fewer processors than threads, looking out would take them from those who work.
  bool looks_out() const { return threads.load(std::memory_order_relaxed) <= HardwareThreads(); }

  // Looks out, then sleeps, until there may be work. The first thread for which none comes for a while
  // gives back what scratch memory all threads hold.
  void Sleep(std::unique_lock<std::mutex>& lock) {
    const size_t before = calls.load(std::memory_order_relaxed);
    const auto called = [&] { return calls.load(std::memory_order_acquire) != before; };
    if (looks_out()) {
      lock.unlock();
      LookOut(called);
      lock.lock();
    }
    if (called()) {
      // Awake already.
    } else if (tidy) {
      work.wait(lock);
    } else if (work.wait_for(lock, kTidyAfter) == std::cv_status::timeout && !tidy && running == 0) {
      tidy = true;
      lock.unlock();
      TrimWorkspaces();
      lock.lock();
    }
    // One too few after a timeout: then a thread too many is woken, never one too few.
    if (waking > 0) --waking;
  }

  void Loop() {
    pool_thread = true;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      ++idle;
      Job* job = nullptr;
      while (!FindWork(&job)) Sleep(lock);
      --idle;
      waking = std::min(waking, idle);
      ++running;
      tidy = false;
      if (job != nullptr) {
        const int worker = ++job->helpers_joined;
        ++job->helpers_active;
        PassOn();
        lock.unlock();
        {
          const ScratchScope scratch;
          job->Work(worker, mutex);
        }
        lock.lock();
        if (--job->helpers_active == 0) job->idle.notify_one();
      } else {
        std::function<void()> task = std::move(tasks.front().run);
        tasks.pop_front();
        PassOn();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
      }
      --running;
    }
  }
};

ThreadPool::ThreadPool() : impl_(new Impl) {}

ThreadPool& ThreadPool::Global() {
  static ThreadPool* const pool = new ThreadPool;
  return *pool;
}

int ThreadPool::threads() const {
  return scoped_threads > 0 ? scoped_threads : impl_->threads.load(std::memory_order_relaxed);
}

void ThreadPool::SetThreads(int threads) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->threads.store(std::clamp(threads, 1, kMaxThreads), std::memory_order_relaxed);
  impl_->calls.fetch_add(1, std::memory_order_release);
  impl_->work.notify_all();
}

void ThreadPool::Submit(std::function<void()> task, const void* owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  impl_->tasks.push_back({std::move(task), owner});
  try {
    impl_->Summon(1);
  } catch (const std::exception&) {
    if (impl_->spawned == 0) {
      impl_->tasks.pop_back();
      throw;
    }
  }
}

int ThreadPool::Withdraw(const void* owner) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::deque<Impl::Task>& tasks = impl_->tasks;
  const auto kept = std::remove_if(tasks.begin(), tasks.end(),
                                   [owner](const Impl::Task& task) { return task.owner == owner; });
  const int withdrawn = static_cast<int>(tasks.end() - kept);
  tasks.erase(kept, tasks.end());
  return withdrawn;
}

void ThreadPool::Run(size_t chunks, const CancelFlag& cancel, void* body, Invoke invoke) {
  const int workers = static_cast<int>(std::min<size_t>(chunks, threads()));
  if (workers <= 1 || inside_body) {
    for (size_t chunk = 0; chunk < chunks && !cancel.Cancelled(); ++chunk) invoke(body, chunk, 0);
    return;
  }
  Job job{chunks, cancel, body, invoke, workers - 1};
  const int self = pool_thread ? 0 : 1;
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->jobs.push_back(&job);
    impl_->running += self;
    impl_->tidy = false;
    impl_->TrySummon(workers - 1);
  }
  job.Work(0, impl_->mutex);
  if (impl_->looks_out()) {
    LookOut([&job] { return job.helpers_active.load(std::memory_order_acquire) == 0; });
  }
  std::unique_lock<std::mutex> lock(impl_->mutex);
  impl_->jobs.erase(std::find(impl_->jobs.begin(), impl_->jobs.end(), &job));
  job.idle.wait(lock, [&job] { return job.helpers_active == 0; });
  impl_->running -= self;
  if (self == 1) impl_->PassOn();
  lock.unlock();
  if (job.error != nullptr) std::rethrow_exception(job.error);
}

OpScope::OpScope() : outer_(scoped_threads) { scoped_threads = ThreadPool::Global().threads(); }
OpScope::~OpScope() { scoped_threads = outer_; }

}  // namespace prismrec
