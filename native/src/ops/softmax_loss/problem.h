// What every part of a call reads.
#ifndef PRISMREC_OPS_SOFTMAX_LOSS_PROBLEM_H_
#define PRISMREC_OPS_SOFTMAX_LOSS_PROBLEM_H_

#include <cstddef>
#include <initializer_list>
#include <limits>

#include "ops/softmax_loss/cpu/spans.h"
#include "ops/softmax_loss/plan.h"
#include "ops/softmax_loss/softmax_loss.h"
#include "runtime/workspace.h"

namespace prismrec::softmax_loss {

inline constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();
inline constexpr size_t kLine = 64 / sizeof(float);
// No logit further than this from 0: exponentials need no maximum, and sums of them keep their
// digits.
inline constexpr float kNearLogit = 40.0f;

// To whole cache lines.
constexpr size_t Aligned(size_t floats) { return (floats + kLine - 1) / kLine * kLine; }
constexpr size_t RoundUp(size_t x, size_t to) { return (x + to - 1) / to * to; }
constexpr size_t Blocks(size_t x, size_t block) { return (x + block - 1) / block; }

struct Problem {
  const Spans& spans;
  const Args& args;
  const Plan& plan;
  Outputs* outputs;
  ThreadPool& pool;
  const CancelFlag& cancel;

  size_t dim() const { return args.dim(); }
  size_t counted() const { return plan.rows.size(); }
  bool gradients() const { return outputs->gradients(); }
  // The targets are no columns, but stand apart.
  bool sampled() const { return args.candidates != nullptr; }
  const float* Item(uint32_t item) const { return args.items.data + item * dim(); }
  // What derivatives relative to exponentials that sum to `sum` are multiplied by.
  float ScaleOf(double sum) const {
    return static_cast<float>(1.0 / (sum * static_cast<double>(counted())));
  }
};

// Lays the pieces out in `memory`, each on lines of its own; they are not initialised.
struct Piece {
  float** place;
  size_t floats;
};
inline void LayOut(Workspace* memory, std::initializer_list<Piece> pieces) {
  size_t total = 0;
  for (const Piece& piece : pieces) total += Aligned(piece.floats);
  float* next = memory->Reserve<float>(total);
  for (const Piece& piece : pieces) {
    *piece.place = next;
    next += Aligned(piece.floats);
  }
}

}  // namespace prismrec::softmax_loss

#endif  // PRISMREC_OPS_SOFTMAX_LOSS_PROBLEM_H_
