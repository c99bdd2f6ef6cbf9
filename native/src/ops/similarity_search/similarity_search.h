// Exact top-k by inner product or cosine, the interests of a query reduced on the way: see README.md.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_SIMILARITY_SEARCH_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_SIMILARITY_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ops/similarity_search/cpu/panel.h"
#include "runtime/cancel.h"
#include "runtime/large_pages.h"
#include "runtime/status.h"
#include "runtime/tensor_view.h"
#include "runtime/thread_pool.h"

namespace prismrec::similarity_search {

enum class Metric { kDot, kCosine };
enum class Readout { kMax, kLogSumExp };

// Fills the unused tail of a list.
inline constexpr uint32_t kNoItem = std::numeric_limits<uint32_t>::max();
inline constexpr size_t kMaxInterests = 65535;
// At least the length of a row scaled to 1.
inline constexpr double kUnitNorm = 1.000001;
// From this size on an index keeps 8-bit codes of the items as well.
inline constexpr size_t kCodedFloats = size_t{1} << 20;

struct IndexHeader;

// The items, copied and checked once, in an order of their own: longest first. A place in that order
// is a position, a row of the caller's matrix an id. They lie in panels, [panels][d][kPanelItems], so
// that a vector holds one dimension of neighbours. Immutable, so that any number of searches may
// read it at once.
class Index {
 public:
  // items: [N >= 1, d >= 1], finite. bias: [N], finite, nullable. Under kCosine the copy has rows of
  // length 1 (a zero row stays zero). NON_FINITE names the first bad number.
  static Status Build(MatrixView<const float> items, const float* bias, Metric metric,
                      ThreadPool& pool, const CancelFlag& cancel, std::unique_ptr<Index>* index);
  // Reads what Save has written; `mapped`: maps the file instead, so that processes share its pages, and then
  // nobody may change it while the index lives. Either way all of it is checked. FILE_NOT_FOUND, IO;
  // DATA_FORMAT for a file that is foreign, truncated, damaged or of another version.
  static Status Open(const std::string& path, bool mapped, ThreadPool& pool, const CancelFlag& cancel,
                     std::unique_ptr<Index>* index);
  // Writes `bytes()` bytes and waits until they are on the disk. DISK_FULL, IO: the file is incomplete.
  Status Save(const std::string& path, ThreadPool& pool, const CancelFlag& cancel) const;
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t panels() const { return (rows_ + kPanelItems - 1) / kPanelItems; }
  Metric metric() const { return metric_; }
  // At least the length of the longest row, and the largest magnitude of a bias.
  double largest_norm() const { return norms_[0]; }
  double largest_bias() const { return largest_bias_; }
  // Of all that the index holds but `positions`, in memory and in a file.
  size_t bytes() const { return bytes_; }

  // [N] the id of each position.
  const uint32_t* ids() const { return ids_; }
  // [panels] at least the length of a panel's longest row; never rising.
  const float* norms() const { return norms_; }
  // [panels, d, kPanelItems], 0 beyond N.
  const float* items() const { return items_; }
  const float* panel(size_t p) const { return items_ + p * cols_ * kPanelItems; }
  // [panels * kPanelItems] by position, 0 beyond N; nullable.
  const float* bias() const { return bias_; }
  // [panels] a panel's largest bias; nullable.
  const float* bias_tops() const { return bias_tops_; }

  // A copy in 8 bits, where it pays (N d >= kCodedFloats; else null), as two planes of 4 bits, so that most
  // items are ruled out by half of it: code = 16 coarse + fine - 128. The layout is CodeScan's.
  const uint8_t* coarse_codes() const { return coarse_codes_; }
  const uint8_t* fine_codes() const { return fine_codes_; }
  size_t octets() const { return (cols_ + kCodeOctet - 1) / kCodeOctet; }
  // [panels * kPanelItems]
  const float* scales() const { return scales_; }
  // [panels] the largest of a panel's items |item / scale - coarse code| and |item / scale - code|, where the
  // coarse code is 16 coarse - 120.5, its middle.
  const CodeErrors* errors() const { return errors_; }

  // What a device keeps of the index between searches: made by the first that runs there, dropped with
  // the index by whoever made it.
  struct DeviceCopy {
    std::mutex mutex;
    std::shared_ptr<const void> items;
  };
  DeviceCopy& device_copy() const { return device_copy_; }

  // [N] the position of each id: made by the first search that asks, 4 N bytes.
  const uint32_t* positions() const;

 private:
  Index() = default;
  // Where the arrays begin, behind the header.
  static size_t ContentOffset();
  // Where the header and the arrays lie in `memory_`; returns its size.
  size_t Place(bool biased, bool coded);
  void Pack(MatrixView<const float> items, const float* bias, size_t panel);
  void Encode(size_t panel);
  // Null: nothing is.
  const char* WhatIsWrong(ThreadPool& pool, const CancelFlag& cancel) const;
  const char* WhatIsWrongIn(size_t panel) const;

  size_t rows_ = 0;
  size_t cols_ = 0;
  Metric metric_ = Metric::kDot;
  double largest_bias_ = 0;
  // One piece of memory that the arrays below lie in.
  char* memory_ = nullptr;
  size_t bytes_ = 0;
  IndexHeader* header_ = nullptr;
  uint32_t* ids_ = nullptr;
  float* norms_ = nullptr;
  float* items_ = nullptr;
  float* bias_ = nullptr;
  float* bias_tops_ = nullptr;
  uint8_t* coarse_codes_ = nullptr;
  uint8_t* fine_codes_ = nullptr;
  float* scales_ = nullptr;
  CodeErrors* errors_ = nullptr;
  mutable DeviceCopy device_copy_;
  mutable std::mutex positions_mutex_;
  mutable LargeVector<uint32_t> positions_;
};

struct Args {
  const Index* index = nullptr;
  // [Q * J, d]; interest j of query q is row q * J + j.
  MatrixView<const float> queries;
  size_t interests_per_query = 1;  // J, 1 to kMaxInterests
  // [Q * J] added to an interest's inner products, nullable. -infinity: the interest is absent, and its
  // row of `queries` is not read.
  const float* offsets = nullptr;
  // Q x N rows that a query must not return, in any order, repeats allowed; indptr nullable.
  CsrView exclude;
  // [ceil(N / 32)] bit i % 32 of word i / 32: whether item i may be returned at all. Nullable.
  const uint32_t* filter = nullptr;
  // Added to a query's scores after readout and bias, finite: [Q, N] or Q x N rows with values, in any order, no
  // column twice in a row, what has no entry being 0. Nullable, and not both.
  MatrixView<const float> additive;
  CsrView sparse_additive;
  size_t k = 0;  // 1 to N
  Readout readout = Readout::kMax;

  size_t query_count() const { return queries.rows / interests_per_query; }
};

// Pairs of a present interest and an item. What was not read was ruled out by length or filter.
struct Touched {
  uint64_t read = 0;    // at least the coarse codes
  uint64_t scored = 0;  // with the inner product in single precision
};

// All caller-owned.
struct Outputs {
  uint32_t* ids = nullptr;        // [Q * k], kNoItem in the unused tail of a list
  float* scores = nullptr;        // [Q * k], -infinity in the tail
  uint16_t* interests = nullptr;  // [Q * k] the interest with the largest term, the first of equal ones
  uint32_t* counts = nullptr;     // [Q] valid entries of each list
  Touched* touched = nullptr;     // nullable
};

// Args that have passed CheckArgs, with what the variants share: the present interests of all queries,
// packed (unit rows under kCosine), and sorted exclusions.
struct Query {
  const Index* index = nullptr;
  size_t k = 0;
  Readout readout = Readout::kMax;
  size_t query_count = 0;
  // Query q owns the rows [first_row[q], first_row[q + 1]).
  std::vector<size_t> first_row;
  std::vector<float> rows;          // [rows, d]
  std::vector<double> norms;        // [rows] lengths
  std::vector<float> offsets;       // [rows], 0 without offsets
  std::vector<uint16_t> interests;  // [rows] which interest of its query a row is
  // Query q leaves out exclude[first_exclude[q] .. first_exclude[q + 1]), ascending.
  std::vector<size_t> first_exclude;
  std::vector<uint32_t> exclude;
  // [panels] which positions of a panel hold an item that the filter allows.
  std::vector<uint32_t> allowed;
  // What is added, [query_count, panels * kPanelItems] by position, 0 beyond N and kPanelItems floats of slack, in a
  // workspace of the thread that prepared it, with the largest of each panel, [query_count, panels]. Or of query q the
  // entries [first_entry[q], first_entry[q + 1]), ascending. Null and empty where nothing is added.
  struct Entry {
    uint32_t position;
    float value;
  };
  const float* additive = nullptr;
  std::vector<float> additive_tops;
  std::vector<size_t> first_entry;
  std::vector<Entry> entries;
  // [query_count] the largest magnitude that is added; empty: nothing is.
  std::vector<float> largest_additive;

  bool adds() const { return !largest_additive.empty(); }
};

// Shapes, finiteness, ranges of indices, and that nothing is added to an item of a query twice; NON_FINITE also
// where a score could overflow.
Status Prepare(const Args& args, ThreadPool& pool, const CancelFlag& cancel, Query* query);

using Fn = Status (*)(const Query& query, const Outputs& outputs, ThreadPool& pool,
                      const CancelFlag& cancel);

// By definition, in double precision; scores are rounded to float before lists are ordered.
Status Reference(const Query& query, const Outputs& outputs, ThreadPool& pool,
                 const CancelFlag& cancel);

// `variant` null or empty: the best for this machine.
Status Run(const char* variant, const Args& args, const Outputs& outputs, ThreadPool& pool,
           const CancelFlag& cancel);
std::vector<const char*> RunnableVariants();

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_SIMILARITY_SEARCH_H_
