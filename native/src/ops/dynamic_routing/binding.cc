#include "node/binding.h"

#include <cstdint>

#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec {
namespace {

// A synchronous call cannot be ended, so what takes forever is refused.
constexpr size_t kMostIterations = 65535;

// The extents of a problem, for the shapes of what it reads and writes.
struct Extents {
  Extent users, length, interests, dim, maps, map_cols;

  Extent vectors() const { return users * interests; }
  Extent events() const { return users * length; }
};

Extents ParseProblem(Args& from, dynamic_routing::Problem* problem) {
  Extents extents;
  extents.users = from.Size("users");
  extents.length = from.Size("length");
  extents.interests = from.Size("interests");
  extents.dim = from.Size("dim");
  extents.maps = from.Size("mapCount");
  problem->users = extents.users.value();
  problem->length = extents.length.value();
  problem->interests = extents.interests.value();
  problem->dim = extents.dim.value();
  problem->map_count = extents.maps.value();
  problem->shared = from.Bool("shared", false);
  if (problem->dim == 0 || problem->interests == 0) {
    from.Fail(InvalidArgument("dim and interests must be positive", "at least 1", "0"));
  }
  if (problem->map_count != 1 && problem->map_count < problem->length) {
    from.Fail(InvalidArgument("there must be one map or one for each position",
                              "1, or at least " + std::to_string(problem->length),
                              std::to_string(problem->map_count)));
  }
  extents.map_cols = problem->shared ? extents.dim : extents.interests * extents.dim;
  problem->lengths = from.Addresses<uint32_t>("lengths", extents.users).data;
  problem->rows = from.OptionalAddresses<uint32_t>("rows", extents.events()).data;
  if (problem->rows == nullptr) {
    problem->events = from.Matrix<float>("events", extents.events(), extents.dim).data;
  } else {
    const ArrayView<const float> table = from.Array<float>("events");
    problem->events = table.data;
    problem->table_rows = table.size / problem->dim;
  }
  problem->maps = from.Matrix<float>("maps", extents.maps * extents.dim, extents.map_cols).data;
  return extents;
}

struct DynamicRouting {
  dynamic_routing::ForwardArgs args;
  std::string variant;

  void Parse(Args& from) {
    const Extents extents = ParseProblem(from, &args.problem);
    args.iterations = from.Size("iterations").value();
    if (args.iterations == 0 || args.iterations > kMostIterations) {
      from.Fail(InvalidArgument("iterations is out of range",
                                "1 to " + std::to_string(kMostIterations),
                                std::to_string(args.iterations)));
    }
    args.initial = from.Matrix<float>("initial", extents.interests, extents.length).data;
    variant = from.VariantName();
    const Extent interests = extents.vectors();
    args.vectors = from.MutableMatrix<float>("vectors", interests, extents.dim).data;
    args.sums = from.MutableMatrix<float>("sums", interests, extents.dim).data;
    args.coefficients = from.MutableMatrix<float>("coefficients", interests, extents.length).data;
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
    const Extents extents = ParseProblem(from, &args.problem);
    const Extent interests = extents.vectors();
    args.coefficients = from.Matrix<float>("coefficients", interests, extents.length).data;
    args.sums = from.Matrix<float>("sums", interests, extents.dim).data;
    args.vector_gradient = from.Matrix<float>("vectorGradient", interests, extents.dim).data;
    variant = from.VariantName();
    args.event_gradient =
        from.MutableMatrix<float>("eventGradient", extents.events(), extents.dim).data;
    args.map_gradient =
        from.MutableMatrix<float>("mapGradient", extents.maps * extents.dim, extents.map_cols)
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
