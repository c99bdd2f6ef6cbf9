// Greedy weighted r-cover under cardinality and cost budgets, with a certificate: see README.md.
#ifndef PRISMREC_OPS_MAX_COVER_MAX_COVER_H_
#define PRISMREC_OPS_MAX_COVER_MAX_COVER_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ops/max_cover/cpu/bitset.h"
#include "runtime/cancel.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"

namespace prismrec::max_cover {

// Weights are whole numbers of 2^-16, and all sets together are worth at most 2^53 of them: gains, their
// sums and their ties are exact, in integers and in doubles alike.
inline constexpr double kUnitsPerWeight = 65536.0;
inline constexpr double kMaxTotalUnits = 9007199254740992.0;
inline constexpr uint32_t kMaxRepeats = 65535;

// kExact and kLazy make the same picks: both recompute a gain when its set comes to the top, and kExact
// turns to an inverted index once that has cost more. kStochastic takes the best of a sample.
enum class Solver { kExact, kLazy, kStochastic };

struct Args {
  // S x E; an element stands at most once in a set.
  CsrView sets;
  // [E] finite, >= 0, nullable (all 1).
  const float* weights = nullptr;
  // [S] finite, > 0, nullable (all 1).
  const float* costs = nullptr;
  // Budgets: most sets, and most cost (needs `costs`; infinity: none).
  size_t max_sets = 0;
  double max_cost = 0;
  // r: how often an element counts, 1 to kMaxRepeats.
  uint32_t repeats = 1;
  // Sets that would add less are not selected, >= 0.
  double min_gain = 0;
  Solver solver = Solver::kExact;
  // kStochastic: in (0, 1).
  double sample_loss = 0.1;
  uint32_t seed = 0;
};

struct Outputs {
  // In the order of selection; ties went to the lowest number.
  std::vector<uint32_t> selected;
  // What each added.
  std::vector<double> gains;
  // Their sum, the value of all sets together, and a value that no selection in the budget exceeds.
  double value = 0;
  double attainable = 0;
  double upper_bound = 0;
  // Of the selection; its size without costs.
  double cost = 0;
  // Whether it comes from the greedy by gain per cost rather than by gain.
  bool by_ratio = false;
};

// Args with what all variants share.
struct Problem {
  const Args* args = nullptr;
  // The units of every element that weighs anything, or 0 where they differ: then `units` has them,
  // [E]. A float holds them exactly.
  int64_t unit = 0;
  std::vector<float> units;
  int64_t attainable = 0;
  // The least gain that is still selected, in units.
  int64_t least_gain = 1;
  // min(max_sets, S).
  size_t limit = 0;
  // Whether every prefix of a selection is asked for its bound, or the empty one and the whole.
  bool every_prefix = false;
  // The variant's; null in the reference.
  CountCommon count_common = nullptr;

  double CostOf(uint32_t set) const { return args->costs == nullptr ? 1.0 : args->costs[set]; }
  bool Affordable(uint32_t set, double spent) const {
    return args->costs == nullptr || spent + CostOf(set) <= args->max_cost;
  }
  double WorthOf(int64_t gain, uint32_t set, bool by_ratio) const {
    return by_ratio ? static_cast<double>(gain) / CostOf(set) : static_cast<double>(gain);
  }
  bool AsksBound(size_t picks) const { return every_prefix || picks == 0; }
  // 0 where an element weighs nothing.
  int64_t UnitsOf(uint32_t element) const {
    if (unit == 0) return static_cast<int64_t>(units[element]);
    return args->weights == nullptr || args->weights[element] * kUnitsPerWeight >= 0.5 ? unit : 0;
  }
};

// Checks every argument, in one parallel pass over the sets.
Status Prepare(const Args& args, const CancelFlag& cancel, Problem* problem);

// One greedy run by gain or by gain per cost.
struct Selection {
  std::vector<uint32_t> picks;
  std::vector<int64_t> gains;
  int64_t value = 0;
  int64_t bound = 0;
  double cost = 0;
};

// What a greedy run may still take when its sampling is random: each pick is the best of a sample.
class Sampler {
 public:
  explicit Sampler(const Problem& problem);

  // The best set of the next sample; -1 where none is left. `gains_of(sets)` gives what each of a
  // vector of sets would add now, as a vector.
  template <class GainsOf>
  int64_t Next(double spent, bool by_ratio, GainsOf gains_of) {
    int64_t best = -1;
    double best_worth = 0;
    while (best < 0 && !pool_.empty()) {
      const size_t size = sample_ < pool_.size() ? sample_ : pool_.size();
      for (size_t t = 0; t < size; ++t) {
        const size_t other =
            t + static_cast<size_t>(Uniform() * static_cast<double>(pool_.size() - t));
        std::swap(pool_[t], pool_[other]);
      }
      drawn_.assign(pool_.begin(), pool_.begin() + static_cast<std::ptrdiff_t>(size));
      const auto& gains = gains_of(drawn_);
      dead_.assign(size, 0);
      for (size_t t = 0; t < size; ++t) {
        const uint32_t set = drawn_[t];
        dead_[t] = gains[t] < problem_.least_gain || !problem_.Affordable(set, spent) ? 1 : 0;
        if (dead_[t] != 0) continue;
        const double worth = problem_.WorthOf(gains[t], set, by_ratio);
        if (best < 0 || worth > best_worth || (worth == best_worth && set < best)) {
          best = set;
          best_worth = worth;
        }
      }
      // What is taken now, or can never be taken again, leaves the pool.
      for (size_t t = size; t-- > 0;) {
        if (dead_[t] == 0 && pool_[t] != best) continue;
        pool_[t] = pool_.back();
        pool_.pop_back();
      }
    }
    return best;
  }

 private:
  // In [0, 1): a counter through an integer mixer, so that TypeScript can draw the same.
  double Uniform();

  const Problem& problem_;
  size_t sample_ = 1;
  std::vector<uint32_t> pool_;
  std::vector<uint32_t> drawn_;
  std::vector<uint8_t> dead_;
  uint32_t state_;
};

// Of S sets of which `picks` can be afforded, each pick looks at (S / picks) ln(1 / loss): O(S) in all.
inline Sampler::Sampler(const Problem& problem)
    : problem_(problem), pool_(problem.args->sets.rows), state_(problem.args->seed) {
  const Args& args = *problem.args;
  for (size_t s = 0; s < pool_.size(); ++s) pool_[s] = static_cast<uint32_t>(s);
  double picks = static_cast<double>(problem.limit);
  if (args.costs != nullptr && !pool_.empty()) {
    const float cheapest = *std::min_element(args.costs, args.costs + pool_.size());
    picks = std::min(picks, std::floor(args.max_cost / cheapest));
  }
  const double share = static_cast<double>(pool_.size()) / std::max(1.0, picks);
  sample_ = static_cast<size_t>(std::max(1.0, std::ceil(share * -std::log(args.sample_loss))));
}

inline double Sampler::Uniform() {
  // Constants of Chris Wellons' search for integer hashes.
  state_ += 0x9e3779b9u;
  uint32_t z = state_;
  z = (z ^ (z >> 16)) * 0x21f0aaadu;
  z = (z ^ (z >> 15)) * 0x735a2d97u;
  return static_cast<double>(z ^ (z >> 15)) / 4294967296.0;
}

// By gain, and where `by_ratio` is not null by gain per cost.
using Fn = Status (*)(const Problem& problem, const CancelFlag& cancel, Selection* by_gain, Selection* by_ratio);

// One run. By definition: every step computes every gain anew.
Status Reference(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
                 Selection* selection);
Status Greedy(const Problem& problem, bool by_ratio, const CancelFlag& cancel, Selection* selection);

// `variant` null or empty: the best for this machine.
Status Run(const char* variant, const Args& args, Outputs* outputs, const CancelFlag& cancel);
std::vector<const char*> RunnableVariants();

}  // namespace prismrec::max_cover

#endif  // PRISMREC_OPS_MAX_COVER_MAX_COVER_H_
