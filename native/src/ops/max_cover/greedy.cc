#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include "ops/max_cover/cover.h"
#include "ops/max_cover/max_cover.h"
#include "runtime/thread_pool.h"

namespace prismrec::max_cover {
namespace {

// Sets per chunk of work where a list of them is looked up, and how many are worth a second thread.
constexpr size_t kChunk = 64;
constexpr size_t kParallel = 256;
// Sets per chunk of a sweep over all of them: where gains are recomputed, where costs or gains are
// only compared; and from how much work on gains are recomputed by more than one thread. Waking it
// takes longer than less.
constexpr size_t kSweep = 8192;
constexpr size_t kCostSweep = 65536;
constexpr size_t kGainSweep = size_t{1} << 19;
constexpr size_t kSweepWork = size_t{1} << 16;
// Sets whose highest gain is kept, so that most need not be compared: a cache line of gains.
constexpr uint32_t kBlock = 16;
// How many sets ahead memory is asked for.
constexpr size_t kAhead = 16;
// A sweep looks at the sets that may be worth the best's worth over this. For a bound, which needs
// many sets at once, they may be more.
constexpr double kSweepRange = 1.25;
constexpr double kBoundRange = 1.6;
// After this share of the sets of a sweep has been looked up one by one, another sweep is cheaper.
constexpr size_t kStaleShare = 4;
constexpr size_t kStaleLeast = 256;
// Cancellation is polled after this many words of work, or as many steps of other loops.
constexpr size_t kPollWork = size_t{1} << 18;
constexpr size_t kPollEvery = 1024;
// The exact solver turns to an inverted index after this many times nnz words of recomputed gains.
constexpr size_t kLazyShare = 4;
// Gains are looked up one by one until that has taken as much as packing all sets over this:
// packing reads one after another, which is cheaper.
constexpr size_t kPackShare = 4;

struct Candidate {
  double worth;
  uint32_t set;
  // How many sets were selected when `worth` was computed.
  uint32_t as_of;
};

bool Below(const Candidate& a, const Candidate& b) {
  return a.worth < b.worth || (a.worth == b.worth && a.set > b.set);
}

// Candidates, the best first. The sets' parts have a heap each, which all threads build, and the
// parts stand in a heap by their best.
class CandidateQueue {
 public:
  // Makes room for so many parts, all empty.
  void Clear(size_t parts) {
    parts_.resize(parts);
    for (std::vector<Candidate>& part : parts_) part.clear();
    order_.clear();
    size_ = 0;
  }
  // To fill, and to make a heap of (by Below), before Start.
  std::vector<Candidate>& Part(size_t part) { return parts_[part]; }
  void Start() {
    for (size_t part = 0; part < parts_.size(); ++part) {
      size_ += parts_[part].size();
      if (!parts_[part].empty()) order_.push_back(static_cast<uint32_t>(part));
    }
    std::make_heap(order_.begin(), order_.end(), ByBest{parts_});
  }

  bool empty() const { return order_.empty(); }
  size_t size() const { return size_; }
  const Candidate& top() const { return parts_[order_.front()].front(); }
  void Pop() {
    std::pop_heap(order_.begin(), order_.end(), ByBest{parts_});
    std::vector<Candidate>& part = parts_[order_.back()];
    std::pop_heap(part.begin(), part.end(), Below);
    part.pop_back();
    --size_;
    PlaceLast();
  }
  // Puts another in the place of the best.
  void Replace(const Candidate& candidate) {
    std::pop_heap(order_.begin(), order_.end(), ByBest{parts_});
    std::vector<Candidate>& part = parts_[order_.back()];
    std::pop_heap(part.begin(), part.end(), Below);
    part.back() = candidate;
    std::push_heap(part.begin(), part.end(), Below);
    PlaceLast();
  }
  // Calls use(set) for some of those that are likely to follow the best.
  template <class Use>
  void Peek(Use use) const {
    const std::vector<Candidate>& part = parts_[order_.front()];
    for (size_t i = 1; i < std::min<size_t>(3, part.size()); ++i) use(part[i].set);
    if (order_.size() > 1) use(parts_[order_[1]].front().set);
  }
  template <class Use>
  void Each(Use use) const {
    for (const std::vector<Candidate>& part : parts_) {
      for (const Candidate& candidate : part) use(candidate);
    }
  }

 private:
  struct ByBest {
    const std::vector<std::vector<Candidate>>& parts;
    bool operator()(uint32_t a, uint32_t b) const {
      return Below(parts[a].front(), parts[b].front());
    }
  };

  // Brings the part behind the heap of parts, whose best is another now, into it.
  void PlaceLast() {
    if (parts_[order_.back()].empty()) {
      order_.pop_back();
    } else {
      std::push_heap(order_.begin(), order_.end(), ByBest{parts_});
    }
  }

  std::vector<std::vector<Candidate>> parts_;
  std::vector<uint32_t> order_;  // the parts that are not empty
  size_t size_ = 0;
};

// The sets that hold each element that still counts.
struct InvertedIndex {
  std::vector<uint32_t> indptr;
  LargeVector<uint32_t> sets;

  template <class Gain>
  InvertedIndex(const CsrView& csr, const Cover& cover, const LargeVector<Gain>& gains,
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
          for (const uint32_t element : cover.Entries(s)) {
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
      if (i % kPollEvery == 0 && cancel.Cancelled()) return;
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

// A run under way: the selection so far, what it has covered, and what each set may still add: in
// units, or, where all elements weigh the same, in elements, which are smaller numbers and so faster
// to sweep over.
template <class Gain>
class GreedyRun {
 public:
  GreedyRun(const Problem& problem, bool by_ratio, const CancelFlag& cancel, Selection* selection)
      : problem_(problem),
        sets_(problem.args->sets),
        by_ratio_(by_ratio),
        cancel_(cancel),
        selection_(selection),
        cover_(problem, cancel),
        scale_(problem.unit == 0 ? 1 : problem.unit),
        gains_(sets_.rows),
        highs_((sets_.rows + kBlock - 1) / kBlock) {
    selection_->bound = problem.attainable;
  }

  Status Run() {
    FirstGains();
    if (cancel_.Cancelled()) return Cancelled();
    RenewHighs();
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
  int64_t UnitsOf(uint32_t set) const { return int64_t{gains_[set]} * scale_; }
  double WorthOf(uint32_t set, bool by_ratio) const {
    return problem_.WorthOf(UnitsOf(set), set, by_ratio);
  }
  void FirstGains() {
    if (problem_.unit != 0 && problem_.args->weights == nullptr) {
      for (size_t s = 0; s < gains_.size(); ++s) {
        gains_[s] = static_cast<Gain>(sets_.indptr[s + 1] - sets_.indptr[s]);
      }
      return;
    }
    LargeVector<uint32_t> all(gains_.size());
    for (uint32_t s = 0; s < all.size(); ++s) all[s] = s;
    Recompute(all.data(), all.size());
    work_ = 0;
  }

  // Brings the gains of the given sets up to date, on this thread.
  void Renew(const uint32_t* sets, size_t count) {
    size_t done = 0, polled = 0;
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) cover_.Prefetch(sets[i + kAhead]);
      done += cover_.WorkOf(sets[i]);
      gains_[sets[i]] = static_cast<Gain>(cover_.GainOf(sets[i]));
      if (done - polled < kPollWork) continue;
      polled = done;
      if (cancel_.Cancelled()) break;
    }
    work_.fetch_add(done, std::memory_order_relaxed);
  }
  void Recompute(const uint32_t* sets, size_t count) {
    const size_t size = count < kParallel ? kParallel : kChunk;
    pool_.ParallelFor((count + size - 1) / size, cancel_, [&](size_t chunk, int) {
      Renew(sets + chunk * size, std::min(size, count - chunk * size));
    });
  }
  // Whether gains are exact without recomputing.
  bool UpToDate() const { return picks() == exact_at_ || index_.has_value(); }

  // Which sets a sweep asks about: those that add `least` or more, can be paid for once `spent` is
  // spent, and may be worth less than `below`; of these, the ones that may be worth what the best of
  // them may, over `range`.
  struct Wanted {
    bool by_ratio;
    int64_t least;
    double spent;
    double below;
    double range;
  };

  // Brings the gains of the best of the wanted sets up to date: of all that may be worth `*floor`,
  // somewhat less than the best may. Leaves those that are worth it in `found`, which may be none;
  // false where there is nothing to want.
  bool Sweep(const Wanted& wanted, double* floor, CandidateQueue* found) {
    // Without costs a worth is a gain, and gains compare as whole numbers.
    if (problem_.args->costs == nullptr) {
      const Gain least = Ceiling(static_cast<double>(wanted.least) / scale_);
      const Gain most = Ceiling(wanted.below / static_cast<double>(scale_)) - 1;
      return SweepBy(
          [gains = gains_.data(), least, most](uint32_t set) {
            const Gain gain = gains[set];
            return gain >= least && gain <= most ? gain : Gain{0};
          },
          [highs = highs_.data()](size_t block) { return highs[block]; },
          static_cast<double>(scale_), wanted.range, floor, found);
    }
    return SweepBy(
        [this, &wanted](uint32_t set) {
          if (UnitsOf(set) < wanted.least || !problem_.Affordable(set, wanted.spent)) return 0.0;
          const double worth = WorthOf(set, wanted.by_ratio);
          return worth < wanted.below ? worth : 0.0;
        },
        [this, &wanted](size_t block) {
          return wanted.by_ratio ? HUGE_VAL : static_cast<double>(int64_t{highs_[block]} * scale_);
        },
        1.0, wanted.range, floor, found);
  }

  // The least gain that is not less.
  static Gain Ceiling(double x) {
    constexpr Gain kMost = std::numeric_limits<Gain>::max();
    return x < static_cast<double>(kMost) ? static_cast<Gain>(std::ceil(x)) : kMost;
  }

  uint32_t EndOf(size_t block) const {
    return static_cast<uint32_t>(std::min(gains_.size(), (block + 1) * kBlock));
  }
  void RenewHigh(size_t block) {
    Gain high = 0;
    for (size_t set = block * kBlock; set < EndOf(block); ++set) high = std::max(high, gains_[set]);
    highs_[block] = high;
  }
  void RenewHighs() {
    EachChunk(kGainSweep, [this](size_t, size_t block, size_t last) {
      for (; block < last; ++block) RenewHigh(block);
    });
  }

  // Calls fn(chunk, block, last) for chunks of `size` sets: a multiple of kBlock.
  template <class Fn>
  void EachChunk(size_t size, Fn fn) {
    const size_t blocks = size / kBlock;
    pool_.ParallelFor((highs_.size() + blocks - 1) / blocks, cancel_, [&](size_t chunk, int) {
      fn(chunk, chunk * blocks, std::min(highs_.size(), (chunk + 1) * blocks));
    });
  }

  // worth_of(set), times `scale`: 0 for a set that is not wanted. most_of(block): no set of the
  // block is worth more.
  template <class WorthOf, class MostOf>
  bool SweepBy(WorthOf worth_of, MostOf most_of, double scale, double range, double* floor,
               CandidateQueue* found) {
    using Worth = decltype(worth_of(0));
    swept_ = 0;
    const size_t compared = problem_.args->costs == nullptr ? kGainSweep : kCostSweep;
    std::vector<Worth> tops(gains_.size() / compared + 1, 0);
    EachChunk(compared, [&](size_t chunk, size_t block, size_t last) {
      Worth top = 0;
      for (; block < last; ++block) {
        if (most_of(block) <= top) continue;
        for (auto set = static_cast<uint32_t>(block * kBlock); set < EndOf(block); ++set) {
          top = std::max(top, worth_of(set));
        }
        RenewHigh(block);
      }
      tops[chunk] = top;
    });
    const Worth top = *std::max_element(tops.begin(), tops.end());
    if (top <= 0 || cancel_.Cancelled()) return false;
    *floor = static_cast<double>(top) * scale / range;
    Worth least;
    if constexpr (std::is_integral_v<Worth>) {
      least = Ceiling(*floor / scale);
    } else {
      least = *floor;
    }
    size_t blocks = 0;
    for (size_t block = 0; block < highs_.size(); ++block) blocks += most_of(block) >= least;
    const size_t work = blocks * (kBlock + (UpToDate() ? 0 : cover_.MeanWork()));
    const size_t size = work < kSweepWork ? highs_.size() * kBlock : kSweep;
    found->Clear(gains_.size() / size + 1);
    std::atomic<size_t> swept{0};
    EachChunk(size, [&](size_t chunk, size_t first, size_t last) {
      std::vector<uint32_t> looked, sets;
      for (size_t block = first; block < last; ++block) {
        if (most_of(block) >= least) looked.push_back(static_cast<uint32_t>(block));
      }
      sets.resize(looked.size() * kBlock);
      size_t count = 0;
      for (const uint32_t block : looked) {
        for (uint32_t set = block * kBlock; set < EndOf(block); ++set) {
          sets[count] = set;
          count += worth_of(set) >= least;
        }
      }
      sets.resize(count);
      if (!UpToDate()) Renew(sets.data(), count);
      for (const uint32_t block : looked) RenewHigh(block);
      swept.fetch_add(count, std::memory_order_relaxed);
      std::vector<Candidate>& part = found->Part(chunk);
      for (const uint32_t own : sets) {
        const Worth worth = worth_of(own);
        if (worth < least) continue;
        part.push_back({static_cast<double>(worth) * scale, own, static_cast<uint32_t>(picks())});
      }
      std::make_heap(part.begin(), part.end(), Below);
    });
    swept_ = swept;
    found->Start();
    return !cancel_.Cancelled();
  }

  void Greedy() {
    if (problem_.limit > 0) Bound();
    CandidateQueue queue;
    double floor = 0;
    const auto sweep = [&] {
      return Sweep({by_ratio_, problem_.least_gain, selection_->cost, HUGE_VAL, kSweepRange},
                   &floor, &queue);
    };
    while (!Full() && sweep()) {
      const size_t most_stale = swept_ / kStaleShare + kStaleLeast;
      for (size_t turn = 1, stale = 0; !queue.empty() && !Full() && stale < most_stale; ++turn) {
        if (turn % kPollEvery == 0 && cancel_.Cancelled()) return;
        const Candidate top = queue.top();
        queue.Peek([this](uint32_t next) { cover_.Prefetch(next); });
        if (!problem_.Affordable(top.set, selection_->cost)) {
          queue.Pop();
          continue;
        }
        if (top.as_of != picks()) {
          if (!UpToDate()) {
            Renew(&top.set, 1);
            ++stale;
          }
          const double worth = WorthOf(top.set, by_ratio_);
          if (UnitsOf(top.set) < problem_.least_gain || worth < floor) {
            queue.Pop();
            continue;
          }
          if (worth != top.worth) {
            queue.Replace({worth, top.set, static_cast<uint32_t>(picks())});
            continue;
          }
        }
        queue.Pop();
        Take(top.set);
        if (!Full() && problem_.AsksBound(picks())) Bound();
        if (problem_.args->solver == Solver::kExact && !index_ &&
            work_ > kLazyShare * sets_.nnz()) {
          Index();
          // The index may have been left unfinished.
          if (cancel_.Cancelled()) return;
        }
      }
      if (!Full()) MayPack();
      // The sets may have been left half packed.
      if (cancel_.Cancelled()) return;
    }
  }
  void Sampled() {
    Sampler sampler(problem_);
    std::vector<int64_t> gains;
    const auto gains_of = [&](const std::vector<uint32_t>& drawn) -> const std::vector<int64_t>& {
      Recompute(drawn.data(), drawn.size());
      gains.resize(drawn.size());
      for (size_t i = 0; i < drawn.size(); ++i) gains[i] = UnitsOf(drawn[i]);
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
    selection_->gains.push_back(UnitsOf(set));
    selection_->value += UnitsOf(set);
    selection_->cost += problem_.CostOf(set);
    cover_.Add(set, [&](uint32_t element) {
      if (!index_) return;
      const Gain units = static_cast<Gain>(problem_.UnitsOf(element) / scale_);
      for (size_t o = index_->indptr[element]; o < index_->indptr[element + 1]; ++o) {
        gains_[index_->sets[o]] -= units;
      }
    });
    gains_[set] = 0;
  }

  // Makes all gains exact, and cheaper to look up, once enough of them have been looked up.
  void MayPack() {
    const size_t work = cover_.PackWork();
    if (UpToDate() || work == 0 || work_ - packed_work_ <= work / kPackShare) return;
    work_ += work;
    packed_work_ = work_;
    cover_.Pack(cancel_, gains_.data());
    exact_at_ = picks();
    RenewHighs();
  }

  void Index() {
    LargeVector<uint32_t> live;
    live.reserve(gains_.size());
    for (uint32_t s = 0; s < gains_.size(); ++s) {
      if (gains_[s] > 0) live.push_back(s);
    }
    Recompute(live.data(), live.size());
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
    CandidateQueue found;
    double floor = HUGE_VAL;
    size_t left = problem_.limit;
    int64_t sum = 0;
    while (left > 0 && Sweep({false, 1, 0, floor, kBoundRange}, &floor, &found)) {
      if (found.size() <= left) {
        left -= found.size();
        found.Each([&](const Candidate& candidate) { sum += UnitsOf(candidate.set); });
        continue;
      }
      for (; left > 0; --left) {
        if (left % kPollEvery == 0 && cancel_.Cancelled()) break;
        sum += UnitsOf(found.top().set);
        found.Pop();
      }
    }
    return sum;
  }

  int64_t MostByCost() {
    CandidateQueue found;
    double floor = HUGE_VAL;
    double left = problem_.args->max_cost;
    int64_t sum = 0;
    while (Sweep({true, 1, 0, floor, kBoundRange}, &floor, &found)) {
      for (size_t turn = 1; !found.empty(); ++turn) {
        if (turn % kPollEvery == 0 && cancel_.Cancelled()) break;
        const uint32_t set = found.top().set;
        found.Pop();
        const int64_t gain = UnitsOf(set);
        const double cost = problem_.CostOf(set);
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
  const int64_t scale_;  // units to a gain
  // What each set adds at most, 0 for a selected one; exact where recomputed since the last pick.
  LargeVector<Gain> gains_;
  // At least the highest of each block of gains.
  LargeVector<Gain> highs_;
  // The exact solver's, once it is worth building: then all gains are exact.
  std::optional<InvertedIndex> index_;
  // Words read to recompute gains, in all and up to the last packing.
  std::atomic<size_t> work_{0};
  size_t packed_work_ = 0;
  // How many sets were selected when all gains were last exact.
  size_t exact_at_ = 0;
  // How many sets the last sweep looked at.
  size_t swept_ = 0;
  ThreadPool& pool_ = ThreadPool::Global();
};

}  // namespace

Status Greedy(const Problem& problem, bool by_ratio, const CancelFlag& cancel,
              Selection* selection) {
  if (problem.unit != 0 && problem.args->sets.cols <= INT32_MAX) {
    return GreedyRun<int32_t>(problem, by_ratio, cancel, selection).Run();
  }
  return GreedyRun<int64_t>(problem, by_ratio, cancel, selection).Run();
}

}  // namespace prismrec::max_cover
