#include <limits>
#include <string>

#include "ops/max_cover/max_cover.h"
#include "node/binding.h"

namespace prismrec {
namespace {

struct MaxCover {
  max_cover::Args args;
  max_cover::Outputs outputs;
  std::string variant;

  void Parse(Args& from) {
    args.sets = from.Csr("indptr", "indices", from.Size("elementCount"));
    // Of each element what covers it, its worth and how often it occurs.
    from.ClaimScratch(Extent(args.sets.cols) * 16);
    args.weights = from.OptionalArray<float>("weights", args.sets.cols).data;
    args.costs = from.OptionalArray<float>("costs", args.sets.rows).data;
    args.max_sets = from.Size("maxSets").value();
    args.max_cost = from.Number("maxCost", std::numeric_limits<double>::infinity());
    args.repeats = Whole(from, "repeats");
    args.min_gain = from.Number("minGain");
    args.sample_loss = from.Number("sampleLoss");
    args.seed = Whole(from, "seed");
    const std::string solver = from.String("solver");
    if (solver == "exact") {
      args.solver = max_cover::Solver::kExact;
    } else if (solver == "lazy") {
      args.solver = max_cover::Solver::kLazy;
    } else if (solver == "stochastic") {
      args.solver = max_cover::Solver::kStochastic;
    } else {
      from.Fail(InvalidArgument("unknown solver", "\"exact\", \"lazy\" or \"stochastic\"", solver));
    }
    variant = from.VariantName();
  }

  Status Execute(const CancelFlag& cancel) {
    return max_cover::Run(variant.c_str(), args, &outputs, cancel);
  }

  void Resolve(Result& result) {
    result.Set("selected", outputs.selected);
    result.Set("gains", outputs.gains);
    result.Set("value", outputs.value);
    result.Set("attainable", outputs.attainable);
    result.Set("upperBound", outputs.upper_bound);
    result.Set("cost", outputs.cost);
    result.Set("rule", outputs.by_ratio ? "ratio" : "gain");
  }

 private:
  static uint32_t Whole(Args& from, const char* name) {
    const size_t value = from.Size(name).value();
    if (value > std::numeric_limits<uint32_t>::max()) {
      from.Fail(InvalidArgument(std::string(name) + " is too large", "below 2^32",
                                std::to_string(value)));
    }
    return static_cast<uint32_t>(value);
  }
};

}  // namespace

void RegisterMaxCover(Napi::Env env, Napi::Object exports) {
  ExportOp<MaxCover>(env, exports, "maxCover");
}

}  // namespace prismrec
