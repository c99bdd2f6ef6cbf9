#include "ops/softmax_loss/cuda/softmax_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cuda/rows.cuh"
#include "cuda/runtime.cuh"
#include "ops/softmax_loss/cuda/entries.cuh"
#include "ops/softmax_loss/cuda/kernels.cuh"
#include "ops/softmax_loss/plan.h"

namespace prismrec::softmax_loss {
namespace {

using cuda::DeviceRows;
using cuda::Session;

#if defined(PRISMREC_CUDA_HOST)
// Small enough for what the tests can afford to take more than one of each.
constexpr double kOperationsAtOnce = 1 << 20;
constexpr int kTilesPerSplit = 2;
constexpr uint64_t kWaveValues = 1 << 9;
constexpr uint32_t kSegmentEntries = 4;
#else
// Some ten milliseconds on a small GPU: how long a wish to cancel waits at most.
constexpr double kOperationsAtOnce = 6e10;
constexpr int kTilesPerSplit = 4;
// Values of entries at a time, where rows have candidates of their own: 16 MiB, which stay in the second-level cache.
constexpr uint64_t kWaveValues = 1 << 22;
constexpr uint32_t kSegmentEntries = 64;
#endif
// Enough to fill the largest GPU twice.
constexpr int kWantedBlocks = 1024;
// Sums of two indices fit an int.
constexpr size_t kMostIndices = std::numeric_limits<int>::max() / 2 - kTile;

constexpr unsigned kItemsBit = 1;
constexpr unsigned kInterestsBit = 2;

[[noreturn]] void ThrowItemsNotFinite() {
  throw cuda::Error(
      NonFinite("items or itemBias hold a value that is not finite", "finite values", "NaN or infinity",
                "A diverging learning rate is the usual cause; look at the step before this one."));
}
[[noreturn]] void ThrowInterestsNotFinite() {
  throw cuda::Error(NonFinite("interests or offsets hold a value that is not finite",
                              "finite values, or offset -Infinity", "NaN or infinity",
                              "A diverging learning rate is the usual cause; look at the step before."));
}

int Tiles(int count) { return (count + kTile - 1) / kTile; }
// Blocks of a warp for each of `count`.
dim3 WarpBlocks(size_t count) { return dim3(static_cast<unsigned>((count + kEntryWarps - 1) / kEntryWarps)); }

// How owners meet others: the others in rounds, one after the other, of `splits` spans each, side by side.
struct Schedule {
  int splits;
  int per_split;
  int step;
  int rounds;

  // From the shapes alone, so that the bits do too.
  Schedule(int owners, int others, int stride, int products) {
    const int tiles = Tiles(others);
    splits = std::clamp(kWantedBlocks / Tiles(owners), 1, std::max(1, tiles / kTilesPerSplit));
    const double operations = 2.0 * products * stride * Tiles(owners) * kTile * tiles * kTile;
    const double wanted = std::min<double>(tiles, std::ceil(operations / kOperationsAtOnce));
    per_split = std::max(1, static_cast<int>(tiles / (wanted * splits))) * kTile;
    step = per_split * splits;
    rounds = (tiles * kTile + step - 1) / step;
  }
};

struct Slots {
  std::vector<int> row;
  std::vector<uint32_t> pair;
  std::vector<int2> of_row;

  // `whole`: no row lies in two tiles.
  Slots(const Plan& plan, bool whole) {
    for (size_t i = 0; i < plan.rows.size(); ++i) {
      const size_t count = plan.row_pairs[i + 1] - plan.row_pairs[i];
      if (whole && row.size() % kTile + count > kTile) FillTile();
      const int first = static_cast<int>(row.size());
      row.insert(row.end(), count, static_cast<int>(i));
      pair.insert(pair.end(), &plan.pairs[plan.row_pairs[i]], &plan.pairs[plan.row_pairs[i]] + count);
      of_row.push_back(make_int2(first, first + static_cast<int>(count)));
    }
    FillTile();
  }

 private:
  void FillTile() {
    row.resize((row.size() + kTile - 1) / kTile * kTile, -1);
    pair.resize(row.size(), 0);
  }
};

// Entries by item, of some rows.
struct Wave {
  int first_row;
  int end_row;
  std::vector<uint32_t> list;
  std::vector<Segment> segments;
  std::vector<uint32_t> segment_begin;
};

class Softmax {
 public:
  Softmax(Session& session, const Args& args, Outputs* outputs)
      : session_(session),
        args_(args),
        outputs_(outputs),
        plan_(MakePlan(args)),
        sampled_(args.candidates != nullptr),
        per_row_(args.candidates_per_row),
        entries_alone_(per_row_ || (args.readout == Readout::kMax && plan_.most_pairs > kTile)),
        columns_(per_row_ ? 0 : plan_.columns) {}

  void Run() {
    CheckSizes();
    flags_ = session_.Zeros<unsigned>(1);
    PlaceItems();
    outputs_->counted_rows = plan_.rows.size();
    std::fill_n(outputs_->row_losses, args_.rows(), 0.0f);
    if (outputs_->gradients()) {
      outputs_->gradient_rows = sampled_ ? plan_.gradient_items.size() : args_.items.rows;
      if (sampled_) std::copy(plan_.gradient_items.begin(), plan_.gradient_items.end(), outputs_->item_ids);
    }
    if (plan_.rows.empty()) {
      FindNothing();
    } else {
      PlaceSlots();
      ListRemoved();
      ListEntries();
      FindLoss();
    }
  }

 private:
  float Bias(uint32_t item) const { return args_.item_bias == nullptr ? 0.0f : args_.item_bias[item]; }
  template <class T>
  T* Upload(const std::vector<T>& values) {
    return session_.Upload(values.data(), values.size());
  }

  void CheckSizes() const {
    const size_t entries = plan_.targets.size() + (entries_alone_ ? plan_.rows.size() * plan_.columns : 0);
    const size_t removed = plan_.removed.size() + plan_.targets.size();
    // Padding may double the pairs.
    const size_t largest = std::max({2 * plan_.pairs.size(), args_.items.rows, entries, removed});
    if (largest < kMostIndices) return;
    throw cuda::Error(DeviceUnavailable("the batch has too many items, interests or candidates for the GPU variant",
                                        "fewer than " + std::to_string(kMostIndices), std::to_string(largest),
                                        "Use device \"cpu\", or a smaller batch."));
  }

  // The columns that all rows share come first, then the other items that are read.
  void PlaceItems() {
    std::vector<uint32_t> ids;
    if (per_row_) {
      ids = plan_.gradient_items;
    } else if (sampled_) {
      ids = plan_.column_items;
      order_.resize(columns_);
      std::vector<uint32_t> target_slots(plan_.target_items.size());
      for (uint32_t slot = 0; slot < plan_.gradient_items.size(); ++slot) {
        if (plan_.slot_columns[slot] != kNoRow) order_[plan_.slot_columns[slot]] = slot;
        if (plan_.slot_targets[slot] != kNoRow) target_slots[plan_.slot_targets[slot]] = slot;
      }
      for (size_t t = 0; t < plan_.target_items.size(); ++t) {
        const uint32_t item = plan_.target_items[t];
        const auto column = std::lower_bound(plan_.column_items.begin(), plan_.column_items.end(), item);
        if (column != plan_.column_items.end() && *column == item) {
          place_of_target_.push_back(static_cast<uint32_t>(column - plan_.column_items.begin()));
          continue;
        }
        place_of_target_.push_back(static_cast<uint32_t>(ids.size()));
        order_.push_back(target_slots[t]);
        ids.push_back(item);
      }
    }
    const size_t count = sampled_ ? ids.size() : args_.items.rows;
    for (size_t n = 0; args_.item_bias != nullptr && n < count; ++n) {
      if (!std::isfinite(args_.item_bias[sampled_ ? ids[n] : n])) ThrowItemsNotFinite();
    }
    shift_.resize(columns_);
    for (size_t c = 0; c < columns_; ++c) {
      shift_[c] = sampled_ ? Bias(ids[c]) + plan_.column_weights[c] : Bias(static_cast<uint32_t>(c));
    }
    if (sampled_ && !std::all_of(shift_.begin(), shift_.end(), [](float x) { return std::isfinite(x); })) {
      ThrowItemsNotFinite();
    }
    items_ = cuda::AllocateRows(session_, count, args_.dim(), false);
    if (sampled_) {
      std::vector<float> gathered(count * args_.dim());
      for (size_t n = 0; n < count; ++n) {
        std::copy_n(args_.items.row(ids[n]), args_.dim(), &gathered[n * args_.dim()]);
      }
      cuda::FillRows(session_, {gathered.data(), count, args_.dim()}, nullptr, 0, items_);
    } else {
      cuda::FillRows(session_, args_.items, nullptr, 0, items_);
    }
    if (per_row_) {
      place_of_item_.resize(args_.items.rows);
      for (size_t n = 0; n < count; ++n) place_of_item_[ids[n]] = static_cast<uint32_t>(n);
    }
    CheckFinite(items_, kItemsBit);
    problem_.items = items_.data;
    problem_.shift = Upload(shift_);
    problem_.column_count = static_cast<int>(columns_);
    problem_.stride = items_.stride;
  }

  void PlaceSlots() {
    problem_.max = args_.readout == Readout::kMax && plan_.most_pairs > 1;
    slots_ = std::make_unique<Slots>(plan_, problem_.max && !entries_alone_);
    const size_t count = slots_->row.size();
    const size_t dim = args_.dim();
    std::vector<float> gathered(count * dim, 0.0f);
    std::vector<float> offsets(count, 0.0f);
    for (size_t s = 0; s < count; ++s) {
      if (slots_->row[s] < 0) continue;
      std::copy_n(args_.interests.row(slots_->pair[s]), dim, &gathered[s * dim]);
      if (args_.offsets != nullptr) offsets[s] = args_.offsets[slots_->pair[s]];
      if (!std::isfinite(offsets[s])) ThrowInterestsNotFinite();
    }
    const DeviceRows rows = cuda::AllocateRows(session_, count, dim, false);
    cuda::FillRows(session_, {gathered.data(), count, dim}, nullptr, 0, rows);
    CheckFinite(rows, kInterestsBit);
    problem_.slots = rows.data;
    problem_.offsets = Upload(offsets);
    problem_.slot_count = rows.count;
    problem_.slot_row = Upload(slots_->row);
    problem_.row_slots = Upload(slots_->of_row);
    slot_pair_ = Upload(slots_->pair);
  }

  // The row's targets are entries, so they are no columns of its.
  void ListRemoved() {
    if (entries_alone_) return;
    std::vector<uint32_t> row_begin{0}, row_list, column_begin(columns_ + 1, 0);
    for (size_t i = 0; i < plan_.rows.size(); ++i) {
      const auto first = static_cast<std::ptrdiff_t>(row_list.size());
      row_list.insert(row_list.end(), plan_.removed.begin() + static_cast<std::ptrdiff_t>(plan_.row_removed[i]),
                      plan_.removed.begin() + static_cast<std::ptrdiff_t>(plan_.row_removed[i + 1]));
      for (size_t t = plan_.row_targets[i]; !sampled_ && t < plan_.row_targets[i + 1]; ++t) {
        row_list.push_back(plan_.targets[t].item);
      }
      std::sort(row_list.begin() + first, row_list.end());
      row_list.erase(std::unique(row_list.begin() + first, row_list.end()), row_list.end());
      row_begin.push_back(static_cast<uint32_t>(row_list.size()));
    }
    for (const uint32_t column : row_list) ++column_begin[column + 1];
    for (size_t c = 0; c < columns_; ++c) column_begin[c + 1] += column_begin[c];
    problem_.row_removed_begin = Upload(row_begin);
    problem_.row_removed = Upload(row_list);
    problem_.column_removed_begin = Upload(column_begin);
    std::vector<uint32_t> column_list(row_list.size());
    for (uint32_t i = 0; i < plan_.rows.size(); ++i) {
      for (uint32_t n = row_begin[i]; n < row_begin[i + 1]; ++n) column_list[column_begin[row_list[n]]++] = i;
    }
    problem_.column_removed = Upload(column_list);
  }

  void ListEntries() {
    constexpr float kOut = -std::numeric_limits<float>::infinity();
    const size_t columns = entries_alone_ ? plan_.columns : 0;
    std::vector<uint32_t> row;
    std::vector<float> shift, share;
    std::vector<uint64_t> begin{0};
    entry_begin_.assign(1, 0);
    for (size_t i = 0; i < plan_.rows.size(); ++i) {
      const size_t first = entry_item_.size();
      for (size_t c = 0; c < columns; ++c) {
        const size_t at = plan_.rows[i] * columns + c;
        entry_item_.push_back(per_row_ ? place_of_item_[args_.candidates[at]] : static_cast<uint32_t>(c));
        shift.push_back(!per_row_ ? shift_[c]
                                  : Bias(args_.candidates[at]) - (args_.log_q == nullptr ? 0.0f : args_.log_q[at]));
        share.push_back(0.0f);
      }
      for (size_t n = plan_.row_removed[i]; columns > 0 && n < plan_.row_removed[i + 1]; ++n) {
        shift[first + plan_.removed[n]] = kOut;
      }
      for (size_t t = plan_.row_targets[i]; columns > 0 && !sampled_ && t < plan_.row_targets[i + 1]; ++t) {
        shift[first + plan_.targets[t].item] = kOut;
      }
      for (size_t t = plan_.row_targets[i]; t < plan_.row_targets[i + 1]; ++t) {
        const Target& target = plan_.targets[t];
        entry_item_.push_back(per_row_ ? place_of_item_[target.item]
                                       : sampled_ ? place_of_target_[target.column] : target.item);
        shift.push_back(sampled_ ? target.shift : Bias(target.item));
        share.push_back(target.weight);
      }
      const size_t size = entry_item_.size() - first;
      row.insert(row.end(), size, static_cast<uint32_t>(i));
      entry_begin_.push_back(static_cast<uint32_t>(entry_item_.size()));
      begin.push_back(begin.back() + size * (plan_.row_pairs[i + 1] - plan_.row_pairs[i]));
    }
    // Rows that share their columns need all of their targets' values at once.
    uint64_t most = 0;
    for (size_t first = 0; first < plan_.rows.size();) {
      size_t end = entries_alone_ ? first + 1 : plan_.rows.size();
      while (end < plan_.rows.size() && begin[end + 1] - begin[first] <= kWaveValues) ++end;
      waves_.push_back(MakeWave(first, end));
      most = std::max(most, begin[end] - begin[first]);
      first = end;
    }
    entries_.row_begin = Upload(entry_begin_);
    entries_.row = Upload(row);
    entries_.item = Upload(entry_item_);
    entries_.shift = Upload(shift);
    entries_.target_share = Upload(share);
    entries_.begin = Upload(begin);
    entries_.values = session_.Allocate<float>(most);
  }

  Wave MakeWave(size_t first_row, size_t end_row) const {
    Wave wave{static_cast<int>(first_row), static_cast<int>(end_row), {}, {}, {}};
    if (!outputs_->gradients()) return wave;
    const uint32_t first = entry_begin_[first_row];
    const uint32_t end = entry_begin_[end_row];
    std::vector<uint32_t> next(static_cast<size_t>(items_.count) + 1, 0);
    for (uint32_t e = first; e < end; ++e) ++next[entry_item_[e] + 1];
    for (size_t n = 1; n < next.size(); ++n) {
      wave.segment_begin.push_back(static_cast<uint32_t>(wave.segments.size()));
      const uint32_t item_end = next[n - 1] + next[n];
      for (uint32_t at = next[n - 1]; at < item_end; at += kSegmentEntries) {
        wave.segments.push_back({at, std::min(item_end, at + kSegmentEntries)});
      }
      next[n] = item_end;
    }
    wave.segment_begin.push_back(static_cast<uint32_t>(wave.segments.size()));
    wave.list.resize(end - first);
    for (uint32_t e = first; e < end; ++e) wave.list[next[entry_item_[e]]++] = e;
    return wave;
  }

  void CheckFinite(const DeviceRows& rows, unsigned bit) {
    const size_t count = static_cast<size_t>(rows.count) * static_cast<size_t>(rows.stride);
    if (count == 0) return;
    const size_t blocks = std::min<size_t>(1024, (count + kEntryThreads - 1) / kEntryThreads);
    PRISMREC_CUDA_LAUNCH(CheckFiniteKernel, dim3(static_cast<unsigned>(blocks)), dim3(kEntryThreads), 0,
                         session_.stream(), rows.data, count, bit, flags_);
  }
  void ReadFlags() {
    unsigned flags = 0;
    session_.Download(&flags, flags_, 1);
    session_.Synchronize();
    if ((flags & kItemsBit) != 0) ThrowItemsNotFinite();
    if ((flags & kInterestsBit) != 0) ThrowInterestsNotFinite();
  }

  void FindNothing() {
    ReadFlags();
    outputs_->loss = 0;
    if (!outputs_->gradients()) return;
    std::fill_n(outputs_->interest_gradient, args_.interests.size(), 0.0f);
    std::fill_n(outputs_->offset_gradient, args_.interests.rows, 0.0f);
    std::fill_n(outputs_->item_gradient, outputs_->gradient_rows * args_.dim(), 0.0f);
    std::fill_n(outputs_->bias_gradient, outputs_->gradient_rows, 0.0f);
  }

  // Calls launch(span, round), and sees between rounds whether to go on.
  template <class Body>
  void ForEachRound(const Schedule& schedule, int others, Body launch) {
    for (int round = 0; round < schedule.rounds; ++round) {
      if (round > 0) session_.Synchronize();
      const int begin = round * schedule.step;
      launch(Span{begin, std::min(others, begin + schedule.step), schedule.per_split}, round);
    }
  }
  size_t ScanBytes() const { return problem_.max ? kScanBytes : 0; }

  // [rounds * splits, slots]
  const float2* FindStatistics(const Schedule& schedule) {
    const auto slots = static_cast<size_t>(problem_.slot_count);
    const size_t part = static_cast<size_t>(schedule.splits) * slots;
    float2* partial = session_.Allocate<float2>(static_cast<size_t>(schedule.rounds) * part);
    ForEachRound(schedule, problem_.column_count, [&](const Span& span, int round) {
      float2* to = partial + static_cast<size_t>(round) * part;
      cuda::WithTile(session_.traits(), [&](auto dim, auto tensor) {
        constexpr int kDim = decltype(dim)::value;
        constexpr bool kTensor = decltype(tensor)::value;
        const dim3 grid(static_cast<unsigned>(Tiles(problem_.slot_count)), static_cast<unsigned>(schedule.splits));
        PRISMREC_CUDA_LAUNCH((StatisticsKernel<kDim, kTensor>), grid, dim3(kTileThreads),
                             cuda::SweepBytes<kDim>() + ScanBytes(), session_.stream(), problem_, span, to);
      });
    });
    return partial;
  }

  template <bool kColumns>
  Dense FindDense(const float2* statistics) {
    const int owners = kColumns ? problem_.column_count : problem_.slot_count;
    const int others = kColumns ? problem_.slot_count : problem_.column_count;
    const Schedule schedule(owners, others, problem_.stride, 2);
    const size_t rows = static_cast<size_t>(schedule.splits) * static_cast<size_t>(owners);
    float* gradient = session_.Allocate<float>(rows * static_cast<size_t>(problem_.stride));
    float* sums = session_.Allocate<float>(rows);
    ForEachRound(schedule, others, [&](const Span& span, int round) {
      cuda::WithTile(session_.traits(), [&](auto dim, auto tensor) {
        constexpr int kDim = decltype(dim)::value;
        constexpr bool kTensor = decltype(tensor)::value;
        const dim3 grid(static_cast<unsigned>(Tiles(owners)),
                        static_cast<unsigned>((problem_.stride + kDim - 1) / kDim),
                        static_cast<unsigned>(schedule.splits));
        PRISMREC_CUDA_LAUNCH((GradientKernel<kDim, kTensor, kColumns>), grid, dim3(kTileThreads),
                             cuda::SweepBytes<kDim>() + ScanBytes(), session_.stream(), problem_, span, statistics,
                             round > 0, gradient, sums);
      });
    });
    return {gradient, sums, schedule.splits, owners};
  }

  void FindLoss() {
    const bool gradients = outputs_->gradients();
    const size_t rows = plan_.rows.size();
    const size_t dim = args_.dim();
    const float scale = 1.0f / static_cast<float>(rows);
    const float2* partial = nullptr;
    int parts = 0;
    if (!entries_alone_) {
      const Schedule schedule(problem_.slot_count, problem_.column_count, problem_.stride, 1);
      partial = FindStatistics(schedule);
      parts = schedule.rounds * schedule.splits;
    }
    float* losses = session_.Allocate<float>(rows);
    // Padding has no share in anything.
    const std::vector<float2> nothing(gradients ? slots_->row.size() : 0,
                                      make_float2(std::numeric_limits<float>::infinity(), 0));
    float2* statistics = Upload(nothing);
    float* interest_gradient = nullptr;
    float* offset_gradient = nullptr;
    float* item_gradient = nullptr;
    float* bias_gradient = nullptr;
    float* segment_gradient = nullptr;
    float* segment_sums = nullptr;
    const uint32_t* order = nullptr;
    if (gradients) {
      interest_gradient = session_.Zeros<float>(args_.interests.size());
      offset_gradient = session_.Zeros<float>(args_.interests.rows);
      item_gradient = session_.Allocate<float>(outputs_->gradient_rows * dim);
      bias_gradient = session_.Allocate<float>(outputs_->gradient_rows);
      size_t most = 0;
      for (const Wave& wave : waves_) most = std::max(most, wave.segments.size());
      segment_gradient = session_.Allocate<float>(most * static_cast<size_t>(problem_.stride));
      segment_sums = session_.Allocate<float>(most);
      order = Upload(order_);
    }

    for (size_t w = 0; w < waves_.size(); ++w) {
      if (w > 0) session_.Synchronize();
      const Wave& wave = waves_[w];
      entries_.first_row = wave.first_row;
      const uint32_t first = entry_begin_[static_cast<size_t>(wave.first_row)];
      const uint32_t count = entry_begin_[static_cast<size_t>(wave.end_row)] - first;
      PRISMREC_CUDA_LAUNCH(EntryLogitsKernel, WarpBlocks(count), dim3(kEntryThreads), 0, session_.stream(), problem_,
                           entries_, first, count);
      PRISMREC_CUDA_LAUNCH(FinishRowsKernel, dim3(static_cast<unsigned>(wave.end_row - wave.first_row)),
                           dim3(kEntryThreads), cuda::SharedBytes<float>(kEntryWarps), session_.stream(), problem_,
                           entries_, partial, parts, gradients, statistics, losses);
      if (!gradients) continue;
      Dense of_slots{};
      Dense of_columns{};
      if (!entries_alone_) {
        of_slots = FindDense<false>(statistics);
        of_columns = FindDense<true>(statistics);
      }
      const int first_slot = slots_->of_row[static_cast<size_t>(wave.first_row)].x;
      const int slots = slots_->of_row[static_cast<size_t>(wave.end_row) - 1].y - first_slot;
      PRISMREC_CUDA_LAUNCH(InterestGradientKernel, WarpBlocks(static_cast<size_t>(slots)), dim3(kEntryThreads), 0,
                           session_.stream(), problem_, entries_, of_slots, first_slot, slots, scale,
                           static_cast<int>(dim), slot_pair_, interest_gradient, offset_gradient);
      PRISMREC_CUDA_LAUNCH(SegmentKernel, WarpBlocks(wave.segments.size()), dim3(kEntryThreads), 0, session_.stream(),
                           problem_, entries_, Upload(wave.list), Upload(wave.segments),
                           static_cast<int>(wave.segments.size()), segment_gradient, segment_sums);
      PRISMREC_CUDA_LAUNCH(ItemGradientKernel, WarpBlocks(static_cast<size_t>(items_.count)), dim3(kEntryThreads), 0,
                           session_.stream(), of_columns, Upload(wave.segment_begin), segment_gradient, segment_sums,
                           items_.count, problem_.stride, scale, static_cast<int>(dim), w > 0, order, item_gradient,
                           bias_gradient);
    }

    std::vector<float> found(rows);
    session_.Download(found.data(), losses, rows);
    if (gradients) {
      session_.Download(outputs_->interest_gradient, interest_gradient, args_.interests.size());
      session_.Download(outputs_->offset_gradient, offset_gradient, args_.interests.rows);
      session_.Download(outputs_->item_gradient, item_gradient, outputs_->gradient_rows * dim);
      session_.Download(outputs_->bias_gradient, bias_gradient, outputs_->gradient_rows);
    }
    ReadFlags();
    double total = 0;
    for (size_t i = 0; i < rows; ++i) {
      outputs_->row_losses[plan_.rows[i]] = found[i];
      total += found[i];
    }
    outputs_->loss = total / static_cast<double>(rows);
    if (std::isfinite(outputs_->loss)) return;
    throw cuda::Error(
        NonFinite("the softmax loss is not finite", "logits that fit float32", std::to_string(outputs_->loss),
                  "A diverging learning rate is the usual cause; look at the step before this one."));
  }

  Session& session_;
  const Args& args_;
  Outputs* const outputs_;
  const Plan plan_;
  const bool sampled_;
  const bool per_row_;
  // There are no tiles: all columns are entries. So too where a row under readout max is larger than a tile.
  const bool entries_alone_;
  // Of all rows.
  const size_t columns_;

  unsigned* flags_ = nullptr;
  DeviceProblem problem_{};
  Entries entries_{};
  DeviceRows items_;
  std::vector<float> shift_;
  // Where a row of the device's items lies in the answer; empty: at its own place.
  std::vector<uint32_t> order_;
  // Row of the device's items: of each of plan.target_items (shared candidates), of an item (candidates of rows' own).
  std::vector<uint32_t> place_of_target_;
  std::vector<uint32_t> place_of_item_;
  std::unique_ptr<Slots> slots_;
  const uint32_t* slot_pair_ = nullptr;
  std::vector<uint32_t> entry_begin_;
  std::vector<uint32_t> entry_item_;
  std::vector<Wave> waves_;
};

}  // namespace

Status RunOnCuda(const Args& args, Outputs* outputs, const CancelFlag& cancel) {
  return cuda::Guarded(cancel, [&](Session& session) {
    session.CheckCancelled();
    Softmax(session, args, outputs).Run();
  });
}

}  // namespace prismrec::softmax_loss
