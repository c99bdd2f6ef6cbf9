#include "ops/dynamic_routing/layout.h"

#include <algorithm>
#include <numeric>

namespace prismrec::dynamic_routing {
namespace {

// Rows that one product should have at least, and segments that one map has at most.
constexpr size_t kSegmentRows = 128;
constexpr size_t kMostSegments = 16;

}  // namespace

Layout::Layout(const Problem& problem, size_t first, size_t users)
    : user_rows(users), position_rows(problem.length) {
  const uint32_t* lengths = problem.lengths + first;
  const size_t events = std::accumulate(lengths, lengths + users, size_t{0});
  sources.resize(events);
  row_users.resize(events);
  if (problem.map_count == 1) {
    std::iota(position_rows.begin(), position_rows.end(), size_t{0});
    for (size_t b = 1; b < users; ++b) user_rows[b] = user_rows[b - 1] + lengths[b - 1];
    const size_t rows = std::max(kSegmentRows, (events + kMostSegments - 1) / kMostSegments);
    for (size_t begin = 0; begin < events; begin += rows) {
      segments.push_back({0, begin, std::min(events, begin + rows)});
    }
  } else {
    // Longest first, so that the users who have an event at a position are a prefix of them all.
    std::vector<size_t> order(users);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
    for (size_t rank = 0; rank < users; ++rank) user_rows[order[rank]] = rank;
    size_t reached = users;
    size_t row = 0;
    for (size_t t = 0; t < problem.length; ++t) {
      while (reached > 0 && lengths[order[reached - 1]] <= t) --reached;
      position_rows[t] = row;
      if (reached > 0) segments.push_back({t, row, row + reached});
      row += reached;
    }
  }
  for (size_t b = 0; b < users; ++b) {
    for (size_t t = 0; t < lengths[b]; ++t) {
      const size_t row = user_rows[b] + position_rows[t];
      sources[row] = (first + b) * problem.length + t;
      row_users[row] = static_cast<uint32_t>(first + b);
    }
  }
}

}  // namespace prismrec::dynamic_routing
