#include "gemm/gemm.h"

#include <algorithm>
#include <vector>

#include "gemm/pack.h"
#include "runtime/workspace.h"

namespace prismrec {
namespace {

using gemm::Kernel;

// A block of A (the kernel's block_rows by block_depth) stays in the second-level cache while the
// panels of B pass; a block of B (block_depth by kColBlock: 4 MiB or 8) in the third.
constexpr size_t kColBlock = 4096;
constexpr size_t kSerialColBlock = 1024;
// At most this deep, the writing of C costs more than the reading of B.
constexpr size_t kShallow = 96;
// For this many columns each, packing A again costs little.
constexpr size_t kWideChunk = 4096;
// Below this many multiply-adds a product is not worth a second thread; below the other not worth
// packing.
constexpr size_t kSerialWork = 1 << 20;
constexpr size_t kDirectWork = 1 << 15;
// What is packed of B at a time: all of it in most products, so that threads meet twice only.
constexpr size_t kPackedFloats = size_t{1} << 21;
// Up to this many panels of B, packing A costs more than reading it where it lies.
constexpr size_t kInPlacePanels = 8;
// A product of long, narrow factors, as in the gradient of a layer's weights, has too few elements
// to share out: at most this many. Its depth is shared out instead, this many blocks at a time.
constexpr size_t kFewElements = 1 << 15;
constexpr size_t kDepthBlocks = 64;
constexpr size_t kLeastDepthBlocks = 2;
// Rows of such sums that one task adds up.
constexpr size_t kSumRows = 32;
// Tasks of a loop, unless they would have less than so many multiply-adds: enough for 64 threads, and
// for few of uneven speed to end together.
constexpr size_t kTasks = 72;
constexpr size_t kLeastTasks = 8;
constexpr size_t kTaskWork = size_t{1} << 23;

thread_local Workspace pack_a;
thread_local Workspace pack_b;
thread_local Workspace partial_sums;

size_t RoundUp(size_t x, size_t to) { return (x + to - 1) / to * to; }
size_t Blocks(size_t x, size_t block) { return (x + block - 1) / block; }

// Blocks of equal depth, whatever else is blocked: the order of additions depends on k alone.
size_t DepthBlock(const Kernel& kernel, size_t k) {
  return k == 0 ? 1 : Blocks(k, Blocks(k, kernel.block_depth));
}

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
  const auto product = [&](size_t i, size_t rows, const float* a, size_t a_row, bool rows_first) {
    kernel.block({rows, cols, depth, a, b, g.c + i * g.ldc + j0, g.ldc, g.alpha,
                  p0 == 0 ? g.beta : 1.0f, a_row, rows_first, g.lower,
                  static_cast<ptrdiff_t>(i) - static_cast<ptrdiff_t>(j0)});
  };
  if (!g.trans_a && cols <= kInPlacePanels * kernel.nr) {
    const size_t whole = (i1 - i0) / kernel.mr * kernel.mr;
    if (whole > 0) product(i0, whole, RowsOfA(g, i0, p0), g.lda, true);
    i0 += whole;
  }
  const size_t step = kernel.block_rows / kernel.mr * kernel.mr;
  float* const a = pack_a.Reserve<float>(step * depth + gemm::kPackSlack);
  for (size_t i = i0; i < i1; i += step) {
    const size_t rows = std::min(step, i1 - i);
    PackA(g, kernel, i, rows, p0, depth, a);
    product(i, rows, a, 0, g.k <= kShallow);
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

// Few rows use what is packed of B, so that packing costs more than it saves.
bool FewRows(const GemmArgs& g, const Kernel& kernel) { return g.m <= kernel.mr; }

// Such products, and small ones, without packing. False: not such a one.
bool TryDirect(const GemmArgs& g, const Kernel& kernel) {
  const bool small = g.m * g.n * g.k <= kDirectWork;
  if (!small && !FewRows(g, kernel)) return false;
  gemm::Direct direct = DirectOf(g);
  if (g.trans_b) {
    if (g.trans_a) return false;
    kernel.direct_dots(direct);
    return true;
  }
  const size_t depth_block = DepthBlock(kernel, g.k);
  for (size_t p = 0; p < g.k; p += depth_block) {
    direct.k = std::min(depth_block, g.k - p);
    direct.a = g.a + p * direct.a_col;
    direct.b = g.b + p * g.ldb;
    direct.beta = p == 0 ? g.beta : 1.0f;
    kernel.direct_rows(direct);
  }
  return true;
}

void PackedSerial(const GemmArgs& g, const Kernel& kernel) {
  const size_t depth_block = DepthBlock(kernel, g.k);
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

// Each block of the depth on its own; the sums are added in the order in which one thread alone
// adds them.
void ShareDepth(const GemmArgs& g, const Kernel& kernel, ThreadPool& pool,
                const CancelFlag& cancel) {
  const size_t depth_block = DepthBlock(kernel, g.k);
  const size_t blocks = Blocks(g.k, depth_block);
  const size_t size = g.m * g.n;
  float* const partials = partial_sums.Reserve<float>(std::min(blocks, kDepthBlocks) * size);
  for (size_t first = 0; first < blocks && !cancel.Cancelled(); first += kDepthBlocks) {
    const size_t count = std::min(kDepthBlocks, blocks - first);
    pool.ParallelFor(count, cancel, [&](size_t chunk, int) {
      GemmArgs part = g;
      const size_t p = (first + chunk) * depth_block;
      part.k = std::min(depth_block, g.k - p);
      part.a = RowsOfA(g, 0, p);
      part.b = g.trans_b ? g.b + p : g.b + p * g.ldb;
      part.beta = 0.0f;
      part.c = partials + chunk * size;
      part.ldc = g.n;
      PackedSerial(part, kernel);
    });
    pool.ParallelFor(Blocks(g.m, kSumRows), cancel, [&](size_t chunk, int) {
      const size_t end = std::min(g.m, (chunk + 1) * kSumRows);
      for (size_t i = chunk * kSumRows; i < end; ++i) {
        float* const c = g.c + i * g.ldc;
        const bool fresh = first == 0 && g.beta == 0.0f;
        if (fresh) std::copy_n(partials + i * g.n, g.n, c);
        for (size_t block = fresh ? 1 : 0; block < count; ++block) {
          const float* const sum = partials + block * size + i * g.n;
          for (size_t j = 0; j < g.n; ++j) c[j] += sum[j];
        }
      }
    });
  }
}

// What is done of one call at a time: depth blocks [block0, block0 + blocks) of columns [j, j + cols).
struct GemmStage {
  size_t j, cols, block0, blocks;
  size_t pack_step, col_step;
  size_t pack_chunks() const { return Blocks(cols, pack_step); }
  size_t col_chunks() const { return Blocks(cols, col_step); }
};

struct GemmPlan {
  size_t depth_block, widest, packed_blocks, row_step, row_chunks;
  std::vector<GemmStage> stages;
};

size_t TasksOf(size_t work) { return std::clamp(work / kTaskWork, kLeastTasks, kTasks); }

GemmPlan PlanPacked(const GemmArgs& g, const Kernel& kernel) {
  GemmPlan plan{};
  const size_t tasks = TasksOf(g.m * g.n * g.k);
  plan.depth_block = DepthBlock(kernel, g.k);
  const size_t depth_blocks = Blocks(g.k, plan.depth_block);
  plan.widest =
      std::min(RoundUp(g.n, kernel.nr),
               std::max(kColBlock, kPackedFloats / plan.depth_block) / kernel.nr * kernel.nr);
  plan.packed_blocks = std::min(
      depth_blocks, std::max<size_t>(1, kPackedFloats / (plan.widest * plan.depth_block)));
  // The more rows a chunk has, the less often B is read; columns are split instead where they are
  // so many that packing A again costs little, or where rows are few.
  const size_t most_rows = kernel.block_rows / kernel.mr * kernel.mr;
  const size_t wide_chunks = std::clamp<size_t>(
      std::min(g.n, plan.widest) / kWideChunk, 1, Blocks(2 * tasks, Blocks(g.m, most_rows)));
  plan.row_step =
      std::clamp(RoundUp(Blocks(g.m, Blocks(tasks, wide_chunks)), kernel.mr), 6 * kernel.mr,
                 most_rows);
  plan.row_chunks = Blocks(g.m, plan.row_step);
  for (size_t j = 0; j < g.n; j += plan.widest) {
    const size_t cols = std::min(plan.widest, g.n - j);
    const size_t panels = Blocks(cols, kernel.nr);
    const size_t col_chunks = std::clamp<size_t>(Blocks(tasks, plan.row_chunks),
                                                 std::min(wide_chunks, panels), panels);
    for (size_t block = 0; block < depth_blocks; block += plan.packed_blocks) {
      plan.stages.push_back({j, cols, block, std::min(plan.packed_blocks, depth_blocks - block),
                             Blocks(panels, tasks) * kernel.nr,
                             Blocks(panels, col_chunks) * kernel.nr});
    }
  }
  return plan;
}

// Columns of a task where few rows use each: reading them costs as much as this many rows' work.
size_t FewRowsStep(const GemmArgs& g, const Kernel& kernel) {
  constexpr size_t kRowsWorth = 32;
  const size_t tasks = TasksOf(kRowsWorth * g.n * g.k);
  return RoundUp(std::max<size_t>(Blocks(g.n, tasks), 64), kernel.nr);
}

bool SharesDepth(const GemmArgs& g, const Kernel& kernel) {
  return g.m * g.n <= kFewElements && Blocks(g.k, DepthBlock(kernel, g.k)) >= kLeastDepthBlocks &&
         g.alpha == 1.0f && (g.beta == 0.0f || g.beta == 1.0f);
}

}  // namespace

Work WorkOf(const GemmArgs& g, const Kernel& kernel) {
  const auto real = [](size_t n) { return static_cast<double>(n); };
  Work work;
  if (g.m * g.n * g.k <= kSerialWork) {
    work.serial = 2 * real(g.m) * real(g.n) * real(g.k);
    return work;
  }
  const auto each = [&real](size_t total, size_t step, auto fn) {
    for (size_t from = 0; from < total; from += step) fn(real(std::min(step, total - from)));
  };
  const double m = real(g.m), n = real(g.n), k = real(g.k);
  if (FewRows(g, kernel)) {
    std::vector<double>& columns = work.Add("columns");
    each(g.n, FewRowsStep(g, kernel), [&](double cols) { columns.push_back(2 * m * cols * k); });
    return work;
  }
  if (SharesDepth(g, kernel)) {
    const size_t block = DepthBlock(kernel, g.k), wave = kDepthBlocks * block;
    each(g.k, wave, [&](double depths) {
      std::vector<double>& depth = work.Add("depth");
      each(static_cast<size_t>(depths), block,
           [&](double part) { depth.push_back(m * n * part * 2 + (m + n) * part); });
      std::vector<double>& sums = work.Add("sums");
      each(g.m, kSumRows, [&](double rows) { sums.push_back(rows * n * real(depth.size())); });
    });
    return work;
  }
  const GemmPlan plan = PlanPacked(g, kernel);
  for (const GemmStage& stage : plan.stages) {
    const double depth = real(
        std::min(stage.blocks * plan.depth_block, g.k - stage.block0 * plan.depth_block));
    std::vector<double>& pack = work.Add("pack");
    for (size_t block = 0; block < stage.blocks; ++block) {
      each(stage.cols, stage.pack_step,
           [&](double cols) { pack.push_back(cols * depth / real(stage.blocks)); });
    }
    std::vector<double>& blocks = work.Add("blocks");
    each(stage.cols, stage.col_step, [&](double cols) {
      each(g.m, plan.row_step,
           [&](double rows) { blocks.push_back(rows * depth * (2 * cols + 1)); });
    });
  }
  return work;
}

void SgemmSerial(const GemmArgs& g, const Kernel& kernel) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0 || g.alpha == 0.0f) return ScaleOnly(g);
  if (!TryDirect(g, kernel)) PackedSerial(g, kernel);
}

void Sgemm(const GemmArgs& g, const Kernel& kernel, ThreadPool& pool, const CancelFlag& cancel) {
  if (pool.threads() == 1 || g.m * g.n * g.k <= kSerialWork) return SgemmSerial(g, kernel);
  if (g.k == 0 || g.alpha == 0.0f) return ScaleOnly(g);
  if (FewRows(g, kernel)) {
    // Each task takes columns where they lie.
    const size_t step = FewRowsStep(g, kernel);
    pool.ParallelFor(Blocks(g.n, step), cancel, [&](size_t chunk, int) {
      GemmArgs part = g;
      part.n = std::min(step, g.n - chunk * step);
      part.b += chunk * step * (g.trans_b ? g.ldb : 1);
      part.c += chunk * step;
      SgemmSerial(part, kernel);
    });
    return;
  }
  if (SharesDepth(g, kernel)) return ShareDepth(g, kernel, pool, cancel);
  const GemmPlan plan = PlanPacked(g, kernel);
  float* const b = pack_b.Reserve<float>(plan.packed_blocks * plan.widest * plan.depth_block +
                                         gemm::kPackSlack);
  for (const GemmStage& stage : plan.stages) {
    if (cancel.Cancelled()) return;
    const size_t j = stage.j, cols = stage.cols, pack_chunks = stage.pack_chunks();
    // Calls fn(first row of B, how many, where they are packed) for each block of the depth.
    const auto for_block = [&](size_t block, auto fn) {
      const size_t p = (stage.block0 + block) * plan.depth_block;
      fn(p, std::min(plan.depth_block, g.k - p), b + block * plan.widest * plan.depth_block);
    };
    pool.ParallelFor(stage.blocks * pack_chunks, cancel, [&](size_t chunk, int) {
      const size_t from = chunk % pack_chunks * stage.pack_step;
      for_block(chunk / pack_chunks, [&](size_t p, size_t depth, float* to) {
        PackB(g, kernel, j + from, std::min(stage.pack_step, cols - from), p, depth,
              to + from * depth);
      });
    });
    pool.ParallelFor(plan.row_chunks * stage.col_chunks(), cancel, [&](size_t chunk, int) {
      const size_t row_chunk = chunk % plan.row_chunks;
      // The longest rows of a triangle first.
      const size_t i =
          (g.lower ? plan.row_chunks - 1 - row_chunk : row_chunk) * plan.row_step;
      const size_t end = std::min(i + plan.row_step, g.m);
      const size_t from = chunk / plan.row_chunks * stage.col_step;
      if (g.lower && j + from >= end) return;
      for (size_t block = 0; block < stage.blocks && !cancel.Cancelled(); ++block) {
        for_block(block, [&](size_t p, size_t depth, const float* packed) {
          RowRange(g, kernel, i, end, j + from, std::min(stage.col_step, cols - from), p, depth,
                   packed + from * depth);
        });
      }
    });
  }
}

void SgemmSerial(const GemmArgs& args) { SgemmSerial(args, *Select(gemm::kVariants, nullptr)->fn); }

void Sgemm(const GemmArgs& args, ThreadPool& pool, const CancelFlag& cancel) {
  Sgemm(args, *Select(gemm::kVariants, nullptr)->fn, pool, cancel);
}

}  // namespace prismrec
