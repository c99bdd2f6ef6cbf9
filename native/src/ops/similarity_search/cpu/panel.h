// What differs between instruction sets: a panel of items against packed rows of queries.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_CPU_PANEL_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_CPU_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "gemm/cpu/table.h"

namespace prismrec::similarity_search {

inline constexpr size_t kPanelItems = 32;

// What a scan looks at. A "row" is an interest of a query.
struct Scan {
  size_t d;
  const float* items;       // [panels][d][kPanelItems], and kPanelItems floats of slack
  const float* bias;        // [panels * kPanelItems], nullable
  const uint32_t* allowed;  // [panels] the items of each panel that count
  const float* rows;        // [row panels][d][mr], as gemm::PackRows leaves them
  const float* limits;      // [row panels * mr]: what is asked is a product + bias >= the row's limit
  const uint32_t* active;   // [active_count] the row panels to scan, ascending
  size_t active_count;
};

// The items of one panel that reach the limit of one row.
struct PanelHit {
  uint32_t row;
  uint32_t items;              // bit i: item i of the panel
  float products[kPanelItems];  // of these items; others are not set
};

// A scan of the 8-bit copy, row by row. What is asked is an upper bound of product + bias:
// scale * (row.step * sum of codes + row.slope * error + row.base) + bias >= the row's limit.
struct CodeRow {
  float step, slope, base;
};
struct CodeScan {
  size_t pairs;           // ceil(d / 2)
  const int8_t* codes;    // [panels][pairs][kPanelItems][2]
  const float* scales;    // [panels * kPanelItems]
  const float* errors;    // [panels]
  const float* bias;      // [panels * kPanelItems], nullable
  const uint32_t* allowed;
  const int16_t* rows;    // [rows][2 * pairs], such that no sum of code products leaves 32 bits
  const CodeRow* bounds;  // [rows]
  const float* limits;    // [rows]
  const uint32_t* active;  // [active_count] the rows to scan
  size_t active_count;
};

struct PanelKernel {
  const gemm::Kernel* gemm;
  // Scans panels from `begin` until one has hits, `*panel`, or to `end`. Returns the number of hits;
  // `hits` holds one for each row.
  size_t (*scan)(const Scan& scan, size_t begin, size_t end, size_t* panel, PanelHit* hits);
  // The same by the 8-bit copy; leaves the hits' products alone.
  size_t (*scan_codes)(const CodeScan& scan, size_t begin, size_t end, size_t* panel, PanelHit* hits);
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
