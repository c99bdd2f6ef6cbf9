#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>

#include "ops/max_cover/cover.h"
#include "ops/max_cover/max_cover.h"
#include "runtime/thread_pool.h"

namespace prismrec::max_cover {
namespace {

// Sets per chunk of work, and how many are worth a second thread.
constexpr size_t kChunk = 256;
constexpr size_t kParallel = 1024;
// How many sets ahead memory is asked for.
constexpr size_t kAhead = 8;
// Cancellation is polled after this many words of work, or as many steps of other loops.
constexpr size_t kPollWork = size_t{1} << 18;
constexpr size_t kPollEvery = 1024;
// The exact solver turns to an inverted index after this many times nnz words of recomputed gains.
constexpr size_t kLazyShare = 4;

struct Candidate {
  double worth;
  uint32_t set;
  // How many sets were selected when `worth` was computed.
  uint32_t as_of;
};

bool Below(const Candidate& a, const Candidate& b) {
  return a.worth < b.worth || (a.worth == b.worth && a.set > b.set);
}
bool Above(const Candidate& a, const Candidate& b) { return Below(b, a); }

// Sets by what they are at most worth, in levels an equal number of which double the worth. Whole
// worths below 256 units of the largest level's have a level each.
class LevelQueue {
 public:
  // `worth_of(set)` is 0 for a set that is to be left out.
  template <class WorthOf>
  LevelQueue(size_t sets, WorthOf worth_of) : levels_(kLevels) {
    double high = 0;
    for (uint32_t s = 0; s < sets; ++s) high = std::max(high, worth_of(s));
    base_ = Key(high) - static_cast<int64_t>(kLevels - 1);
    std::vector<uint32_t> sizes(kLevels, 0);
    for (uint32_t s = 0; s < sets; ++s) ++sizes[LevelOf(worth_of(s))];
    for (size_t level = 1; level < kLevels; ++level) levels_[level].reserve(sizes[level]);
    for (uint32_t s = 0; s < sets; ++s) Push(s, worth_of(s));
    top_ = kLevels;
  }

  void Push(uint32_t set, double worth) {
    if (worth > 0) levels_[LevelOf(worth)].push_back(set);
  }
  // The highest level's sets move to `sets`; false where there are none left.
  bool Pop(std::vector<uint32_t>* sets) {
    while (top_ > 0 && levels_[top_ - 1].empty()) --top_;
    if (top_ == 0) return false;
    *sets = std::move(levels_[--top_]);
    levels_[top_] = {};
    return true;
  }
  // Whether `worth` belongs to a level below the one popped last.
  bool Sinks(double worth) const { return LevelOf(worth) < top_; }

 private:
  static constexpr size_t kLevels = 4096;
  static constexpr int kMantissaBits = 7;

  // Grows with a positive worth.
  static int64_t Key(double worth) {
    int64_t bits;
    std::memcpy(&bits, &worth, sizeof(bits));
    return bits >> (52 - kMantissaBits);
  }
  // What is far below the highest worth shares level 0.
  size_t LevelOf(double worth) const {
    return static_cast<size_t>(std::max<int64_t>(0, Key(worth) - base_));
  }

  int64_t base_;
  size_t top_;
  std::vector<std::vector<uint32_t>> levels_;
};

// The sets that hold each element that still counts.
struct InvertedIndex {
  std::vector<uint32_t> indptr;
  std::vector<uint32_t> sets;

  InvertedIndex(const CsrView& csr, const Cover& cover, const std::vector<int64_t>& gains,
                const CancelFlag& cancel) {
    ThreadPool& pool = ThreadPool::Global();
    // A part's counts take E values: not more of them than there are entries.
    const size_t parts =
        std::clamp<size_t>(csr.nnz() / (csr.cols + 1), 1, static_cast<size_t>(pool.threads()));
    std::vector<std::vector<uint32_t>> at(parts);
    const auto each_entry = [&](auto use) {
      pool.ParallelFor(parts, cancel, [&](size_t part, int) {
        std::vector<uint32_t>& place = at[part];
        place.resize(csr.cols, 0);
        const size_t last = csr.rows * (part + 1) / parts;
        for (size_t s = csr.rows * part / parts; s < last; ++s) {
          if (s % kPollEvery == 0 && cancel.Cancelled()) return;
          if (gains[s] <= 0) continue;
          for (size_t e = csr.indptr[s]; e < csr.indptr[s + 1]; ++e) {
            const uint32_t element = csr.indices[e];
            if (cover.Counts(element)) use(&place[element], static_cast<uint32_t>(s));
          }
        }
      });
    };
    each_entry([](uint32_t* count, uint32_t) { ++*count; });
    if (cancel.Cancelled()) return;
    indptr.resize(csr.cols + 1);
    uint32_t total = 0;
    for (size_t i = 0; i < csr.cols; ++i) {
      indptr[i] = total;
      for (size_t part = 0; part < parts; ++part) {
        const uint32_t count = at[part][i];
        at[part][i] = total;
        total += count;
      }
    }
    indptr[csr.cols] = total;
    sets.resize(total);
    each_entry([this](uint32_t* place, uint32_t set) { sets[(*place)++] = set; });
  }
};

// A run under way: the selection so far, what it has covered, and what each set may still add.
class GreedyRun {
 public:
  GreedyRun(const Problem& problem, bool by_ratio, const CancelFlag& cancel, Selection* selection)
      : problem_(problem),
        sets_(problem.args->sets),
        by_ratio_(by_ratio),
        cancel_(cancel),
        selection_(selection),
        cover_(problem),
        gains_(sets_.rows) {
    selection_->bound = problem.attainable;
  }

  Status Run() {
    FirstGains();
    if (cancel_.Cancelled()) return Cancelled();
    if (problem_.args->solver == Solver::kStochastic) {
      Sampled();
    } else {
      Greedy();
    }
    if (!cancel_.Cancelled()) Bound();
    return cancel_.Cancelled() ? Cancelled() : Status::Ok();
  }

 private:
  size_t picks() const { return selection_->picks.size(); }
  bool Full() const { return picks() >= problem_.limit; }
  double WorthOf(uint32_t set, bool by_ratio) const {
    return problem_.WorthOf(gains_[set], set, by_ratio);
  }
  LevelQueue QueueOf(bool by_ratio) const {
    return LevelQueue(sets_.rows, [&, by_ratio](uint32_t set) {
      return gains_[set] > 0 && problem_.Affordable(set, 0) ? WorthOf(set, by_ratio) : 0.0;
    });
  }

  void FirstGains() {
    if (problem_.unit != 0 && problem_.args->weights == nullptr) {
      for (size_t s = 0; s < gains_.size(); ++s) {
        gains_[s] = static_cast<int64_t>(sets_.indptr[s + 1] - sets_.indptr[s]) * problem_.unit;
      }
      return;
    }
    std::vector<uint32_t> all(gains_.size());
    for (uint32_t s = 0; s < all.size(); ++s) all[s] = s;
    Recompute(all);
    work_ = 0;
  }

  // Brings the gains of the given sets up to date.
  void Recompute(const std::vector<uint32_t>& sets) {
    std::atomic<size_t> work{0};
    const size_t size = sets.size() < kParallel ? kParallel : kChunk;
    ThreadPool::Global().ParallelFor(
        (sets.size() + size - 1) / size, cancel_, [&](size_t chunk, int) {
          const size_t last = std::min(sets.size(), (chunk + 1) * size);
          size_t done = 0, polled = 0;
          for (size_t i = chunk * size; i < last; ++i) {
            if (i + kAhead < last) cover_.Prefetch(sets[i + kAhead]);
            gains_[sets[i]] = cover_.GainOf(sets[i]);
            done += cover_.WorkOf(sets[i]);
            if (done - polled < kPollWork) continue;
            polled = done;
            if (cancel_.Cancelled()) break;
          }
          work.fetch_add(done, std::memory_order_relaxed);
        });
    work_ += work;
  }
  // Whether gains are exact without recomputing.
  bool UpToDate() const { return picks() == 0 || index_.has_value(); }

  // The sets of the highest level that remain in it with their gains of now; the others sink. Those
  // that cost too much once `spent` is spent are left out for good.
  bool NextLevel(LevelQueue* queue, bool by_ratio, double spent, std::vector<Candidate>* level) {
    level->clear();
    while (level->empty()) {
      if (cancel_.Cancelled() || !queue->Pop(&popped_)) return false;
      if (spent > 0) {
        const auto dear = [&](uint32_t set) { return !problem_.Affordable(set, spent); };
        popped_.erase(std::remove_if(popped_.begin(), popped_.end(), dear), popped_.end());
      }
      if (!UpToDate()) Recompute(popped_);
      if (cancel_.Cancelled()) return false;
      for (const uint32_t set : popped_) {
        if (gains_[set] <= 0) continue;
        const double worth = WorthOf(set, by_ratio);
        if (queue->Sinks(worth)) {
          queue->Push(set, worth);
        } else {
          level->push_back({worth, set, static_cast<uint32_t>(picks())});
        }
      }
    }
    return true;
  }

  void Greedy() {
    if (problem_.limit > 0) Bound();
    LevelQueue queue = QueueOf(by_ratio_);
    std::vector<Candidate> level;
    while (!Full() && NextLevel(&queue, by_ratio_, selection_->cost, &level)) {
      std::make_heap(level.begin(), level.end(), Below);
      for (size_t turn = 1; !level.empty() && !Full(); ++turn) {
        if (turn % kPollEvery == 0 && cancel_.Cancelled()) return;
        const Candidate top = level.front();
        std::pop_heap(level.begin(), level.end(), Below);
        level.pop_back();
        if (!problem_.Affordable(top.set, selection_->cost)) continue;
        if (top.as_of != picks()) {
          if (!UpToDate()) {
            gains_[top.set] = cover_.GainOf(top.set);
            work_ += cover_.WorkOf(top.set);
          }
          const double worth = gains_[top.set] > 0 ? WorthOf(top.set, by_ratio_) : 0.0;
          if (worth == 0.0) continue;
          if (queue.Sinks(worth)) {
            queue.Push(top.set, worth);
            continue;
          }
          if (worth != top.worth) {
            level.push_back({worth, top.set, static_cast<uint32_t>(picks())});
            std::push_heap(level.begin(), level.end(), Below);
            continue;
          }
        }
        if (gains_[top.set] < problem_.least_gain) {
          // Those that follow gain no more, unless they are dearer.
          if (!by_ratio_) return;
          continue;
        }
        Take(top.set);
        if (!Full() && problem_.AsksBound(picks())) Bound();
        if (problem_.args->solver == Solver::kExact && !index_ &&
            work_ > kLazyShare * sets_.nnz()) {
          Index();
        }
      }
    }
  }

  void Sampled() {
    Sampler sampler(problem_);
    std::vector<int64_t> gains;
    const auto gains_of = [&](const std::vector<uint32_t>& drawn) -> const std::vector<int64_t>& {
      Recompute(drawn);
      gains.resize(drawn.size());
      for (size_t i = 0; i < drawn.size(); ++i) gains[i] = gains_[drawn[i]];
      return gains;
    };
    while (!Full() && !cancel_.Cancelled()) {
      if (problem_.AsksBound(picks())) Bound();
      const int64_t best = sampler.Next(selection_->cost, by_ratio_, gains_of);
      if (best < 0) break;
      Take(static_cast<uint32_t>(best));
    }
  }

  void Take(uint32_t set) {
    selection_->picks.push_back(set);
    selection_->gains.push_back(gains_[set]);
    selection_->value += gains_[set];
    selection_->cost += problem_.CostOf(set);
    cover_.Add(set, [&](uint32_t element) {
      if (!index_) return;
      const int64_t units = problem_.UnitsOf(element);
      for (size_t o = index_->indptr[element]; o < index_->indptr[element + 1]; ++o) {
        gains_[index_->sets[o]] -= units;
      }
    });
    gains_[set] = 0;
  }

  void Index() {
    std::vector<uint32_t> live;
    for (uint32_t s = 0; s < gains_.size(); ++s) {
      if (gains_[s] > 0) live.push_back(s);
    }
    Recompute(live);
    if (cancel_.Cancelled()) return;
    index_.emplace(sets_, cover_, gains_, cancel_);
  }

  // Notes what no selection can exceed: see Purchasable in reference.cc. Only the sets that may be
  // among the best have their gains recomputed.
  void Bound() {
    int64_t most = MostByCount();
    if (problem_.args->costs != nullptr && !std::isinf(problem_.args->max_cost)) {
      most = std::min(most, MostByCost());
    }
    selection_->bound = std::min(selection_->bound, selection_->value + most);
  }

  int64_t MostByCount() {
    LevelQueue queue = QueueOf(false);
    std::vector<Candidate> level;
    size_t left = problem_.limit;
    int64_t sum = 0;
    while (left > 0 && NextLevel(&queue, false, 0, &level)) {
      if (level.size() > left) {
        std::nth_element(level.begin(), level.begin() + static_cast<std::ptrdiff_t>(left),
                         level.end(), Above);
        level.resize(left);
      }
      left -= level.size();
      for (const Candidate& candidate : level) sum += gains_[candidate.set];
    }
    return sum;
  }

  int64_t MostByCost() {
    LevelQueue queue = QueueOf(true);
    std::vector<Candidate> level;
    double left = problem_.args->max_cost;
    int64_t sum = 0;
    while (NextLevel(&queue, true, 0, &level)) {
      std::sort(level.begin(), level.end(), Above);
      for (const Candidate& candidate : level) {
        const int64_t gain = gains_[candidate.set];
        const double cost = problem_.CostOf(candidate.set);
        if (cost > left) {
          return sum + static_cast<int64_t>(std::ceil(static_cast<double>(gain) * (left / cost)));
        }
        left -= cost;
        sum += gain;
      }
    }
    return sum;
  }

  const Problem& problem_;
  const CsrView sets_;
  const bool by_ratio_;
  const CancelFlag& cancel_;
  Selection* selection_;
  Cover cover_;
  // What each set adds at most, 0 for a selected one; exact where recomputed since the last pick.
  std::vector<int64_t> gains_;
  // The exact solver's, once it is worth building: then all gains are exact.
  std::optional<InvertedIndex> index_;
  // Words read to recompute gains.
  size_t work_ = 0;
  std::vector<uint32_t> popped_;
};

}  // namespace

Status Greedy(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
              Selection* selection) {
  return GreedyRun(problem, by_ratio, cancel, selection).Run();
}

}  // namespace prismrec::max_cover
