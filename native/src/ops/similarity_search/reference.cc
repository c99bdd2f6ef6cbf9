#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/similarity_search/similarity_search.h"

namespace prismrec::similarity_search {

Status Reference(const Query& query, const Outputs& outputs, ThreadPool& pool,
                 const CancelFlag& cancel) {
  const Index& index = *query.index;
  const size_t d = index.cols();
  pool.ParallelFor(query.query_count, cancel, [&](size_t q, int) {
    const size_t first = query.first_row[q];
    const size_t count = query.first_row[q + 1] - first;
    std::vector<uint32_t> order;
    std::vector<float> scores(index.rows());
    std::vector<uint16_t> winners(index.rows());
    std::vector<double> terms(count);
    std::vector<float> added(query.adds() ? index.panels() * kPanelItems : 0);
    if (query.additive != nullptr) {
      std::copy_n(query.additive + q * added.size(), added.size(), added.begin());
    } else if (query.adds()) {
      for (size_t e = query.first_entry[q]; e < query.first_entry[q + 1]; ++e) {
        added[query.entries[e].position] = query.entries[e].value;
      }
    }
    for (size_t at = 0; at < index.rows() && count > 0; ++at) {
      const uint32_t i = index.ids()[at];
      const size_t lane = at % kPanelItems;
      if ((query.allowed[at / kPanelItems] >> lane & 1) == 0 ||
          std::binary_search(query.exclude.begin() + query.first_exclude[q],
                             query.exclude.begin() + query.first_exclude[q + 1], i)) {
        continue;
      }
      order.push_back(i);
      const float* item = index.panel(at / kPanelItems) + lane;
      for (size_t j = 0; j < count; ++j) {
        const float* row = query.rows.data() + (first + j) * d;
        terms[j] = query.offsets[first + j];
        for (size_t x = 0; x < d; ++x) terms[j] += static_cast<double>(row[x]) * item[x * kPanelItems];
      }
      const size_t top = std::max_element(terms.begin(), terms.end()) - terms.begin();
      double score = terms[top];
      if (query.readout == Readout::kLogSumExp) {
        double sum = 0;
        for (const double term : terms) sum += std::exp(term - terms[top]);
        score += std::log(sum);
      }
      if (index.bias() != nullptr) score += index.bias()[at];
      scores[i] = static_cast<float>(score + (query.adds() ? added[at] : 0.0f));
      winners[i] = query.interests[first + top];
    }
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
    });
    outputs.counts[q] = static_cast<uint32_t>(std::min(query.k, order.size()));
    for (size_t n = 0; n < query.k; ++n) {
      const bool valid = n < order.size();
      const size_t at = q * query.k + n;
      outputs.ids[at] = valid ? order[n] : kNoItem;
      outputs.scores[at] = valid ? scores[order[n]] : -std::numeric_limits<float>::infinity();
      outputs.interests[at] = valid ? winners[order[n]] : 0;
    }
  });
  if (outputs.touched != nullptr) {
    const uint64_t pairs = query.offsets.size() * index.rows();
    *outputs.touched = {pairs, pairs};
  }
  return cancel.Cancelled() ? Cancelled() : Status::Ok();
}

}  // namespace prismrec::similarity_search
