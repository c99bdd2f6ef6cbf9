// How queries and items are cut: rounds over the items, each of tasks of some queries and a range of
// panels. Nothing here depends on the number of threads.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_PLAN_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_PLAN_H_

#include <cstddef>
#include <vector>

#include "compute/work.h"

namespace prismrec::similarity_search {

// Queries [begin, end) whose packed rows go through the matrix product together.
struct Block {
  size_t begin;
  size_t end;
};

// Panels [begin, end). Task n takes the queries of blocks[n / ranges] and the panels
// [Begin(n), End(n)).
struct Round {
  size_t begin, end;
  std::vector<Block> blocks;
  size_t ranges, step;

  size_t tasks() const { return blocks.size() * ranges; }
  size_t Begin(size_t task) const;
  size_t End(size_t task) const;
};

struct Plan {
  std::vector<Round> rounds;
  // Queries whose lists one task puts together after a round.
  size_t merged_queries = 1;
};

struct PlanShape {
  const std::vector<size_t>& first_row;  // query q has the rows [first_row[q], first_row[q + 1])
  size_t panels;
  size_t dim;
  size_t k;
  bool coded;        // the codes are read first
  size_t row_panel;  // rows of a tile
};

Plan MakePlan(const PlanShape& shape);
// Where nothing can be left out.
Work WorkOf(const Plan& plan, const PlanShape& shape);

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_PLAN_H_
