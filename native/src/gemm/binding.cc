#include "node/binding.h"

#include "gemm/gemm.h"

namespace prismrec {
namespace {

struct SgemmCall {
  GemmArgs g;
  Buffer<float> made;
  bool in_place = false;
  const Variant<const gemm::Kernel*>* variant = nullptr;

  void Parse(Args& args) {
    const Extent m = args.Size("m"), n = args.Size("n"), k = args.Size("k");
    g.m = m.value();
    g.n = n.value();
    g.k = k.value();
    g.trans_a = args.Bool("transposeA", false);
    g.trans_b = args.Bool("transposeB", false);
    g.alpha = static_cast<float>(args.Number("alpha", 1));
    g.beta = static_cast<float>(args.Number("beta", 0));
    g.a = args.Matrix<float>("a", m, k).data;
    g.b = args.Matrix<float>("b", k, n).data;
    g.lda = g.trans_a ? g.m : g.k;
    g.ldb = g.trans_b ? g.k : g.n;
    g.ldc = g.n;
    in_place = args.Has("c");
    if (in_place) {
      g.c = args.MutableMatrix<float>("c", m, n).data;
      args.CheckApart("c", "a");
      args.CheckApart("c", "b");
    } else {
      made = args.Allocate<float>(m * n);
      g.c = made.data;
    }
    args.Check(SelectVariant(gemm::kVariants, args.VariantName().c_str(), &variant));
  }

  Status Execute(const CancelFlag& cancel) {
    Sgemm(g, *variant->fn, ThreadPool::Global(), cancel);
    return cancel.Cancelled() ? Cancelled() : Status::Ok();
  }

  void Resolve(Result& result) {
    if (!in_place) result.Set("c", made);
  }
};

}  // namespace

void RegisterGemm(Napi::Env env, Napi::Object exports) {
  ExportOp<SgemmCall>(env, exports, "sgemm");
}

}  // namespace prismrec
