#include "runtime/dispatch.h"

#include <string>
#include <vector>

#include "runtime/tensor_view.h"
#include "test_harness.h"

namespace prismrec {
namespace {

const Variant<int> kTable[] = {
    {"reference", Simd::kScalar, 0}, {"scalar", Simd::kScalar, 1}, {"avx2", Simd::kAvx2, 2},
    {"avx512", Simd::kAvx512, 3},    {"neon", Simd::kNeon, 4},
};

TEST(the_active_instruction_set_is_selected) {
  const Variant<int>* best = Select(kTable, nullptr);
  EXPECT_TRUE(best != nullptr);
  EXPECT_EQ(std::string(best->name), std::string(SimdName(ActiveSimd())));
  EXPECT_EQ(Select(kTable, "")->fn, best->fn);
}

TEST(every_supported_variant_can_be_forced_and_no_other) {
  for (const Variant<int>& variant : kTable) {
    const Variant<int>* selected = Select(kTable, variant.name);
    EXPECT_EQ(selected != nullptr, Supported(variant.simd));
    if (selected != nullptr) EXPECT_EQ(selected->fn, variant.fn);
  }
  const Variant<int>* selected = kTable;
  const Status status = SelectVariant(kTable, "mmx", &selected);
  EXPECT_TRUE(selected == nullptr);
  EXPECT_TRUE(status.code == StatusCode::kDeviceUnavailable);
  EXPECT_EQ(status.received, std::string("mmx"));
  EXPECT_EQ(status.expected.rfind("reference, scalar", 0), size_t{0});
}

TEST(a_table_without_the_active_set_falls_back_but_never_to_the_reference) {
  const Variant<int> few[] = {{"reference", Simd::kScalar, 0}, {"scalar", Simd::kScalar, 1}};
  EXPECT_EQ(Select(few, nullptr)->fn, 1);
  const Variant<int> none[] = {{"reference", Simd::kScalar, 0}};
  EXPECT_TRUE(Select(none, nullptr) == nullptr);
}

TEST(a_device_runs_its_variants_where_it_is_known_and_usable) {
  static bool there = false;
  const Variant<int> table[] = {{"scalar", Simd::kScalar, 1}, {"abacus", Simd::kScalar, 2}};
  EXPECT_TRUE(Select(table, "abacus") == nullptr);
  RegisterDevice({"abacus", [] { return there; },
                  [] { return DeviceUnavailable("the beads are missing", "beads", "none"); }});
  const Variant<int>* selected = nullptr;
  EXPECT_EQ(SelectVariant(table, "abacus", &selected).message, std::string("the beads are missing"));
  there = true;
  EXPECT_OK(SelectVariant(table, "abacus", &selected));
  EXPECT_EQ(selected->fn, 2);
  EXPECT_EQ(Select(table, nullptr)->fn, 1);
}

TEST(a_forced_instruction_set_is_taken_or_refused) {
  Simd simd = Simd::kNeon;
  EXPECT_OK(ResolveSimd("scalar", &simd));
  EXPECT_TRUE(simd == Simd::kScalar);
  const Status status = ResolveSimd("mmx", &simd);
  EXPECT_TRUE(status.code == StatusCode::kDeviceUnavailable);
  EXPECT_FALSE(status.hint.empty());
  EXPECT_OK(ResolveSimd("", &simd));
  EXPECT_TRUE(Supported(simd));
}

TEST(csr_matrices_are_checked_for_order_and_range) {
  const uint32_t good_ptr[] = {0, 1, 1, 3}, indices[] = {2, 0, 1};
  EXPECT_OK(CheckCsr({good_ptr, indices, nullptr, 3, 3}));
  EXPECT_TRUE(CheckCsr({good_ptr, indices, nullptr, 3, 2}).code == StatusCode::kInvalidArgument);
  const uint32_t late[] = {1, 1, 1, 3}, falling[] = {0, 2, 1, 3};
  EXPECT_TRUE(CheckCsr({late, indices, nullptr, 3, 3}).code == StatusCode::kInvalidArgument);
  EXPECT_TRUE(CheckCsr({falling, indices, nullptr, 3, 3}).code == StatusCode::kInvalidArgument);
  std::vector<uint32_t> many(200000, 4);
  const uint32_t many_ptr[] = {0, 200000};
  EXPECT_OK(CheckCsr({many_ptr, many.data(), nullptr, 1, 5}));
  many[170000] = 5;
  const Status status = CheckCsr({many_ptr, many.data(), nullptr, 1, 5});
  EXPECT_TRUE(status.code == StatusCode::kInvalidArgument);
  EXPECT_EQ(status.received, "5 at entry 170000");
  const int32_t raised = 1;
  EXPECT_TRUE(CheckCsr({good_ptr, indices, nullptr, 3, 3}, CancelFlag(&raised)).code ==
              StatusCode::kCancelled);
}

}  // namespace
}  // namespace prismrec
