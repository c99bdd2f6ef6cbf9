// Rows of interests against some columns: logits, exponentials, and the interests' share of a
// product with the columns, while they are close.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_TILE_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_TILE_H_

#include <cstddef>

#include "ops/softmax_loss/problem.h"
#include "ops/softmax_loss/rows.h"

namespace prismrec::softmax_loss {

struct Tile {
  size_t row0, row1;        // counted rows
  size_t column, width;     // columns [column, column + width) of the rows' panel
  const float* interests;   // the rows' interests, packed as rows
  const float* columns;     // [width, d]
  const float* shift;       // [width], nullable: what is added to the columns' logits
  const float* packed;      // the columns' panels
  const float* plain;       // and as the right factor of a product; not read for few interests
  float* x;                 // [interests, stride]
  size_t stride;
};

// x = interests x columns^T + shift + offsets, without the columns that the rows leave out; keeps
// the targets' logits. `tops` [interests], nullable: the largest of each.
void Logits(const Problem& problem, Rows* rows, const Tile& tile, float* tops);

// x = exp(x - tops of the rows), under readout max for the winning interest alone; adds what they
// come to for rows and interests. `tops` null: relative to 0, and no logit is far from it.
// `products`: x is wanted beyond its sum.
void Exponentials(const Problem& problem, const Rows& rows, const Tile& tile, const float* tops,
                  bool products, double* row_sums, double* pair_sums);

// product [interests, d] (+)= x times columns.
void InterestProduct(const Problem& problem, const Rows& rows, const Tile& tile, bool first,
                     float* product);

// The columns' panels, and their panels as the right factor of a product; each nullable.
void PackColumns(const Problem& problem, const float* columns, size_t width, float* packed,
                 float* plain);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_TILE_H_
