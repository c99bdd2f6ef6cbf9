// What the two sweeps over columns that all rows share have in common: what is gathered before, and
// the way of the columns' gradients to the items.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_SHARED_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_SHARED_H_

#include <cstddef>
#include <vector>

#include "ops/softmax_loss/geometry.h"
#include "ops/softmax_loss/rows.h"
#include "ops/softmax_loss/tile.h"

namespace prismrec::softmax_loss {

class Shared {
 public:
  // Its memory is the calling thread's: one at a time.
  Shared(const Problem& problem, const Geometry& geometry, Rows* rows);

  // Copies and packs rows and columns; NON_FINITE.
  Status Gather();

  // No logit of the block is further than kNearLogit from 0.
  bool near(size_t block) const { return near_[block] != 0; }
  // Packed interests of a block.
  const float* interests(size_t block) const { return interests_ + interests_begin_[block]; }
  const float* columns(size_t column) const { return columns_ + column * problem_.dim(); }
  const float* shift(size_t column) const { return shift_ == nullptr ? nullptr : shift_ + column; }
  // The panels of a chunk of columns that begins at `column`, null where they are not kept.
  const float* packed(size_t column) const {
    return packed_ == nullptr ? nullptr : packed_ + column * problem_.dim();
  }
  const float* plain(size_t column) const {
    return plain_ == nullptr ? nullptr : plain_ + column / geometry_.chunk * plain_floats_;
  }
  // Room for the panels of one chunk, in either form.
  size_t packed_floats() const { return packed_floats_; }
  size_t plain_floats() const { return plain_floats_; }

  // Where the gradients of the columns go, [columns, d] and [columns].
  float* column_gradient() const { return column_gradient_; }
  float* column_bias_gradient() const { return column_bias_gradient_; }

  // A wave's rows as the right factor of the columns' gradient: each times its scale, packed, one
  // segment of blocks after the other. Rows of `places` beyond the interests are 0.
  struct Segment {
    size_t place, places;
    const float* factors;
    const float* scales;
  };
  void Scale(const Wave& wave, size_t row);
  std::vector<Segment> Segments(const Wave& wave) const;
  // gradients of columns [column, column + count) (+)= x^T times the segment; x: the first of them
  // at the segment's first place.
  void ColumnProduct(const Segment& segment, const float* x, size_t column, size_t count,
                     bool first) const;

  // The items' gradients, from those of the columns and of targets that stand apart.
  void Assemble() const;

 private:
  const Block& BlockOf(const Wave& wave, size_t row) const;
  void CopyColumns(size_t begin, size_t end, float* vectors, float* shift) const;

  const Problem& problem_;
  const Geometry& geometry_;
  Rows* const rows_;
  size_t packed_floats_, plain_floats_;
  std::vector<size_t> interests_begin_;
  std::vector<char> near_;
  float* interests_ = nullptr;
  float* vectors_ = nullptr;  // [columns, d] and
  float* shifts_ = nullptr;   // [columns], of shared candidates
  const float* columns_ = nullptr;
  const float* shift_ = nullptr;
  float* packed_ = nullptr;
  float* plain_ = nullptr;
  float* column_gradient_ = nullptr;
  float* column_bias_gradient_ = nullptr;
  float* factors_ = nullptr;
  float* scales_ = nullptr;
};

// The panel of a wave holds its exponentials: 6 N d operations an interest.
void SweepKept(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared);
// They are computed again for the gradients: 8 N d.
void SweepTwice(const Problem& problem, const Geometry& geometry, Rows* rows, Shared* shared);

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_SHARED_H_
