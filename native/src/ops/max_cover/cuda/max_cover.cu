#include "ops/max_cover/cuda/max_cover.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "cuda/runtime.cuh"
#include "ops/max_cover/cuda/kernels.cuh"

namespace prismrec::max_cover {
namespace {

using cuda::Session;

// Picks that are queued before the host looks at them: few at first, as the first picks cover most.
constexpr uint32_t kFirstBatch = 4;
constexpr uint32_t kMostBatch = 64;
// Sets in all rows of a history, where every prefix is asked for its bound.
constexpr size_t kHistorySets = size_t{1} << 20;
// Entries of the sets that a launch looks at before the flag for cancellation is looked at again.
constexpr size_t kPollEntries = size_t{1} << 25;
// Entries of a set from which on, on average, a block is worth it.
constexpr size_t kLargeSet = 512;
constexpr unsigned kBlocksPerProcessor = 8;

unsigned Blocks(size_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

struct Offer {
  uint32_t set;
  int64_t gain;
};

// The same number as Purchasable in ../reference.cc, of sets that add something and can be paid for, without sorting all
// of them.
int64_t Purchasable(const Problem& problem, const std::vector<Offer>& offers) {
  const Args& args = *problem.args;
  std::vector<int64_t> gains;
  for (const Offer& offer : offers) gains.push_back(offer.gain);
  const size_t count = std::min(problem.limit, gains.size());
  if (count < gains.size()) {
    std::nth_element(gains.begin(), gains.begin() + static_cast<std::ptrdiff_t>(count), gains.end(), std::greater<>());
  }
  int64_t most = 0;
  for (size_t n = 0; n < count; ++n) most += gains[n];
  if (args.costs == nullptr || std::isinf(args.max_cost)) return most;
  using Worth = std::pair<double, size_t>;
  const auto below = [&](const Worth& a, const Worth& b) {
    return a.first < b.first || (a.first == b.first && offers[a.second].set > offers[b.second].set);
  };
  std::vector<Worth> heap;
  for (size_t i = 0; i < offers.size(); ++i) {
    heap.emplace_back(problem.WorthOf(offers[i].gain, offers[i].set, true), i);
  }
  std::make_heap(heap.begin(), heap.end(), below);
  double left = args.max_cost;
  int64_t sum = 0;
  for (; !heap.empty() && sum < most; heap.pop_back()) {
    std::pop_heap(heap.begin(), heap.end(), below);
    const Offer& offer = offers[heap.back().second];
    const double cost = args.costs[offer.set];
    if (cost > left) {
      sum += static_cast<int64_t>(std::ceil(static_cast<double>(offer.gain) * (left / cost)));
      break;
    }
    left -= cost;
    sum += offer.gain;
  }
  return std::min(most, sum);
}

// The highest bin from which on the bins hold at least `wanted`; 0 where all of them do not.
template <class T>
uint32_t BinThatHolds(const std::vector<T>& bins, double wanted) {
  double sum = 0;
  for (uint32_t bin = static_cast<uint32_t>(bins.size()); bin-- > 0;) {
    sum += static_cast<double>(bins[bin]);
    if (sum >= wanted) return bin;
  }
  return 0;
}

// A problem on the device, for one run after the other.
class DeviceRuns {
 public:
  DeviceRuns(Session& session, const Problem& problem)
      : session_(session), problem_(problem), sets_(problem.args->sets) {
    cover_.sets = static_cast<uint32_t>(sets_.rows);
    cover_.elements = static_cast<uint32_t>(sets_.cols);
    cover_.indptr = session.Upload(sets_.indptr, sets_.rows + 1);
    cover_.indices = session.Upload(sets_.indices, sets_.nnz());
    cover_.unit = problem.unit;
    if (problem.unit == 0) {
      cover_.units = session.Upload(problem.units.data(), sets_.cols);
    } else if (problem.args->weights != nullptr) {
      std::vector<float> units(sets_.cols);
      for (uint32_t i = 0; i < sets_.cols; ++i) units[i] = static_cast<float>(problem.UnitsOf(i));
      cover_.units = session.Upload(units.data(), units.size());
    }
    cover_.left = session.Allocate<uint32_t>(sets_.cols);
    for (size_t s = 0; s < sets_.rows; ++s) {
      largest_ = std::max<size_t>(largest_, sets_.indptr[s + 1] - sets_.indptr[s]);
    }
    costs_ = session.Upload(problem.args->costs, sets_.rows);
    gains_ = session.Allocate<Gain>(sets_.rows);
    bin_counts_ = session.Allocate<uint32_t>(kBins);
    bin_costs_ = session.Allocate<Gain>(kBins);
    found_count_ = session.Allocate<uint32_t>(1);
    found_sets_ = session.Allocate<uint32_t>(sets_.rows);
    found_gains_ = session.Allocate<Gain>(sets_.rows);
    if (problem.args->solver != Solver::kStochastic) PrepareGreedy();
  }

  void Run(bool by_ratio, Selection* selection) {
    by_ratio_ = by_ratio;
    selection_ = selection;
    selection_->bound = problem_.attainable;
    const std::vector<uint32_t> left(sets_.cols, problem_.args->repeats);
    session_.UploadTo(cover_.left, left.data(), left.size());
    if (problem_.args->solver == Solver::kStochastic) {
      Sampled();
    } else {
      Greedy();
    }
  }

 private:
  void PrepareGreedy() {
    greedy_.cover = cover_;
    greedy_.index = Index();
    greedy_.gains = gains_;
    greedy_.costs = costs_;
    greedy_.max_cost = problem_.args->max_cost;
    greedy_.least_gain = problem_.least_gain;
    greedy_.limit = static_cast<uint32_t>(problem_.limit);
    greedy_.state = session_.Allocate<GreedyState>(1);
    greedy_.long_lists = session_.Allocate<uint32_t>(sets_.nnz() / kLongList + 1);
    greedy_.picks = session_.Allocate<uint32_t>(problem_.limit);
    greedy_.pick_gains = session_.Allocate<Gain>(problem_.limit);
    threads_ = Threads(sets_.rows);
    blocks_ = std::min(MostBlocks(), static_cast<unsigned>((sets_.rows + threads_ - 1) / threads_));
    greedy_.bests = session_.Allocate<Best>(blocks_);
    if (!problem_.every_prefix) return;
    most_batch_ = static_cast<uint32_t>(std::clamp<size_t>(kHistorySets / sets_.rows, 1, kMostBatch));
    history_ = session_.Allocate<Gain>(most_batch_ * sets_.rows);
  }

  void Greedy() {
    Clear(greedy_.state, 1);
    Clear(greedy_.picks, problem_.limit);
    Clear(greedy_.pick_gains, problem_.limit);
    FindGains();
    if (history_ != nullptr) {
      Clear(history_, most_batch_ * sets_.rows);
    } else if (problem_.limit > 0) {
      Bound();
    }
    GreedyState state{};
    for (uint32_t batch = std::min(kFirstBatch, most_batch_); state.done == 0;
         batch = std::min(2 * batch, most_batch_)) {
      const uint32_t first = state.picks;
      for (uint32_t i = 0; i < batch; ++i) Pick(first);
      const uint32_t room = std::min(batch, greedy_.limit - first);
      std::vector<uint32_t> picks(room);
      std::vector<long long> pick_gains(room), rows(history_ != nullptr ? batch * sets_.rows : 0);
      session_.Download(&state, greedy_.state, 1);
      session_.Download(picks.data(), greedy_.picks + first, room);
      session_.Download(pick_gains.data(), Host(greedy_.pick_gains) + first, room);
      session_.Download(rows.data(), Host(history_), rows.size());
      session_.Synchronize();
      for (uint32_t i = 0; i <= state.picks - first; ++i) {
        // The prefix of the last pick is looked at by the next one, which is of this batch only where it found nothing.
        if (history_ != nullptr && i < batch) BoundBy(rows.data() + i * sets_.rows);
        if (i < state.picks - first) Note(picks[i], pick_gains[i]);
      }
    }
    if (history_ == nullptr) Bound();
  }

  void Sampled() {
    Sampler sampler(problem_);
    std::vector<uint32_t> drawn;
    std::vector<long long> found;
    const auto gains_of = [&](const std::vector<uint32_t>& wanted) -> const std::vector<long long>& {
      drawn = wanted;
      found.resize(drawn.size());
      session_.UploadTo(found_sets_, drawn.data(), drawn.size());
      LaunchGains(found_sets_, 0, drawn.size(), found_gains_);
      session_.Download(found.data(), Host(found_gains_), drawn.size());
      session_.Synchronize();
      return found;
    };
    while (selection_->picks.size() < problem_.limit) {
      if (problem_.AsksBound(selection_->picks.size())) BoundAnew();
      const int64_t best = sampler.Next(selection_->cost, by_ratio_, gains_of);
      if (best < 0) break;
      const uint32_t set = static_cast<uint32_t>(best);
      PRISMREC_CUDA_LAUNCH(TakeKernel, dim3(Blocks(sets_.indptr[set + 1] - sets_.indptr[set])), dim3(kThreads), 0,
                           session_.stream(), cover_, set);
      Note(set, found[static_cast<size_t>(std::find(drawn.begin(), drawn.end(), set) - drawn.begin())]);
    }
    BoundAnew();
  }

  static const long long* Host(const Gain* gains) { return reinterpret_cast<const long long*>(gains); }

  unsigned MostBlocks() const {
    return kBlocksPerProcessor * static_cast<unsigned>(session_.traits().processors);
  }

  template <class T>
  void Clear(T* array, size_t count) {
    if (count > 0) PRISMREC_CUDA_CHECK(cudaMemsetAsync(array, 0, count * sizeof(T), session_.stream()));
  }

  // Of a block that shares out `count` things.
  static unsigned Threads(size_t count) {
    const size_t warps = (count + cuda::kWarpSize - 1) / cuda::kWarpSize;
    return static_cast<unsigned>(std::clamp<size_t>(warps, 1, kMaxWarps)) * cuda::kWarpSize;
  }

  void LaunchGains(const uint32_t* sets, uint32_t first, size_t count, Gain* gains) {
    const unsigned threads = sets_.nnz() / sets_.rows >= kLargeSet ? kThreads : cuda::kWarpSize;
    PRISMREC_CUDA_LAUNCH(GainsKernel, dim3(static_cast<unsigned>(count)), dim3(threads),
                         cuda::SharedBytes<Gain>(kMaxWarps), session_.stream(), cover_, sets, first, gains);
  }

  // Of all sets, on the device.
  void FindGains() {
    for (size_t first = 0; first < sets_.rows;) {
      size_t end = first + 1;
      while (end < sets_.rows && end - first < kPollEntries &&
             sets_.indptr[end + 1] - sets_.indptr[first] <= kPollEntries) {
        ++end;
      }
      LaunchGains(nullptr, static_cast<uint32_t>(first), end - first, gains_);
      if (end < sets_.rows) session_.Synchronize();
      first = end;
    }
  }

  DeviceIndex Index() {
    const size_t nnz = sets_.nnz();
    const DeviceIndex index{session_.Allocate<uint32_t>(sets_.cols), session_.Zeros<uint32_t>(sets_.cols),
                            session_.Allocate<uint32_t>(nnz)};
    const auto each_entry = [&](auto launch) {
      for (size_t first = 0; first < nnz; first += kPollEntries) {
        launch(first, std::min(kPollEntries, nnz - first));
        if (first + kPollEntries < nnz) session_.Synchronize();
      }
    };
    if (nnz == 0) return index;
    each_entry([&](size_t first, size_t count) {
      PRISMREC_CUDA_LAUNCH(CountKernel, dim3(Blocks(count)), dim3(kThreads), 0, session_.stream(), cover_, first,
                           count, index);
    });
    uint32_t* used = session_.Zeros<uint32_t>(1);
    PRISMREC_CUDA_LAUNCH(RoomKernel, dim3(Blocks(sets_.cols)), dim3(kThreads), 0, session_.stream(), cover_.elements,
                         index, used);
    each_entry([&](size_t first, size_t count) {
      PRISMREC_CUDA_LAUNCH(FillKernel, dim3(Blocks(count)), dim3(kThreads), 0, session_.stream(), cover_, first, count,
                           index);
    });
    return index;
  }

  // Queues one pick.
  void Pick(uint32_t first) {
    if (by_ratio_) {
      PRISMREC_CUDA_LAUNCH(BestKernel<true>, dim3(blocks_), dim3(threads_), kBestBytes, session_.stream(), greedy_,
                           history_, first);
    } else {
      PRISMREC_CUDA_LAUNCH(BestKernel<false>, dim3(blocks_), dim3(threads_), kBestBytes, session_.stream(), greedy_,
                           history_, first);
    }
    PRISMREC_CUDA_LAUNCH(PickKernel, dim3(1), dim3(Threads(blocks_)), kBestBytes, session_.stream(), greedy_, blocks_);
    const size_t cover_blocks = std::clamp<size_t>((largest_ + kMaxWarps - 1) / kMaxWarps, 1, MostBlocks());
    PRISMREC_CUDA_LAUNCH(CoverKernel, dim3(static_cast<unsigned>(cover_blocks)), dim3(kThreads), 0, session_.stream(),
                         greedy_);
    if (sets_.rows <= kLongList) return;
    PRISMREC_CUDA_LAUNCH(CoverLongKernel, dim3(MostBlocks()), dim3(kThreads), 0, session_.stream(), greedy_);
  }

  void Note(uint32_t set, int64_t gain) {
    selection_->picks.push_back(set);
    selection_->gains.push_back(gain);
    selection_->value += gain;
    selection_->cost += problem_.CostOf(set);
  }

  // Notes what no selection can exceed, from what all sets would add now.
  void BoundBy(const long long* gains) {
    std::vector<Offer> offers;
    for (uint32_t set = 0; set < sets_.rows; ++set) {
      if (gains[set] > 0 && problem_.Affordable(set, 0)) offers.push_back({set, gains[set]});
    }
    NoteBound(offers);
  }
  // The same from the gains on the device, of which only those come to the host that may matter.
  void Bound() {
    const double max_cost = problem_.args->max_cost;
    const bool priced = costs_ != nullptr && !std::isinf(max_cost);
    const DeviceOffers offers{gains_, costs_, max_cost, cover_.sets};
    Clear(bin_counts_, kBins);
    Clear(bin_costs_, kBins);
    PRISMREC_CUDA_LAUNCH(BinKernel, dim3(Blocks(sets_.rows)), dim3(kThreads), 0, session_.stream(), offers, bin_counts_,
                         priced ? bin_costs_ : nullptr);
    std::vector<uint32_t> gain_bins(kBins);
    std::vector<Gain> cost_bins(priced ? kBins : 0);
    session_.Download(gain_bins.data(), bin_counts_, kBins);
    session_.Download(cost_bins.data(), bin_costs_, cost_bins.size());
    session_.Synchronize();
    const uint32_t gain_bin = BinThatHolds(gain_bins, static_cast<double>(problem_.limit));
    // A little more than the budget, so that no rounding reaches beyond what is collected.
    const uint32_t ratio_bin = priced ? BinThatHolds(cost_bins, 1.01 * kBinCost) : kBins;
    Clear(found_count_, 1);
    PRISMREC_CUDA_LAUNCH(CollectKernel, dim3(Blocks(sets_.rows)), dim3(kThreads), 0, session_.stream(), offers, gain_bin,
                         ratio_bin, found_count_, found_sets_, found_gains_);
    uint32_t found = 0;
    session_.Download(&found, found_count_, 1);
    session_.Synchronize();
    std::vector<uint32_t> sets(found);
    std::vector<long long> gains(found);
    session_.Download(sets.data(), found_sets_, found);
    session_.Download(gains.data(), Host(found_gains_), found);
    session_.Synchronize();
    std::vector<Offer> collected;
    for (uint32_t i = 0; i < found; ++i) collected.push_back({sets[i], gains[i]});
    NoteBound(collected);
  }
  void BoundAnew() {
    FindGains();
    const std::vector<uint32_t>& picks = selection_->picks;
    if (!picks.empty()) {
      session_.UploadTo(found_sets_, picks.data(), picks.size());
      PRISMREC_CUDA_LAUNCH(SelectKernel, dim3(Blocks(picks.size())), dim3(kThreads), 0, session_.stream(), found_sets_,
                           static_cast<uint32_t>(picks.size()), gains_);
    }
    Bound();
  }
  void NoteBound(const std::vector<Offer>& offers) {
    selection_->bound = std::min(selection_->bound, selection_->value + Purchasable(problem_, offers));
  }

  Session& session_;
  const Problem& problem_;
  const CsrView sets_;
  // Of the run.
  bool by_ratio_ = false;
  Selection* selection_ = nullptr;
  // Entries of the largest set.
  size_t largest_ = 0;
  DeviceCover cover_{};
  const float* costs_ = nullptr;
  Gain* gains_ = nullptr;
  // [kBins]
  uint32_t* bin_counts_ = nullptr;
  Gain* bin_costs_ = nullptr;
  // Sets of a sample, or those that a bound needs.
  uint32_t* found_count_ = nullptr;
  uint32_t* found_sets_ = nullptr;
  Gain* found_gains_ = nullptr;
  // Unless the solver draws samples.
  DeviceGreedy greedy_{};
  unsigned threads_ = 0;
  unsigned blocks_ = 0;
  uint32_t most_batch_ = kMostBatch;
  Gain* history_ = nullptr;
};

}  // namespace

Status GreedyOnCuda(const Problem& problem, const CancelFlag& cancel, Selection* by_gain, Selection* by_ratio) {
  return cuda::Guarded(cancel, [&](Session& session) {
    session.CheckCancelled();
    if (problem.args->sets.rows == 0) return;  // both bounds are 0
    DeviceRuns runs(session, problem);
    runs.Run(false, by_gain);
    if (by_ratio != nullptr) runs.Run(true, by_ratio);
  });
}

}  // namespace prismrec::max_cover
