// Rows of an embedding table: what lets a training step cost as much as the rows it touches, not as
// the catalog.
#ifndef PRISMREC_OPS_EMBEDDING_ROWS_EMBEDDING_ROWS_H_
#define PRISMREC_OPS_EMBEDDING_ROWS_EMBEDDING_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/tensor_view.h"

namespace prismrec::embedding_rows {

// The scalars of one Adam update, all steps' corrections worked out by the caller in double.
struct AdamFactors {
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float epsilon;
  float rate;            // learning rate / (1 - beta1^t)
  float inverse_root;    // 1 / sqrt(1 - beta2^t)
  float keep;            // 1 - learning rate * weight decay
  float gradient_scale;  // 1 without clipping
};

struct AdamOptions {
  double learning_rate;
  double beta1, beta2;
  double epsilon;
  double weight_decay;
  double gradient_scale;
};

AdamFactors FactorsAt(const AdamOptions& options, uint64_t step);

// An id that stands for no row, such as padding.
inline constexpr uint32_t kNoRow = 0xffffffffu;

// What each instruction set implements.
struct Spans {
  // values, m, v [n] are updated in place from gradients [n].
  void (*adam)(const AdamFactors& factors, float* values, float* m, float* v,
               const float* gradients, size_t n);
  // Sum of squares in double: the same bits in every variant, because a float's square is exact.
  double (*squared_sum)(const float* x, size_t n);
  // GatherRows on one thread.
  void (*gather)(const float* table, const uint32_t* ids, float* out, size_t count, size_t cols);
  // ScatterAddRows on one thread, of all rows or of those at `positions` [count] alone.
  void (*scatter_add)(float* table, const uint32_t* ids, const uint32_t* positions,
                      const float* rows, size_t count, size_t cols);
  // out[g] = the sum of the rows from starts[g] up to starts[g + 1], of which the first is rows[0].
  void (*sum_groups)(const float* const* rows, const uint32_t* starts, float* out, size_t groups,
                     size_t cols);
};

// A dense parameter of n elements.
void Adam(const Spans& spans, const AdamFactors& factors, float* values, float* m, float* v,
          const float* gradients, size_t n);

struct LazyAdamArgs {
  float* table;            // [rows, cols]
  float* m;                // [rows, cols]
  float* v;                // [rows, cols]
  uint32_t* steps;         // [rows] updates seen by each row, counted here
  const uint32_t* ids;     // [count] distinct
  const float* gradients;  // [count, cols]
  size_t count;
  size_t cols;
  bool per_row;   // correct by the row's own count, else by `step`
  uint64_t step;  // from 1
};

// Adam on the rows `ids` and on no other.
void LazyAdam(const Spans& spans, const AdamOptions& options, const LazyAdamArgs& args);

// out[i] = table[ids[i]], rows of `cols` floats; zeros for kNoRow.
void GatherRows(const Spans& spans, const float* table, const uint32_t* ids, float* out,
                size_t count, size_t cols);

// table[ids[i]] += rows[i], repeats in the order of `ids`; kNoRow is left out.
void ScatterAddRows(const Spans& spans, float* table, size_t table_rows, const uint32_t* ids,
                    const float* rows, size_t count, size_t cols);

// The distinct ids but kNoRow, ascending, and where each is found: ids[positions[starts[g] ..
// starts[g + 1])] are all `ids[g]`, the positions ascending.
struct RowGroups {
  std::vector<uint32_t> ids;
  std::vector<uint32_t> starts;
  std::vector<uint32_t> positions;
};

// Time and memory O(count), whatever the largest id.
RowGroups GroupRows(const uint32_t* ids, size_t count);

// The distinct ids; inverse[i] is the place of ids[i] among them, -1 for kNoRow.
std::vector<uint32_t> UniqueRows(const uint32_t* ids, size_t count, int32_t* inverse);

// `count` rows of `cols` floats; the parts of a list follow on each other.
struct RowPart {
  const float* rows;
  size_t count;
};

// out[g] = the sum of the rows at the positions of group g, in their order.
void SumGroups(const Spans& spans, const RowGroups& groups, const std::vector<RowPart>& parts,
               float* out, size_t cols);

// Sum of squares over all arrays, in double.
double SquaredNorm(const Spans& spans, const std::vector<ArrayView<const float>>& arrays);

// The implementation for this machine, or for the instruction set named; null where it cannot run.
const Spans* SpansNamed(const char* variant);

namespace reference {

// In double, scalar by scalar.
void Adam(const AdamOptions& options, uint64_t step, double* values, double* m, double* v,
          const double* gradients, size_t n);

}  // namespace reference

}  // namespace prismrec::embedding_rows

#endif  // PRISMREC_OPS_EMBEDDING_ROWS_EMBEDDING_ROWS_H_
