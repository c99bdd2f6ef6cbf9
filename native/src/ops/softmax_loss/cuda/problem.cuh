// What the kernels read, all on the device; see ../README.md.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_CUDA_PROBLEM_CUH_
#define PRISMREC_OPS_SOFTMAX_LOSS_CUDA_PROBLEM_CUH_

#include <cuda_runtime.h>

#include <cstdint>

namespace prismrec::softmax_loss {

// Slots hold the present interests of the counted rows, row by row; some are padding. Columns, the first of the items,
// are met by every slot, entries by the slots of one row.
struct DeviceProblem {
  const float* slots;    // [slot_count, stride]; padding: zeros
  const float* items;    // [items, stride]
  const float* offsets;  // [slot_count]
  const float* shift;    // [column_count] added to the logits of a column
  int slot_count;        // a multiple of a tile
  int column_count;
  int stride;
  const int* slot_row;    // [slot_count]; -1: padding
  const int2* row_slots;  // [rows] first and end
  // Columns outside a row's softmax: ascending columns of each row, and ascending rows of each column.
  const uint32_t* row_removed_begin;
  const uint32_t* row_removed;
  const uint32_t* column_removed_begin;
  const uint32_t* column_removed;
  bool max;  // no row lies in two tiles
};

// A row's logits with a column of its own (a target, or a candidate of the row alone) have an entry.
struct Entries {
  const uint32_t* row_begin;  // [rows + 1]
  const uint32_t* row;        // [entries]
  const uint32_t* item;       // [entries]
  const float* shift;         // [entries] added to the logits; -infinity: not in the softmax
  const float* target_share;  // [entries] of the row's targets; 0: no target
  const uint64_t* begin;      // [rows] where a row's values begin, [row's slots, row's entries]
  float* values;              // logits, then derivatives of the row's loss, from row `first_row` on
  int first_row;

  __device__ __forceinline__ float* Of(int of_row) const { return values + (begin[of_row] - begin[first_row]); }
  __device__ __forceinline__ int Count(int of_row) const {
    return static_cast<int>(row_begin[of_row + 1] - row_begin[of_row]);
  }
};

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_CUDA_PROBLEM_CUH_
