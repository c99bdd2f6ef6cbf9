#include <cmath>

#include "ops/contrastive_loss/contrastive_loss.h"
#include "node/binding.h"

namespace prismrec {
namespace {

struct ContrastiveLoss {
  contrastive_loss::Args args;
  contrastive_loss::Outputs outputs;
  std::string variant;
  Buffer<float> row_losses, row_gradient, positive_gradient, negative_gradient;

  void Parse(Args& from) {
    using contrastive_loss::Kind;
    const Extent n = from.Size("rowCount"), dim = from.Size("dim");
    if (dim == 0) from.Fail(InvalidArgument("dim must be positive", "at least 1", "0"));
    args.kind = Choice(from, "kind", "info-nce", "supervised") ? Kind::kSupervised : Kind::kInfoNce;
    args.similarity = Choice(from, "similarity", "cosine", "dot")
                          ? contrastive_loss::Similarity::kDot
                          : contrastive_loss::Similarity::kCosine;
    args.temperature = static_cast<float>(from.Number("temperature"));
    if (!(args.temperature > 0) || std::isinf(args.temperature)) {
      from.Fail(InvalidArgument("temperature must be a positive number", "> 0",
                                std::to_string(args.temperature)));
    }
    // "none" needs no name here: the gradients are those of the sum, and the row losses are always
    // there.
    args.reduction = Choice(from, "reduction", "mean", "sum") ? contrastive_loss::Reduction::kSum
                                                              : contrastive_loss::Reduction::kMean;
    args.rows = from.Matrix<float>("rows", n, dim);
    if (args.kind == Kind::kSupervised) {
      args.groups = from.Addresses<int32_t>("groups", n).data;
      args.labels = from.Addresses<int32_t>("labels", n).data;
      args.scope = Choice(from, "scope", "group", "batch") ? contrastive_loss::Scope::kBatch
                                                           : contrastive_loss::Scope::kGroup;
      args.item_ids = from.OptionalAddresses<uint32_t>("itemIds", n).data;
    } else {
      const Extent m = from.Size("negativeCount", 0);
      args.positives = from.Matrix<float>("positives", n, dim);
      if (m != 0) args.negatives = from.Matrix<float>("negatives", m, dim);
      args.log_q = from.OptionalArray<float>("logQ", n + m).data;
      args.positive_ids = from.OptionalAddresses<uint32_t>("positiveIds", n).data;
      args.negative_ids = from.OptionalAddresses<uint32_t>("negativeIds", m).data;
      args.symmetric = from.Bool("symmetric", false);
    }
    variant = from.VariantName();

    outputs.row_losses = (row_losses = from.Allocate<float>(n)).data;
    if (!from.Bool("gradients", true)) return;
    outputs.row_gradient = (row_gradient = from.Allocate<float>(n * dim)).data;
    if (args.kind == Kind::kSupervised) return;
    outputs.positive_gradient = (positive_gradient = from.Allocate<float>(n * dim)).data;
    if (args.negatives.data == nullptr) return;
    outputs.negative_gradient =
        (negative_gradient = from.Allocate<float>(Extent(args.negatives.rows) * dim)).data;
  }

  Status Execute(const CancelFlag& cancel) {
    return contrastive_loss::Run(variant.c_str(), args, &outputs, cancel);
  }

  void Resolve(Result& to) {
    to.Set("loss", outputs.loss);
    to.Set("countedRows", outputs.counted_rows);
    to.Set("rowLosses", row_losses);
    if (outputs.row_gradient != nullptr) to.Set("rowGradient", row_gradient);
    if (outputs.positive_gradient != nullptr) to.Set("positiveGradient", positive_gradient);
    if (outputs.negative_gradient != nullptr) to.Set("negativeGradient", negative_gradient);
  }

 private:
  // Whether the field is the second of the two names; anything but the two is an error.
  static bool Choice(Args& from, const char* field, const char* first, const char* second) {
    const std::string value = from.String(field);
    if (value != first && value != second) {
      from.Fail(InvalidArgument(std::string("unknown ") + field,
                                std::string("\"") + first + "\" or \"" + second + "\"", value));
    }
    return value == second;
  }
};

}  // namespace

void RegisterContrastiveLoss(Napi::Env env, Napi::Object exports) {
  ExportOp<ContrastiveLoss>(env, exports, "contrastiveLoss");
}

}  // namespace prismrec
