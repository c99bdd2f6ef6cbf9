// The part of NVIDIA's cooperative groups that the pretended GPU runs: the block, tiles of a warp, a grid whose blocks
// are all resident. Not coalesced_threads(): which lanes run together is the hardware's choice, and here they run one
// by one.
#ifndef CUDA_HOST_COOPERATIVE_GROUPS_H_
#define CUDA_HOST_COOPERATIVE_GROUPS_H_

#include <cuda_runtime.h>

namespace cooperative_groups {

// A group's barrier is known by its caller's line.
#define CUDA_HOST_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

class thread_block {
 public:
  static void sync(CUDA_HOST_SITE) { cuda_host::BlockBarrier(file, line); }
  static unsigned thread_rank() { return cuda_host::ThreadRank(); }
  static unsigned num_threads() { return static_cast<unsigned>(cuda_host::BlockSize().volume()); }
  static unsigned size() { return num_threads(); }
  static dim3 group_index() { return cuda_host::BlockIndex(); }
  static dim3 thread_index() { return cuda_host::ThreadIndex(); }
  static dim3 dim_threads() { return cuda_host::BlockSize(); }
  static dim3 group_dim() { return dim_threads(); }
};
inline thread_block this_thread_block() { return {}; }

template <unsigned kSize, class Parent = void>
class thread_block_tile;
template <unsigned kSize, class Parent>
thread_block_tile<kSize, Parent> tiled_partition(const Parent& parent);

template <unsigned kSize>
class thread_block_tile<kSize, void> {
  static_assert(kSize >= 1 && kSize <= 32 && (kSize & (kSize - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 threads");

 public:
  // Of a tile with a parent, which is the same tile.
  template <class Parent>
  thread_block_tile(const thread_block_tile<kSize, Parent>& tile)
      : rank_(tile.meta_group_rank()), count_(tile.meta_group_size()) {}

  static unsigned thread_rank() { return cuda_host::Lane() % kSize; }
  static constexpr unsigned num_threads() { return kSize; }
  static constexpr unsigned size() { return kSize; }
  unsigned meta_group_rank() const { return rank_; }
  unsigned meta_group_size() const { return count_; }

  void sync(CUDA_HOST_SITE) const { cuda_host::WarpCollective(nullptr, 0, Mask(), true, file, line); }
  template <class T>
  T shfl(T value, int source, CUDA_HOST_SITE) const {
    return cuda_host::Shuffle(file, line, Mask(), value, source, kSize);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, CUDA_HOST_SITE) const {
    return cuda_host::ShuffleDown(file, line, Mask(), value, delta, kSize);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, CUDA_HOST_SITE) const {
    return cuda_host::ShuffleUp(file, line, Mask(), value, delta, kSize);
  }
  template <class T>
  T shfl_xor(T value, unsigned bits, CUDA_HOST_SITE) const {
    return cuda_host::ShuffleXor(file, line, Mask(), value, static_cast<int>(bits), kSize);
  }
  int any(int predicate, CUDA_HOST_SITE) const { return ballot(predicate, file, line) != 0; }
  int all(int predicate, CUDA_HOST_SITE) const { return ballot(!predicate, file, line) == 0; }
  unsigned ballot(int predicate, CUDA_HOST_SITE) const {
    return cuda_host::Ballot(file, line, Mask(), predicate != 0) >> First();
  }

 protected:
  thread_block_tile(unsigned rank, unsigned count) : rank_(rank), count_(count) {}

 private:
  static unsigned First() { return cuda_host::Lane() / kSize * kSize; }
  static unsigned Mask() { return ~0u >> (32 - kSize) << First(); }

  unsigned rank_, count_;
};

template <unsigned kSize, class Parent>
class thread_block_tile : public thread_block_tile<kSize, void> {
  explicit thread_block_tile(const Parent& parent)
      : thread_block_tile<kSize, void>(parent.thread_rank() / kSize, (parent.num_threads() + kSize - 1) / kSize) {}
  friend thread_block_tile tiled_partition<kSize, Parent>(const Parent& parent);
};

template <unsigned kSize, class Parent>
thread_block_tile<kSize, Parent> tiled_partition(const Parent& parent) {
  return thread_block_tile<kSize, Parent>(parent);
}

class grid_group {
 public:
  static bool is_valid() { return cuda_host::Cooperative(); }
  static void sync(CUDA_HOST_SITE) { cuda_host::GridBarrier(file, line); }
  static unsigned long long thread_rank() {
    return block_rank() * thread_block::num_threads() + thread_block::thread_rank();
  }
  static unsigned long long num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned long long size() { return num_threads(); }
  static unsigned long long block_rank() {
    const dim3 index = cuda_host::BlockIndex(), count = cuda_host::GridSize();
    return (static_cast<unsigned long long>(index.z) * count.y + index.y) * count.x + index.x;
  }
  static unsigned long long num_blocks() { return cuda_host::GridSize().volume(); }
  static dim3 block_index() { return cuda_host::BlockIndex(); }
  static dim3 dim_blocks() { return cuda_host::GridSize(); }
};
inline grid_group this_grid() { return {}; }

#undef CUDA_HOST_SITE

}  // namespace cooperative_groups

#endif  // CUDA_HOST_COOPERATIVE_GROUPS_H_
