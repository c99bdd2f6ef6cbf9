#include "runtime/status.h"

namespace prismrec {

const char* StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusCode::kShapeMismatch:
      return "SHAPE_MISMATCH";
    case StatusCode::kNonFinite:
      return "NON_FINITE";
    case StatusCode::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case StatusCode::kCancelled:
      return "CANCELLED";
    case StatusCode::kDeviceUnavailable:
      return "DEVICE_UNAVAILABLE";
    case StatusCode::kDataFormat:
      return "DATA_FORMAT";
    case StatusCode::kFileNotFound:
      return "FILE_NOT_FOUND";
    case StatusCode::kDiskFull:
      return "DISK_FULL";
    case StatusCode::kIo:
      return "IO";
    case StatusCode::kInternal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

}  // namespace prismrec
