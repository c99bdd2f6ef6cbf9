#include <algorithm>

#include "ops/max_cover/max_cover.h"

namespace prismrec::max_cover {
namespace {

// Cancellation is polled after this many entries of the heap.
constexpr size_t kPollEvery = 1024;

struct Entry {
  double worth;
  uint32_t set;
};

bool Below(const Entry& a, const Entry& b) {
  return a.worth < b.worth || (a.worth == b.worth && a.set > b.set);
}

// The sets that hold each element.
struct InvertedIndex {
  std::vector<uint32_t> indptr;
  std::vector<uint32_t> sets;

  explicit InvertedIndex(const CsrView& csr) : indptr(csr.cols + 1, 0), sets(csr.nnz()) {
    for (size_t e = 0; e < csr.nnz(); ++e) ++indptr[csr.indices[e] + 1];
    for (size_t i = 0; i < csr.cols; ++i) indptr[i + 1] += indptr[i];
    std::vector<uint32_t> at(indptr.begin(), indptr.end() - 1);
    for (size_t s = 0; s < csr.rows; ++s) {
      for (size_t e = csr.indptr[s]; e < csr.indptr[s + 1]; ++e) {
        sets[at[csr.indices[e]]++] = static_cast<uint32_t>(s);
      }
    }
  }
};

// A run under way: the selection so far, and what it has covered.
class GreedyRun {
 public:
  GreedyRun(const Problem& problem, bool by_ratio, Selection* selection)
      : problem_(problem),
        by_ratio_(by_ratio),
        selection_(selection),
        cover_(problem),
        selected_(problem.args->sets.rows, 0) {
    selection_->bound = problem.attainable;
  }

  size_t picks() const { return selection_->picks.size(); }
  double cost() const { return selection_->cost; }
  bool by_ratio() const { return by_ratio_; }
  const Cover& cover() const { return cover_; }
  bool Full() const { return picks() >= problem_.limit; }
  double WorthOf(int64_t gain, uint32_t set) const { return problem_.WorthOf(gain, set, by_ratio_); }
  bool Takes(int64_t gain, uint32_t set) const {
    return gain >= problem_.least_gain && problem_.Affordable(set, cost());
  }

  template <class Exhausted>
  void Take(uint32_t set, int64_t gain, Exhausted exhausted) {
    selection_->picks.push_back(set);
    selection_->gains.push_back(gain);
    selection_->value += gain;
    selection_->cost += problem_.CostOf(set);
    selected_[set] = 1;
    cover_.Add(set, exhausted);
  }

  void Bound(const std::vector<int64_t>& gains) {
    selection_->bound = std::min(selection_->bound, selection_->value + Purchasable(problem_, gains));
  }

  // The gains of all sets, from the cover: O(nnz).
  void BoundAnew() {
    std::vector<int64_t> gains(selected_.size());
    for (uint32_t s = 0; s < gains.size(); ++s) gains[s] = selected_[s] != 0 ? 0 : cover_.GainOf(s);
    Bound(gains);
  }

 private:
  const Problem& problem_;
  const bool by_ratio_;
  Selection* selection_;
  Cover cover_;
  std::vector<uint8_t> selected_;
};

std::vector<Entry> MakeHeap(const Problem& problem, const GreedyRun& run,
                            const std::vector<int64_t>& gains) {
  std::vector<Entry> heap;
  for (uint32_t s = 0; s < gains.size(); ++s) {
    if (gains[s] >= problem.least_gain) heap.push_back({run.WorthOf(gains[s], s), s});
  }
  std::make_heap(heap.begin(), heap.end(), Below);
  return heap;
}

std::vector<int64_t> FirstGains(const Problem& problem, const Cover& cover) {
  std::vector<int64_t> gains(problem.args->sets.rows);
  for (uint32_t s = 0; s < gains.size(); ++s) gains[s] = cover.GainOf(s);
  return gains;
}

// Puts the top entry, whose worth has fallen, to its new place.
void Lower(std::vector<Entry>* heap, double worth) {
  std::pop_heap(heap->begin(), heap->end(), Below);
  heap->back().worth = worth;
  std::push_heap(heap->begin(), heap->end(), Below);
}

void Drop(std::vector<Entry>* heap) {
  std::pop_heap(heap->begin(), heap->end(), Below);
  heap->pop_back();
}

// Gains are kept up to date, the heap's copies of them are not: one that proves stale is put back. An
// entry never falls below its set's worth, so a fresh top is the best set.
Status Exact(const Problem& problem, GreedyRun* run, const CancelFlag& cancel) {
  const InvertedIndex index(problem.args->sets);
  std::vector<int64_t> gains = FirstGains(problem, run->cover());
  std::vector<Entry> heap = MakeHeap(problem, *run, gains);
  if (problem.limit > 0) run->Bound(gains);
  for (size_t turn = 0; !heap.empty() && !run->Full(); ++turn) {
    if (turn % kPollEvery == 0 && cancel.Cancelled()) return Cancelled();
    const Entry top = heap.front();
    if (!run->Takes(gains[top.set], top.set)) {
      Drop(&heap);
      continue;
    }
    const double worth = run->WorthOf(gains[top.set], top.set);
    if (worth != top.worth) {
      Lower(&heap, worth);
      continue;
    }
    Drop(&heap);
    run->Take(top.set, gains[top.set], [&](uint32_t element) {
      for (size_t o = index.indptr[element]; o < index.indptr[element + 1]; ++o) {
        gains[index.sets[o]] -= problem.units[element];
      }
    });
    gains[top.set] = 0;
    if (!run->Full() && problem.AsksBound(run->picks())) run->Bound(gains);
  }
  run->Bound(gains);
  return Status::Ok();
}

// The same picks with no inverted index: a gain is recomputed when its set comes to the top.
Status Lazy(const Problem& problem, GreedyRun* run, const CancelFlag& cancel) {
  std::vector<int64_t> gains = FirstGains(problem, run->cover());
  std::vector<Entry> heap = MakeHeap(problem, *run, gains);
  std::vector<uint32_t> computed_at(gains.size(), 0);
  if (problem.limit > 0) run->Bound(gains);
  for (size_t turn = 0; !heap.empty() && !run->Full(); ++turn) {
    if (turn % kPollEvery == 0 && cancel.Cancelled()) return Cancelled();
    const uint32_t set = heap.front().set;
    if (!run->Takes(gains[set], set)) {
      Drop(&heap);
      continue;
    }
    if (computed_at[set] != run->picks()) {
      gains[set] = run->cover().GainOf(set);
      computed_at[set] = static_cast<uint32_t>(run->picks());
      Lower(&heap, run->WorthOf(gains[set], set));
      continue;
    }
    Drop(&heap);
    run->Take(set, gains[set], [](uint32_t) {});
    if (!run->Full() && problem.AsksBound(run->picks())) run->BoundAnew();
  }
  run->BoundAnew();
  return Status::Ok();
}

Status Stochastic(const Problem& problem, GreedyRun* run, const CancelFlag& cancel) {
  Sampler sampler(problem);
  const auto gain_of = [&](uint32_t set) { return run->cover().GainOf(set); };
  while (!run->Full()) {
    if (cancel.Cancelled()) return Cancelled();
    if (problem.AsksBound(run->picks())) run->BoundAnew();
    const int64_t best = sampler.Next(run->cost(), run->by_ratio(), gain_of);
    if (best < 0) break;
    const uint32_t set = static_cast<uint32_t>(best);
    run->Take(set, gain_of(set), [](uint32_t) {});
  }
  run->BoundAnew();
  return Status::Ok();
}

}  // namespace

Status Greedy(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
              Selection* selection) {
  GreedyRun run(problem, by_ratio, selection);
  switch (problem.args->solver) {
    case Solver::kExact:
      return Exact(problem, &run, cancel);
    case Solver::kLazy:
      return Lazy(problem, &run, cancel);
    case Solver::kStochastic:
      return Stochastic(problem, &run, cancel);
  }
  return Internal("unknown solver");
}

}  // namespace prismrec::max_cover
