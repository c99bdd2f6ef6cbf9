#include "node/binding.h"

#include <algorithm>
#include <cfloat>
#include <string>

#include "ops/item_statistics/item_statistics.h"

namespace prismrec {
namespace {

using item_statistics::CsrMatrix;

CsrView ReadRows(Args& args, const char* values) {
  return args.Csr("indptr", "indices", values, args.Size("rows"), args.Size("cols"));
}

// A row of the result for each column, and a row of scratch for each thread, however few entries there are.
void CheckColumns(Args& args, Extent cols) {
  args.CheckResult<uint32_t>(cols + 1);
  args.ClaimScratch(cols * (sizeof(double) + 1) * static_cast<size_t>(ThreadPool::Global().threads()));
}

void SetCsr(Result& result, const CsrMatrix& matrix) {
  result.Set("indptr", matrix.indptr);
  result.Set("indices", matrix.indices);
  result.Set("values", matrix.values);
}

struct CooccurrenceCall {
  item_statistics::CooccurrenceArgs call;
  CsrMatrix made;

  void Parse(Args& args) {
    call.rows = ReadRows(args, nullptr);
    CheckColumns(args, call.rows.cols);
    call.weights = args.OptionalArray<float>("weights", call.rows.rows).data;
  }
  Status Execute(const CancelFlag& cancel) { return Cooccurrence(call, cancel, &made); }
  void Resolve(Result& result) { SetCsr(result, made); }
};

struct ItemNeighboursCall {
  item_statistics::ItemNeighboursArgs call;
  CsrMatrix made;

  void Parse(Args& args) {
    call.rows = ReadRows(args, nullptr);
    CheckColumns(args, call.rows.cols);
    const ArrayView<const float> norms = args.Array<float>("squaredNorms", call.rows.cols);
    call.squared_norms = norms.data;
    for (size_t i = 0; i < norms.size; ++i) {
      if (norms.data[i] >= 0.0f && norms.data[i] <= FLT_MAX) continue;
      args.Fail(NonFinite("a squared norm is not a finite number from 0", "finite values >= 0",
                          std::to_string(norms.data[i]) + " at entry " + std::to_string(i)));
    }
    call.neighbours = args.Size("neighbours").value();
    if (call.neighbours == 0) {
      args.Fail(InvalidArgument("\"neighbours\" must be positive", "at least 1", "0"));
    }
  }
  Status Execute(const CancelFlag& cancel) { return ItemNeighbours(call, cancel, &made); }
  void Resolve(Result& result) { SetCsr(result, made); }
};

struct GramCall {
  item_statistics::GramArgs call;
  Buffer<float> out;

  void Parse(Args& args) {
    call.rows = ReadRows(args, nullptr);
    call.weights = args.OptionalArray<float>("weights", call.rows.rows).data;
    call.ridge = args.Number("ridge", 0);
    out = args.Allocate<float>(Extent(call.rows.cols) * call.rows.cols);
    call.out = out.data;
  }
  Status Execute(const CancelFlag& cancel) { return Gram(call, cancel); }
  void Resolve(Result& result) { result.Set("gram", out); }
};

struct PpmiCall {
  item_statistics::PpmiArgs call;
  CsrMatrix made;

  void Parse(Args& args) {
    call.counts = ReadRows(args, "values");
    if (call.counts.rows != call.counts.cols) {
      args.Fail(ShapeMismatch(
          "co-occurrence counts are square", "rows = cols",
          std::to_string(call.counts.rows) + " x " + std::to_string(call.counts.cols)));
    }
    call.smoothing = args.Number("contextSmoothing");
  }
  Status Execute(const CancelFlag& cancel) { return Ppmi(call, cancel, &made); }
  void Resolve(Result& result) { SetCsr(result, made); }
};

struct SvdCall {
  item_statistics::SvdArgs call;
  Buffer<float> u, singular_values;

  void Parse(Args& args) {
    call.matrix = ReadRows(args, "values");
    const Extent rank = args.Size("rank"), width = args.Size("width"), blocks = args.Size("blocks");
    call.rank = rank.value();
    call.width = width.value();
    call.blocks = blocks.value();
    const size_t least = std::min(call.matrix.rows, call.matrix.cols);
    const size_t most = std::min(least, (width * blocks).value());
    if (call.rank < 1 || call.rank > most || call.blocks > least || call.width > least) {
      args.Fail(InvalidArgument(
          "the rank must lie within the subspace and the matrix",
          "1 <= rank <= min(width * blocks, " + std::to_string(least) + ")",
          "rank " + std::to_string(call.rank) + ", width " + std::to_string(call.width) +
              ", blocks " + std::to_string(call.blocks)));
    }
    call.start = args.Matrix<float>("start", call.matrix.cols, width).data;
    u = args.Allocate<float>(Extent(call.matrix.rows) * rank);
    singular_values = args.Allocate<float>(rank);
    call.u = u.data;
    call.singular_values = singular_values.data;
  }
  Status Execute(const CancelFlag& cancel) { return TruncatedSvd(call, cancel); }
  void Resolve(Result& result) {
    result.Set("u", u);
    result.Set("singularValues", singular_values);
  }
};

struct CholeskyInverseCall {
  item_statistics::CholeskyInverseArgs call;
  const Variant<const gemm::Kernel*>* variant = nullptr;

  void Parse(Args& args) {
    const Extent n = args.Size("n");
    call.n = n.value();
    call.a = args.MutableMatrix<float>("a", n, n).data;
    args.Check(SelectVariant(gemm::kVariants, args.VariantName().c_str(), &variant));
  }
  Status Execute(const CancelFlag& cancel) { return CholeskyInverse(call, *variant->fn, cancel); }
  void Resolve(Result&) {}
};

}  // namespace

void RegisterItemStatistics(Napi::Env env, Napi::Object exports) {
  ExportOp<CooccurrenceCall>(env, exports, "cooccurrence");
  ExportOp<ItemNeighboursCall>(env, exports, "itemNeighbours");
  ExportOp<GramCall>(env, exports, "gram");
  ExportOp<PpmiCall>(env, exports, "ppmi");
  ExportOp<SvdCall>(env, exports, "truncatedSvd");
  ExportOp<CholeskyInverseCall>(env, exports, "choleskyInverse");
}

}  // namespace prismrec
