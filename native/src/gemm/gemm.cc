#include "gemm/gemm.h"

#include <algorithm>

#include "gemm/pack.h"
#include "runtime/workspace.h"

namespace prismrec {
namespace {

using gemm::Kernel;

// A block of A (kRowBlock by kDepth: 192 KiB) stays in the second-level cache while the panels of B
// pass; a panel of B (kDepth by nr) stays in the first; a block of B (kDepth by kColBlock: 4 MiB)
// in the third.
constexpr size_t kDepth = 256;
constexpr size_t kRowBlock = 192;
constexpr size_t kColBlock = 4096;
constexpr size_t kSerialColBlock = 1024;
// At most this deep, the writing of C costs more than the reading of B.
constexpr size_t kShallow = 96;
// Below this many multiply-adds a product is not worth a second thread; below the other not worth
// packing.
constexpr size_t kSerialWork = 1 << 20;
constexpr size_t kDirectWork = 1 << 15;
// Up to this many columns, blocks of rows of A' and B fit the caches where they lie.
constexpr size_t kNarrow = 128;

thread_local Workspace pack_a;
thread_local Workspace pack_b;

size_t RoundUp(size_t x, size_t to) { return (x + to - 1) / to * to; }
size_t Blocks(size_t x, size_t block) { return (x + block - 1) / block; }

// Blocks of equal depth, whatever else is blocked: the order of additions depends on k alone.
size_t DepthBlock(size_t k) { return k == 0 ? 1 : Blocks(k, Blocks(k, kDepth)); }

const float* RowsOfA(const GemmArgs& g, size_t i, size_t p) {
  return g.trans_a ? g.a + p * g.lda + i : g.a + i * g.lda + p;
}

void PackA(const GemmArgs& g, const Kernel& kernel, size_t i0, size_t rows, size_t p0, size_t depth,
           float* to) {
  const auto pack = g.trans_a ? gemm::PackRowsOfTranspose : gemm::PackRows;
  pack(kernel, RowsOfA(g, i0, p0), g.lda, rows, depth, to);
}

void PackB(const GemmArgs& g, const Kernel& kernel, size_t j0, size_t cols, size_t p0, size_t depth,
           float* to) {
  if (g.trans_b) {
    gemm::PackColumns(kernel, g.b + j0 * g.ldb + p0, g.ldb, cols, depth, to);
  } else {
    gemm::PackColumnsOfPlain(kernel, g.b + p0 * g.ldb + j0, g.ldb, cols, depth, to);
  }
}

// Rows [i0, i1) of C against packed columns [j0, j0 + cols).
void RowRange(const GemmArgs& g, const Kernel& kernel, size_t i0, size_t i1, size_t j0, size_t cols,
              size_t p0, size_t depth, const float* b) {
  const size_t step = kRowBlock / kernel.mr * kernel.mr;
  float* const a = pack_a.Reserve<float>(step * depth + gemm::kPackSlack);
  for (size_t i = i0; i < i1; i += step) {
    const size_t rows = std::min(step, i1 - i);
    PackA(g, kernel, i, rows, p0, depth, a);
    kernel.block({rows, cols, depth, a, b, g.c + i * g.ldc + j0, g.ldc, g.alpha,
                  p0 == 0 ? g.beta : 1.0f, g.k <= kShallow});
  }
}

void ScaleOnly(const GemmArgs& g) {
  for (size_t i = 0; i < g.m; ++i) {
    float* const c = g.c + i * g.ldc;
    if (g.beta == 0.0f) {
      std::fill(c, c + g.n, 0.0f);
    } else {
      for (size_t j = 0; j < g.n; ++j) c[j] *= g.beta;
    }
  }
}

gemm::Direct DirectOf(const GemmArgs& g) {
  gemm::Direct direct{};
  direct.m = g.m;
  direct.n = g.n;
  direct.k = g.k;
  direct.a = g.a;
  direct.a_row = g.trans_a ? 1 : g.lda;
  direct.a_col = g.trans_a ? g.lda : 1;
  direct.b = g.b;
  direct.ldb = g.ldb;
  direct.c = g.c;
  direct.ldc = g.ldc;
  direct.alpha = g.alpha;
  direct.beta = g.beta;
  return direct;
}

// Where packing costs more than it saves: few rows use what is packed of B; or both factors are
// narrow and long, as in the gradient of a layer's weights.
bool FewRows(const GemmArgs& g, const Kernel& kernel) { return g.m <= kernel.mr; }
bool Narrow(const GemmArgs& g) {
  return g.trans_a && !g.trans_b && g.m <= kNarrow && g.n <= kNarrow;
}

// Such products, and small ones, without packing. False: not such a one.
bool TryDirect(const GemmArgs& g, const Kernel& kernel) {
  const bool small = g.m * g.n * g.k <= kDirectWork;
  if (!small && !FewRows(g, kernel) && !Narrow(g)) return false;
  gemm::Direct direct = DirectOf(g);
  if (g.trans_b) {
    if (g.trans_a) return false;
    kernel.direct_dots(direct);
    return true;
  }
  const size_t depth_block = DepthBlock(g.k);
  for (size_t p = 0; p < g.k; p += depth_block) {
    direct.k = std::min(depth_block, g.k - p);
    direct.a = g.a + p * direct.a_col;
    direct.b = g.b + p * g.ldb;
    direct.beta = p == 0 ? g.beta : 1.0f;
    kernel.direct_rows(direct);
  }
  return true;
}

}  // namespace

void SgemmSerial(const GemmArgs& g, const Kernel& kernel) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0 || g.alpha == 0.0f) return ScaleOnly(g);
  if (TryDirect(g, kernel)) return;
  const size_t depth_block = DepthBlock(g.k);
  const size_t widest = RoundUp(std::min(g.n, kSerialColBlock), kernel.nr);
  float* const b = pack_b.Reserve<float>(widest * depth_block + gemm::kPackSlack);
  for (size_t j = 0; j < g.n; j += kSerialColBlock) {
    const size_t cols = std::min(kSerialColBlock, g.n - j);
    for (size_t p = 0; p < g.k; p += depth_block) {
      const size_t depth = std::min(depth_block, g.k - p);
      PackB(g, kernel, j, cols, p, depth, b);
      RowRange(g, kernel, 0, g.m, j, cols, p, depth, b);
    }
  }
}

void Sgemm(const GemmArgs& g, const Kernel& kernel, ThreadPool& pool, const CancelFlag& cancel) {
  const size_t threads = static_cast<size_t>(pool.threads());
  if (threads == 1 || g.m * g.n * g.k <= kSerialWork) return SgemmSerial(g, kernel);
  if (g.k == 0 || g.alpha == 0.0f) return ScaleOnly(g);
  // Enough chunks that threads of uneven speed end together.
  const size_t wanted = 4 * threads;
  if (FewRows(g, kernel)) {
    // Each thread takes columns where they lie.
    const size_t step = RoundUp(std::max<size_t>(Blocks(g.n, wanted), 64), kernel.nr);
    pool.ParallelFor(Blocks(g.n, step), cancel, [&](size_t chunk, int) {
      GemmArgs part = g;
      part.n = std::min(step, g.n - chunk * step);
      part.b += chunk * step * (g.trans_b ? g.ldb : 1);
      part.c += chunk * step;
      SgemmSerial(part, kernel);
    });
    return;
  }
  if (Narrow(g)) {
    const size_t step = RoundUp(Blocks(g.m, wanted), kernel.mr);
    pool.ParallelFor(Blocks(g.m, step), cancel, [&](size_t chunk, int) {
      GemmArgs part = g;
      part.m = std::min(step, g.m - chunk * step);
      part.a = RowsOfA(g, chunk * step, 0);
      part.c += chunk * step * g.ldc;
      SgemmSerial(part, kernel);
    });
    return;
  }
  const size_t depth_block = DepthBlock(g.k);
  const size_t widest = RoundUp(std::min(g.n, kColBlock), kernel.nr);
  float* const b = pack_b.Reserve<float>(widest * depth_block + gemm::kPackSlack);
  // Enough chunks that an uneven pair of threads ends together; columns are split where rows are
  // few.
  const size_t row_step =
      std::min(RoundUp(Blocks(g.m, wanted), kernel.mr), kRowBlock / kernel.mr * kernel.mr);
  const size_t row_chunks = Blocks(g.m, row_step);
  for (size_t j = 0; j < g.n; j += kColBlock) {
    const size_t cols = std::min(kColBlock, g.n - j);
    const size_t panels = Blocks(cols, kernel.nr);
    const size_t col_chunks = std::clamp<size_t>(Blocks(wanted, row_chunks), 1, panels);
    const size_t col_step = Blocks(panels, col_chunks) * kernel.nr;
    const size_t pack_step = Blocks(panels, wanted) * kernel.nr;
    for (size_t p = 0; p < g.k && !cancel.Cancelled(); p += depth_block) {
      const size_t depth = std::min(depth_block, g.k - p);
      pool.ParallelFor(Blocks(cols, pack_step), cancel, [&](size_t chunk, int) {
        const size_t from = chunk * pack_step;
        PackB(g, kernel, j + from, std::min(pack_step, cols - from), p, depth, b + from * depth);
      });
      pool.ParallelFor(row_chunks * Blocks(cols, col_step), cancel, [&](size_t chunk, int) {
        const size_t i = chunk % row_chunks * row_step;
        const size_t from = chunk / row_chunks * col_step;
        RowRange(g, kernel, i, std::min(i + row_step, g.m), j + from,
                 std::min(col_step, cols - from), p, depth, b + from * depth);
      });
    }
  }
}

void SgemmSerial(const GemmArgs& args) { SgemmSerial(args, *Select(gemm::kVariants, nullptr)->fn); }

void Sgemm(const GemmArgs& args, ThreadPool& pool, const CancelFlag& cancel) {
  Sgemm(args, *Select(gemm::kVariants, nullptr)->fn, pool, cancel);
}

}  // namespace prismrec
