// What JavaScript sees of a failed status, and what a message says of a value of JavaScript's.
#ifndef PRISMREC_NODE_ERROR_H_
#define PRISMREC_NODE_ERROR_H_

#include <napi.h>

#include <string>

#include "runtime/status.h"

namespace prismrec {

// The JavaScript Error of a failed status: `code`, `expected`, `received` and `hint` beside the
// message.
Napi::Error ToError(Napi::Env env, const Status& status);

// The kind of a value, for `received`.
std::string Describe(const Napi::Value& value);

}  // namespace prismrec

#endif  // PRISMREC_NODE_ERROR_H_
