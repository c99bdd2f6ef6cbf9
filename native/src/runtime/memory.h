// How much memory this process may still take: the machine's and its control groups', less what operations under way
// have been promised.
#ifndef PRISMREC_RUNTIME_MEMORY_H_
#define PRISMREC_RUNTIME_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>
#include <utility>

namespace prismrec {

// Bytes that an allocation can have without driving the machine into swapping or the container over
// its limit; SIZE_MAX where the system does not say.
size_t AvailableMemory();

// From this size on memory is claimed before it is asked for: the system hands it out unseen and ends the process when it
// runs short.
inline constexpr size_t kLargeBytes = size_t{64} << 20;

// What is claimed and not given back. Memory is claimed by whoever asks the system for it and given back when it has
// been written to or freed: from then on the system counts it.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t (*available)()) : available_(available) {}

  // Whether `bytes` fit beside what others have claimed; then they are claimed too. Below kLargeBytes they always do,
  // and are not counted. `most`, where it is not null, becomes what would have fitted.
  bool Claim(size_t bytes, size_t* most = nullptr);
  void GiveBack(size_t bytes);

 private:
  size_t (*available_)();
  std::mutex mutex_;
  size_t claimed_ = 0;
  size_t at_first_ = 0;  // what was available when `claimed_` rose from 0
};

// The one of this process.
MemoryBudget& ProcessMemory();

// A claim on ProcessMemory() with an owner. Throws std::bad_alloc where it does not fit.
class MemoryClaim {
 public:
  MemoryClaim() = default;
  explicit MemoryClaim(size_t bytes);
  // Of what has been claimed already.
  static MemoryClaim Adopt(size_t bytes) {
    MemoryClaim claim;
    claim.bytes_ = bytes;
    return claim;
  }
  MemoryClaim(MemoryClaim&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryClaim& operator=(MemoryClaim&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryClaim() { ProcessMemory().GiveBack(bytes_); }

 private:
  size_t bytes_ = 0;
};

// What a control group's folder leaves of its limit, file caches not counted; SIZE_MAX without one.
size_t GroupHeadroom(const std::string& folder);

// Calls visit(folder) for each control group that limits this process by `controller`, the outer
// ones too, in either version of the file system.
template <class Visit>
void ForEachControlGroup(const std::string& controller, Visit visit) {
  const std::string root = "/sys/fs/cgroup";
  visit(root);
  visit(root + "/" + controller);
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // hierarchy-id:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!controllers.empty() && !v1) continue;
    std::string path = line.substr(second + 1);
    while (path.size() > 1) {
      visit(root + (v1 ? "/" + controller : "") + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
}

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_MEMORY_H_
