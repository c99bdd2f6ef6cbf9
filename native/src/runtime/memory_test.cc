#include "runtime/memory.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

#include "runtime/large_pages.h"
#include "test_harness.h"

namespace prismrec {
namespace {

class Folder {
 public:
  Folder() { path_ = mkdtemp(name_); }
  ~Folder() {
    for (const char* file : {"memory.max", "memory.current", "memory.stat", "memory.limit_in_bytes",
                             "memory.usage_in_bytes"}) {
      std::remove((path_ + "/" + file).c_str());
    }
    std::remove(path_.c_str());
  }
  void Write(const char* file, const char* content) const {
    std::ofstream(path_ + "/" + file) << content;
  }
  const std::string& path() const { return path_; }

 private:
  char name_[32] = "/tmp/prismrec-memory-XXXXXX";
  std::string path_;
};

TEST(a_control_group_leaves_its_limit_less_what_is_used_and_not_cache) {
  const Folder folder;
  EXPECT_EQ(GroupHeadroom(folder.path()), SIZE_MAX);
  folder.Write("memory.max", "max\n");
  folder.Write("memory.current", "700\n");
  EXPECT_EQ(GroupHeadroom(folder.path()), SIZE_MAX);
  folder.Write("memory.max", "1000\n");
  EXPECT_EQ(GroupHeadroom(folder.path()), size_t{300});
  folder.Write("memory.stat", "anon 600\ninactive_file 50\n");
  EXPECT_EQ(GroupHeadroom(folder.path()), size_t{350});
  folder.Write("memory.max", "500\n");
  EXPECT_EQ(GroupHeadroom(folder.path()), size_t{0});
}

TEST(the_first_version_of_control_groups_is_read_too) {
  const Folder folder;
  folder.Write("memory.limit_in_bytes", "1000\n");
  folder.Write("memory.usage_in_bytes", "600\n");
  folder.Write("memory.stat", "inactive_file 1\ntotal_inactive_file 100\n");
  EXPECT_EQ(GroupHeadroom(folder.path()), size_t{500});
}

TEST(some_memory_is_left_on_this_machine) { EXPECT_GT(AvailableMemory(), size_t{1} << 20); }

size_t pretended = 0;

TEST(results_and_scratch_share_one_budget) {
  constexpr size_t kUnit = kLargeBytes;
  MemoryBudget budget([] { return pretended; });
  pretended = 10 * kUnit;
  size_t most = 0;
  EXPECT_TRUE(budget.Claim(6 * kUnit, &most));
  EXPECT_EQ(most, 10 * kUnit);
  // Nothing of it is written yet: the system still says 10.
  EXPECT_FALSE(budget.Claim(5 * kUnit, &most));
  EXPECT_EQ(most, 4 * kUnit);
  // Half of it is written: that is not counted twice.
  pretended = 7 * kUnit;
  EXPECT_TRUE(budget.Claim(4 * kUnit));
  EXPECT_FALSE(budget.Claim(kUnit));
  budget.GiveBack(6 * kUnit);
  EXPECT_TRUE(budget.Claim(6 * kUnit));
  // Another process takes what was left.
  budget.GiveBack(4 * kUnit);
  pretended = kUnit;
  EXPECT_FALSE(budget.Claim(2 * kUnit, &most));
  EXPECT_EQ(most, kUnit);
  budget.GiveBack(6 * kUnit);
  pretended = 20 * kUnit;
  EXPECT_TRUE(budget.Claim(20 * kUnit));
}

TEST(small_requests_are_not_counted) {
  MemoryBudget budget([]() -> size_t { return 0; });
  EXPECT_TRUE(budget.Claim(kLargeBytes - 1));
  budget.GiveBack(kLargeBytes - 1);
  EXPECT_FALSE(budget.Claim(kLargeBytes));
}

TEST(a_large_vector_beyond_all_memory_is_refused_before_it_is_asked_for) {
  bool refused = false;
  try {
    LargeVector<uint8_t> all(size_t{1} << 46);
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  EXPECT_TRUE(refused);
}

TEST(a_large_vector_keeps_its_values_as_it_grows) {
  LargeVector<uint32_t> values;
  for (uint32_t i = 0; i < 3u << 20; ++i) values.push_back(i);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(values.data()) % kLargePage, 0u);
  values.resize(values.size() + 5);
  bool kept = true;
  for (uint32_t i = 0; i < 3u << 20; ++i) kept = kept && values[i] == i;
  EXPECT_TRUE(kept);
  values.assign(7, 9);
  values.shrink_to_fit();
  EXPECT_TRUE((values == LargeVector<uint32_t>{9, 9, 9, 9, 9, 9, 9}));
  EXPECT_TRUE((LargeVector<float>(3, 0.0f) == LargeVector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace prismrec
