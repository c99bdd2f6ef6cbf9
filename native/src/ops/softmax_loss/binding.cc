#include "node/binding.h"
#include "ops/softmax_loss/softmax_loss.h"

namespace prismrec {
namespace {

struct SoftmaxLoss {
  softmax_loss::Args args;
  softmax_loss::Outputs outputs;
  std::string variant;
  Buffer<float> row_losses, interest_gradient, offset_gradient, item_gradient, bias_gradient;
  Buffer<uint32_t> item_ids;

  void Parse(Args& from) {
    const Extent rows = from.Size("rows"), interests_per_row = from.Size("interestsPerRow"),
                 items = from.Size("itemCount"), dim = from.Size("dim");
    if (dim == 0 || interests_per_row == 0) {
      from.Fail(InvalidArgument("dim and interestsPerRow must be positive", "at least 1", "0"));
    }
    args.interests_per_row = interests_per_row.value();
    const Extent pairs = rows * interests_per_row;
    args.interests = from.Matrix<float>("interests", pairs, dim);
    // Which interests are present decides what there is to compute.
    args.offsets = from.OptionalAddresses<float>("offsets", pairs).data;
    args.items = from.Matrix<float>("items", items, dim);
    args.item_bias = from.OptionalArray<float>("itemBias", items).data;
    args.targets = from.Csr("targetIndptr", "targetIndices", nullptr, rows, items);
    if (from.Has("maskIndptr"))
      args.mask = from.Csr("maskIndptr", "maskIndices", nullptr, rows, items);
    const std::string readout = from.String("readout");
    if (readout != "log-sum-exp" && readout != "max") {
      from.Fail(InvalidArgument("unknown readout", "\"log-sum-exp\" or \"max\"", readout));
    }
    args.readout =
        readout == "max" ? softmax_loss::Readout::kMax : softmax_loss::Readout::kLogSumExp;
    const ArrayView<const uint32_t> candidates = from.OptionalAddresses<uint32_t>("candidates");
    if (from.Has("candidates")) {
      if (candidates.size == 0)
        from.Fail(InvalidArgument("candidates is empty", "at least 1", "0"));
      args.candidates = candidates.data;
      args.candidate_count = candidates.size;
      args.candidates_per_row = from.Bool("candidatesPerRow", false);
      if (args.candidates_per_row) {
        if (rows == 0 || candidates.size % rows.value() != 0) {
          from.Fail(InvalidArgument("candidates does not hold as many for each row",
                                    "a multiple of " + ToText(rows) + " rows",
                                    std::to_string(candidates.size)));
        }
        args.candidate_count = candidates.size / rows.value();
      }
      args.log_q = from.OptionalArray<float>("logQ", candidates.size).data;
      args.target_log_q = from.OptionalArray<float>("targetLogQ", args.targets.nnz()).data;
    }
    variant = from.VariantName();

    outputs.row_losses = (row_losses = from.Allocate<float>(rows)).data;
    if (!from.Bool("gradients", true)) return;
    const Extent gradient_rows = softmax_loss::GradientRows(args);
    interest_gradient = from.AllocateUnlessGiven<float>("interestGradient", pairs * dim);
    outputs.interest_gradient = interest_gradient.data;
    outputs.offset_gradient = (offset_gradient = from.Allocate<float>(pairs)).data;
    item_gradient = from.AllocateUnlessGiven<float>("itemGradient", gradient_rows * dim);
    outputs.item_gradient = item_gradient.data;
    outputs.bias_gradient = (bias_gradient = from.Allocate<float>(gradient_rows)).data;
    if (args.candidates != nullptr)
      outputs.item_ids = (item_ids = from.Allocate<uint32_t>(gradient_rows)).data;
  }

  Status Execute(const CancelFlag& cancel) {
    return softmax_loss::Run(variant.c_str(), args, &outputs, cancel);
  }

  void Resolve(Result& to) {
    to.Set("loss", outputs.loss);
    to.Set("countedRows", outputs.counted_rows);
    to.Set("rowLosses", row_losses);
    if (!outputs.gradients()) return;
    to.Set("interestGradient", interest_gradient);
    to.Set("offsetGradient", offset_gradient);
    to.Set("itemGradient", item_gradient);
    to.Set("biasGradient", bias_gradient);
    to.Set("gradientRows", outputs.gradient_rows);
    if (args.candidates != nullptr) to.Set("itemIds", item_ids);
  }
};

}  // namespace

void RegisterSoftmaxLoss(Napi::Env env, Napi::Object exports) {
  ExportOp<SoftmaxLoss>(env, exports, "softmaxLoss");
}

}  // namespace prismrec
