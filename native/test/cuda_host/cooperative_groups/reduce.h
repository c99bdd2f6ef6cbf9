// Reductions over a tile. Of whole numbers only: the order in which NVIDIA's adds floats up is not written down.
#ifndef CUDA_HOST_COOPERATIVE_GROUPS_REDUCE_H_
#define CUDA_HOST_COOPERATIVE_GROUPS_REDUCE_H_

#include <cooperative_groups.h>

namespace cooperative_groups {

template <class T>
struct plus {
  T operator()(T a, T b) const { return a + b; }
};
// The smaller one, and the larger one.
template <class T>
struct less {
  T operator()(T a, T b) const { return b < a ? b : a; }
};
template <class T>
struct greater {
  T operator()(T a, T b) const { return a < b ? b : a; }
};

template <class Tile, class T, class F>
T reduce(const Tile& tile, T value, F f, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(std::is_integral_v<T>, "the sum of floats depends on the order");
  for (unsigned step = Tile::num_threads() / 2; step > 0; step /= 2) {
    value = f(value, tile.shfl_xor(value, step, file, line));
  }
  return value;
}

}  // namespace cooperative_groups

#endif  // CUDA_HOST_COOPERATIVE_GROUPS_REDUCE_H_
