// Where the events of a batch lie once padding is gone.
#ifndef PRISMREC_OPS_DYNAMIC_ROUTING_LAYOUT_H_
#define PRISMREC_OPS_DYNAMIC_ROUTING_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec::dynamic_routing {

// The events of users [first, first + users) as packed rows, those that share a map side by side:
// event t of user first + b is row user_rows[b] + position_rows[t].
struct Layout {
  // Rows [begin, end) meet one map: that of this position.
  struct Segment {
    size_t map;
    size_t begin, end;
  };

  Layout(const Problem& problem, size_t first, size_t users);

  std::vector<size_t> user_rows;
  std::vector<size_t> position_rows;
  // The packed row's place b * T + t in [B, T], and its user b.
  std::vector<size_t> sources;
  std::vector<uint32_t> row_users;
  std::vector<Segment> segments;
};

}  // namespace prismrec::dynamic_routing

#endif  // PRISMREC_OPS_DYNAMIC_ROUTING_LAYOUT_H_
