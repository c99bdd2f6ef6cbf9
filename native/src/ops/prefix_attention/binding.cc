#include "node/positional.h"
#include "ops/prefix_attention/prefix_attention.h"

namespace prismrec::prefix_attention {
namespace {

using positional::Arguments;

Extent LogitSize(const Problem& p, size_t users) {
  return Extent(users) * (Extent(p.collaborative) + 1) * p.length;
}
Extent WeightSize(const Problem& p, size_t users, size_t positions) {
  return Extent(users) * positions * (Extent(p.collaborative) + p.cluster_count) * p.length;
}

// lengths: Uint32Array, clusters: Int16Array, positions: Int32Array, length, collaborative,
// clusterCount from argument `at` on
template <size_t N>
Problem ParseProblem(Arguments<N>& args, size_t at) {
  Problem problem;
  const Extent length = args.Size(at + 3), collaborative = args.Size(at + 4),
               cluster_count = args.Size(at + 5);
  problem.length = length.value();
  problem.collaborative = collaborative.value();
  problem.cluster_count = cluster_count.value();
  const ArrayView<const uint32_t> lengths = args.template Addresses<uint32_t>(at);
  problem.users = lengths.size;
  problem.lengths = lengths.data;
  problem.clusters =
      args.template Addresses<int16_t>(at + 1, Extent(problem.users) * length).data;
  const ArrayView<const int32_t> positions = args.template Addresses<int32_t>(at + 2);
  problem.position_count = problem.users == 0 ? 0 : positions.size / problem.users;
  problem.positions = positions.data;
  // Scratch of one user, whatever the number of users and positions.
  if (args.ok() && (LogitSize(problem, 1) + WeightSize(problem, 1, 1)).beyond()) {
    args.Fail(StatusCode::kShapeMismatch, "interests of an event", "less than 2^53 elements",
              "2^53 or more");
  }
  if (args.ok()) args.Fail(Check(problem));
  return problem;
}

// (logits, weights, problem: 6 arguments)
napi_value ForwardCall(napi_env env, napi_callback_info info) {
  Arguments<8> args(env, info, "prefixAttention");
  const Problem problem = ParseProblem(args, 2);
  const float* logits = args.Floats(0, LogitSize(problem, problem.users));
  float* weights = args.WrittenFloats(1, WeightSize(problem, problem.users, problem.position_count));
  if (args.ok()) Forward(problem, logits, weights);
  return args.Result();
}

// (weights, dweights, dlogits, problem: 6 arguments)
napi_value BackwardCall(napi_env env, napi_callback_info info) {
  Arguments<9> args(env, info, "prefixAttentionGrad");
  const Problem problem = ParseProblem(args, 3);
  const float* weights = args.Floats(0, WeightSize(problem, problem.users, problem.position_count));
  const float* dweights = args.Floats(1, WeightSize(problem, problem.users, problem.position_count));
  float* dlogits = args.WrittenFloats(2, LogitSize(problem, problem.users));
  if (args.ok()) Backward(problem, weights, dweights, dlogits);
  return args.Result();
}

}  // namespace
}  // namespace prismrec::prefix_attention

namespace prismrec {

void RegisterPrefixAttention(Napi::Env env, Napi::Object exports) {
  using namespace prefix_attention;  // NOLINT: the calls of this file
  positional::Export<ForwardCall>(env, exports, "prefixAttention");
  positional::Export<BackwardCall>(env, exports, "prefixAttentionGrad");
}

}  // namespace prismrec
