#include "runtime/binding.h"

#include "gemm/gemm.h"

namespace prismrec {
namespace {

struct SgemmCall {
  GemmArgs g;
  Buffer<float> made;
  bool in_place = false;
  const Variant<const gemm::Kernel*>* variant = nullptr;

  void Parse(Args& args) {
    g.m = args.Size("m");
    g.n = args.Size("n");
    g.k = args.Size("k");
    g.trans_a = args.Bool("transposeA", false);
    g.trans_b = args.Bool("transposeB", false);
    g.alpha = static_cast<float>(args.Number("alpha", 1));
    g.beta = static_cast<float>(args.Number("beta", 0));
    g.a = args.Matrix<float>("a", g.m, g.k).data;
    g.b = args.Matrix<float>("b", g.k, g.n).data;
    g.lda = g.trans_a ? g.m : g.k;
    g.ldb = g.trans_b ? g.k : g.n;
    g.ldc = g.n;
    in_place = args.Has("c");
    if (in_place) {
      g.c = args.MutableMatrix<float>("c", g.m, g.n).data;
      if (g.c == g.a || g.c == g.b) {
        args.Fail(InvalidArgument("\"c\" must not be one of the factors", "memory of its own"));
      }
    } else {
      made = args.Allocate<float>(g.m * g.n);
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
