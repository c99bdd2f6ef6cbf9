#include "gemm/gemm.h"
#include "ops/tensor_kernels/walk.h"

namespace prismrec::tensor {
namespace {

// Multiply-adds from which one matrix alone is worth all threads.
constexpr size_t kLargeMatrix = size_t{1} << 22;
// Multiply-adds a thread should get at least.
constexpr size_t kMatmulGrain = size_t{1} << 18;

}  // namespace

void Matmul(const MatmulArgs& args) {
  GemmArgs one;
  one.trans_a = args.transpose_a;
  one.trans_b = args.transpose_b;
  one.m = args.m;
  one.n = args.n;
  one.k = args.k;
  one.lda = args.transpose_a ? args.m : args.k;
  one.ldb = args.transpose_b ? args.k : args.n;
  one.ldc = args.n;
  const auto matrix = [&](size_t i) {
    GemmArgs gemm = one;
    gemm.a = args.a + args.offsets_a[i];
    gemm.b = args.b + args.offsets_b[i];
    gemm.c = args.out + i * args.m * args.n;
    return gemm;
  };
  const size_t work = args.m * args.n * std::max<size_t>(args.k, 1);
  if (args.batch == 1 || work >= kLargeMatrix) {
    for (size_t i = 0; i < args.batch; ++i) {
      if (work < kMatmulGrain) {
        SgemmSerial(matrix(i));
      } else {
        Sgemm(matrix(i), ThreadPool::Global(), CancelFlag());
      }
    }
    return;
  }
  ForRange(args.batch, kMatmulGrain / std::max<size_t>(work, 1) + 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) SgemmSerial(matrix(i));
  });
}

}  // namespace prismrec::tensor
