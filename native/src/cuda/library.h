// The library that holds the CUDA variants: built apart, opened at run time, so that an installation without it knows
// nothing of CUDA.
#ifndef PRISMREC_CUDA_LIBRARY_H_
#define PRISMREC_CUDA_LIBRARY_H_

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/cancel.h"
#include "runtime/status.h"

namespace prismrec::contrastive_loss {
struct Args;
struct Outputs;
}  // namespace prismrec::contrastive_loss
namespace prismrec::softmax_loss {
struct Args;
struct Outputs;
}  // namespace prismrec::softmax_loss
namespace prismrec::similarity_search {
struct Query;
struct Outputs;
}  // namespace prismrec::similarity_search
namespace prismrec::dynamic_routing {
struct ForwardArgs;
struct BackwardArgs;
}  // namespace prismrec::dynamic_routing
namespace prismrec::max_cover {
struct Problem;
struct Selection;
}  // namespace prismrec::max_cover

namespace prismrec::cuda {

struct Device {
  std::string name;
  int capability = 0;  // 80: compute capability 8.0
  size_t memory_bytes = 0;
  size_t free_bytes = 0;
};

struct Report {
  std::string library;  // path; empty where none was found
  int driver = 0;       // 12040: 12.4; 0 where there is none
  int runtime = 0;
  std::vector<Device> devices;
  Status status;  // ok: operations run on it
};

// What the library exports as `prismrec_cuda_library`. It shares structures of C++ with its caller, hence the tag.
struct Library {
  const char* abi;
  void (*describe)(Report* report);
  Status (*contrastive_loss)(const contrastive_loss::Args&, contrastive_loss::Outputs*, const CancelFlag&);
  Status (*softmax_loss)(const softmax_loss::Args&, softmax_loss::Outputs*, const CancelFlag&);
  Status (*similarity_search)(const similarity_search::Query&, const similarity_search::Outputs&, const CancelFlag&);
  Status (*dynamic_routing_forward)(const dynamic_routing::ForwardArgs&, const CancelFlag&);
  Status (*dynamic_routing_backward)(const dynamic_routing::BackwardArgs&, const CancelFlag&);
  Status (*max_cover)(const max_cover::Problem&, const CancelFlag&, max_cover::Selection* by_gain,
                      max_cover::Selection* by_ratio);
};

#define PRISMREC_CUDA_TEXT_(x) #x
#define PRISMREC_CUDA_TEXT(x) PRISMREC_CUDA_TEXT_(x)
#if defined(_GLIBCXX_USE_CXX11_ABI)
#define PRISMREC_CUDA_STRINGS PRISMREC_CUDA_TEXT(_GLIBCXX_USE_CXX11_ABI)
#else
#define PRISMREC_CUDA_STRINGS "other"
#endif
// Raised with every change of a structure that crosses the border.
inline constexpr const char* kAbi = "prismrec-cuda 3, strings " PRISMREC_CUDA_STRINGS;

// The library of this process, opened by the first call: PRISMREC_CUDA_LIBRARY, else prismrec_cuda.so beside the addon.
// Null where it cannot be used; `Describe().status` says why.
const Library* TheLibrary();
const Report& Describe();

}  // namespace prismrec::cuda

#endif  // PRISMREC_CUDA_LIBRARY_H_
