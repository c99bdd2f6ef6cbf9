#include "runtime/workspace.h"

#include <atomic>
#include <mutex>
#include <thread>

#include "runtime/large_pages.h"
#include "runtime/memory.h"

namespace prismrec {
namespace {

constexpr size_t kCacheLine = 64;
// A thread that holds more does not keep it.
constexpr size_t kMostKept = size_t{256} << 20;

}  // namespace

// The workspaces of one thread.
class ThreadScratch {
 public:
  static ThreadScratch& Mine() {
    thread_local ThreadScratch mine;
    return mine;
  }

  static void TrimAll() {
    Registry& all = All();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (ThreadScratch* scratch = all.first; scratch != nullptr; scratch = scratch->next_thread_) {
      if (scratch->used_outside_ || scratch->busy_.exchange(true, std::memory_order_acquire)) continue;
      scratch->ReleaseAll();
      scratch->busy_.store(false, std::memory_order_release);
    }
  }

  void Add(Workspace* workspace) {
    workspace->next_ = first_;
    first_ = workspace;
  }
  void Remove(Workspace* workspace) {
    Workspace** at = &first_;
    while (*at != workspace) at = &(*at)->next_;
    *at = workspace->next_;
  }

  void Enter() {
    if (depth_++ > 0) return;
    while (busy_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  }
  void Leave() {
    if (--depth_ > 0) return;
    if (claimed_ > 0) {
      // By now it has been written to, and the system counts it.
      ProcessMemory().GiveBack(claimed_);
      claimed_ = 0;
    }
    if (held_ > kMostKept && !used_outside_) ReleaseAll();
    busy_.store(false, std::memory_order_release);
  }

  void NoteUse() {
    if (depth_ == 0) used_outside_ = true;
  }
  void Grew(size_t bytes) { held_ += bytes; }
  void Shrank(size_t bytes) { held_ -= bytes; }
  // Until the outermost scope ends.
  void Claim(size_t bytes) {
    if (!ProcessMemory().Claim(bytes)) throw std::bad_alloc();
    if (bytes >= kLargeBytes) claimed_ += bytes;
  }

 private:
  // A list through the threads' own memory: a thread that begins must not need any.
  struct Registry {
    std::mutex mutex;
    ThreadScratch* first = nullptr;
  };

  static Registry& All() {
    // Never destroyed: threads outlast what is.
    alignas(Registry) static char memory[sizeof(Registry)];
    static Registry* const all = new (memory) Registry;
    return *all;
  }

  ThreadScratch() {
    Registry& all = All();
    const std::lock_guard<std::mutex> lock(all.mutex);
    next_thread_ = all.first;
    all.first = this;
  }
  ~ThreadScratch() {
    Registry& all = All();
    const std::lock_guard<std::mutex> lock(all.mutex);
    ThreadScratch** at = &all.first;
    while (*at != this) at = &(*at)->next_thread_;
    *at = next_thread_;
  }

  void ReleaseAll() {
    for (Workspace* workspace = first_; workspace != nullptr; workspace = workspace->next_) {
      held_ -= workspace->bytes();
      workspace->Release();
    }
  }

  // While true the workspaces belong to whoever set it: the thread, or one that trims.
  std::atomic<bool> busy_{false};
  std::atomic<bool> used_outside_{false};
  int depth_ = 0;
  size_t held_ = 0;
  size_t claimed_ = 0;
  Workspace* first_ = nullptr;
  ThreadScratch* next_thread_ = nullptr;
};

Workspace::Workspace() {
  const ScratchScope scope;
  ThreadScratch::Mine().Add(this);
}

Workspace::~Workspace() {
  const ScratchScope scope;
  ThreadScratch& mine = ThreadScratch::Mine();
  mine.Shrank(bytes_);
  Release();
  mine.Remove(this);
}

void Workspace::Grow(size_t bytes) {
  ThreadScratch& mine = ThreadScratch::Mine();
  mine.NoteUse();
  const ScratchScope scope;
  mine.Shrank(bytes_);
  Release();
  mine.Claim(bytes);
  alignment_ = std::align_val_t{bytes < kLargePage ? kCacheLine : kLargePage};
  data_ = ::operator new(bytes, alignment_);
  bytes_ = bytes;
  mine.Grew(bytes);
  AdviseLargePages(data_, bytes);
}

void Workspace::Release() {
  if (data_ != nullptr) ::operator delete(data_, alignment_);
  data_ = nullptr;
  bytes_ = 0;
}

ScratchScope::ScratchScope() { ThreadScratch::Mine().Enter(); }
ScratchScope::~ScratchScope() { ThreadScratch::Mine().Leave(); }

void TrimWorkspaces() { ThreadScratch::TrimAll(); }

}  // namespace prismrec
