// Sorting of ids with what belongs to them, in time O(count) whatever the largest id.
#ifndef PRISMREC_RUNTIME_RADIX_SORT_H_
#define PRISMREC_RUNTIME_RADIX_SORT_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace prismrec {

struct IdAt {
  uint32_t id;
  uint32_t at;
};

// Ascending ids; entries of the same id keep their order.
inline void RadixSort(std::vector<IdAt>* entries) {
  constexpr int kBits = 11;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  uint32_t all = 0;
  for (const IdAt& entry : *entries) all |= entry.id;
  std::vector<IdAt> sorted(entries->size());
  std::vector<uint32_t> place(size_t{1} << kBits);
  // From the low digit up: each pass keeps the order of the one before.
  for (int shift = 0; shift < 32 && (all >> shift) != 0; shift += kBits) {
    place.assign(place.size(), 0);
    for (const IdAt& entry : *entries) ++place[(entry.id >> shift) & kMask];
    uint32_t start = 0;
    for (uint32_t& bucket : place) start += std::exchange(bucket, start);
    for (const IdAt& entry : *entries) sorted[place[(entry.id >> shift) & kMask]++] = entry;
    entries->swap(sorted);
  }
}

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_RADIX_SORT_H_
