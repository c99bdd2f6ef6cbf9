// A request to stop early, polled between chunks of work.
#ifndef PRISMREC_RUNTIME_CANCEL_H_
#define PRISMREC_RUNTIME_CANCEL_H_

#include <atomic>
#include <cstdint>

namespace prismrec {

class CancelFlag {
 public:
  // Never cancelled.
  CancelFlag() = default;
  // `slot`: a word of a SharedArrayBuffer that JavaScript turns to non-zero; `closing`: the
  // runtime's own wish, e.g. because the environment goes away. Either may be null; both must
  // outlive the flag.
  explicit CancelFlag(const int32_t* slot, const std::atomic<bool>* closing = nullptr)
      : slot_(slot), closing_(closing) {}

  bool Cancelled() const {
    if (slot_ != nullptr && __atomic_load_n(slot_, __ATOMIC_RELAXED) != 0) return true;
    return closing_ != nullptr && closing_->load(std::memory_order_relaxed);
  }

 private:
  const int32_t* slot_ = nullptr;
  const std::atomic<bool>* closing_ = nullptr;
};

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_CANCEL_H_
