#include "ops/prefix_attention/prefix_attention.h"
#include "ops/tensor_kernels/arguments.h"

namespace prismrec::prefix_attention {
namespace {

using tensor::Arguments;
using tensor::Array;

// lengths: Uint32Array, clusters: Int16Array, positions: Int32Array, length, collaborative,
// clusterCount from argument `at` on
template <size_t N>
Problem ParseProblem(Arguments<N>& args, size_t at) {
  Problem problem;
  problem.length = args.Size(at + 3);
  problem.collaborative = args.Size(at + 4);
  problem.cluster_count = args.Size(at + 5);
  const Array lengths = args.Typed(at, napi_uint32_array, 0);
  problem.users = lengths.length;
  problem.lengths = lengths.as<uint32_t>();
  problem.clusters =
      args.Typed(at + 1, napi_int16_array, problem.users * problem.length).template as<int16_t>();
  const Array positions = args.Typed(at + 2, napi_int32_array, 0);
  problem.position_count = problem.users == 0 ? 0 : positions.length / problem.users;
  problem.positions = positions.as<int32_t>();
  if (args.ok()) args.Fail(Check(problem));
  return problem;
}

size_t LogitSize(const Problem& p) { return p.users * p.logit_rows() * p.length; }
size_t WeightSize(const Problem& p) {
  return p.users * p.position_count * p.interests() * p.length;
}

// (logits, weights, problem: 6 arguments)
napi_value ForwardCall(napi_env env, napi_callback_info info) {
  Arguments<8> args(env, info, "prefixAttention");
  const Problem problem = ParseProblem(args, 2);
  const float* logits = args.Floats(0, LogitSize(problem));
  float* weights = args.Floats(1, WeightSize(problem));
  if (args.ok()) Forward(problem, logits, weights);
  return args.Result();
}

// (weights, dweights, dlogits, problem: 6 arguments)
napi_value BackwardCall(napi_env env, napi_callback_info info) {
  Arguments<9> args(env, info, "prefixAttentionGrad");
  const Problem problem = ParseProblem(args, 3);
  const float* weights = args.Floats(0, WeightSize(problem));
  const float* dweights = args.Floats(1, WeightSize(problem));
  float* dlogits = args.Floats(2, LogitSize(problem));
  if (args.ok()) Backward(problem, weights, dweights, dlogits);
  return args.Result();
}

}  // namespace
}  // namespace prismrec::prefix_attention

namespace prismrec {

void RegisterPrefixAttention(Napi::Env env, Napi::Object exports) {
  using namespace prefix_attention;  // NOLINT: the calls of this file
  tensor::Export<ForwardCall>(env, exports, "prefixAttention");
  tensor::Export<BackwardCall>(env, exports, "prefixAttentionGrad");
}

}  // namespace prismrec
