// The pretended GPU itself: it computes what the manual says, and finds planted faults of every kind.
#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cuda/library.h"
#include "cuda/runtime.cuh"
#include "test_harness.h"

extern "C" const prismrec::cuda::Library* prismrec_cuda_library();

namespace prismrec::cuda {
namespace {

using cuda_host::FaultKind;

// A device array of `count` numbers, filled where `values` are given.
template <class T>
class Array {
 public:
  explicit Array(size_t count, const std::vector<T>& values = {}) : count_(count) {
    EXPECT_EQ(cudaMalloc(&data_, count * sizeof(T)), cudaSuccess);
    if (values.empty()) return;
    cudaStream_t stream;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaMemcpyAsync(data_, values.data(), count * sizeof(T), cudaMemcpyHostToDevice, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  }
  ~Array() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  T operator[](size_t i) const { return data_[i]; }
  std::vector<T> values() const { return std::vector<T>(data_, data_ + count_); }

 private:
  T* data_ = nullptr;
  size_t count_;
};

// The kinds of faults that what `launch` queues ends with, printed as nothing.
template <class F>
std::vector<FaultKind> FaultsOfLaunch(F launch) {
  cuda_host::PrintFaults(false);
  cudaStream_t stream;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  launch(stream);
  const cudaError_t queued = cudaGetLastError();
  const cudaError_t ran = cudaStreamSynchronize(stream);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  cuda_host::PrintFaults(true);
  std::vector<FaultKind> kinds;
  for (const auto& fault : cuda_host::TakeFaults()) kinds.push_back(fault.kind);
  EXPECT_EQ(ran != cudaSuccess, !kinds.empty());
  if (queued != cudaSuccess) kinds.push_back(FaultKind::kLaunch);
  cudaGetLastError();
  return kinds;
}
template <class... Parameters, class... Arguments>
std::vector<FaultKind> FaultsOf(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                                Arguments... arguments) {
  return FaultsOfLaunch([&](cudaStream_t stream) {
    Launch("planted", kernel, grid, block, shared_bytes, stream, arguments...);
  });
}
template <class... Parameters>
std::vector<FaultKind> FaultsOfCooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                                           Parameters... arguments) {
  void* pointers[] = {&arguments...};
  return FaultsOfLaunch([&](cudaStream_t stream) {
    (void)cudaLaunchCooperativeKernel(kernel, grid, block, pointers, shared_bytes, stream);
  });
}

#define EXPECT_KIND(wanted, kinds)                                                           \
  do {                                                                                       \
    const auto kinds_ = kinds;                                                               \
    EXPECT_EQ(kinds_.size(), size_t{1});                                                     \
    if (!kinds_.empty()) {                                                                   \
      EXPECT_EQ(std::string(cuda_host::FaultName(kinds_[0])), cuda_host::FaultName(wanted)); \
    }                                                                                        \
  } while (false)
#define EXPECT_FAULT(wanted, ...) EXPECT_KIND(wanted, FaultsOf(__VA_ARGS__))
#define EXPECT_CLEAN(...) EXPECT_EQ(FaultsOf(__VA_ARGS__).size(), size_t{0})

// --- out of bounds --------------------------------------------------------------------------------------------
__global__ void WriteAt(float* to, int i) { to[i] = 1; }
__global__ void ReadAt(const float* from, int i, float* to) { to[0] = from[i]; }
__global__ void SharedAt(int i, float* to) {
  SharedMemory shared;
  float* first = shared.Take<float>(4);
  float* second = shared.Take<float>(4);
  first[threadIdx.x] = 1;
  second[threadIdx.x] = 2;
  __syncthreads();
  if (threadIdx.x == 0) to[0] = first[i];
}

TEST(addresses_beyond_an_array_are_found) {
  const Array<float> array(4, {1, 2, 3, 4});
  EXPECT_CLEAN(WriteAt, dim3(1), dim3(1), 0, array.data(), 3);
  EXPECT_FAULT(FaultKind::kOutOfBounds, WriteAt, dim3(1), dim3(1), 0, array.data(), 4);
  EXPECT_FAULT(FaultKind::kOutOfBounds, WriteAt, dim3(1), dim3(1), 0, array.data(), -1);
  EXPECT_FAULT(FaultKind::kOutOfBounds, ReadAt, dim3(1), dim3(1), 0, array.data(), 5, array.data());
  EXPECT_FAULT(FaultKind::kOutOfBounds, ReadAt, dim3(1), dim3(1), 0, nullptr, 0, array.data());
  const float on_the_host = 1;
  std::vector<float> heap(4, on_the_host);
  EXPECT_FAULT(FaultKind::kOutOfBounds, ReadAt, dim3(1), dim3(1), 0, heap.data(), 0, array.data());
}

TEST(one_piece_of_shared_memory_does_not_run_into_the_next) {
  const Array<float> out(1);
  EXPECT_CLEAN(SharedAt, dim3(1), dim3(4), 64, 3, out.data());
  EXPECT_FAULT(FaultKind::kOutOfBounds, SharedAt, dim3(1), dim3(4), 64, 4, out.data());
  // More than the launch asked for.
  EXPECT_FAULT(FaultKind::kLaunch, SharedAt, dim3(1), dim3(4), 16, 3, out.data());
}

// --- uninitialised --------------------------------------------------------------------------------------------
__global__ void ReadShared(bool write, float* to) {
  SharedMemory shared;
  float* piece = shared.Take<float>(32);
  if (write) piece[threadIdx.x] = 1;
  __syncthreads();
  to[threadIdx.x] = piece[31 - threadIdx.x];
}

TEST(reads_of_what_nobody_wrote_are_found) {
  const Array<float> fresh(4);
  const Array<float> out(32);
  EXPECT_FAULT(FaultKind::kUninitializedRead, ReadAt, dim3(1), dim3(1), 0, fresh.data(), 0, out.data());
  EXPECT_CLEAN(ReadShared, dim3(1), dim3(32), 128, true, out.data());
  EXPECT_FAULT(FaultKind::kUninitializedRead, ReadShared, dim3(1), dim3(32), 128, false, out.data());
}

TEST(a_result_that_nobody_wrote_does_not_reach_the_host) {
  const Array<float> fresh(4);
  std::vector<float> host(4);
  cudaStream_t stream;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  cuda_host::PrintFaults(false);
  EXPECT_EQ(cudaMemcpyAsync(host.data(), fresh.data(), 16, cudaMemcpyDeviceToHost, stream), cudaErrorIllegalAddress);
  cuda_host::PrintFaults(true);
  EXPECT_EQ(cuda_host::TakeFaults().size(), size_t{1});
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  cudaGetLastError();
}

// --- races ----------------------------------------------------------------------------------------------------
enum class Barrier { kNone, kWarp, kBlock };

// Thread i reads what thread (i + shift) % size wrote.
__global__ void Exchange(Barrier barrier, int shift, float* to) {
  SharedMemory shared;
  float* piece = shared.Take<float>(64);
  const int i = static_cast<int>(threadIdx.x);
  piece[i] = 0;
  __syncthreads();
  piece[i] = static_cast<float>(i);
  if (barrier == Barrier::kWarp) __syncwarp();
  if (barrier == Barrier::kBlock) __syncthreads();
  to[i] = piece[(i + shift) % static_cast<int>(blockDim.x)];
}
// Reads first, writes then.
__global__ void Overwrite(Barrier barrier, float* to) {
  SharedMemory shared;
  float* piece = shared.Take<float>(64);
  const int i = static_cast<int>(threadIdx.x);
  piece[i] = 1;
  __syncthreads();
  const float read = piece[(i + 1) % 64];
  if (barrier == Barrier::kBlock) __syncthreads();
  piece[i] = read + 1;
  to[i] = read;
}
__global__ void AllWriteOne(float* to) { to[0] = static_cast<float>(threadIdx.x); }
__global__ void BlocksMeet(int* to, bool atomic) {
  if (atomic) {
    atomicAdd(to, 1);
  } else {
    to[0] = static_cast<int>(blockIdx.x);
  }
}

TEST(two_threads_at_one_address_need_a_barrier_between) {
  const Array<float> out(64);
  EXPECT_CLEAN(Exchange, dim3(1), dim3(64), 256, Barrier::kNone, 0, out.data());
  EXPECT_FAULT(FaultKind::kRace, Exchange, dim3(1), dim3(32), 256, Barrier::kNone, 31, out.data());
  EXPECT_CLEAN(Exchange, dim3(1), dim3(32), 256, Barrier::kWarp, 1, out.data());
  // A fence of one warp orders nothing between two.
  EXPECT_FAULT(FaultKind::kRace, Exchange, dim3(1), dim3(64), 256, Barrier::kWarp, 1, out.data());
  EXPECT_CLEAN(Exchange, dim3(1), dim3(64), 256, Barrier::kBlock, 1, out.data());
  EXPECT_FAULT(FaultKind::kRace, Overwrite, dim3(1), dim3(64), 256, Barrier::kNone, out.data());
  EXPECT_CLEAN(Overwrite, dim3(1), dim3(64), 256, Barrier::kBlock, out.data());
  EXPECT_FAULT(FaultKind::kRace, AllWriteOne, dim3(1), dim3(2), 0, out.data());
}

TEST(blocks_of_one_launch_meet_only_in_atomics) {
  const Array<int> count(1, {0});
  EXPECT_FAULT(FaultKind::kRace, BlocksMeet, dim3(3), dim3(1), 0, count.data(), false);
  const Array<int> sum(1, {0});
  EXPECT_CLEAN(BlocksMeet, dim3(3), dim3(64), 0, sum.data(), true);
  EXPECT_EQ(sum[0], 192);
  // The next launch comes after this one.
  EXPECT_CLEAN(BlocksMeet, dim3(1), dim3(1), 0, sum.data(), false);
}

// The last block writes what it and the others have read.
__global__ void ReadThenWrite(int* to, int blocks, int* seen) {
  seen[blockIdx.x] = to[0];
  if (static_cast<int>(blockIdx.x) == blocks - 1) to[0] = 1;
}

TEST(what_other_blocks_have_read_is_not_overwritten) {
  const Array<int> number(1, {0});
  const Array<int> seen(3);
  EXPECT_CLEAN(ReadThenWrite, dim3(1), dim3(1), 0, number.data(), 1, seen.data());
  EXPECT_FAULT(FaultKind::kRace, ReadThenWrite, dim3(3), dim3(1), 0, number.data(), 3, seen.data());
}

// --- divergence -----------------------------------------------------------------------------------------------
enum class Divergence { kNone, kSkip, kReturn, kOtherBarrier, kSkipShuffle };

__global__ void Diverge(Divergence kind, int* to) {
  const int i = static_cast<int>(threadIdx.x);
  if (kind == Divergence::kReturn && i == 5) return;
  if (kind == Divergence::kOtherBarrier && i >= 32) {
    __syncthreads();
  } else if (kind != Divergence::kSkip || i != 7) {
    __syncthreads();
  }
  int sum = i;
  if (kind != Divergence::kSkipShuffle || i != 40) sum = WarpSum(i);
  to[i] = sum;
}

TEST(a_barrier_that_some_threads_do_not_reach_is_found) {
  const Array<int> out(64);
  EXPECT_CLEAN(Diverge, dim3(1), dim3(64), 0, Divergence::kNone, out.data());
  EXPECT_EQ(out[31], 496);
  for (const Divergence kind :
       {Divergence::kSkip, Divergence::kReturn, Divergence::kOtherBarrier, Divergence::kSkipShuffle}) {
    EXPECT_FAULT(FaultKind::kBarrierDivergence, Diverge, dim3(1), dim3(64), 0, kind, out.data());
  }
}

// --- alignment, launches --------------------------------------------------------------------------------------
__global__ void Wide(const float* from, int i, float* to) { to[0] = Load4(from + i).w; }

TEST(a_wide_load_off_its_alignment_is_found) {
  const Array<float> array(8, {0, 1, 2, 3, 4, 5, 6, 7});
  const Array<float> out(1);
  EXPECT_CLEAN(Wide, dim3(1), dim3(1), 0, array.data(), 4, out.data());
  EXPECT_EQ(out[0], 7.0f);
  EXPECT_FAULT(FaultKind::kMisaligned, Wide, dim3(1), dim3(1), 0, array.data(), 3, out.data());
}

TEST(launches_beyond_the_device_are_refused) {
  const Array<float> out(1);
  EXPECT_FAULT(FaultKind::kLaunch, WriteAt, dim3(1), dim3(1025), 0, out.data(), 0);
  EXPECT_FAULT(FaultKind::kLaunch, WriteAt, dim3(1), dim3(1), size_t{228} << 10, out.data(), 0);
  EXPECT_FAULT(FaultKind::kLaunch, WriteAt, dim3(0), dim3(1), 0, out.data(), 0);
  EXPECT_FAULT(FaultKind::kLaunch, WriteAt, dim3(1, 65536), dim3(1), 0, out.data(), 0);
}

// Fills what it was given of shared memory, and counts.
__global__ void FillShared(int count, int* out) {
  SharedMemory shared;
  int* piece = shared.Take<int>(count);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) piece[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) *out = piece[count - 1] + 1;
}

TEST(two_shapes_of_one_kernel_may_be_launched_at_once) {
  std::atomic<int> failed{0};
  std::vector<std::thread> callers;
  for (const int kilobytes : {56, 96, 64, 72}) {
    callers.emplace_back([&failed, kilobytes] {
      const int count = kilobytes << 8;
      const Array<int> out(1);
      cudaStream_t stream;
      if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) ++failed;
      for (int round = 0; round < 200; ++round) {
        Launch("FillShared", FillShared, dim3(1), dim3(32), SharedBytes<int>(static_cast<size_t>(count)), stream, count,
               out.data());
        if (cudaGetLastError() != cudaSuccess) ++failed;
        // Most rounds only launch: the sooner the next one comes, the likelier two meet.
        if (round % 50 == 0 && (cudaStreamSynchronize(stream) != cudaSuccess || out[0] != count)) ++failed;
      }
      if (cudaStreamSynchronize(stream) != cudaSuccess || cudaStreamDestroy(stream) != cudaSuccess) ++failed;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failed.load(), 0);
}

TEST(shared_memory_beyond_what_a_kernel_is_allowed_is_refused) {
  const Array<int> out(1);
  const auto queue = [&](int count) {
    return FaultsOfLaunch([&](cudaStream_t stream) {
      void (*const kernel)(int, int*) = FillShared;
      using Bound = cuda_host::Bound<int, int*>;
      const auto bound = std::make_shared<Bound>(Bound{kernel, {count, out.data()}});
      (void)cuda_host::Enqueue({"FillShared", dim3(1), dim3(32), static_cast<size_t>(count) * 4},
                               reinterpret_cast<const void*>(kernel), stream, bound, sizeof(Bound), Bound::Call);
    });
  };
  EXPECT_EQ(cudaFuncSetAttribute(reinterpret_cast<const void*>(FillShared), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 60 << 10),
            cudaSuccess);
  EXPECT_KIND(FaultKind::kLaunch, queue((60 << 8) + 4));
  EXPECT_TRUE(queue(60 << 8).empty());
}

// --- asynchronous copies --------------------------------------------------------------------------------------
enum class Waiting { kRight, kNotAtAll, kOneTooFew, kNoBarrier };

// Two groups, of which the second stays on its way while the first is used.
__global__ void Pipeline(const float* from, Waiting waiting, float* to) {
  SharedMemory shared;
  float* first = shared.Take<float>(128);
  float* second = shared.Take<float>(128);
  const int i = static_cast<int>(threadIdx.x);
  CpAsync16(first + i * 4, from + i * 4, true);
  CpAsyncCommit();
  CpAsync16(second + i * 4, from + i * 4, i % 2 == 0);
  CpAsyncCommit();
  if (waiting == Waiting::kOneTooFew) CpAsyncWait<2>();
  if (waiting == Waiting::kRight || waiting == Waiting::kNoBarrier) CpAsyncWait<1>();
  if (waiting != Waiting::kNoBarrier) __syncthreads();
  const float sum = first[127 - i];
  CpAsyncWait<0>();
  __syncthreads();
  to[i] = sum + second[127 - i];
}

TEST(a_copy_lands_at_its_wait_and_is_seen_after_a_barrier) {
  std::vector<float> values(128);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const Array<float> from(128, values);
  const Array<float> out(32);
  EXPECT_CLEAN(Pipeline, dim3(1), dim3(32), 1024, from.data(), Waiting::kRight, out.data());
  EXPECT_EQ(out[0], 127.0f);    // of the second copy, zeros: lane 31 copied nothing
  EXPECT_EQ(out[4], 123.0f * 2);
  // Read too early; and written by the late copy while others read, which is a fault of its own.
  for (const Waiting waiting : {Waiting::kNotAtAll, Waiting::kOneTooFew, Waiting::kNoBarrier}) {
    const auto kinds = FaultsOf(Pipeline, dim3(1), dim3(32), 1024, from.data(), waiting, out.data());
    EXPECT_FALSE(kinds.empty());
    if (!kinds.empty()) EXPECT_TRUE(kinds[0] == FaultKind::kUninitializedRead);
  }
}

// --- warps ----------------------------------------------------------------------------------------------------
__global__ void Warps(int* to) {
  const int lane = Lane();
  int* mine = to + threadIdx.x * 6;
  mine[0] = __shfl_sync(kFullWarp, lane * 10, 3);
  mine[1] = __shfl_xor_sync(kFullWarp, lane, 16);
  mine[2] = __shfl_down_sync(kFullWarp, lane, 4);
  mine[3] = __shfl_up_sync(kFullWarp, lane, 4);
  mine[4] = static_cast<int>(__ballot_sync(kFullWarp, lane % 2 == 1));
  mine[5] = WarpMax(31 - lane) * 100 + (__any_sync(kFullWarp, lane == 9) ? 1 : 0) +
            (__all_sync(kFullWarp, lane < 31) ? 2 : 0);
}

TEST(shuffles_and_votes_move_what_the_manual_says) {
  const Array<int> out(64 * 6);
  EXPECT_CLEAN(Warps, dim3(1), dim3(64), 0, out.data());
  const std::vector<int> got = out.values();
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32;
    const int* mine = got.data() + thread * 6;
    EXPECT_EQ(mine[0], 30);
    EXPECT_EQ(mine[1], lane ^ 16);
    EXPECT_EQ(mine[2], lane + 4 < 32 ? lane + 4 : lane);
    EXPECT_EQ(mine[3], lane >= 4 ? lane - 4 : lane);
    EXPECT_EQ(static_cast<unsigned>(mine[4]), 0xaaaaaaaau);
    EXPECT_EQ(mine[5], 3101);
  }
}

enum class Part { kRight, kNotNamed, kOtherMasks, kReturned, kElsewhere, kFromOutside };

// Lanes 0 to 7 among themselves.
__global__ void PlantedPart(Part part, int* to) {
  const int lane = Lane();
  if (part == Part::kReturned && lane == 5) return;
  if (lane < (part == Part::kNotNamed ? 9 : 8)) {
    if (part == Part::kElsewhere && lane == 2) {
      to[lane] = __shfl_xor_sync(0xffu, lane, 1);
    } else {
      const unsigned mask = part == Part::kOtherMasks && lane >= 4 ? 0xf8u : 0xffu;
      to[lane] = __shfl_sync(mask, lane, part == Part::kFromOutside && lane == 3 ? 8 : 7);
    }
  }
}

TEST(parts_of_a_warp_must_agree_who_they_are) {
  const Array<int> out(32);
  EXPECT_CLEAN(PlantedPart, dim3(1), dim3(32), 0, Part::kRight, out.data());
  EXPECT_EQ(out[0], 7);
  EXPECT_FAULT(FaultKind::kWarpMask, PlantedPart, dim3(1), dim3(32), 0, Part::kNotNamed, out.data());
  EXPECT_FAULT(FaultKind::kWarpMask, PlantedPart, dim3(1), dim3(32), 0, Part::kFromOutside, out.data());
  for (const Part part : {Part::kOtherMasks, Part::kReturned, Part::kElsewhere}) {
    EXPECT_FAULT(FaultKind::kBarrierDivergence, PlantedPart, dim3(1), dim3(32), 0, part, out.data());
  }
}

// Lane 0 passes a number through shared memory: with a fence of lanes 0 to 3 and one of 3 to 6, or of all.
__global__ void Chain(int reader, bool second_fence, int* to) {
  SharedMemory shared;
  int* piece = shared.Take<int>(1);
  const int lane = Lane();
  if (lane == 0) *piece = 7;
  if (lane <= 3) __syncwarp(0x0fu);
  if (second_fence && lane >= 3 && lane <= 6) __syncwarp(0x78u);
  if (lane == reader) *to = *piece;
}
// Lanes 0 and 1 read, then one of them writes.
__global__ void ReadByTwo(unsigned mask, int writer, int* to) {
  SharedMemory shared;
  int* piece = shared.Take<int>(1);
  const int lane = Lane();
  if (lane == 0) *piece = 7;
  __syncwarp();
  if (lane <= 1) to[lane] = *piece;
  if (mask >> lane & 1) __syncwarp(mask);
  if (lane == writer) *piece = 8;
}

TEST(a_fence_of_some_lanes_orders_only_them) {
  const Array<int> out(2);
  EXPECT_CLEAN(Chain, dim3(1), dim3(32), 16, 2, false, out.data());
  EXPECT_FAULT(FaultKind::kRace, Chain, dim3(1), dim3(32), 16, 5, false, out.data());
  // What lane 3 knows it passes on.
  EXPECT_CLEAN(Chain, dim3(1), dim3(32), 16, 5, true, out.data());
  EXPECT_FAULT(FaultKind::kRace, Chain, dim3(1), dim3(32), 16, 7, true, out.data());
  for (const int writer : {0, 1}) {
    EXPECT_CLEAN(ReadByTwo, dim3(1), dim3(32), 16, 0x3u, writer, out.data());
    EXPECT_CLEAN(ReadByTwo, dim3(1), dim3(32), 16, ~0u, writer, out.data());
    EXPECT_FAULT(FaultKind::kRace, ReadByTwo, dim3(1), dim3(32), 16, 0x4u | 1u << writer, writer, out.data());
  }
}

// --- cooperative groups ---------------------------------------------------------------------------------------
enum class Member { kRight, kReturns, kElsewhere, kSkips };

__global__ void PlantedTile(Member member, int* to) {
  const auto tile = cooperative_groups::tiled_partition<8>(cooperative_groups::this_thread_block());
  const int i = static_cast<int>(threadIdx.x);
  if (member == Member::kReturns && i == 10) return;
  if (member == Member::kElsewhere && i == 10) {
    tile.sync();
  } else if (member != Member::kSkips || i != 10) {
    tile.sync();
  }
  to[i] = tile.shfl(i, 0);
}
__global__ void PlantedGrid(Member member, int* to) {
  const auto grid = cooperative_groups::this_grid();
  const int block = static_cast<int>(blockIdx.x);
  if (threadIdx.x == 0) to[block] = block;
  if (member == Member::kReturns && block == 1 && threadIdx.x == 3) return;
  if (member == Member::kElsewhere && block == 1) {
    grid.sync();
  } else if (member != Member::kSkips) {
    grid.sync();
  }
  if (threadIdx.x == 0) to[block + static_cast<int>(gridDim.x)] = to[(block + 1) % static_cast<int>(gridDim.x)];
}
// Shared memory of another block is nobody's.
__global__ void PeekIntoBlock(long long* address) {
  SharedMemory shared;
  long long* piece = shared.Take<long long>(1);
  *piece = 1;
  if (blockIdx.x == 0) *address = reinterpret_cast<long long>(piece);
  cooperative_groups::this_grid().sync();
  if (blockIdx.x == 1) *piece = *reinterpret_cast<const long long*>(*address);
}

TEST(a_tile_whose_members_do_not_all_come_is_found) {
  const Array<int> out(32);
  EXPECT_CLEAN(PlantedTile, dim3(1), dim3(32), 0, Member::kRight, out.data());
  EXPECT_EQ(out[15], 8);
  for (const Member member : {Member::kReturns, Member::kElsewhere, Member::kSkips}) {
    EXPECT_FAULT(FaultKind::kBarrierDivergence, PlantedTile, dim3(1), dim3(32), 0, member, out.data());
  }
}

TEST(a_grid_whose_blocks_do_not_all_come_is_found) {
  const Array<int> out(6);
  EXPECT_EQ(FaultsOfCooperative(PlantedGrid, dim3(3), dim3(32), 0, Member::kRight, out.data()).size(), size_t{0});
  EXPECT_EQ(out[5], 0);
  for (const Member member : {Member::kReturns, Member::kElsewhere}) {
    EXPECT_KIND(FaultKind::kBarrierDivergence,
                FaultsOfCooperative(PlantedGrid, dim3(3), dim3(32), 0, member, out.data()));
  }
  EXPECT_KIND(FaultKind::kRace, FaultsOfCooperative(PlantedGrid, dim3(3), dim3(32), 0, Member::kSkips, out.data()));
  EXPECT_FAULT(FaultKind::kLaunch, PlantedGrid, dim3(3), dim3(32), 0, Member::kRight, out.data());
  const Array<long long> address(1);
  EXPECT_KIND(FaultKind::kOutOfBounds, FaultsOfCooperative(PeekIntoBlock, dim3(2), dim3(1), 16, address.data()));
}

TEST(a_grid_must_fit_the_multiprocessors_to_be_cooperative) {
  const Array<int> out(2 * 200);
  const auto refused = [&](int blocks, int threads, size_t shared_bytes) {
    const dim3 grid(static_cast<unsigned>(blocks)), block(static_cast<unsigned>(threads));
    return !FaultsOfCooperative(PlantedGrid, grid, block, shared_bytes, Member::kRight, out.data()).empty();
  };
  EXPECT_EQ(AllowSharedMemory(reinterpret_cast<const void*>(PlantedGrid), 114 << 10), cudaSuccess);
  // Four multiprocessors of 2048 threads, 32 blocks, 228 KiB, of which each block takes one more than it asks for.
  EXPECT_FALSE(refused(8, 1024, 0));
  EXPECT_TRUE(refused(9, 1024, 0));
  EXPECT_FALSE(refused(128, 32, 0));
  EXPECT_TRUE(refused(129, 32, 0));
  EXPECT_FALSE(refused(8, 32, 113 << 10));
  EXPECT_TRUE(refused(9, 32, 113 << 10));
  EXPECT_TRUE(refused(5, 32, 114 << 10));
}

// --- tensor cores ---------------------------------------------------------------------------------------------
// By the fragments' layout in the manual of PTX, written down a second time: element (row, column) of A [16, 8] is a
// lane's register by (row % 8 * 4 + column % 4, row / 8 + column / 4 * 2), of B [8, 8] by (column * 4 + row % 4,
// row / 4), of the accumulator by (row % 8 * 4 + column / 2, row / 8 * 2 + column % 2).
__global__ void Multiply(const float* a, const float* b, float* c) {
  const int lane = Lane();
  uint32_t left[4];
  uint32_t right[2];
  float sum[4];
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      if (row % 8 * 4 + column % 4 == lane) left[row / 8 + column / 4 * 2] = __float_as_uint(a[row * 8 + column]);
      if (row % 8 * 4 + column / 2 == lane) sum[row / 8 * 2 + column % 2] = c[row * 8 + column];
      if (row < 8 && column * 4 + row % 4 == lane) right[row / 4] = __float_as_uint(b[row * 8 + column]);
    }
  }
  MmaTf32(sum, left, right);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      if (row % 8 * 4 + column / 2 == lane) c[row * 8 + column] = sum[row / 8 * 2 + column % 2];
    }
  }
}

TEST(a_tensor_core_multiplies_what_11_bits_hold_of_its_factors) {
  std::mt19937 random(7);
  const auto draw = [&](size_t count, bool whole) {
    std::vector<float> values(count);
    for (float& value : values) {
      value = static_cast<float>(random() % 2000) - 1000.0f;
      if (!whole) value *= 1.000123f;
    }
    return values;
  };
  for (const bool whole : {true, false}) {
    const std::vector<float> a = draw(128, whole), b = draw(64, whole), c = draw(128, whole);
    const Array<float> left(128, a), right(64, b), sum(128, c);
    EXPECT_CLEAN(Multiply, dim3(1), dim3(32), 0, left.data(), right.data(), sum.data());
    const std::vector<float> got = sum.values();
    const auto cut = [](float x) { return __uint_as_float(__float_as_uint(x) & ~0x1fffu); };
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        double want = c[row * 8 + column];
        for (int k = 0; k < 8; ++k) want += static_cast<double>(cut(a[row * 8 + k])) * cut(b[k * 8 + column]);
        // Whole numbers below 2^11 and their sums are exact.
        EXPECT_NEAR(got[row * 8 + column], want, whole ? 0.0 : std::fabs(want) * 1.2e-7);
        EXPECT_TRUE(std::fabs(got[row * 8 + column]) <= std::fabs(want));
      }
    }
  }
}

TEST(tf32_rounds_to_the_nearest_of_11_bits) {
  EXPECT_EQ(__uint_as_float(ToTf32(1.0f)), 1.0f);
  EXPECT_EQ(__uint_as_float(ToTf32(1.0f + 0x1p-11f)), 1.0f + 0x1p-10f);  // ties away from zero
  EXPECT_EQ(__uint_as_float(ToTf32(1.0f + 0x1.fp-12f)), 1.0f);
  EXPECT_EQ(__uint_as_float(ToTf32(-1.0f - 0x1p-11f)), -1.0f - 0x1p-10f);
}

__global__ void MultiplyBf16(float* c) {
  float sum[4] = {0, 0, 0, 0};
  const uint32_t left[4] = {0, 0, 0, 0};
  const uint32_t right[2] = {0, 0};
  MmaBf16(sum, left, right);
  c[Lane()] = sum[0];
}
__global__ void RoundToBf16(float* c) { c[Lane()] = __uint_as_float(ToBf16x2(0, 1)); }

TEST(a_device_without_an_instruction_says_so) {
  const std::vector<float> zeros(128);
  const Array<float> left(128, zeros), right(128, zeros), sum(128, zeros);
  const dim3 one(1), warp(32);
  const auto run = [&] {
    return std::vector<std::vector<FaultKind>>{
        FaultsOf(Multiply, one, warp, 0, left.data(), right.data(), sum.data()),
        FaultsOf(MultiplyBf16, one, warp, 0, sum.data()), FaultsOf(RoundToBf16, one, warp, 0, sum.data())};
  };
  for (const char* machine : {"75", "80"}) {
    setenv("PRISMREC_CUDA_HOST_SM", machine, 1);
    for (const auto& kinds : run()) {
      if (std::string(machine) == "75") EXPECT_KIND(FaultKind::kUnsupported, kinds);
      if (std::string(machine) == "80") EXPECT_TRUE(kinds.empty());
    }
  }
  unsetenv("PRISMREC_CUDA_HOST_SM");
  // All lanes or none.
  EXPECT_FAULT(FaultKind::kWarpMask, MultiplyBf16, dim3(1), dim3(16), 0, sum.data());
}

// --- streams, memory, devices ---------------------------------------------------------------------------------
TEST(pinned_memory_is_read_when_the_stream_gets_there) {
  float* pinned = nullptr;
  EXPECT_EQ(cudaMallocHost(reinterpret_cast<void**>(&pinned), sizeof(float)), cudaSuccess);
  const Array<float> device(1, {0});
  cudaStream_t stream;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  *pinned = 1;
  EXPECT_EQ(cudaMemcpyAsync(device.data(), pinned, 4, cudaMemcpyHostToDevice, stream), cudaSuccess);
  *pinned = 2;  // too early
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(device[0], 2.0f);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

Status Sessioned(size_t bytes) {
  const CancelFlag never;
  return Guarded(never, [&](Session& session) {
    session.Allocate<char>(bytes);
    session.Synchronize();
  });
}

TEST(memory_goes_back_to_the_pool_and_too_much_is_a_typed_error) {
  EXPECT_OK(Sessioned(1 << 20));
  const size_t held = cuda_host::AllocatedBytes();
  for (int i = 0; i < 100; ++i) EXPECT_OK(Sessioned(1 << 20));
  EXPECT_EQ(cuda_host::AllocatedBytes(), held);
  const Status refused = Sessioned(size_t{2} << 30);
  EXPECT_TRUE(refused.code == StatusCode::kOutOfMemory);
  EXPECT_FALSE(refused.hint.empty());
  EXPECT_OK(Sessioned(1 << 20));
}

// Of two, the second in a run of its own: the device of a process is settled once.
TEST(a_session_runs_on_the_device_that_is_wished_for) {
  EXPECT_OK(Sessioned(1));
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  const char* wished = std::getenv("PRISMREC_CUDA_DEVICE");
  EXPECT_EQ(device, wished != nullptr ? std::atoi(wished) : 0);
}

TEST(a_cancelled_session_gives_everything_back) {
  int32_t slot = 1;
  const CancelFlag cancelled(&slot);
  const Status status = Guarded(cancelled, [&](Session& session) {
    session.Allocate<char>(1 << 20);
    session.Synchronize();
  });
  EXPECT_TRUE(status.code == StatusCode::kCancelled);
}

// What `prismrec doctor` would say of a machine.
std::string Reason(const char* variable, const char* value) {
  setenv(variable, value, 1);
  Report report;
  prismrec_cuda_library()->describe(&report);
  unsetenv(variable);
  cudaGetLastError();
  return report.status.message;
}

TEST(memory_and_streams_of_one_device_are_not_those_of_another) {
  setenv("PRISMREC_CUDA_HOST_DEVICES", "2", 1);
  EXPECT_EQ(Reason("PRISMREC_CUDA_DEVICE", "1"), std::string());
  EXPECT_EQ(Reason("PRISMREC_CUDA_DEVICE", "2"), std::string("there is no device of that number"));
  int before = 0;
  EXPECT_EQ(cudaGetDevice(&before), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  const Array<float> first(1);
  cudaStream_t stream;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  const Array<float> second(1);
  EXPECT_CLEAN(WriteAt, dim3(1), dim3(1), 0, second.data(), 0);
  EXPECT_FAULT(FaultKind::kOutOfBounds, WriteAt, dim3(1), dim3(1), 0, first.data(), 0);
  Launch("planted", WriteAt, dim3(1), dim3(1), 0, stream, first.data(), 0);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaSetDevice(before), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  unsetenv("PRISMREC_CUDA_HOST_DEVICES");
}

TEST(every_reason_why_there_is_no_gpu_has_its_own_words) {
  EXPECT_EQ(Reason("PRISMREC_CUDA_HOST_DRIVER", "none"), std::string("no NVIDIA driver is installed"));
  EXPECT_EQ(Reason("PRISMREC_CUDA_HOST_DRIVER", "old"), std::string("the NVIDIA driver is too old"));
  EXPECT_EQ(Reason("PRISMREC_CUDA_HOST_DEVICES", "0"), std::string("the NVIDIA driver finds no GPU"));
  EXPECT_EQ(Reason("PRISMREC_CUDA_HOST_SM", "61"), std::string("the GPU is too old"));
  for (const char* number : {"1", "-1", "one", "0x"}) {
    EXPECT_EQ(Reason("PRISMREC_CUDA_DEVICE", number), std::string("there is no device of that number"));
  }
  EXPECT_EQ(Reason("PRISMREC_CUDA_HOST_SM", "75"), std::string());
  Report report;
  prismrec_cuda_library()->describe(&report);
  EXPECT_OK(report.status);
  EXPECT_EQ(report.devices.size(), size_t{1});
  EXPECT_EQ(report.devices[0].capability, 90);
}

}  // namespace
}  // namespace prismrec::cuda
