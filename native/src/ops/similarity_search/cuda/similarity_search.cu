#include "ops/similarity_search/cuda/similarity_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "cuda/rows.cuh"
#include "cuda/runtime.cuh"
#include "ops/similarity_search/cuda/lists.cuh"
#include "ops/similarity_search/cuda/scan.cuh"

namespace prismrec::similarity_search {
namespace {

using cuda::Session;

// The first round is so long that its lists bring good limits; each of the others ends where this many times as many
// items have been seen.
constexpr size_t kFirstRound = 1024;
constexpr size_t kGrowth = 4;
constexpr int kMostRoundPanels = 1 << 15;
// Multiply-adds of a scan, so that a wish to stop is seen in time.
constexpr double kRoundWork[2] = {6e10, 5e11};
// Rows and bytes of candidates and marks of the queries that are searched together.
constexpr size_t kBatchRows = 16384;
constexpr size_t kBatchQueries = 32768;
constexpr size_t kBatchBytes = size_t{1} << 30;
// Panels that pass through pinned memory at a time; of a base that the device cannot hold also what it has at a time.
constexpr size_t kPieceBytes = size_t{32} << 20;
constexpr size_t kMostResidentItems = size_t{1} << 30;
// Blocks a processor that share out the candidates of a selection.
constexpr size_t kSelectBlocks = 2;
constexpr size_t kMostResidentRows = size_t{96} << 10;  // bytes of a block's own rows in shared memory

size_t RoundUp(size_t count, size_t step) { return (count + step - 1) / step * step; }
unsigned Blocks(size_t count, size_t each) { return static_cast<unsigned>((count + each - 1) / each); }

float AtLeast(double x) {
  const float rounded = static_cast<float>(x);
  return rounded < x ? std::nextafter(rounded, std::numeric_limits<float>::infinity()) : rounded;
}

// Host memory on its way to the device through two pinned pieces: one is filled while the device still works on what
// came through the other.
class Feed {
 public:
  Feed(Session& session, size_t bytes) : session_(session) {
    for (char*& piece : pieces_) piece = session.Stage(bytes);
  }
  template <class T>
  void Add(T* device, const T* host, size_t count) {
    char* to = pieces_[turn_] + used_;
    std::memcpy(to, host, count * sizeof(T));
    parts_.push_back({device, to, count * sizeof(T)});
    used_ += count * sizeof(T);
  }
  void Send() {
    // The other piece, too, is free then.
    session_.Synchronize();
    for (const Part& part : parts_) {
      PRISMREC_CUDA_CHECK(
          cudaMemcpyAsync(part.device, part.host, part.bytes, cudaMemcpyHostToDevice, session_.stream()));
    }
    parts_.clear();
    used_ = 0;
    turn_ = 1 - turn_;
  }

 private:
  struct Part {
    void* device;
    const void* host;
    size_t bytes;
  };
  Session& session_;
  char* pieces_[2] = {};
  int turn_ = 0;
  size_t used_ = 0;
  std::vector<Part> parts_;
};

// `allocate(bytes)` gives device memory.
template <class Allocate>
DeviceItems AllocateItems(const Index& index, size_t panels, Allocate allocate) {
  DeviceItems items;
  items.panels = static_cast<int>(RoundUp(panels, kTilePanels));
  items.stride = cuda::PaddedStride(static_cast<int>(index.cols()));
  const size_t count = static_cast<size_t>(items.panels);
  const size_t places = count * kPanelItems;
  items.rows = static_cast<float*>(allocate(places * static_cast<size_t>(items.stride) * sizeof(float)));
  items.ids = static_cast<uint32_t*>(allocate(places * sizeof(uint32_t)));
  items.norms = static_cast<float*>(allocate(count * sizeof(float)));
  if (index.bias() == nullptr) return items;
  items.bias = static_cast<float*>(allocate(places * sizeof(float)));
  items.bias_tops = static_cast<float*>(allocate(count * sizeof(float)));
  return items;
}

// Bytes of a panel on the host.
size_t PanelBytes(const Index& index) { return (index.cols() * sizeof(float) + 8) * kPanelItems + 8; }

size_t PiecePanels(const Index& index, size_t bytes) {
  return std::max<size_t>(bytes / PanelBytes(index) / kTilePanels, 1) * kTilePanels;
}

// Brings the panels [first, first + count) of an index to the place `at` of `items`.
class Loader {
 public:
  Loader(Session& session, const Index& index, size_t piece_panels)
      : session_(session),
        index_(index),
        feed_(session, piece_panels * PanelBytes(index)),
        panels_(session.Allocate<float>(piece_panels * kPanelItems * index.cols())) {}

  void Load(size_t first, size_t count, const DeviceItems& items, size_t at) {
    const size_t d = index_.cols();
    const size_t places = count * kPanelItems;
    feed_.Add(panels_, index_.panel(first), places * d);
    feed_.Add(items.ids + at * kPanelItems, index_.ids() + first * kPanelItems, places);
    feed_.Add(items.norms + at, index_.norms() + first, count);
    if (items.bias != nullptr) {
      feed_.Add(items.bias + at * kPanelItems, index_.bias() + first * kPanelItems, places);
      feed_.Add(items.bias_tops + at, index_.bias_tops() + first, count);
    }
    feed_.Send();
    const size_t stride = static_cast<size_t>(items.stride);
    PRISMREC_CUDA_LAUNCH(TransposeKernel, dim3(static_cast<unsigned>(count), Blocks(stride, kRowTransposed)),
                         dim3(kListThreads), cuda::SharedBytes<float>(kRowTransposed * (kPanel + 1)), session_.stream(),
                         static_cast<const float*>(panels_), static_cast<int>(d), items.stride,
                         items.rows + at * kPanelItems * stride);
    if (count % kTilePanels == 0) return;
    // The rest of the last tile.
    Clear(items.rows + (at + count) * kPanelItems * stride, kPanelItems * stride);
    if (items.bias != nullptr) Clear(items.bias + (at + count) * kPanelItems, kPanelItems);
  }

 private:
  void Clear(float* values, size_t count) {
    PRISMREC_CUDA_CHECK(cudaMemsetAsync(values, 0, count * sizeof(float), session_.stream()));
  }

  Session& session_;
  const Index& index_;
  Feed feed_;
  float* panels_;
};

struct ResidentItems {
  std::vector<std::unique_ptr<cuda::Retained>> memory;
  DeviceItems items;
};

// The items on the device from an earlier search, or brought there now. Null: they do not fit.
std::shared_ptr<const ResidentItems> Resident(const Index& index, const CancelFlag& cancel) {
  Index::DeviceCopy& copy = index.device_copy();
  std::lock_guard<std::mutex> lock(copy.mutex);
  if (copy.items != nullptr) return std::static_pointer_cast<const ResidentItems>(copy.items);
  // Before the session, which waits for what it has queued.
  const auto made = std::make_shared<ResidentItems>();
  Session session(cancel);
  const size_t stride = static_cast<size_t>(cuda::PaddedStride(static_cast<int>(index.cols())));
  const size_t bytes = index.panels() * kPanelItems * (stride + 3) * sizeof(float);
  if (index.rows() > kMostResidentItems || bytes > session.available_bytes() / 2) return nullptr;
  made->items = AllocateItems(index, index.panels(), [&](size_t size) -> void* {
    made->memory.push_back(std::make_unique<cuda::Retained>(size));
    return made->memory.back()->data();
  });
  const size_t step = std::min(PiecePanels(index, std::min(kPieceBytes, session.available_bytes() / 4)),
                               RoundUp(index.panels(), kTilePanels));
  Loader loader(session, index, step);
  for (size_t first = 0; first < index.panels(); first += step) {
    loader.Load(first, std::min(step, index.panels() - first), made->items, first);
  }
  session.Synchronize();
  copy.items = made;
  return made;
}

// The items, `step` panels at a time: all of them where they are resident. Others come on a stream of their own, the
// next ones while the search works on what is there.
class Source {
 public:
  Source(const Index& index, const ResidentItems* resident, const CancelFlag& cancel)
      : index_(index), resident_(resident), step_(index.panels()) {
    if (resident != nullptr) return;
    session_ = std::make_unique<Session>(cancel);
    // A piece is on the device three times: as it came, and as rows of two turns.
    step_ = std::min(PiecePanels(index, std::min(kPieceBytes, session_->available_bytes() / 12)),
                     RoundUp(index.panels(), kTilePanels));
  }
  size_t step() const { return step_; }
  // From panel `first` on; what `user` has queued for earlier ones is done then.
  DeviceItems At(size_t first, const uint32_t* allowed, Session* user) {
    if (resident_ == nullptr) {
      if (loader_ == nullptr) {
        for (DeviceItems& items : turns_) {
          items = AllocateItems(index_, step_, [&](size_t size) -> void* { return session_->Allocate<char>(size); });
        }
        loader_ = std::make_unique<Loader>(*session_, index_, step_);
        Prefetch(first);
      }
      session_->Synchronize();
      user->Synchronize();
    }
    DeviceItems items = resident_ != nullptr ? resident_->items : turns_[first / step_ % 2];
    items.panels = static_cast<int>(RoundUp(Count(first), kTilePanels));
    items.allowed = allowed + first;
    return items;
  }
  // To be called when the work on the panels before `first` has been queued.
  void Prefetch(size_t first) {
    if (loader_ != nullptr && first < index_.panels()) loader_->Load(first, Count(first), turns_[first / step_ % 2], 0);
  }

 private:
  size_t Count(size_t first) const { return std::min(step_, index_.panels() - first); }

  const Index& index_;
  const ResidentItems* resident_;
  size_t step_;
  std::unique_ptr<Session> session_;
  DeviceItems turns_[2];
  std::unique_ptr<Loader> loader_;
};

struct Counters {
  Counter read, scored;
};

// What a search has in common for all batches of its queries.
struct Plan {
  size_t allowed = 0;      // items that the filter allows
  size_t first_round = 0;  // allowed items
  size_t capacity = 0;     // candidates of a query
  bool selects = false;    // rounds end in a radix selection, lists are sorted once at the end
  size_t query_bytes = 0;

  explicit Plan(const Query& query) {
    for (const uint32_t lanes : query.allowed) allowed += static_cast<size_t>(__builtin_popcount(lanes));
    first_round = std::max(kFirstRound, kGrowth * query.k);
    // A list, and what a round adds: all of the first; of another (kGrowth - 1) k in the mean where the order of the
    // items says nothing about their scores. Where that is not enough, the search is done again in short rounds.
    capacity = allowed <= first_round ? std::max<size_t>(allowed, 1) : query.k + first_round / 4 * 5 + 256;
    selects = capacity > kRun;
    query_bytes = capacity * (selects ? 2 : 1) * (sizeof(uint64_t) + sizeof(uint32_t)) +
                  std::min<size_t>(query.index->panels() + kTilePanels, kMostRoundPanels) * sizeof(uint32_t);
  }
};

// Queries [begin, end) against all items.
class Batch {
 public:
  Batch(Session& session, const Query& query, const Plan& plan, size_t begin, size_t end)
      : session_(session),
        query_(query),
        index_(*query.index),
        plan_(plan),
        tensor_(ScansWithTf32(session.traits().capability)),
        begin_(begin),
        count_(end - begin),
        first_(query.first_row[begin]),
        row_count_(query.first_row[end] - first_) {
    const size_t d = index_.cols();
    const cuda::DeviceRows rows = cuda::AllocateRows(session, row_count_, d, false);
    cuda::FillRows(session, {query.rows.data() + first_ * d, row_count_, d}, nullptr, 0, rows);
    const double unit = std::ldexp(static_cast<double>(d + 16), -20);
    // Two factors that have lost 13 of 23 bits; sums that are cut off at every step; and underflow.
    margin_.relative = AtLeast((tensor_ ? 1.001 * std::ldexp(1.0, -9) : 0.0) + unit);
    margin_.tiny = AtLeast(std::sqrt(static_cast<double>(d)) * std::ldexp(1.0, -124) / margin_.relative);
    slack_ = {index_.largest_bias(), std::ldexp(static_cast<double>(d + 16), -125),
              query.readout == Readout::kLogSumExp};

    std::vector<float> norms, limits(row_count_, -std::numeric_limits<float>::infinity());
    std::vector<uint32_t> queries;
    std::vector<int> first_rows(1, 0);
    for (size_t q = begin; q < end; ++q) {
      for (size_t r = query.first_row[q]; r < query.first_row[q + 1]; ++r) {
        norms.push_back(AtLeast(query.norms[r] + margin_.tiny));
        queries.push_back(static_cast<uint32_t>(q - begin));
      }
      first_rows.push_back(static_cast<int>(query.first_row[q + 1] - first_));
    }
    rows_ = {rows.data,
             session.Upload(norms.data(), row_count_),
             session.Upload(query.offsets.data() + first_, row_count_),
             session.Upload(query.interests.data() + first_, row_count_),
             session.Upload(queries.data(), row_count_),
             session.Upload(limits.data(), row_count_),
             rows.count,
             rows.stride};
    first_row_ = session.Upload(first_rows.data(), first_rows.size());

    const size_t excluded = query.first_exclude[begin];
    if (query.first_exclude[end] > excluded) {
      std::vector<uint64_t> starts;
      for (size_t q = begin; q <= end; ++q) starts.push_back(query.first_exclude[q] - excluded);
      exclusions_ = {session.Upload(starts.data(), starts.size()),
                     session.Upload(query.exclude.data() + excluded, query.first_exclude[end] - excluded)};
    }
    std::vector<uint32_t> allowed = query.allowed;
    allowed.resize(RoundUp(allowed.size(), kTilePanels), 0);
    allowed_ = session.Upload(allowed.data(), allowed.size());

    lists_.capacity = plan.capacity;
    lists_.candidates = AllocateCandidates();
    if (plan.selects) AllocateSelection();
    lists_.counts = session.Zeros<unsigned>(count_);
    lists_.floors = session.Zeros<uint64_t>(count_);
    overflow_ = session.Zeros<int>(1);
    // Of the scan, of a first round, of what the scan has marked.
    counters_ = session.Zeros<Counter>(3);
  }

  // Whether no candidate was lost. `careful`: rounds so short that none can be.
  bool Run(Source* source, bool careful, Counters* counters) {
    size_t seen = 0;  // allowed items
    for (size_t chunk = 0; chunk < index_.panels() && seen < plan_.allowed && row_count_ > 0; chunk += source->step()) {
      const DeviceItems items = source->At(chunk, allowed_, &session_);
      const size_t end = chunk + static_cast<size_t>(items.panels);
      if (hits_ == nullptr) {
        most_panels_ = std::min<size_t>({static_cast<size_t>(items.panels), kMostRoundPanels, WorkPanels()});
        hits_ = session_.Allocate<uint32_t>(count_ * most_panels_);
      }
      for (size_t panel = chunk; panel < end && seen < plan_.allowed;) {
        const bool first = seen < plan_.first_round;
        const size_t goal = first ? plan_.first_round : careful ? seen + plan_.first_round : kGrowth * seen;
        size_t next = panel;
        while (next < end && next - panel < most_panels_ && seen < goal) {
          for (int p = 0; p < kTilePanels; ++p, ++next) {
            if (next < index_.panels()) seen += static_cast<size_t>(__builtin_popcount(query_.allowed[next]));
          }
        }
        const Round round = {static_cast<int>(panel - chunk), static_cast<int>(next - panel)};
        first ? Score(items, round, nullptr) : Scan(items, round);
        Cut();
        panel = next;
      }
      if (seen < plan_.allowed) source->Prefetch(chunk + source->step());
    }
    int overflow = 0;
    Counter counted[3] = {};
    session_.Download(&overflow, overflow_, 1);
    session_.Download(counted, counters_, 3);
    session_.Synchronize();
    counters->read += counted[0] + counted[1];
    counters->scored += counted[1] + (tensor_ ? counted[2] : counted[0]);
    return overflow == 0;
  }

  void Finish(const Outputs& outputs) {
    if (plan_.selects) Sort(std::min(query_.k, plan_.capacity));
    const size_t places = count_ * query_.k;
    uint32_t* ids = session_.Allocate<uint32_t>(places);
    float* scores = session_.Allocate<float>(places);
    uint16_t* interests = session_.Allocate<uint16_t>(places);
    PRISMREC_CUDA_LAUNCH(FinishKernel, dim3(Blocks(places, kListThreads)), dim3(kListThreads), 0, session_.stream(),
                         lists_, places, query_.k, ids, scores, interests);
    session_.Download(outputs.ids + begin_ * query_.k, ids, places);
    session_.Download(outputs.scores + begin_ * query_.k, scores, places);
    session_.Download(outputs.interests + begin_ * query_.k, interests, places);
    session_.Download(outputs.counts + begin_, lists_.counts, count_);
    session_.Synchronize();
  }

 private:
  double RoundWork() const { return kRoundWork[tensor_ ? 1 : 0]; }
  size_t WorkPanels() const {
    const double panel = static_cast<double>(row_count_) * rows_.stride * kPanel;
    const size_t tiles = static_cast<size_t>(RoundWork() / panel / kTilePanels);
    return std::max<size_t>(tiles, 1) * kTilePanels;
  }

  void Score(const DeviceItems& items, const Round& round, const uint32_t* hits) {
    // Enough blocks to fill the device, but no more than needed for that.
    const size_t wanted = static_cast<size_t>(session_.traits().processors) * 16;
    const size_t panels = static_cast<size_t>(round.panels);
    const size_t words = std::clamp<size_t>(panels * count_ / wanted, 1, kMostWords);
    PRISMREC_CUDA_LAUNCH(ScoreKernel, dim3(Blocks(panels, words), static_cast<unsigned>(count_)), dim3(kListThreads),
                         cuda::SharedBytes<uint16_t>(words * kPanelItems) + cuda::SharedBytes<int>(kListWarps),
                         session_.stream(), items, rows_, first_row_, exclusions_, round, hits,
                         static_cast<int>(words), slack_.sums, lists_, counters_ + (hits == nullptr ? 1 : 2));
  }

  template <int kGroups, bool kTensor>
  void LaunchScan(const DeviceItems& items, const Round& round) {
    constexpr int kRows = kGroups * kGroupRows;
    const unsigned row_tiles = Blocks(row_count_, kRows);
    const size_t item_tiles = static_cast<size_t>(round.panels / kTilePanels);
    const size_t wanted = static_cast<size_t>(session_.traits().processors) * 16;
    const size_t tiles = std::clamp<size_t>(item_tiles * row_tiles / wanted, 1, kMostTiles);
    const bool resident = static_cast<size_t>(rows_.stride) * kRows * sizeof(float) <= kMostResidentRows &&
                          ScanBytes<kGroups>(rows_.stride, true) <= session_.traits().shared_bytes;
    PRISMREC_CUDA_LAUNCH((ScanKernel<kGroups, kTensor>), dim3(row_tiles, Blocks(item_tiles, tiles)),
                         dim3(kScanThreads), ScanBytes<kGroups>(rows_.stride, resident), session_.stream(), items,
                         rows_, round, margin_, static_cast<int>(tiles), resident, hits_, counters_);
  }

  void Scan(const DeviceItems& items, const Round& round) {
    const size_t words = count_ * static_cast<size_t>(round.panels);
    PRISMREC_CUDA_CHECK(cudaMemsetAsync(hits_, 0, words * sizeof(uint32_t), session_.stream()));
    if (!tensor_) {
      LaunchScan<1, false>(items, round);
    } else if (row_count_ <= kGroupRows) {
      LaunchScan<1, true>(items, round);
    } else {
      LaunchScan<2, true>(items, round);
    }
    Score(items, round, hits_);
    // Between long rounds, so that a wish to stop is seen; short ones may queue up.
    queued_ += static_cast<double>(row_count_) * rows_.stride * kPanel * round.panels;
    if (queued_ < RoundWork() / 2) return;
    session_.Synchronize();
    queued_ = 0;
  }

  Candidates AllocateCandidates() {
    const size_t places = count_ * plan_.capacity;
    return {session_.Allocate<uint64_t>(places), session_.Allocate<uint32_t>(places)};
  }

  void AllocateSelection() {
    spare_ = AllocateCandidates();
    selected_ = session_.Allocate<unsigned long long>(count_);
    // A block to a query, but where few queries have so many candidates that most of the device would idle.
    const size_t wanted = static_cast<size_t>(session_.traits().processors) * kSelectBlocks;
    shares_ = static_cast<unsigned>(std::clamp<size_t>(wanted / count_, 1, Blocks(plan_.capacity, kRun)));
    if (shares_ == 1) return;
    passes_ = {session_.Allocate<Bucket>(kPasses * count_), session_.Allocate<unsigned>(kPasses * kDigits * count_),
               session_.Allocate<unsigned>(count_), selected_, static_cast<int>(count_)};
  }

  // Sorts the first `most` candidates of each query.
  void Sort(size_t most) {
    const unsigned queries = static_cast<unsigned>(count_);
    int run = 2;
    while (run < kRun && static_cast<size_t>(run) < most) run *= 2;
    PRISMREC_CUDA_LAUNCH(SortKernel, dim3(Blocks(most, static_cast<size_t>(run)), queries),
                         dim3(static_cast<unsigned>(std::max(run / 8, cuda::kWarpSize))),
                         cuda::SharedBytes<uint64_t>(run) + cuda::SharedBytes<uint32_t>(run), session_.stream(),
                         lists_, run);
    for (size_t sorted = static_cast<size_t>(run); sorted < most; sorted *= 2) {
      PRISMREC_CUDA_LAUNCH(MergeKernel, dim3(Blocks(most, kListThreads), queries), dim3(kListThreads), 0,
                           session_.stream(), lists_, sorted, spare_);
      std::swap(lists_.candidates, spare_);
    }
  }

  // Brings the best k of each query to the front.
  void Select() {
    const dim3 grid(shares_, static_cast<unsigned>(count_));
    const size_t bytes = cuda::SharedBytes<Bucket>(1) + cuda::SharedBytes<unsigned>(kDigits);
    if (shares_ == 1) {
      PRISMREC_CUDA_LAUNCH(SelectKernel, grid, dim3(kSelectThreads),
                           bytes + cuda::SharedBytes<unsigned>(1) + cuda::SharedBytes<unsigned long long>(1),
                           session_.stream(), lists_, spare_, query_.k, selected_);
    } else {
      Fill(passes_.counts, 0, kPasses * kDigits * count_);
      Fill(passes_.kept, 0, count_);
      Fill(passes_.floors, 0xff, count_);
      for (int pass = 0; pass < kPasses; ++pass) {
        PRISMREC_CUDA_LAUNCH(CountDigitsKernel, grid, dim3(kSelectThreads), bytes, session_.stream(), lists_, query_.k,
                             pass, passes_);
      }
      PRISMREC_CUDA_LAUNCH(KeepKernel, grid, dim3(kSelectThreads), cuda::SharedBytes<Bucket>(1), session_.stream(),
                           lists_, spare_, query_.k, passes_);
    }
    std::swap(lists_.candidates, spare_);
  }

  template <class T>
  void Fill(T* array, int byte, size_t count) {
    PRISMREC_CUDA_CHECK(cudaMemsetAsync(array, byte, count * sizeof(T), session_.stream()));
  }

  // Cuts what there is to the lists.
  void Cut() {
    plan_.selects ? Select() : Sort(plan_.capacity);
    PRISMREC_CUDA_LAUNCH(CutKernel, dim3(Blocks(count_, kListWarps)), dim3(kListThreads), 0, session_.stream(), lists_,
                         rows_, first_row_, static_cast<int>(count_), query_.k,
                         static_cast<const unsigned long long*>(selected_), slack_, overflow_);
  }

  Session& session_;
  const Query& query_;
  const Index& index_;
  const Plan& plan_;
  const bool tensor_;
  const size_t begin_, count_, first_, row_count_;
  Margin margin_{};
  Slack slack_{};
  QueryRows rows_{};
  const int* first_row_ = nullptr;
  Exclusions exclusions_{};
  const uint32_t* allowed_ = nullptr;
  Lists lists_{};
  // Of selections.
  Candidates spare_{};
  unsigned shares_ = 1;
  Passes passes_{};
  unsigned long long* selected_ = nullptr;
  int* overflow_ = nullptr;
  Counter* counters_ = nullptr;
  uint32_t* hits_ = nullptr;
  size_t most_panels_ = 0;
  double queued_ = 0;
};

// Searches some queries from `begin` on; returns where they end, `begin` where candidates were lost.
size_t SearchBatch(const Query& query, const Plan& plan, const ResidentItems* resident, size_t begin, bool careful,
                   const Outputs& outputs, const CancelFlag& cancel, Counters* counters) {
  Source source(*query.index, resident, cancel);
  // Of its own, so that its memory serves the next batch.
  Session session(cancel);
  const size_t workspace = std::min(kBatchBytes, session.available_bytes() / 2);
  const size_t most = std::clamp<size_t>(workspace / plan.query_bytes, 1, kBatchQueries);
  size_t end = begin + 1;
  while (end < query.query_count && end - begin < most &&
         query.first_row[end + 1] - query.first_row[begin] <= kBatchRows) {
    ++end;
  }
  Batch batch(session, query, plan, begin, end);
  if (!batch.Run(&source, careful, counters)) return begin;
  batch.Finish(outputs);
  return end;
}

}  // namespace

Status RunOnCuda(const Query& query, const Outputs& outputs, const CancelFlag& cancel) {
  return cuda::Guarded(cancel, [&](Session& whole) {
    whole.CheckCancelled();
    const Index& index = *query.index;
    const Plan plan(query);
    Counters counters{};
    std::shared_ptr<const ResidentItems> resident;
    if (!query.offsets.empty() && plan.allowed > 0) resident = Resident(index, cancel);
    for (size_t begin = 0; begin < query.query_count;) {
      size_t end = SearchBatch(query, plan, resident.get(), begin, false, outputs, cancel, &counters);
      if (end == begin) end = SearchBatch(query, plan, resident.get(), begin, true, outputs, cancel, &counters);
      if (end == begin) throw cuda::Error(Internal("a short round of the search had more candidates than items"));
      begin = end;
    }
    // What was scored was read, if only for that.
    if (outputs.touched != nullptr) *outputs.touched = {std::max(counters.read, counters.scored), counters.scored};
  });
}

}  // namespace prismrec::similarity_search
