#include "runtime/binding.h"

#include <cstdint>

#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec {
namespace {

// Below 2^32, so that a product of two extents is in range.
size_t Extent(Args& from, const char* name) {
  const size_t extent = from.Size(name);
  if (extent > UINT32_MAX) {
    from.Fail(InvalidArgument(std::string(name) + " is out of range", "at most 4294967295",
                              std::to_string(extent)));
  }
  return extent;
}

dynamic_routing::Problem ParseProblem(Args& from) {
  dynamic_routing::Problem problem;
  problem.users = Extent(from, "users");
  problem.length = Extent(from, "length");
  problem.interests = Extent(from, "interests");
  problem.dim = Extent(from, "dim");
  problem.map_count = Extent(from, "mapCount");
  problem.shared = from.Bool("shared", false);
  if (problem.dim == 0 || problem.interests == 0) {
    from.Fail(InvalidArgument("dim and interests must be positive", "at least 1", "0"));
  }
  if (problem.map_count != 1 && problem.map_count < problem.length) {
    from.Fail(InvalidArgument("there must be one map or one for each position",
                              "1, or at least " + std::to_string(problem.length),
                              std::to_string(problem.map_count)));
  }
  problem.lengths = from.Array<uint32_t>("lengths", problem.users).data;
  const size_t events = problem.users * problem.length;
  problem.rows = from.OptionalArray<uint32_t>("rows", events).data;
  if (problem.rows == nullptr) {
    problem.events = from.Matrix<float>("events", events, problem.dim).data;
  } else {
    const ArrayView<const float> table = from.Array<float>("events");
    problem.events = table.data;
    problem.table_rows = problem.dim == 0 ? 0 : table.size / problem.dim;
  }
  problem.maps =
      from.Matrix<float>("maps", problem.map_count * problem.dim, problem.map_cols()).data;
  return problem;
}

struct DynamicRouting {
  dynamic_routing::ForwardArgs args;
  std::string variant;

  void Parse(Args& from) {
    const dynamic_routing::Problem& problem = args.problem = ParseProblem(from);
    args.iterations = from.Size("iterations");
    if (args.iterations == 0) {
      from.Fail(InvalidArgument("iterations must be positive", "at least 1", "0"));
    }
    args.initial = from.Matrix<float>("initial", problem.interests, problem.length).data;
    variant = from.VariantName();
    const size_t interests = problem.users * problem.interests;
    args.vectors = from.MutableMatrix<float>("vectors", interests, problem.dim).data;
    args.sums = from.MutableMatrix<float>("sums", interests, problem.dim).data;
    args.coefficients = from.MutableMatrix<float>("coefficients", interests, problem.length).data;
  }

  Status Execute(const CancelFlag& cancel) {
    return dynamic_routing::Forward(variant.c_str(), args, cancel);
  }

  void Resolve(Result&) {}
};

struct DynamicRoutingGrad {
  dynamic_routing::BackwardArgs args;
  std::string variant;

  void Parse(Args& from) {
    const dynamic_routing::Problem& problem = args.problem = ParseProblem(from);
    const size_t interests = problem.users * problem.interests;
    args.coefficients = from.Matrix<float>("coefficients", interests, problem.length).data;
    args.sums = from.Matrix<float>("sums", interests, problem.dim).data;
    args.vector_gradient = from.Matrix<float>("vectorGradient", interests, problem.dim).data;
    variant = from.VariantName();
    args.event_gradient =
        from.MutableMatrix<float>("eventGradient", problem.users * problem.length, problem.dim)
            .data;
    args.map_gradient =
        from.MutableMatrix<float>("mapGradient", problem.map_count * problem.dim,
                                  problem.map_cols())
            .data;
  }

  Status Execute(const CancelFlag& cancel) {
    return dynamic_routing::Backward(variant.c_str(), args, cancel);
  }

  void Resolve(Result&) {}
};

}  // namespace

void RegisterDynamicRouting(Napi::Env env, Napi::Object exports) {
  ExportOp<DynamicRouting>(env, exports, "dynamicRouting");
  ExportOp<DynamicRoutingGrad>(env, exports, "dynamicRoutingGrad");
}

}  // namespace prismrec
