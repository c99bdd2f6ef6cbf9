#include "runtime/memory.h"

#include <algorithm>
#include <new>

namespace prismrec {
namespace {

// The number that a file begins with; false where there is none ("max" is none).
bool ReadNumber(const std::string& path, size_t* value) {
  std::ifstream file(path);
  return static_cast<bool>(file >> *value);
}

// The number behind a key at the beginning of a line; 0 where it is missing.
size_t ReadKey(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    size_t value = 0;
    if (word == key && file >> value) return value;
  }
  return 0;
}

}  // namespace

size_t GroupHeadroom(const std::string& folder) {
  size_t limit = 0, used = 0;
  const bool v2 = ReadNumber(folder + "/memory.max", &limit);
  if (!v2 && !ReadNumber(folder + "/memory.limit_in_bytes", &limit)) return SIZE_MAX;
  if (!ReadNumber(folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes"), &used)) {
    return SIZE_MAX;
  }
  const size_t cache =
      ReadKey(folder + "/memory.stat", v2 ? "inactive_file" : "total_inactive_file");
  used -= std::min(used, cache);
  return limit - std::min(limit, used);
}

bool MemoryBudget::Claim(size_t bytes, size_t* most) {
  if (bytes < kLargeBytes) return true;
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t available = available_();
  if (claimed_ == 0) at_first_ = available;
  // Part of what is claimed has been written to and is missing in `available` already, hence two conditions.
  const size_t left = std::min(available, at_first_ - std::min(at_first_, claimed_));
  if (most != nullptr) *most = left;
  if (bytes > left) return false;
  claimed_ += bytes;
  return true;
}

void MemoryBudget::GiveBack(size_t bytes) {
  if (bytes < kLargeBytes) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  claimed_ -= bytes;
}

MemoryBudget& ProcessMemory() {
  // Never destroyed: threads outlast what is.
  static MemoryBudget* const budget = new MemoryBudget(AvailableMemory);
  return *budget;
}

MemoryClaim::MemoryClaim(size_t bytes) : bytes_(bytes) {
  if (!ProcessMemory().Claim(bytes)) throw std::bad_alloc();
}

size_t AvailableMemory() {
  const size_t kilobytes = ReadKey("/proc/meminfo", "MemAvailable:");
  size_t available = kilobytes == 0 ? SIZE_MAX : kilobytes * 1024;
  ForEachControlGroup("memory", [&](const std::string& folder) {
    available = std::min(available, GroupHeadroom(folder));
  });
  return available;
}

}  // namespace prismrec
