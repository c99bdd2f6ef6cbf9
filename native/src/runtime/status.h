// What an operation answers: everything that may go wrong is a value with a code that JavaScript
// can branch on. No exception crosses the boundary to JavaScript.
#ifndef PRISMREC_RUNTIME_STATUS_H_
#define PRISMREC_RUNTIME_STATUS_H_

#include <string>
#include <utility>

namespace prismrec {

enum class StatusCode {
  kOk,
  kInvalidArgument,
  kShapeMismatch,
  kNonFinite,
  kOutOfMemory,
  kCancelled,
  kDeviceUnavailable,
  kDataFormat,
  kFileNotFound,
  kDiskFull,
  kIo,
  kInternal,
};

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::kOk;
  std::string message;
  // What would have been right, what was there, and what to do next; each may be empty.
  std::string expected;
  std::string received;
  std::string hint;

  bool ok() const { return code == StatusCode::kOk; }
  static Status Ok() { return {}; }
};

inline Status MakeStatus(StatusCode code, std::string message, std::string expected = {},
                         std::string received = {}, std::string hint = {}) {
  return {code, std::move(message), std::move(expected), std::move(received), std::move(hint)};
}

inline Status InvalidArgument(std::string message, std::string expected = {},
                              std::string received = {}, std::string hint = {}) {
  return MakeStatus(StatusCode::kInvalidArgument, std::move(message), std::move(expected),
                    std::move(received), std::move(hint));
}

inline Status ShapeMismatch(std::string message, std::string expected = {},
                            std::string received = {}, std::string hint = {}) {
  return MakeStatus(StatusCode::kShapeMismatch, std::move(message), std::move(expected),
                    std::move(received), std::move(hint));
}

inline Status NonFinite(std::string message, std::string expected = {}, std::string received = {},
                        std::string hint = {}) {
  return MakeStatus(StatusCode::kNonFinite, std::move(message), std::move(expected),
                    std::move(received), std::move(hint));
}

inline Status OutOfMemory(std::string message, std::string expected = {}, std::string received = {},
                          std::string hint = {}) {
  return MakeStatus(StatusCode::kOutOfMemory, std::move(message), std::move(expected),
                    std::move(received), std::move(hint));
}

inline Status Cancelled() {
  return MakeStatus(StatusCode::kCancelled, "the operation was cancelled");
}

inline Status DeviceUnavailable(std::string message, std::string expected = {},
                                std::string received = {}, std::string hint = {}) {
  return MakeStatus(StatusCode::kDeviceUnavailable, std::move(message), std::move(expected),
                    std::move(received), std::move(hint));
}

inline Status Internal(std::string message) {
  return MakeStatus(StatusCode::kInternal, std::move(message));
}

// The code as JavaScript sees it, e.g. "SHAPE_MISMATCH".
const char* StatusCodeName(StatusCode code);

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_STATUS_H_
