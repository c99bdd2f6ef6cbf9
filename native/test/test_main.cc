// Runs the registered tests, or those whose name contains the first argument.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

#include "test_harness.h"

namespace prismrec::test {
namespace {

struct Test {
  const char* name;
  void (*body)();
};

std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}

constexpr int kShown = 10;
int failures = 0;
std::string context;

}  // namespace

int Add(const char* name, void (*body)()) {
  Tests().push_back({name, body});
  return 0;
}

bool Reduced() { return std::getenv("PRISMREC_TEST_REDUCED") != nullptr; }

void SetContext(std::string text) { context = std::move(text); }

void Fail(const char* file, int line, const std::string& message) {
  if (++failures <= kShown) {
    std::printf("  %s:%d: %s%s%s\n", file, line, message.c_str(), context.empty() ? "" : "  with ",
                context.c_str());
  }
}

}  // namespace prismrec::test

int main(int argc, char** argv) {
  using prismrec::test::Tests;
  int passed = 0;
  int failed = 0;
  for (const auto& test : Tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    prismrec::test::failures = 0;
    prismrec::test::SetContext("");
    const auto start = std::chrono::steady_clock::now();
    try {
      test.body();
    } catch (const std::exception& error) {
      prismrec::test::Fail(test.name, 0, error.what());
    }
    const bool ok = prismrec::test::failures == 0;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%s %s (%.2f s)\n", ok ? "ok  " : "FAIL", test.name, seconds.count());
    if (ok) {
      ++passed;
    } else {
      std::printf("  %d failed expectations\n", prismrec::test::failures);
      ++failed;
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
