#include "node/positional.h"
#include "ops/embedding_rows/embedding_rows.h"
#include "runtime/large_pages.h"

namespace prismrec::embedding_rows {
namespace {

using positional::Arguments;
using Array = JsArray;

// The ids of a call, each below `rows` or, where `none` allows it, kNoRow.
template <size_t N>
const uint32_t* Ids(Arguments<N>& args, size_t at, size_t rows, bool none, size_t* count) {
  const ArrayView<const uint32_t> ids = args.template Addresses<uint32_t>(at);
  *count = ids.size;
  const auto inside = [rows, none](uint32_t id) { return id < rows || (none && id == kNoRow); };
  // Seldom is there anything to report, and a loop without a way out takes several ids at a time.
  bool all = true;
  for (size_t i = 0; i < ids.size; ++i) all &= inside(ids[i]);
  for (size_t i = 0; !all && args.ok() && i < ids.size; ++i) {
    if (inside(ids[i])) continue;
    args.Fail(InvalidArgument("row id at position " + std::to_string(i) + " is outside the table",
                              "0 <= id < " + std::to_string(rows), std::to_string(ids[i])));
  }
  return ids.data;
}

template <size_t N>
AdamOptions Options(Arguments<N>& args, size_t at) {
  AdamOptions options;
  options.learning_rate = args.Number(at);
  options.beta1 = args.Number(at + 1);
  options.beta2 = args.Number(at + 2);
  options.epsilon = args.Number(at + 3);
  options.weight_decay = args.Number(at + 4);
  options.gradient_scale = args.Number(at + 5);
  return options;
}

const Spans& ActiveSpans() {
  static const Spans* const spans = SpansNamed(nullptr);
  return *spans;
}

// (values, m, v, gradients, step, learningRate, beta1, beta2, epsilon, weightDecay, gradientScale)
napi_value AdamCall(napi_env env, napi_callback_info info) {
  Arguments<11> args(env, info, "embeddingAdam");
  const Array values = args.Written(0, napi_float32_array, 0);
  float* m = args.WrittenFloats(1, values.length);
  float* v = args.WrittenFloats(2, values.length);
  const float* gradients = args.Floats(3, values.length);
  const size_t step = args.Size(4).value();
  const AdamOptions options = Options(args, 5);
  if (args.ok()) {
    Adam(ActiveSpans(), FactorsAt(options, step), values.as<float>(), m, v, gradients,
         values.length);
  }
  return args.Result();
}

// (table, m, v, steps: Uint32Array, ids: Uint32Array, gradients, cols, perRow, step, learningRate,
// beta1, beta2, epsilon, weightDecay, gradientScale)
napi_value LazyAdamCall(napi_env env, napi_callback_info info) {
  Arguments<15> args(env, info, "embeddingLazyAdam");
  const Array table = args.Written(0, napi_float32_array, 0);
  float* m = args.WrittenFloats(1, table.length);
  float* v = args.WrittenFloats(2, table.length);
  const size_t cols = args.Size(6).value();
  const size_t rows = cols == 0 ? 0 : table.length / cols;
  const Array steps = args.Written(3, napi_uint32_array, rows);
  size_t count = 0;
  const uint32_t* ids = Ids(args, 4, rows, false, &count);
  for (size_t i = 1; args.ok() && i < count; ++i) {
    // Two threads must not meet in one row.
    if (ids[i] <= ids[i - 1]) {
      args.Fail(InvalidArgument("row ids of an update must be distinct and ascending",
                                "more than " + std::to_string(ids[i - 1]),
                                std::to_string(ids[i]) + " at position " + std::to_string(i)));
    }
  }
  const float* gradients = args.Floats(5, Extent(count) * cols);
  const bool per_row = args.Flag(7);
  const size_t step = args.Size(8).value();
  const AdamOptions options = Options(args, 9);
  if (args.ok()) {
    LazyAdam(ActiveSpans(), options,
             {table.as<float>(), m, v, steps.as<uint32_t>(), ids, gradients, count, cols, per_row,
              step});
  }
  return args.Result();
}

// (table, ids: Uint32Array, out, cols)
napi_value GatherRowsCall(napi_env env, napi_callback_info info) {
  Arguments<4> args(env, info, "embeddingGatherRows");
  const Array table = args.Typed(0, napi_float32_array, 0);
  const size_t cols = args.Size(3).value();
  size_t count = 0;
  const uint32_t* ids = Ids(args, 1, cols == 0 ? 0 : table.length / cols, true, &count);
  float* out = args.WrittenFloats(2, Extent(count) * cols);
  if (args.ok()) GatherRows(ActiveSpans(), table.as<float>(), ids, out, count, cols);
  return args.Result();
}

// (table, ids: Uint32Array, rows, cols)
napi_value ScatterAddRowsCall(napi_env env, napi_callback_info info) {
  Arguments<4> args(env, info, "embeddingScatterAddRows");
  const Array table = args.Written(0, napi_float32_array, 0);
  const size_t cols = args.Size(3).value();
  const size_t table_rows = cols == 0 ? 0 : table.length / cols;
  size_t count = 0;
  const uint32_t* ids = Ids(args, 1, table_rows, true, &count);
  const float* rows = args.Floats(2, Extent(count) * cols);
  if (args.ok()) {
    ScatterAddRows(ActiveSpans(), table.as<float>(), table_rows, ids, rows, count, cols);
  }
  return args.Result();
}

// (ids: Uint32Array, inverse: Int32Array) -> unique: Uint32Array
napi_value UniqueRowsCall(napi_env env, napi_callback_info info) {
  Arguments<2> args(env, info, "embeddingUniqueRows");
  const ArrayView<const uint32_t> ids = args.Addresses<uint32_t>(0);
  const Array inverse = args.Written(1, napi_int32_array, ids.size);
  if (!args.ok()) return args.Result();
  return args.Words(UniqueRows(ids.data, ids.size, inverse.as<int32_t>()));
}

// (ids: Uint32Array, parts: Float32Array[], out, cols) -> distinct ids: Uint32Array
napi_value MergeRowsCall(napi_env env, napi_callback_info info) {
  Arguments<4> args(env, info, "embeddingMergeRows");
  const std::vector<ArrayView<const float>> arrays = args.FloatArrays(1);
  const ArrayView<const uint32_t> ids = args.Addresses<uint32_t>(0);
  const size_t cols = args.Size(3).value();
  float* out = args.WrittenFloats(2, Extent(ids.size) * cols);
  std::vector<RowPart> parts;
  size_t total = 0;
  for (const ArrayView<const float>& part : arrays) {
    parts.push_back({part.data, cols == 0 ? 0 : part.size / cols});
    total += parts.back().count;
  }
  if (total != ids.size) {
    args.Fail(ShapeMismatch("the parts do not have as many rows as there are ids",
                            std::to_string(ids.size), std::to_string(total)));
  }
  if (!args.ok()) return args.Result();
  const RowGroups groups = GroupRows(ids.data, ids.size);
  SumGroups(ActiveSpans(), groups, parts, out, cols);
  return args.Words(groups.ids);
}

// (table)
napi_value AdviseLargePagesCall(napi_env env, napi_callback_info info) {
  Arguments<1> args(env, info, "embeddingAdviseLargePages");
  const Array table = args.Typed(0, napi_float32_array, 0);
  if (args.ok()) AdviseLargePages(table.as<float>(), table.length * sizeof(float));
  return args.Result();
}

// (arrays: Float32Array[]) -> sum of squares
napi_value SquaredNormCall(napi_env env, napi_callback_info info) {
  Arguments<1> args(env, info, "embeddingSquaredNorm");
  const std::vector<ArrayView<const float>> arrays = args.FloatArrays(0);
  if (!args.ok()) return args.Result();
  return Napi::Number::New(Napi::Env(env), SquaredNorm(ActiveSpans(), arrays));
}

}  // namespace
}  // namespace prismrec::embedding_rows

namespace prismrec {

void RegisterEmbeddingRows(Napi::Env env, Napi::Object exports) {
  using namespace embedding_rows;  // NOLINT: the calls of this file
  positional::Export<AdamCall>(env, exports, "embeddingAdam");
  positional::Export<LazyAdamCall>(env, exports, "embeddingLazyAdam");
  positional::Export<GatherRowsCall>(env, exports, "embeddingGatherRows");
  positional::Export<ScatterAddRowsCall>(env, exports, "embeddingScatterAddRows");
  positional::Export<UniqueRowsCall>(env, exports, "embeddingUniqueRows");
  positional::Export<MergeRowsCall>(env, exports, "embeddingMergeRows");
  positional::Export<AdviseLargePagesCall>(env, exports, "embeddingAdviseLargePages");
  positional::Export<SquaredNormCall>(env, exports, "embeddingSquaredNorm");
}

}  // namespace prismrec
