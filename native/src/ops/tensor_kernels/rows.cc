// Reductions and everything that works row by row.
#include <limits>
#include <vector>

#include "ops/tensor_kernels/walk.h"

namespace prismrec::tensor {
namespace {

// Sums run over fixed blocks of this many elements, and the blocks' results are joined in order:
// the same tree whatever the number of threads.
constexpr size_t kReduceBlock = 16384;

float Identity(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return -std::numeric_limits<float>::infinity();
    case ReduceOp::kMin:
      return std::numeric_limits<float>::infinity();
    case ReduceOp::kProd:
      return 1.0f;
    default:
      return 0.0f;
  }
}

// One long row: block results first, then their reduction.
float ReduceLongRow(const KernelTable& table, ReduceOp op, const float* x, size_t n) {
  const size_t blocks = (n + kReduceBlock - 1) / kReduceBlock;
  std::vector<float> partial(blocks);
  ForRange(blocks, 2, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      const size_t at = b * kReduceBlock;
      partial[b] = table.reduce_row(op, x + at, std::min(kReduceBlock, n - at));
    }
  });
  return table.reduce_row(op, partial.data(), blocks);
}

void ReduceRows(const KernelTable& table, ReduceOp op, const float* x, float* out, size_t rows,
                size_t cols, float scale) {
  if (cols > kReduceBlock) {
    for (size_t r = 0; r < rows; ++r) out[r] = scale * ReduceLongRow(table, op, x + r * cols, cols);
    return;
  }
  ForRows(rows, cols, kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      out[r] = scale * table.reduce_row(op, x + r * cols, cols);
    }
  });
}

void ReduceBlock(const KernelTable& table, ReduceOp op, const float* x, float* acc, size_t extent,
                 size_t inner) {
  std::copy(x, x + inner, acc);
  for (size_t e = 1; e < extent; ++e) table.reduce_into(op, x + e * inner, acc, inner);
}

void ReduceColumns(const KernelTable& table, ReduceOp op, const float* x, float* out, size_t outer,
                   size_t extent, size_t inner, float scale) {
  const size_t block = std::max<size_t>(64, kReduceBlock / inner);
  const size_t blocks = (extent + block - 1) / block;
  std::vector<float> scratch(blocks > 1 ? outer * blocks * inner : 0);
  float* partial = blocks > 1 ? scratch.data() : out;
  ForRows(outer * blocks, std::min(extent, block) * inner, kCheapGrain,
          [&](size_t begin, size_t end) {
            for (size_t task = begin; task < end; ++task) {
              const size_t first = task % blocks * block;
              ReduceBlock(table, op, x + (task / blocks * extent + first) * inner,
                          partial + task * inner, std::min(block, extent - first), inner);
            }
          });
  for (size_t o = 0; o < outer; ++o) {
    float* row = out + o * inner;
    if (blocks > 1) ReduceBlock(table, op, partial + o * blocks * inner, row, blocks, inner);
    if (scale != 1.0f) table.binary(BinaryOp::kMul, Span::kScalarB, row, &scale, row, inner);
  }
}

// Per-thread-independent partial sums for the parameter gradients: rows to a block.
constexpr size_t kGradBlock = 64;

}  // namespace

void Reduce(const KernelTable& table, ReduceOp op, const float* x, float* out, size_t outer,
            size_t extent, size_t inner, float scale) {
  if (outer * inner == 0) return;
  if (extent == 0) {
    std::fill(out, out + outer * inner, Identity(op) * scale);
  } else if (inner == 1) {
    ReduceRows(table, op, x, out, outer, extent, scale);
  } else {
    ReduceColumns(table, op, x, out, outer, extent, inner, scale);
  }
}

void Reduce(ReduceOp op, const int32_t* x, int32_t* out, size_t outer, size_t extent,
            size_t inner) {
  const auto join = [op](int32_t a, int32_t b) -> int32_t {
    const uint32_t ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
    switch (op) {
      case ReduceOp::kMax:
        return std::max(a, b);
      case ReduceOp::kMin:
        return std::min(a, b);
      case ReduceOp::kProd:
        return static_cast<int32_t>(ua * ub);
      default:
        return static_cast<int32_t>(ua + ub);
    }
  };
  const int32_t identity = op == ReduceOp::kMax    ? std::numeric_limits<int32_t>::min()
                           : op == ReduceOp::kMin  ? std::numeric_limits<int32_t>::max()
                           : op == ReduceOp::kProd ? 1
                                                   : 0;
  ForRows(outer, extent * inner, kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t o = begin; o < end; ++o) {
      int32_t* row = out + o * inner;
      std::fill(row, row + inner, identity);
      for (size_t e = 0; e < extent; ++e) {
        const int32_t* from = x + (o * extent + e) * inner;
        for (size_t i = 0; i < inner; ++i) row[i] = join(row[i], from[i]);
      }
    }
  });
}

void ArgMax(const float* x, int32_t* out, size_t outer, size_t extent, size_t inner) {
  ForRows(outer, extent * inner, kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t o = begin; o < end; ++o) {
      for (size_t i = 0; i < inner; ++i) {
        const float* column = x + o * extent * inner + i;
        size_t best = 0;
        for (size_t e = 1; e < extent; ++e) {
          if (column[e * inner] > column[best * inner]) best = e;
        }
        out[o * inner + i] = static_cast<int32_t>(best);
      }
    }
  });
}

void Softmax(const KernelTable& table, const float* x, float* out, size_t rows, size_t cols,
             bool log) {
  ForRows(rows, cols, kCostlyGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      table.softmax_row(x + r * cols, out + r * cols, cols, log);
    }
  });
}

void SoftmaxGrad(const KernelTable& table, const float* y, const float* dy, float* dx, size_t rows,
                 size_t cols, bool log) {
  ForRows(rows, cols, log ? kCostlyGrain : kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      table.softmax_grad_row(y + r * cols, dy + r * cols, dx + r * cols, cols, log);
    }
  });
}

void MaskedSoftmax(const KernelTable& table, const Geometry& rows, const float* x, const void* mask,
                   MaskType type, float* out, size_t cols) {
  const size_t item = type == MaskType::kUint8 ? sizeof(uint8_t) : sizeof(float);
  ForRows(rows.Count(), cols, kCostlyGrain, [&](size_t begin, size_t end) {
    Odometer at(rows, rows.rank, begin);
    for (size_t r = begin; r < end; ++r, at.Next()) {
      const char* seen = static_cast<const char*>(mask) + static_cast<size_t>(at.b()) * item;
      table.masked_softmax_row(x + r * cols, seen, type, out + r * cols, cols);
    }
  });
}

void LayerNorm(const KernelTable& table, const float* x, const float* gamma, const float* beta,
               float* y, float* mean, float* rstd, size_t rows, size_t cols, float epsilon) {
  ForRows(rows, cols, kCostlyGrain, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      table.layer_norm_row(x + r * cols, gamma, beta, y + r * cols, mean + r, rstd + r, cols,
                           epsilon);
    }
  });
}

void LayerNormGrad(const KernelTable& table, const float* x, const float* gamma, const float* mean,
                   const float* rstd, const float* dy, float* dx, float* dgamma, float* dbeta,
                   size_t rows, size_t cols) {
  const size_t blocks = (rows + kGradBlock - 1) / kGradBlock;
  std::vector<float> partial(2 * blocks * cols);
  ForRows(blocks, kGradBlock * cols, kCostlyGrain, [&](size_t begin, size_t end) {
    for (size_t b = begin; b < end; ++b) {
      float* block_dgamma = partial.data() + 2 * b * cols;
      float* block_dbeta = block_dgamma + cols;
      const size_t stop = std::min(rows, (b + 1) * kGradBlock);
      for (size_t r = b * kGradBlock; r < stop; ++r) {
        table.layer_norm_grad_row(x + r * cols, gamma, mean[r], rstd[r], dy + r * cols,
                                  dx + r * cols, block_dgamma, block_dbeta, cols);
      }
    }
  });
  std::fill(dgamma, dgamma + cols, 0.0f);
  std::fill(dbeta, dbeta + cols, 0.0f);
  for (size_t b = 0; b < blocks; ++b) {
    table.reduce_into(ReduceOp::kSum, partial.data() + 2 * b * cols, dgamma, cols);
    table.reduce_into(ReduceOp::kSum, partial.data() + (2 * b + 1) * cols, dbeta, cols);
  }
}

}  // namespace prismrec::tensor
