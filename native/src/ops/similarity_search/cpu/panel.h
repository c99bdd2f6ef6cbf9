// What differs between instruction sets: a panel of items against packed rows of queries.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CPU_PANEL_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CPU_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "gemm/cpu/table.h"

namespace prismrec::similarity_search {

inline constexpr size_t kPanelItems = 32;

// What is added to a row's items: those of panel p at rows[row] + (p - first_panel) * kPanelItems, and
// kPanelItems floats of slack after the last. Rows null: nothing.
struct Additive {
  const float* const* rows;
  size_t first_panel;
};

// What a scan looks at. A "row" is an interest of a query.
struct Scan {
  size_t d;
  const float* items;       // [panels][d][kPanelItems], and kPanelItems floats of slack
  const float* bias;        // [panels * kPanelItems], nullable
  Additive additive;        // by row, and a pointer for each row of the last row panel too
  const uint32_t* allowed;  // [panels] the items of each panel that count
  const float* rows;        // [row panels][d][mr], as gemm::PackRows leaves them
  size_t row_count;         // rows in them; the last panel may not be full
  const float* limits;      // [row panels * mr]: what is asked is a product + bias + additive >= the row's limit
  const uint32_t* active;   // [active_count] the row panels to scan, ascending
  size_t active_count;
};

// The items of one panel that reach the limit of one row.
struct PanelHit {
  uint32_t row;
  uint32_t items;              // bit i: item i of the panel
  float products[kPanelItems];  // of these items; others are not set
};

// Dimensions that share the bytes of a plane of codes: dimension x of item i is in byte
// [x / kCodeOctet][i][x % 4] of its panel, in the low four bits where x % kCodeOctet < 4, else in the high ones.
inline constexpr size_t kCodeOctet = 8;
inline constexpr size_t kOctetBytes = kPanelItems * kCodeOctet / 2;

struct CodeErrors {
  float coarse, fine;
};

// A row in 8 bits. The middle of twice a code is 32 coarse - 241 by the coarse plane and
// 32 coarse + 2 fine - 256 by both, so with the row's codes summed against it a product is at most
//   scale * (row.step * that sum + row.slope * error) + row.rest * the panel's norm.
struct CodeRow {
  float step, slope, rest;
  int32_t total;  // of the row's codes
};

// Rows [first, first + count) whose terms a readout sums: what is asked beside the rows' own limits is that
// log sum_r exp(bound + bias + additive + offset) by the coarse codes >= limit.
struct SummedRows {
  uint32_t first, count;
  float limit;
};

// A scan of the codes, row by row. What is asked is that bound + bias + additive >= the row's limit.
struct CodeScan {
  size_t d;
  const float* items;        // as of a Scan; what is found is fetched
  size_t octets;             // ceil(d / kCodeOctet)
  const uint8_t* coarse;     // [panels][octets][kOctetBytes]
  const uint8_t* fine;       // as `coarse`
  const float* scales;       // [panels * kPanelItems]
  const CodeErrors* errors;  // [panels]
  const float* norms;        // [panels]
  const float* bias;         // [panels * kPanelItems], nullable
  Additive additive;         // by row
  const uint32_t* allowed;
  const int8_t* rows;      // [rows][octets * kCodeOctet], -127 to 127, such that no sum leaves 32 bits
  const CodeRow* bounds;   // [rows]
  const float* limits;     // [rows]
  const uint32_t* active;  // [active_count] the rows to scan
  size_t active_count;
  const SummedRows* summed;  // [summed_count]
  size_t summed_count;
  const float* offsets;  // [rows]
  // [rows][kPanelItems] of a panel the bounds + bias + additive, written for the active rows; the others are at most
  // what stands there. Null where nothing is summed.
  float* reaches;
};

// The items of a panel whose bound reaches the limit of one row.
struct CodeHit {
  uint32_t panel, row;
  uint32_t items;  // bit i: item i of the panel
};

struct PanelKernel {
  const gemm::Kernel* gemm;
  // Scans panels from `begin` until one has hits, `*panel`, or to `end`. Returns the number of hits;
  // `hits` holds one for each row.
  size_t (*scan)(const Scan& scan, size_t begin, size_t end, size_t* panel, PanelHit* hits);
  // Scans the codes of panels [begin, end). Returns the number of hits, by panel, then by row; `hits` holds
  // one for each panel and active row.
  size_t (*scan_codes)(const CodeScan& scan, size_t begin, size_t end, CodeHit* hits);
  // products [count, kPanelItems]: inner products of `count` rows [count, d] with those items of a
  // panel that are asked for, and maybe others. The same bits as in a scan.
  void (*products)(size_t d, const float* panel, uint32_t items, const float* rows, size_t count,
                   float* products);
  // scores [kPanelItems] = log sum_j exp(products[j] + offsets[j]) over `count` rows.
  void (*log_sum_exp)(const float* products, const float* offsets, size_t count, float* scores);
};

extern const PanelKernel kScalarPanel;
extern const PanelKernel kAvx2Panel;
extern const PanelKernel kAvx512Panel;
extern const PanelKernel kNeonPanel;

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_CPU_PANEL_H_
