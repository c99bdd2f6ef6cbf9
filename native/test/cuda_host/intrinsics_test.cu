// What kernels ask of the machine, beyond plain C++: the same tests on the pretended GPU and, compiled by nvcc, on a
// real one. Planted faults are in cuda_host_test.cc, since a real GPU does not say what is wrong.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "cuda/kernel.cuh"
#include "test_harness.h"

namespace prismrec::cuda {
namespace {

namespace cg = cooperative_groups;

class Stream {
 public:
  Stream() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~Stream() { EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

template <class T>
class Array {
 public:
  explicit Array(size_t count) : count_(count) { EXPECT_EQ(cudaMalloc(&data_, count * sizeof(T)), cudaSuccess); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) {
    const Stream stream;
    EXPECT_EQ(cudaMemcpyAsync(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice, stream.get()),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  }
  ~Array() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> host(count_);
    const Stream stream;
    EXPECT_EQ(cudaMemcpyAsync(host.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost, stream.get()),
              cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
    return host;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

template <class... Parameters, class... Arguments>
void Run(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments... arguments) {
  const Stream stream;
  Launch("intrinsics", kernel, grid, block, shared_bytes, stream.get(), arguments...);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
}

int Attribute(cudaDeviceAttr attribute) {
  int value = 0;
  EXPECT_EQ(cudaDeviceGetAttribute(&value, attribute, 0), cudaSuccess);
  return value;
}

// --- bf16 on tensor cores -------------------------------------------------------------------------------------
// By the fragments' layout in the manual of PTX: element (row, column) of A [16, 16] is in half column % 2 of a lane's
// register by (row % 8 * 4 + column % 8 / 2, row / 8 + column / 8 * 2), of B [16, 8] in half row % 2 by
// (column * 4 + row % 8 / 2, row / 8), of the accumulator by (row % 8 * 4 + column / 2, row / 8 * 2 + column % 2).
// kProducts: 1 of the factors rounded, 6 of those split in three.
template <int kProducts>
__global__ void MultiplyBf16Kernel(const float* a, const float* b, float* c) {
  const int lane = Lane();
  float left[4][2];
  float right[2][2];
  float sum[4];
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      if (row % 8 * 4 + column % 8 / 2 == lane) left[row / 8 + column / 8 * 2][column % 2] = a[row * 16 + column];
      if (column >= 8) continue;
      if (column * 4 + row % 8 / 2 == lane) right[row / 8][row % 2] = b[row * 8 + column];
      if (row % 8 * 4 + column / 2 == lane) sum[row / 8 * 2 + column % 2] = c[row * 8 + column];
    }
  }
  if constexpr (kProducts == 1) {
    uint32_t left_pairs[4], right_pairs[2];
    for (int i = 0; i < 4; ++i) left_pairs[i] = ToBf16x2(left[i][0], left[i][1]);
    for (int i = 0; i < 2; ++i) right_pairs[i] = ToBf16x2(right[i][0], right[i][1]);
    MmaBf16(sum, left_pairs, right_pairs);
  } else {
    uint32_t left_parts[3][4], right_parts[3][2];
    for (int i = 0; i < 4; ++i) {
      const SplitBf16 split = SplitToBf16(left[i][0], left[i][1]);
      left_parts[0][i] = split.high;
      left_parts[1][i] = split.middle;
      left_parts[2][i] = split.low;
    }
    for (int i = 0; i < 2; ++i) {
      const SplitBf16 split = SplitToBf16(right[i][0], right[i][1]);
      right_parts[0][i] = split.high;
      right_parts[1][i] = split.middle;
      right_parts[2][i] = split.low;
    }
    // The smallest first; three of the nine are below what an fp32 holds.
    MmaBf16(sum, left_parts[1], right_parts[1]);
    MmaBf16(sum, left_parts[2], right_parts[0]);
    MmaBf16(sum, left_parts[0], right_parts[2]);
    MmaBf16(sum, left_parts[1], right_parts[0]);
    MmaBf16(sum, left_parts[0], right_parts[1]);
    MmaBf16(sum, left_parts[0], right_parts[0]);
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      if (row % 8 * 4 + column / 2 == lane) c[row * 8 + column] = sum[row / 8 * 2 + column % 2];
    }
  }
}

struct Product {
  std::vector<float> a, b, c;
  template <class Draw>
  explicit Product(Draw draw) : a(16 * 16), b(16 * 8), c(16 * 8) {
    for (std::vector<float>* factor : {&a, &b, &c}) {
      for (float& value : *factor) value = draw();
    }
  }
  template <class Round>
  double Want(int row, int column, Round round) const {
    double sum = c[row * 8 + column];
    for (int k = 0; k < 16; ++k) sum += round(a[row * 16 + k]) * round(b[k * 8 + column]);
    return sum;
  }
  // What an error is measured by.
  double Magnitude(int row, int column) const {
    double sum = std::fabs(c[row * 8 + column]);
    for (int k = 0; k < 16; ++k) sum += std::fabs(static_cast<double>(a[row * 16 + k]) * b[k * 8 + column]);
    return sum;
  }
  std::vector<float> Got(void (*kernel)(const float*, const float*, float*)) const {
    const Array<float> left(a), right(b), sum(c);
    Run(kernel, dim3(1), dim3(32), 0, left.data(), right.data(), sum.data());
    return sum.values();
  }
};

double Same(double x) { return x; }
// To the nearest of 8 bits, ties to even, without a look at the bits.
double Nearest(double x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

bool HasBf16() { return Attribute(cudaDevAttrComputeCapabilityMajor) >= 8; }

TEST(a_product_of_bf16_puts_every_element_in_its_place) {
  if (!HasBf16()) return;
  std::mt19937 random(3);
  // Whole numbers below 2^8, whose sums are exact.
  const Product product([&] { return static_cast<float>(random() % 511) - 255.0f; });
  const std::vector<float> got = product.Got(MultiplyBf16Kernel<1>);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) EXPECT_EQ(got[row * 8 + column], product.Want(row, column, Same));
  }
}

TEST(bf16_rounds_to_the_nearest_of_8_bits_and_ties_to_even) {
  if (!HasBf16()) return;
  EXPECT_EQ(Nearest(1 + 0x1p-8), 1);
  EXPECT_EQ(Nearest(1 + 0x3p-8), 1 + 0x1p-6);
  std::mt19937 random(4);
  const float factors[] = {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-8f, -1 - 0x1.ffp-9f, -3.1415926f, 0.7f, 1e-3f, 300.3f};
  const Product product([&] { return factors[random() % 8]; });
  const std::vector<float> got = product.Got(MultiplyBf16Kernel<1>);
  double furthest = 0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      const double unit = product.Magnitude(row, column) * 0x1p-21;
      EXPECT_NEAR(got[row * 8 + column], product.Want(row, column, Nearest), unit);
      furthest = std::max(furthest, std::fabs(got[row * 8 + column] - product.Want(row, column, Same)) / unit);
    }
  }
  EXPECT_GT(furthest, 100);
}

TEST(factors_split_into_three_bf16_give_a_product_as_good_as_fp32) {
  if (!HasBf16()) return;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  double worst = 0;
  for (int round = 0; round < 4; ++round) {
    const Product product([&] { return normal(random); });
    const std::vector<float> got = product.Got(MultiplyBf16Kernel<6>);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        const double error = std::fabs(got[row * 8 + column] - product.Want(row, column, Same));
        worst = std::max(worst, error / product.Magnitude(row, column));
      }
    }
  }
  EXPECT_LT(worst, 0x1p-21);
}

// --- parts of a warp ------------------------------------------------------------------------------------------
__global__ void PartsKernel(int* to) {
  const int lane = Lane();
  int* mine = to + threadIdx.x * 4;
  if (lane < 12) {
    mine[0] = __shfl_xor_sync(0x00000fffu, lane * 10, 1);
    mine[1] = static_cast<int>(__ballot_sync(0x00000fffu, lane % 3 == 0));
    mine[2] = (__any_sync(0x00000fffu, lane == 12) ? 1 : 0) + (__all_sync(0x00000fffu, lane < 12) ? 2 : 0);
  } else {
    mine[0] = __shfl_sync(0xfffff000u, lane * 10, 31);
    mine[1] = __shfl_down_sync(0xfffff000u, lane, 2);
    mine[2] = __shfl_up_sync(0xfffff000u, lane, 4, 4);
  }
  mine[3] = WarpSum(lane);
}

TEST(parts_of_a_warp_shuffle_and_vote_apart_and_meet_again) {
  const Array<int> out(64 * 4);
  Run(PartsKernel, dim3(1), dim3(64), 0, out.data());
  const std::vector<int> got = out.values();
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32;
    const int* mine = got.data() + thread * 4;
    EXPECT_EQ(mine[0], lane < 12 ? (lane ^ 1) * 10 : 310);
    EXPECT_EQ(mine[1], lane < 12 ? 0x249 : lane < 30 ? lane + 2 : lane);
    EXPECT_EQ(mine[2], lane < 12 ? 2 : lane);
    EXPECT_EQ(mine[3], 496);
  }
}

// Every four lanes pass numbers round in shared memory, some more often than others.
__global__ void QuadsKernel(int* to) {
  SharedMemory shared;
  int* piece = shared.Take<int>(32);
  const int lane = Lane();
  const unsigned quad = 0xfu << (lane / 4 * 4);
  int value = lane;
  for (int round = 0; round <= lane / 4; ++round) {
    piece[lane] = value;
    __syncwarp(quad);
    value = piece[lane / 4 * 4 + (lane + 1) % 4];
    __syncwarp(quad);
  }
  to[lane] = value;
}

TEST(a_fence_of_four_lanes_orders_their_memory) {
  const Array<int> out(32);
  Run(QuadsKernel, dim3(1), dim3(32), SharedBytes<int>(32), out.data());
  const std::vector<int> got = out.values();
  for (int lane = 0; lane < 32; ++lane) EXPECT_EQ(got[lane], lane / 4 * 4 + (lane + lane / 4 + 1) % 4);
}

// --- cooperative groups ---------------------------------------------------------------------------------------
constexpr int kTileResults = 12;

template <unsigned kSize>
__global__ void TileKernel(int* to) {
  SharedMemory shared;
  int* piece = shared.Take<int>(64);
  const cg::thread_block block = cg::this_thread_block();
  const cg::thread_block_tile<kSize> tile = cg::tiled_partition<kSize>(block);
  const int thread = static_cast<int>(block.thread_rank());
  const int rank = static_cast<int>(tile.thread_rank());
  int* mine = to + thread * kTileResults;
  int sum = thread;
  for (unsigned step = kSize / 2; step > 0; step /= 2) sum += tile.shfl_down(sum, step);
  mine[0] = tile.shfl(sum, 0);
  mine[1] = tile.shfl_xor(thread, kSize / 2);
  mine[2] = tile.shfl_up(thread, 1);
  mine[3] = static_cast<int>(tile.ballot(rank % 2 == 0));
  mine[4] = (tile.any(rank == 0) ? 1 : 0) + (tile.all(rank == 0) ? 2 : 0);
  mine[5] = static_cast<int>(tile.meta_group_rank() * 1000 + tile.meta_group_size());
  // More rounds in some tiles than in others.
  for (unsigned round = 0; round < tile.meta_group_rank() % 3; ++round) {
    piece[thread] = thread * 7;
    tile.sync();
    const int neighbour = piece[thread - rank + (rank + 1) % static_cast<int>(kSize)];
    tile.sync();
    piece[thread] = neighbour;
  }
  if (tile.meta_group_rank() % 3 == 0) piece[thread] = -1;
  block.sync();
  mine[6] = piece[(thread + 1) % 64];
  mine[9] = cg::reduce(tile, thread, cg::plus<int>());
  mine[10] = cg::reduce(tile, thread, cg::less<int>());
  mine[11] = cg::reduce(tile, thread, cg::greater<int>());
  // A tile of tiles.
  mine[7] = mine[8] = 0;
  if constexpr (kSize > 1) {
    const auto half = cg::tiled_partition<kSize / 2>(tile);
    mine[7] = static_cast<int>(half.meta_group_rank() * 1000 + half.meta_group_size());
    mine[8] = half.shfl(thread, 0);
  }
}

template <unsigned kSize>
void ExpectTiles() {
  test::SetContext("tiles of " + std::to_string(kSize));
  const int size = static_cast<int>(kSize);
  const Array<int> out(64 * kTileResults);
  Run(TileKernel<kSize>, dim3(1), dim3(16, 4), SharedBytes<int>(64), out.data());
  const std::vector<int> got = out.values();
  const auto passed = [&](int thread) {
    if (thread / size % 3 == 0) return -1;
    return (thread / size * size + (thread % size + 1) % size) * 7;
  };
  for (int thread = 0; thread < 64; ++thread) {
    const int first = thread / size * size;
    const int rank = thread % size;
    const int* mine = got.data() + thread * kTileResults;
    EXPECT_EQ(mine[0], size * first + size * (size - 1) / 2);
    EXPECT_EQ(mine[1], first + (rank ^ size / 2));
    EXPECT_EQ(mine[2], rank > 0 ? thread - 1 : thread);
    EXPECT_EQ(static_cast<unsigned>(mine[3]), 0x55555555u & ~0u >> (32 - size));
    EXPECT_EQ(mine[4], size == 1 ? 3 : 1);
    EXPECT_EQ(mine[5], thread / size * 1000 + 64 / size);
    EXPECT_EQ(mine[6], passed((thread + 1) % 64));
    EXPECT_EQ(mine[7], size == 1 ? 0 : rank / (size / 2) * 1000 + 2);
    EXPECT_EQ(mine[8], size == 1 ? 0 : first + rank / (size / 2) * (size / 2));
    EXPECT_EQ(mine[9], mine[0]);
    EXPECT_EQ(mine[10], first);
    EXPECT_EQ(mine[11], first + size - 1);
  }
  test::SetContext("");
}

TEST(tiles_of_every_size_work_within_themselves) {
  ExpectTiles<1>();
  ExpectTiles<2>();
  ExpectTiles<4>();
  ExpectTiles<8>();
  ExpectTiles<16>();
  ExpectTiles<32>();
}

__global__ void BlockKernel(int* to) {
  const cg::thread_block block = cg::this_thread_block();
  const dim3 at = block.thread_index(), of = block.group_index(), size = block.dim_threads();
  int* mine = to + (of.y * 2 + of.x) * 48 + block.thread_rank();
  *mine = static_cast<int>((at.z * size.y + at.y) * size.x + at.x + block.num_threads() * 100);
}

TEST(a_block_numbers_its_threads_by_rows) {
  const Array<int> out(4 * 48);
  Run(BlockKernel, dim3(2, 2), dim3(4, 4, 3), 0, out.data());
  const std::vector<int> got = out.values();
  for (int i = 0; i < 4 * 48; ++i) EXPECT_EQ(got[i], i % 48 + 4800);
}

// Every block takes its neighbour's number, round by round; the sum of what it took stays in shared memory.
__global__ void RingKernel(int* numbers, int rounds, int* to) {
  SharedMemory shared;
  int* total = shared.Take<int>(1);
  const cg::grid_group grid = cg::this_grid();
  const int block = static_cast<int>(blockIdx.x);
  const int blocks = static_cast<int>(grid.num_threads() / blockDim.x);
  if (threadIdx.x == 0) {
    *total = 0;
    numbers[block] = block;
  }
  for (int round = 0; round < rounds; ++round) {
    grid.sync();
    const int taken = numbers[(block + 1) % blocks];
    grid.sync();
    if (threadIdx.x == 0) {
      *total += taken;
      numbers[block] = taken;
    }
  }
  if (grid.thread_rank() % blockDim.x == 0) to[block] = *total;
}

cudaError_t RunRing(int blocks, int rounds, std::vector<int>* got) {
  const Array<int> numbers(blocks), out(blocks);
  int* first = numbers.data();
  int* second = out.data();
  void* arguments[] = {&first, &rounds, &second};
  const Stream stream;
  const cudaError_t queued = cudaLaunchCooperativeKernel(RingKernel, dim3(blocks), dim3(64), arguments,
                                                         SharedBytes<int>(1), stream.get());
  cudaGetLastError();
  EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
  if (queued == cudaSuccess) *got = out.values();
  return queued;
}

TEST(the_blocks_of_a_cooperative_launch_meet) {
  if (Attribute(cudaDevAttrCooperativeLaunch) == 0) return;
  for (const int blocks : {1, 2, 7}) {
    std::vector<int> got;
    EXPECT_EQ(RunRing(blocks, 3, &got), cudaSuccess);
    EXPECT_EQ(got.size(), static_cast<size_t>(blocks));
    for (size_t i = 0; i < got.size(); ++i) {
      int sum = 0;
      for (int round = 1; round <= 3; ++round) sum += (static_cast<int>(i) + round) % blocks;
      EXPECT_EQ(got[i], sum);
    }
  }
}

TEST(a_grid_that_is_not_resident_at_once_cannot_be_cooperative) {
  if (Attribute(cudaDevAttrCooperativeLaunch) == 0) return;
  int each = 0;
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, RingKernel, 64, SharedBytes<int>(1)), cudaSuccess);
  EXPECT_GT(each, 0);
  const int most = each * Attribute(cudaDevAttrMultiProcessorCount);
  std::vector<int> got;
  EXPECT_EQ(RunRing(most, 1, &got), cudaSuccess);
  EXPECT_EQ(got.size(), static_cast<size_t>(most));
  EXPECT_EQ(RunRing(most + 1, 1, &got), cudaErrorCooperativeLaunchTooLarge);
}

}  // namespace
}  // namespace prismrec::cuda
