#include <memory>
#include <utility>

#include "ops/similarity_search/similarity_search.h"
#include "node/binding.h"

namespace prismrec {
namespace {

using similarity_search::Index;
using similarity_search::Metric;
using similarity_search::Readout;

// What a JavaScript handle owns. Searches share the index, so that a release does not wait for them.
struct IndexHandle {
  std::shared_ptr<const Index> index;
};

constexpr napi_type_tag kIndexTag = {0x6c7f1d40b8e24a55ULL, 0x9e03b5a2417dc8f6ULL};

void Account(Napi::Env env, const Index& index, int sign) {
  Napi::MemoryManagement::AdjustExternalMemory(env, sign * static_cast<int64_t>(index.bytes()));
}

Napi::Value Wrap(Napi::Env env, std::unique_ptr<Index> index) {
  Account(env, *index, 1);
  auto* handle = new IndexHandle{std::move(index)};
  auto external = Napi::External<IndexHandle>::New(env, handle, [](Napi::Env of, IndexHandle* owned) {
    if (owned->index) Account(of, *owned->index, -1);
    delete owned;
  });
  external.TypeTag(&kIndexTag);
  return external;
}

IndexHandle* Unwrap(Napi::Env env, const Napi::Value& value) {
  if (value.IsExternal() && value.As<Napi::External<IndexHandle>>().CheckTypeTag(&kIndexTag)) {
    return value.As<Napi::External<IndexHandle>>().Data();
  }
  throw ToError(env, InvalidArgument("index is not a handle of similarityIndexBuild", "a handle",
                                     "something else"));
}

std::shared_ptr<const Index> OpenIndex(Napi::Env env, const Napi::Value& value) {
  std::shared_ptr<const Index> index = Unwrap(env, value)->index;
  if (!index) {
    throw ToError(env, InvalidArgument("the index has been released", "an open index", "a released one"));
  }
  return index;
}

// Whether the field is the second of two names; anything but the two is an error.
bool IsSecond(Args& from, const char* field, const char* first, const char* second) {
  const std::string value = from.String(field);
  if (value != first && value != second) {
    from.Fail(InvalidArgument(std::string("unknown ") + field,
                              "\"" + std::string(first) + "\" or \"" + second + "\"", value));
  }
  return value == second;
}

struct Build {
  MatrixView<const float> items;
  const float* bias = nullptr;
  Metric metric = Metric::kDot;
  std::unique_ptr<Index> index;

  void Parse(Args& args) {
    const Extent rows = args.Size("rows"), cols = args.Size("cols");
    items = args.Matrix<float>("items", rows, cols);
    bias = args.OptionalArray<float>("bias", rows).data;
    metric = IsSecond(args, "metric", "dot", "cosine") ? Metric::kCosine : Metric::kDot;
  }

  Status Execute(const CancelFlag& cancel) {
    return Index::Build(items, bias, metric, ThreadPool::Global(), cancel, &index);
  }

  void Resolve(Result& result) { result.Return(Wrap(result.env(), std::move(index))); }
};

struct Open {
  std::string path;
  bool mapped = false;
  std::unique_ptr<Index> index;

  void Parse(Args& args) {
    path = args.String("path");
    mapped = args.Bool("mapped", false);
  }
  Status Execute(const CancelFlag& cancel) {
    return Index::Open(path, mapped, ThreadPool::Global(), cancel, &index);
  }
  void Resolve(Result& result) { result.Return(Wrap(result.env(), std::move(index))); }
};

struct Save {
  std::shared_ptr<const Index> index;
  std::string path;

  void Parse(Args& args) {
    index = OpenIndex(args.env(), args.Get("index"));
    path = args.String("path");
  }
  Status Execute(const CancelFlag& cancel) {
    return index->Save(path, ThreadPool::Global(), cancel);
  }
  void Resolve(Result&) {}
};

struct Search {
  std::shared_ptr<const Index> index;
  similarity_search::Args args;
  similarity_search::Outputs outputs;
  similarity_search::Touched touched;
  std::string variant;
  Buffer<uint32_t> ids, counts;
  Buffer<float> scores;
  Buffer<uint16_t> interests;

  void Parse(Args& from) {
    index = OpenIndex(from.env(), from.Get("index"));
    const Extent queries = from.Size("queryCount");
    args.index = index.get();
    args.interests_per_query = from.Size("interestsPerQuery").value();
    args.k = from.Size("k").value();
    if (args.interests_per_query < 1 || args.interests_per_query > similarity_search::kMaxInterests) {
      from.Fail(InvalidArgument("interestsPerQuery is out of range",
                                "1 to " + std::to_string(similarity_search::kMaxInterests),
                                std::to_string(args.interests_per_query)));
    }
    if (args.k < 1 || args.k > index->rows()) {
      from.Fail(InvalidArgument("k is out of range", "1 to " + std::to_string(index->rows()),
                                std::to_string(args.k)));
    }
    args.queries =
        from.Matrix<float>("queries", queries * args.interests_per_query, index->cols());
    // Which interests are present decides how many rows a query has.
    args.offsets =
        from.OptionalAddresses<float>("offsets", queries * args.interests_per_query).data;
    args.readout =
        IsSecond(from, "readout", "max", "log-sum-exp") ? Readout::kLogSumExp : Readout::kMax;
    if (from.Has("excludeIndptr")) {
      args.exclude =
          from.Csr("excludeIndptr", "excludeIndices", nullptr, queries, index->rows());
    }
    args.filter = from.OptionalArray<uint32_t>("filter", (index->rows() + 31) / 32).data;
    if (from.Has("additiveIndptr")) {
      args.sparse_additive =
          from.Csr("additiveIndptr", "additiveIndices", "additive", queries, index->rows());
    } else if (from.Has("additive")) {
      args.additive = from.Matrix<float>("additive", queries, index->rows());
    }
    variant = from.VariantName();
    outputs.touched = &touched;
    outputs.ids = (ids = from.Allocate<uint32_t>(queries * args.k)).data;
    outputs.scores = (scores = from.Allocate<float>(queries * args.k)).data;
    outputs.interests = (interests = from.Allocate<uint16_t>(queries * args.k)).data;
    outputs.counts = (counts = from.Allocate<uint32_t>(queries)).data;
  }

  Status Execute(const CancelFlag& cancel) {
    return similarity_search::Run(variant.c_str(), args, outputs, ThreadPool::Global(), cancel);
  }

  void Resolve(Result& result) {
    result.Set("ids", ids);
    result.Set("scores", scores);
    result.Set("interests", interests);
    result.Set("counts", counts);
    result.Set("read", static_cast<double>(touched.read));
    result.Set("scored", static_cast<double>(touched.scored));
  }
};

Napi::Value Info(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Index> index = OpenIndex(info.Env(), info[0]);
  Napi::Object about = Napi::Object::New(info.Env());
  about.Set("rows", static_cast<double>(index->rows()));
  about.Set("cols", static_cast<double>(index->cols()));
  about.Set("metric", index->metric() == Metric::kDot ? "dot" : "cosine");
  about.Set("bytes", static_cast<double>(index->bytes()));
  return about;
}

Napi::Value Release(const Napi::CallbackInfo& info) {
  IndexHandle* handle = Unwrap(info.Env(), info[0]);
  if (handle->index) Account(info.Env(), *handle->index, -1);
  handle->index.reset();
  return info.Env().Undefined();
}

}  // namespace

void RegisterSimilaritySearch(Napi::Env env, Napi::Object exports) {
  ExportOp<Build>(env, exports, "similarityIndexBuild");
  ExportOp<Search>(env, exports, "similaritySearch");
  ExportOp<Open>(env, exports, "similarityIndexOpen");
  ExportOp<Save>(env, exports, "similarityIndexSave");
  ExportFunction(env, exports, "similarityIndexInfo", Info);
  ExportFunction(env, exports, "similarityIndexRelease", Release);
}

}  // namespace prismrec
