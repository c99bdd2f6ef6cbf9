#include "ops/similarity_search/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "gemm/pack.h"
#include "ops/similarity_search/plan.h"

namespace prismrec::similarity_search {
namespace {

// Between two looks at the cancel flag and at what can be left out.
constexpr size_t kGroupPanels = 32;
constexpr size_t kGroupTiles = 8192;
constexpr size_t kSelectionSlack = 64;
// What is added by sparse rows to a group of panels stays in the first caches.
constexpr size_t kSparseGroupFloats = size_t{1} << 14;
// The codes are read first where reading is what costs: few rows, and lists so short that few items
// have to be scored as well.
constexpr size_t kCodedRows = 8;
constexpr size_t kCodedItemsPerPlace = 256;
// Sums of 32 * 15 * 127 a dimension stay within 32 bits.
constexpr size_t kMostCodedCols = 32768;

// One candidate. `key` orders: score descending, then id ascending, is key descending.
struct Hit {
  uint64_t key;
  uint32_t interest;
};

bool Before(const Hit& a, const Hit& b) { return a.key > b.key; }

uint64_t KeyOf(float score, uint32_t id) {
  const float positive_zero = score + 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &positive_zero, sizeof(bits));
  bits = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (static_cast<uint64_t>(bits) << 32) | static_cast<uint32_t>(~id);
}

float ScoreOf(uint64_t key) {
  uint32_t bits = static_cast<uint32_t>(key >> 32);
  bits = (bits & 0x80000000u) != 0 ? bits & 0x7fffffffu : ~bits;
  float score;
  std::memcpy(&score, &bits, sizeof(score));
  return score;
}

uint32_t IdOf(uint64_t key) { return ~static_cast<uint32_t>(key); }

// The best k of a stream of candidates.
class Selection {
 public:
  Selection() = default;
  // Goes on from what `other` knows, for candidates of its own.
  explicit Selection(uint64_t floor) : floor_(floor) {}

  // Candidates whose key is not above it have k better ones; 0 at first, below all keys.
  uint64_t floor() const { return floor_; }
  float threshold() const {
    return floor_ == 0 ? -std::numeric_limits<float>::infinity() : ScoreOf(floor_);
  }
  std::vector<Hit>& hits() { return hits_; }

  void Add(float score, uint32_t id, uint32_t interest) {
    const uint64_t key = KeyOf(score, id);
    if (key > floor_) hits_.push_back({key, interest});
  }

  // Keeps memory at O(k) and raises the floor, if it is time. Returns whether it has risen.
  bool Prune(size_t k) {
    if (hits_.size() < 2 * k + kSelectionSlack) return false;
    Cut(k);
    return true;
  }

  void Cut(size_t k) {
    if (hits_.size() < k) return;
    const auto last = hits_.begin() + static_cast<std::ptrdiff_t>(k) - 1;
    std::nth_element(hits_.begin(), last, hits_.end(), Before);
    hits_.resize(k);
    floor_ = hits_.back().key;
  }

 private:
  std::vector<Hit> hits_;
  uint64_t floor_ = 0;
};

// The first of the rows with the largest term with one item.
size_t Largest(const float* products, const float* offsets, size_t count) {
  size_t top = 0;
  float best = products[0] + offsets[0];
  for (size_t j = 1; j < count; ++j) {
    const float term = products[j * kPanelItems] + offsets[j];
    if (term > best) {
      best = term;
      top = j;
    }
  }
  return top;
}

// A bit above log(count), by more than the rounding of `count` exponentials, their sum and its log.
float LogSlack(size_t count) {
  const double log_count = std::log(static_cast<double>(count));
  return static_cast<float>(log_count * 1.00001 + 1e-5 + 2.5e-7 * static_cast<double>(count));
}

// A product + bias + additive below it cannot be part of a score that reaches `threshold`: rounded down by
// more than the roundings of a score can add up to. `largest_added`: the magnitudes of bias and additive.
float LimitOf(float threshold, float offset, double slack, double largest_added) {
  constexpr double kUnit = 1.0 / (1 << 24);
  const double size = std::fabs(threshold) + std::fabs(offset) + slack + largest_added;
  return std::nextafter(static_cast<float>(threshold - offset - slack - 8 * kUnit * size),
                        -std::numeric_limits<float>::infinity());
}

// A log-sum-exp + bias + additive below it, computed from bounds of the products, cannot be a score that reaches
// `threshold`: rounded down by more than the roundings of both can add up to. `largest`: of the magnitudes that are added.
float SumLimitOf(float threshold, size_t count, double largest) {
  constexpr double kUnit = 1.0 / (1 << 24);
  const double exponentials = 2 * (1e-5 + 2.5e-7 * static_cast<double>(count));
  const double size = std::fabs(threshold) + largest;
  return std::nextafter(static_cast<float>(threshold - exponentials - 32 * kUnit * size),
                        -std::numeric_limits<float>::infinity());
}

bool UseCodes(const Query& query) {
  const Index& index = *query.index;
  if (index.coarse_codes() == nullptr || query.offsets.empty() || query.offsets.size() > kCodedRows) return false;
  if (query.k > index.rows() / kCodedItemsPerPlace || index.cols() > kMostCodedCols) return false;
  // No bound may overflow.
  const double longest = *std::max_element(query.norms.begin(), query.norms.end());
  return longest * 127 * std::sqrt(static_cast<double>(index.cols())) < 1e38;
}

// The rows of a block as a scan of the codes takes them.
struct CodedRows {
  std::vector<int8_t> codes;
  std::vector<CodeRow> bounds;
};

// One row in 8 bits, [octets * kCodeOctet], and what bounds its products from their codes:
//   <h, e> = <h, e - s c> + s <h - step g, c> + s step <g, c>,
// the first at most |h| error s, the second |h - step g| |s c| with |s c| <= |e| + error s.
CodeRow EncodeRow(const float* row, double norm, size_t d, int8_t* codes) {
  float top = 0;
  for (size_t x = 0; x < d; ++x) top = std::max(top, std::fabs(row[x]));
  const float step = std::max(top / 127.0f, std::numeric_limits<float>::min());
  double square = 0;
  int32_t total = 0;
  for (size_t x = 0; x < d; ++x) {
    const double code = std::clamp(std::nearbyint(row[x] / static_cast<double>(step)), -127.0, 127.0);
    codes[x] = static_cast<int8_t>(code);
    total += codes[x];
    square += (row[x] - code * step) * (row[x] - code * step);
  }
  // The score's own rounding and that of the bound, both relative to |h| |e| and |h| |s c|.
  const double rounding = static_cast<double>(d + 16) / (1 << 23);
  const double left = std::sqrt(square) + norm * rounding;
  // Sums are against twice the codes.
  return {step / 2, static_cast<float>((norm + left) * 1.001), static_cast<float>(left * 1.001), total};
}

CodedRows EncodeRows(const Query& query, const Block& block) {
  const size_t d = query.index->cols();
  CodedRows rows;
  const size_t padded = query.index->octets() * kCodeOctet;
  const size_t first = query.first_row[block.begin];
  const size_t count = query.first_row[block.end] - first;
  rows.codes.resize(count * padded);
  for (size_t r = 0; r < count; ++r) {
    rows.bounds.push_back(EncodeRow(query.rows.data() + (first + r) * d, query.norms[first + r], d,
                                    rows.codes.data() + r * padded));
  }
  return rows;
}

// One block of queries against ranges of panels.
class BlockSweep {
 public:
  // `coded`: the block's rows, if they are to go through the codes; else null.
  BlockSweep(const PanelKernel& kernel, const Query& query, const Block& block,
             const CodedRows* coded, const CancelFlag& cancel)
      : coded_(coded),
        kernel_(kernel),
        query_(query),
        index_(*query.index),
        block_(block),
        cancel_(cancel),
        first_(query.first_row[block.begin]),
        row_count_(query.first_row[block.end] - first_) {
    const size_t d = index_.cols();
    const float* rows = query.rows.data() + first_ * d;
    step_ = coded != nullptr ? 1 : kernel.gemm->mr;
    const size_t units = (row_count_ + step_ - 1) / step_;
    if (coded != nullptr) {
      code_hits_.resize(row_count_ * kGroupPanels);
    } else {
      rows_.resize(gemm::PackedFloats(row_count_, step_, d));
      gemm::PackRows(*kernel.gemm, rows, d, row_count_, d, rows_.data());
    }
    limits_.assign(units * step_, std::numeric_limits<float>::infinity());
    active_.resize(units);
    if (coded == nullptr) hits_.resize(row_count_);
    query_of_.reserve(row_count_);
    for (size_t q = block.begin; q < block.end; ++q) {
      const size_t own = query.first_row[q + 1] - query.first_row[q];
      if (coded != nullptr && query.readout == Readout::kLogSumExp) {
        const size_t first = query_of_.size();
        summed_.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(own), 0});
      }
      query_of_.insert(query_of_.end(), own, static_cast<uint32_t>(q));
      most_rows_ = std::max(most_rows_, own);
    }
    // Rows that stand alone have their own limits, which say as much.
    if (most_rows_ < 2) summed_.clear();
    if (!summed_.empty()) reaches_.resize(row_count_ * kPanelItems);
    if (coded != nullptr || query.readout == Readout::kLogSumExp) {
      products_.resize(most_rows_ * kPanelItems);
    }
    group_panels_ = std::clamp<size_t>(kGroupTiles / std::max<size_t>(1, row_count_), 1, kGroupPanels);
    if (query.adds() && row_count_ > 0) PlaceAdditive();
  }

  // Adds what panels [begin, end) hold to `selections`, one for each query of the block.
  void Run(size_t begin, size_t end, std::vector<Selection>* selections) {
    selections_ = selections;
    for (size_t q = block_.begin; q < block_.end; ++q) SetLimits(q);
    if (!scattered_.empty()) FindEntries(begin);
    for (size_t group = begin; group < end && row_count_ > 0; group += group_panels_) {
      if (cancel_.Cancelled()) return;
      const size_t group_end = std::min(end, group + group_panels_);
      if (query_.adds()) LoadAdditive(group, group_end);
      if (!Activate(group, group_end)) {
        if (index_.bias() == nullptr && !query_.adds()) return;  // what follows is no longer
        continue;
      }
      if (coded_ != nullptr) {
        ConsumeCodes(ScanCodes(group, group_end));
        continue;
      }
      for (size_t p = group; p < group_end; ++p) {
        const size_t found = ScanItems(p, group_end, &p);
        Consume(p, found);
      }
    }
  }

  const Touched& touched() const { return touched_; }

 private:
  // Where a scan finds what is added to the rows. Those beyond the block's take what the first row does.
  void PlaceAdditive() {
    const size_t queries = block_.end - block_.begin;
    const bool sparse = query_.additive == nullptr;
    if (sparse) group_panels_ = std::clamp<size_t>(kSparseGroupFloats / kPanelItems / queries, 1, group_panels_);
    const size_t stride = (sparse ? group_panels_ : index_.panels()) * kPanelItems;
    if (sparse) scattered_.resize(queries * stride + kPanelItems);
    const float* first = sparse ? scattered_.data() : query_.additive + block_.begin * stride;
    additive_tops_.resize(queries);
    additive_.assign(limits_.size(), first + (query_of_[0] - block_.begin) * stride);
    for (size_t r = 0; r < row_count_; ++r) additive_[r] = first + (query_of_[r] - block_.begin) * stride;
  }

  // The entries that a sweep from panel `begin` on meets first.
  void FindEntries(size_t begin) {
    for (size_t q = block_.begin; q < block_.end; ++q) {
      const auto from = query_.entries.begin() + static_cast<std::ptrdiff_t>(query_.first_entry[q]);
      const auto to = query_.entries.begin() + static_cast<std::ptrdiff_t>(query_.first_entry[q + 1]);
      const size_t first = static_cast<size_t>(
          std::lower_bound(from, to, begin * kPanelItems,
                           [](const Query::Entry& entry, size_t position) { return entry.position < position; }) -
          query_.entries.begin());
      loaded_.push_back({first, first});
    }
  }

  // What is added in panels [begin, end), with the most of each query.
  void LoadAdditive(size_t begin, size_t end) {
    if (scattered_.empty()) {
      for (size_t q = block_.begin; q < block_.end; ++q) {
        const float* tops = query_.additive_tops.data() + q * index_.panels();
        additive_tops_[q - block_.begin] = *std::max_element(tops + begin, tops + end);
      }
      return;
    }
    const size_t former = additive_panel_ * kPanelItems, first = begin * kPanelItems;
    additive_panel_ = begin;
    for (size_t q = block_.begin; q < block_.end; ++q) {
      float* row = scattered_.data() + (q - block_.begin) * group_panels_ * kPanelItems;
      auto& [from, to] = loaded_[q - block_.begin];
      for (; from < to; ++from) row[query_.entries[from].position - former] = 0.0f;
      float top = 0;
      for (; to < query_.first_entry[q + 1] && query_.entries[to].position < end * kPanelItems; ++to) {
        row[query_.entries[to].position - first] = query_.entries[to].value;
        top = std::max(top, query_.entries[to].value);
      }
      additive_tops_[q - block_.begin] = top;
    }
  }

  Additive AdditiveOfRows() const { return {query_.adds() ? additive_.data() : nullptr, additive_panel_}; }

  size_t ScanItems(size_t begin, size_t end, size_t* panel) {
    Scan scan;
    scan.d = index_.cols();
    scan.items = index_.items();
    scan.bias = index_.bias();
    scan.additive = AdditiveOfRows();
    scan.allowed = query_.allowed.data();
    scan.rows = rows_.data();
    scan.row_count = row_count_;
    scan.limits = limits_.data();
    scan.active = active_.data();
    scan.active_count = active_count_;
    return kernel_.scan(scan, begin, end, panel, hits_.data());
  }

  size_t ScanCodes(size_t begin, size_t end) {
    CodeScan scan;
    scan.d = index_.cols();
    scan.items = index_.items();
    scan.octets = index_.octets();
    scan.coarse = index_.coarse_codes();
    scan.fine = index_.fine_codes();
    scan.scales = index_.scales();
    scan.errors = index_.errors();
    scan.norms = index_.norms();
    scan.bias = index_.bias();
    scan.additive = AdditiveOfRows();
    scan.allowed = query_.allowed.data();
    scan.rows = coded_->codes.data();
    scan.bounds = coded_->bounds.data();
    scan.limits = limits_.data();
    scan.active = active_.data();
    scan.active_count = active_count_;
    scan.summed = summed_.data();
    scan.summed_count = summed_.size();
    scan.offsets = query_.offsets.data() + first_;
    scan.reaches = summed_.empty() ? nullptr : reaches_.data();
    // Rows that are not active stay below their limits.
    for (size_t r = 0; r < row_count_ && !summed_.empty(); ++r) {
      std::fill_n(reaches_.begin() + static_cast<std::ptrdiff_t>(r * kPanelItems), kPanelItems, limits_[r]);
    }
    return kernel_.scan_codes(scan, begin, end, code_hits_.data());
  }

  bool Sums(size_t q) const {
    return query_.readout == Readout::kLogSumExp && query_.first_row[q + 1] - query_.first_row[q] > 1;
  }

  void SetLimits(size_t q) {
    const float threshold = (*selections_)[q - block_.begin].threshold();
    const size_t end = query_.first_row[q + 1];
    const double slack = Sums(q) ? LogSlack(end - query_.first_row[q]) : 0.0;
    const double largest_added = index_.largest_bias() + (query_.adds() ? query_.largest_additive[q] : 0.0f);
    for (size_t r = query_.first_row[q]; r < end; ++r) {
      limits_[r - first_] = LimitOf(threshold, query_.offsets[r], slack, largest_added);
    }
    if (summed_.empty()) return;
    double largest_offset = 0;
    for (size_t r = query_.first_row[q]; r < end; ++r) {
      largest_offset = std::max(largest_offset, static_cast<double>(std::fabs(query_.offsets[r])));
    }
    SummedRows& summed = summed_[q - block_.begin];
    summed.limit = SumLimitOf(threshold, summed.count, largest_added + largest_offset);
  }

  // Finds the row panels (of the codes: the rows) with a row that an item of panels [begin, end) could reach the limit of, by
  // |<h, e>| <= |h| |e|. Returns whether there are any.
  bool Activate(size_t begin, size_t end) {
    const double rounding = 1 + static_cast<double>(index_.cols() + 8) / (1 << 23);
    const double norm = index_.norms()[begin] * rounding;
    double bias = 0;
    if (index_.bias_tops() != nullptr) {
      bias = *std::max_element(index_.bias_tops() + begin, index_.bias_tops() + end);
    }
    active_count_ = 0;
    size_t active_rows = 0;
    for (size_t unit = 0; unit < active_.size(); ++unit) {
      const size_t last = std::min(row_count_, (unit + 1) * step_);
      for (size_t r = unit * step_; r < last; ++r) {
        const double added = query_.adds() ? bias + additive_tops_[query_of_[r] - block_.begin] : bias;
        if (query_.norms[first_ + r] * norm + added + std::numeric_limits<float>::min() < limits_[r]) continue;
        active_[active_count_++] = static_cast<uint32_t>(unit);
        active_rows += last - unit * step_;
        break;
      }
    }
    size_t items = 0;
    for (size_t p = begin; p < end && active_count_ > 0; ++p) {
      const uint32_t allowed = query_.allowed[p];
      items += allowed == ~0u ? kPanelItems : static_cast<size_t>(__builtin_popcount(allowed));
    }
    touched_.read += active_rows * items;
    if (coded_ == nullptr) touched_.scored += active_rows * items;
    return active_count_ > 0;
  }

  void Consume(size_t panel, size_t found) {
    if (found > 1 && most_rows_ > 1) {
      std::sort(hits_.begin(), hits_.begin() + static_cast<std::ptrdiff_t>(found),
                [](const PanelHit& a, const PanelHit& b) { return a.row < b.row; });
    }
    for (size_t from = 0, to; from < found; from = to) {
      const size_t q = query_of_[hits_[from].row];
      uint32_t items = 0;
      for (to = from; to < found && query_of_[hits_[to].row] == q; ++to) items |= hits_[to].items;
      Selection& selection = (*selections_)[q - block_.begin];
      if (Sums(q)) {
        AddExact(q, panel, items, &selection);
      } else {
        AddMaxima(q, panel, items, from, to, &selection);
      }
      if (selection.Prune(query_.k)) SetLimits(q);
    }
  }

  // Hits by panel, then by row, so that those of one query follow each other.
  void ConsumeCodes(size_t found) {
    for (size_t from = 0, to; from < found; from = to) {
      const size_t panel = code_hits_[from].panel;
      const size_t q = query_of_[code_hits_[from].row];
      uint32_t items = 0;
      for (to = from; to < found && code_hits_[to].panel == panel && query_of_[code_hits_[to].row] == q; ++to) {
        items |= code_hits_[to].items;
      }
      Selection& selection = (*selections_)[q - block_.begin];
      AddExact(q, panel, items, &selection);
      if (selection.Prune(query_.k)) SetLimits(q);
    }
  }

  bool Excluded(size_t q, uint32_t id) const {
    return std::binary_search(query_.exclude.begin() + static_cast<std::ptrdiff_t>(query_.first_exclude[q]),
                              query_.exclude.begin() + static_cast<std::ptrdiff_t>(query_.first_exclude[q + 1]), id);
  }

  // A row that misses its limit is not the largest term of an item that gets onto the list.
  void AddMaxima(size_t q, size_t panel, uint32_t items, size_t from, size_t to, Selection* selection) {
    for (; items != 0; items &= items - 1) {
      const size_t i = static_cast<size_t>(__builtin_ctz(items));
      float best = -std::numeric_limits<float>::infinity();
      uint32_t interest = 0;
      for (size_t h = from; h < to; ++h) {
        if ((hits_[h].items >> i & 1) == 0) continue;
        const float term = hits_[h].products[i] + query_.offsets[first_ + hits_[h].row];
        if (term > best) {
          best = term;
          interest = query_.interests[first_ + hits_[h].row];
        }
      }
      Add(q, panel, i, best, interest, selection);
    }
  }

  // Computes all terms of the items.
  void AddExact(size_t q, size_t panel, uint32_t items, Selection* selection) {
    const size_t own = query_.first_row[q];
    const size_t count = query_.first_row[q + 1] - own;
    const size_t d = index_.cols();
    const float* offsets = query_.offsets.data() + own;
    kernel_.products(d, index_.panel(panel), items, query_.rows.data() + own * d, count, products_.data());
    float sums[kPanelItems];
    if (Sums(q)) kernel_.log_sum_exp(products_.data(), offsets, count, sums);
    if (coded_ != nullptr) touched_.scored += count * static_cast<size_t>(__builtin_popcount(items));
    for (; items != 0; items &= items - 1) {
      const size_t i = static_cast<size_t>(__builtin_ctz(items));
      const size_t top = Largest(products_.data() + i, offsets, count);
      const float score = Sums(q) ? sums[i] : products_[top * kPanelItems + i] + offsets[top];
      Add(q, panel, i, score, query_.interests[own + top], selection);
    }
  }

  void Add(size_t q, size_t panel, size_t i, float term, uint32_t interest, Selection* selection) {
    const size_t position = panel * kPanelItems + i;
    float score = index_.bias() == nullptr ? term : term + index_.bias()[position];
    if (query_.adds()) score += additive_[query_.first_row[q] - first_][(panel - additive_panel_) * kPanelItems + i];
    const uint32_t id = index_.ids()[position];
    if (score >= selection->threshold() && !Excluded(q, id)) selection->Add(score, id, interest);
  }

  const CodedRows* const coded_;
  const PanelKernel& kernel_;
  const Query& query_;
  const Index& index_;
  const Block block_;
  const CancelFlag& cancel_;
  const size_t first_;
  const size_t row_count_;
  size_t step_ = 1;  // rows that are scanned or left out together
  size_t most_rows_ = 0;
  size_t group_panels_ = 0;
  std::vector<float> rows_;
  std::vector<float> limits_;
  std::vector<uint32_t> active_;
  size_t active_count_ = 0;
  std::vector<PanelHit> hits_;
  std::vector<CodeHit> code_hits_;
  // Of each query of the block, where a scan of the codes bounds sums; with it [rows, kPanelItems] of scratch.
  std::vector<SummedRows> summed_;
  std::vector<float> reaches_;
  std::vector<uint32_t> query_of_;
  // What is added: of each row, from `additive_panel_` on; the most of each query in the panels at hand.
  std::vector<const float*> additive_;
  size_t additive_panel_ = 0;
  std::vector<float> additive_tops_;
  // Sparse rows as [queries, group_panels_, kPanelItems], and which entries of each query they hold now.
  std::vector<float> scattered_;
  std::vector<std::pair<size_t, size_t>> loaded_;
  std::vector<float> products_;
  std::vector<Selection>* selections_ = nullptr;
  Touched touched_;
};

// The list of query q from its candidates, at most k of them, in any order.
void WriteList(std::vector<Hit>& hits, size_t q, size_t k, const Outputs& outputs) {
  std::sort(hits.begin(), hits.end(), Before);
  outputs.counts[q] = static_cast<uint32_t>(hits.size());
  for (size_t n = 0; n < k; ++n) {
    const size_t at = q * k + n;
    const bool valid = n < hits.size();
    outputs.ids[at] = valid ? IdOf(hits[n].key) : kNoItem;
    outputs.scores[at] = valid ? ScoreOf(hits[n].key) : -std::numeric_limits<float>::infinity();
    outputs.interests[at] = valid ? static_cast<uint16_t>(hits[n].interest) : 0;
  }
}

}  // namespace

Status Sweep(const PanelKernel& kernel, const Query& query, const Outputs& outputs, ThreadPool& pool,
             const CancelFlag& cancel) {
  const bool use_codes = UseCodes(query);
  const Plan plan = MakePlan({query.first_row, query.index->panels(), query.index->cols(), query.k, use_codes,
                              kernel.gemm->mr});
  std::vector<Selection> lists(query.query_count);
  Touched touched;
  for (const Round& round : plan.rounds) {
    // Without a threshold every item would have to be scored after all.
    const bool coded = use_codes && round.begin > 0;
    std::vector<CodedRows> codes(coded ? round.blocks.size() : 0);
    for (size_t b = 0; b < codes.size(); ++b) codes[b] = EncodeRows(query, round.blocks[b]);
    // Ranges of one block know what the rounds before have found, not what the others find.
    std::vector<std::vector<Selection>> found(round.tasks());
    std::vector<Touched> parts(round.tasks());
    pool.ParallelFor(round.tasks(), cancel, [&](size_t n, int) {
      const size_t b = n / round.ranges;
      const Block& block = round.blocks[b];
      for (size_t q = block.begin; q < block.end; ++q) found[n].emplace_back(lists[q].floor());
      BlockSweep sweep(kernel, query, block, coded ? &codes[b] : nullptr, cancel);
      sweep.Run(round.Begin(n), round.End(n), &found[n]);
      parts[n] = sweep.touched();
    });
    if (cancel.Cancelled()) return Cancelled();
    for (const Touched& part : parts) {
      touched.read += part.read;
      touched.scored += part.scored;
    }
    const bool last = &round == &plan.rounds.back();
    const size_t step = plan.merged_queries;
    pool.ParallelFor((lists.size() + step - 1) / step, cancel, [&](size_t part, int) {
      size_t b = 0;
      for (size_t q = part * step; q < std::min(lists.size(), (part + 1) * step); ++q) {
        while (q >= round.blocks[b].end) ++b;
        Selection& list = lists[q];
        for (size_t r = 0; r < round.ranges; ++r) {
          std::vector<Hit>& more = found[b * round.ranges + r][q - round.blocks[b].begin].hits();
          list.hits().insert(list.hits().end(), more.begin(), more.end());
        }
        list.Cut(query.k);
        if (last) WriteList(list.hits(), q, query.k, outputs);
      }
    });
  }
  if (cancel.Cancelled()) return Cancelled();
  if (outputs.touched != nullptr) *outputs.touched = touched;
  return Status::Ok();
}

}  // namespace prismrec::similarity_search
