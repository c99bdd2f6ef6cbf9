// The file of an index: a header, then the arrays as they lie in memory.
#ifndef PRISMREC_OPS_SIMILARITY_SEARCH_INDEX_FILE_H_
#define PRISMREC_OPS_SIMILARITY_SEARCH_INDEX_FILE_H_

#include <cstddef>
#include <cstdint>

#include "runtime/cancel.h"
#include "runtime/thread_pool.h"

namespace prismrec::similarity_search {

inline constexpr char kIndexMagic[8] = {'P', 'R', 'I', 'S', 'M', 'I', 'D', 'X'};
inline constexpr uint32_t kIndexVersion = 3;

// The first bytes of an index, in memory and in a file. The arrays follow in the order and alignment of
// Index::Place, numbers as this machine writes them: another byte order reads as another version.
struct IndexHeader {
  char magic[8];
  uint32_t version;
  uint32_t panel_items;
  uint64_t rows;
  uint64_t cols;
  uint32_t metric;
  uint32_t biased;
  uint32_t coded;
  uint32_t reserved;
  double largest_bias;
  uint64_t bytes;     // of the whole file
  uint64_t content;   // checksum of what follows the header, in a file
  uint64_t checksum;  // of what is above
};

// Of the header as it stands, for `checksum`.
uint64_t HeaderChecksum(const IndexHeader& header);
// Of the bytes behind the header, for `content`. The same for any number of threads; without a meaning
// once cancelled.
uint64_t ContentChecksum(const char* data, size_t size, ThreadPool& pool, const CancelFlag& cancel);

}  // namespace prismrec::similarity_search

#endif  // PRISMREC_OPS_SIMILARITY_SEARCH_INDEX_FILE_H_
