// A pretended GPU for the tests: runs a grid block by block on the calling thread (of a cooperative one all blocks in
// turn), the threads of a block as fibers, and watches every memory access of the kernels. Their sources are compiled
// with GCC's -fsanitize=thread, whose hooks (machine.cc) stand in for the sanitizer's library.
#ifndef CUDA_HOST_MACHINE_H_
#define CUDA_HOST_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cuda_host {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  Dim3() = default;
  constexpr Dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  size_t volume() const { return size_t{x} * y * z; }
};

enum class FaultKind {
  kOutOfBounds,         // an address that is neither shared, allocated, nor the thread's own
  kUninitializedRead,   // of shared or global bytes that nothing has written, or that a copy is still to fill
  kMisaligned,          // a wide access off its own size
  kRace,                // two threads, one of them writing, with no barrier between
  kBarrierDivergence,   // a barrier or warp collective that some threads do not reach, or with other lanes in mind
  kWarpMask,            // a lane in a collective that does not name it, or a value from a lane that is not named
  kLaunch,              // a grid, block or shared size beyond the device's limits, or a grid that cannot meet
  kUnsupported,         // an instruction that the device does not have
};
const char* FaultName(FaultKind kind);

struct Fault {
  FaultKind kind;
  std::string text;
};

// What was found since the last call; the first of each kind per launch.
std::vector<Fault> TakeFaults();
// Planted faults are expected and not printed.
void PrintFaults(bool print);

// What every thread calls, with the arguments that it may read.
struct Body {
  void (*call)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
  size_t bytes = 0;
};

struct Grid {
  const char* kernel = "";
  Dim3 size, block;
  size_t shared_bytes = 0;
  bool cooperative = false;  // all blocks at the same time, which may then meet
  int capability = 0;        // 80: compute capability 8.0
  int device = 0;
};

// Runs one grid to its end. False: a fault was found.
bool RunGrid(const Grid& grid, const Body& body);

// The running device thread.
Dim3 ThreadIndex();
Dim3 BlockIndex();
Dim3 BlockSize();
Dim3 GridSize();
unsigned ThreadRank();
unsigned Lane();
bool Cooperative();
// Faults on a device of less than `capability`.
void Require(int capability, const char* instruction);

// Barriers. `file` and `line` name the barrier: all must be at the same one.
void BlockBarrier(const char* file, int line);
void GridBarrier(const char* file, int line);
inline constexpr size_t kPayload = 64;
inline constexpr unsigned kWarp = 32;
// What lanes of a warp brought to a collective, [32][kPayload]; valid until this lane's next one.
struct Lanes {
  const char* values;
  unsigned mask;  // the lanes that took part
};
// Deposits `bytes` (at most kPayload) of this lane, waits for the lanes in `mask`, and answers their deposits. Orders
// memory, between those lanes, only where `fence`.
Lanes WarpCollective(const void* payload, size_t bytes, unsigned mask, bool fence, const char* file, int line);
// Copies the deposit of a lane that took part, out of sight of the hooks.
void ReadLane(const Lanes& lanes, unsigned lane, void* value, size_t bytes);

// Shared memory of the running block; pieces are kept apart by guard bytes. Every thread asks for the same
// pieces in the same order.
char* TakeShared(size_t* cursor, size_t bytes, size_t align);

// For accesses that the hooks do not see.
void CheckAccess(const void* address, size_t bytes, bool write, size_t align);
void CheckAtomic(const void* address, size_t bytes);
// A copy from global to shared memory that happens at the wait, not before.
void AsyncCopy(void* shared, const void* global, size_t bytes, size_t valid_bytes);
void AsyncCommit();
void AsyncWait(unsigned pending_groups);

// accumulator[4] += a[4] x b[2], by a warp: see kernel.cuh.
void MmaTf32(float* accumulator, const uint32_t* a, const uint32_t* b);
void MmaBf16(float* accumulator, const uint32_t* a, const uint32_t* b);
// The upper half of the nearest number with 7 bits of fraction; ties to even.
uint32_t ToBf16(float x);

// Global memory.
void* Allocate(int device, size_t bytes);
bool Release(void* pointer);
size_t AllocatedBytes();
// The piece at `pointer` is handed out anew, `bytes` long: nothing in it is initialised.
void Renew(void* pointer, size_t bytes);
// Host copies and fills.
bool MarkWritten(void* pointer, size_t bytes);
bool CheckRead(const void* pointer, size_t bytes);
bool IsDevice(const void* pointer);

}  // namespace cuda_host

#endif  // CUDA_HOST_MACHINE_H_
