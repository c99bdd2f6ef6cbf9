#include "machine.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "fiber.h"

namespace cuda_host {
namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kMaxThreads = 1024;
constexpr size_t kArenaBytes = 512 << 10;
constexpr size_t kGuardBytes = 64;
constexpr uint16_t kNobody = 0xffff;

// What is known of four bytes of memory. An epoch is a number that rises with every barrier, so that an access of
// this block interval has the block's epoch, and one since the warp's last fence the warp's.
struct Cell {
  uint32_t write_block = 0, write_warp = 0;
  uint32_t read_block = 0, read_warp = 0;
  uint16_t writer = kNobody, reader = kNobody;
  uint8_t written = 0;    // bytes of the last write; kAtomic where it was one
  uint8_t read = 0;       // bytes read in the interval
  uint8_t valid = 0;      // bytes that hold a value
  uint8_t readers = 0;    // kOne, kWarpmates or kMany
};
constexpr uint8_t kAtomic = 16;
enum : uint8_t { kNone, kOne, kWarpmates, kMany };

struct Region {
  uintptr_t begin = 0;
  size_t bytes = 0;
  std::vector<Cell> cells;
};

enum class State : uint8_t { kReady, kBlockBarrier, kCollective, kDone };

struct PendingCopy {
  void* to;
  const void* from;
  size_t bytes, valid;
};

struct Fiber {
  Context context;
  State state = State::kReady;
  Dim3 index;
  uint16_t id = 0;
  const char* file = nullptr;
  int line = 0;
  unsigned parity = 0;
  bool fence = false;
  std::vector<PendingCopy> open;
  std::deque<std::vector<PendingCopy>> groups;
};

struct Warp {
  uint32_t epoch = 0;
  alignas(16) char payload[2][kWarp][kPayload];
};

struct Machine {
  const char* kernel = "";
  Dim3 grid, block, block_index;
  Body body;
  size_t shared_bytes = 0;
  size_t shared_taken = 0;
  uint32_t launch_epoch = 0, block_first_epoch = 0, block_epoch = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Context scheduler;
  size_t threads = 0;
  bool abandoned = false;
  bool faulty = false;
  unsigned seen_kinds = 0;
  const Region* last_region = nullptr;
};

// One grid runs at a time; so epochs, stacks and the arena are shared by all.
std::mutex& GridMutex() {
  static std::mutex mutex;
  return mutex;
}
std::mutex& MemoryMutex() {
  static std::mutex mutex;
  return mutex;
}
std::map<uintptr_t, Region>& Regions() {
  static std::map<uintptr_t, Region> regions;
  return regions;
}
size_t allocated_bytes = 0;
uint32_t epoch_counter = 0;
std::vector<Fault> faults;
std::mutex faults_mutex;
bool print_faults = true;

thread_local Machine* machine = nullptr;
thread_local Fiber* fiber = nullptr;

char* const stacks = [] {
  void* memory = mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<char*>(memory);
}();
alignas(128) char arena[kArenaBytes];
Cell arena_cells[kArenaBytes / 4];
// Which bytes of the arena belong to a piece.
uint8_t arena_granted[kArenaBytes];
size_t arena_used = 0;

// Constants that the compiler put into memory.
bool InImage(uintptr_t address) {
  struct Search {
    uintptr_t address;
    bool found;
  } search{address, false};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto* wanted = static_cast<Search*>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
          if (header.p_type == PT_LOAD && wanted->address >= begin &&
              wanted->address < begin + header.p_memsz) {
            wanted->found = true;
          }
        }
        return 0;
      },
      &search);
  return search.found;
}

std::string Where() {
  if (fiber == nullptr) return {};
  char text[160];
  std::snprintf(text, sizeof text, " by thread (%u, %u, %u) of block (%u, %u, %u)", fiber->index.x,
                fiber->index.y, fiber->index.z, machine->block_index.x, machine->block_index.y,
                machine->block_index.z);
  return text;
}

void Report(FaultKind kind, const std::string& text) {
  if (machine != nullptr) {
    machine->faulty = true;
    if (machine->seen_kinds & (1u << static_cast<unsigned>(kind))) return;
    machine->seen_kinds |= 1u << static_cast<unsigned>(kind);
  }
  const std::string line = std::string(FaultName(kind)) + " in " +
                           (machine != nullptr ? machine->kernel : "the host's code") + ": " + text + Where();
  std::lock_guard<std::mutex> lock(faults_mutex);
  if (print_faults) std::fprintf(stderr, "cuda_host: %s\n", line.c_str());
  faults.push_back({kind, line});
}

[[noreturn]] void LeaveFiber() {
  fiber->state = State::kDone;
  Context::Switch(&fiber->context, machine->scheduler);
  std::abort();  // nobody comes back here
}

void Wait(State state, const char* file, int line) {
  Fiber* self = fiber;
  self->state = state;
  self->file = file;
  self->line = line;
  Context::Switch(&self->context, machine->scheduler);
}

std::string Address(uintptr_t address, size_t bytes, bool write, const void* pc) {
  Dl_info info;
  const char* symbol =
      pc != nullptr && dladdr(pc, &info) != 0 && info.dli_sname != nullptr ? info.dli_sname : "";
  const size_t offset = pc != nullptr && *symbol != '\0'
                            ? reinterpret_cast<uintptr_t>(pc) - reinterpret_cast<uintptr_t>(info.dli_saddr)
                            : 0;
  char text[320];
  std::snprintf(text, sizeof text, "%s of %zu bytes at %p, pc %p (%.180s+0x%zx)", write ? "write" : "read", bytes,
                reinterpret_cast<void*>(address), pc, symbol, offset);
  return text;
}

unsigned WarpOf(unsigned thread) { return thread / kWarp; }

// Whether an earlier access by `other` is unordered with one by the running thread.
bool Unordered(uint32_t block, uint32_t warp, uint16_t other, bool shared) {
  if (!shared && block < machine->launch_epoch) return false;
  if (block < machine->block_first_epoch) return !shared;
  if (block != machine->block_epoch || other == fiber->id) return false;
  return WarpOf(other) != WarpOf(fiber->id) || warp == machine->warps[WarpOf(fiber->id)].epoch;
}

const Region* FindRegion(uintptr_t address) {
  if (machine != nullptr && machine->last_region != nullptr && address >= machine->last_region->begin &&
      address < machine->last_region->begin + machine->last_region->bytes) {
    return machine->last_region;
  }
  std::lock_guard<std::mutex> lock(MemoryMutex());
  auto& regions = Regions();
  auto next = regions.upper_bound(address);
  if (next == regions.begin()) return nullptr;
  const Region* region = &std::prev(next)->second;
  if (address >= region->begin + region->bytes) return nullptr;
  if (machine != nullptr) machine->last_region = region;
  return region;
}

// The cell of `address`, or null where it belongs to nobody. `shared`: it is in the arena.
Cell* Locate(uintptr_t address, size_t bytes, bool* shared) {
  const size_t offset = address - reinterpret_cast<uintptr_t>(arena);
  if (offset < kArenaBytes) {
    *shared = true;
    // Guards are wider than any access, so both ends in a piece are both in the same one.
    if (offset + bytes > kArenaBytes || !arena_granted[offset] || !arena_granted[offset + bytes - 1]) return nullptr;
    return &arena_cells[offset / 4];
  }
  *shared = false;
  const Region* region = FindRegion(address);
  if (region == nullptr || address + bytes > region->begin + region->bytes) return nullptr;
  return const_cast<Cell*>(&region->cells[(address - region->begin) / 4]);
}

enum class Kind { kRead, kWrite, kAtomic };

void Touch(Cell* cell, uint8_t mask, Kind kind, bool shared, uintptr_t address, size_t bytes, const void* pc) {
  const bool write = kind != Kind::kRead;
  const uint32_t warp_epoch = machine->warps[WarpOf(fiber->id)].epoch;
  if (kind != Kind::kWrite && (cell->valid & mask) != mask) {
    Report(FaultKind::kUninitializedRead, Address(address, bytes, false, pc));
    cell->valid |= mask;
  }
  const bool both_atomic = kind == Kind::kAtomic && (cell->written & kAtomic);
  if ((cell->written & mask) && !both_atomic &&
      Unordered(cell->write_block, cell->write_warp, cell->writer, shared)) {
    Report(FaultKind::kRace, Address(address, bytes, write, pc) + ", written by thread " +
                                 std::to_string(cell->writer) + " with no barrier between,");
  }
  if (write) {
    if (cell->read & mask) {
      const bool fresh = shared ? cell->read_block >= machine->block_first_epoch
                                : cell->read_block >= machine->launch_epoch;
      const bool same_interval = cell->read_block == machine->block_epoch;
      const bool elsewhere = fresh && cell->read_block < machine->block_first_epoch;
      const bool others = cell->readers == kMany ||
                          (cell->readers == kWarpmates && (WarpOf(cell->reader) != WarpOf(fiber->id) ||
                                                           cell->read_warp == warp_epoch)) ||
                          (cell->readers == kOne &&
                           Unordered(cell->read_block, cell->read_warp, cell->reader, shared));
      if (elsewhere || (same_interval && others)) {
        Report(FaultKind::kRace, Address(address, bytes, true, pc) + ", read by thread " +
                                     std::to_string(cell->reader) + " with no barrier between,");
      }
    }
    cell->written = mask | (kind == Kind::kAtomic ? kAtomic : 0);
    cell->writer = fiber->id;
    cell->write_block = machine->block_epoch;
    cell->write_warp = warp_epoch;
    cell->valid |= mask;
    return;
  }
  if (cell->read_block != machine->block_epoch) {
    cell->readers = kOne;
    cell->read = mask;
  } else {
    if (cell->reader != fiber->id && cell->readers != kMany) {
      if (WarpOf(cell->reader) != WarpOf(fiber->id)) {
        cell->readers = kMany;
      } else {
        cell->readers = cell->read_warp == warp_epoch ? kWarpmates : kOne;
      }
    }
    cell->read |= mask;
  }
  cell->reader = fiber->id;
  cell->read_block = machine->block_epoch;
  cell->read_warp = warp_epoch;
}

void Access(uintptr_t address, size_t bytes, Kind kind, const void* pc) {
  if (fiber == nullptr) return;
  if (address - reinterpret_cast<uintptr_t>(stacks + fiber->id * kStackBytes) < kStackBytes) return;
  bool shared = false;
  Cell* cell = Locate(address, bytes, &shared);
  if (cell == nullptr) {
    const uintptr_t arguments = reinterpret_cast<uintptr_t>(machine->body.arguments);
    const bool constant = address >= arguments && address + bytes <= arguments + machine->body.bytes;
    if (kind == Kind::kRead && (constant || (!shared && InImage(address)))) return;
    Report(FaultKind::kOutOfBounds, Address(address, bytes, kind != Kind::kRead, pc));
    machine->abandoned = true;
    LeaveFiber();
  }
  for (uintptr_t at = address; at < address + bytes;) {
    const unsigned first = at % 4;
    const unsigned count = static_cast<unsigned>(std::min<uintptr_t>(4 - first, address + bytes - at));
    Touch(cell++, static_cast<uint8_t>(((1u << count) - 1) << first), kind, shared, address, bytes, pc);
    at += count;
  }
}

void FiberMain() {
  machine->body.call(machine->body.arguments);
  LeaveFiber();
}

void NextBlockEpoch() {
  machine->block_epoch = ++epoch_counter;
  for (Warp& warp : machine->warps) warp.epoch = ++epoch_counter;
}

std::string Site(const Fiber& waiting) {
  const char* slash = std::strrchr(waiting.file, '/');
  return std::string(slash != nullptr ? slash + 1 : waiting.file) + ":" + std::to_string(waiting.line);
}

// Lets a warp that has wholly arrived at a collective go on. Divergence that can never mend is found by RunBlock.
bool ReleaseWarp(unsigned w) {
  const size_t begin = w * kWarp;
  const size_t end = std::min(machine->threads, begin + kWarp);
  bool fence = false;
  for (size_t t = begin; t < end; ++t) {
    const Fiber& lane = machine->fibers[t];
    if (lane.state != State::kCollective || lane.file != machine->fibers[begin].file ||
        lane.line != machine->fibers[begin].line) {
      return false;
    }
    fence = lane.fence;
  }
  if (fence) machine->warps[w].epoch = ++epoch_counter;
  for (size_t t = begin; t < end; ++t) machine->fibers[t].state = State::kReady;
  return true;
}

bool ReleaseBlock() {
  for (size_t t = 0; t < machine->threads; ++t) {
    const Fiber& thread = machine->fibers[t];
    if (thread.state != State::kBlockBarrier || thread.file != machine->fibers[0].file ||
        thread.line != machine->fibers[0].line) {
      return false;
    }
  }
  NextBlockEpoch();
  for (size_t t = 0; t < machine->threads; ++t) machine->fibers[t].state = State::kReady;
  return true;
}

void ReportDivergence() {
  const Fiber* waiting = nullptr;
  std::string other;
  for (size_t t = 0; t < machine->threads; ++t) {
    const Fiber& thread = machine->fibers[t];
    if (thread.state != State::kDone && waiting == nullptr) waiting = &thread;
  }
  for (size_t t = 0; t < machine->threads && other.empty(); ++t) {
    const Fiber& thread = machine->fibers[t];
    if (thread.state == State::kDone) {
      other = "thread " + std::to_string(t) + " has returned";
    } else if (thread.state != waiting->state || thread.line != waiting->line || thread.file != waiting->file) {
      other = "thread " + std::to_string(t) + " waits at " + Site(thread);
    }
  }
  Report(FaultKind::kBarrierDivergence,
         "thread " + std::to_string(waiting->id) + " waits at " + Site(*waiting) + ", but " + other);
}

void RunBlock() {
  machine->shared_taken = 0;
  std::memset(arena_granted, 0, arena_used);
  arena_used = 0;
  machine->block_first_epoch = epoch_counter + 1;
  NextBlockEpoch();
  unsigned id = 0;
  for (Fiber& thread : machine->fibers) {
    thread.state = State::kReady;
    thread.id = static_cast<uint16_t>(id);
    thread.index = {id % machine->block.x, id / machine->block.x % machine->block.y,
                    id / (machine->block.x * machine->block.y)};
    thread.parity = 0;
    thread.open.clear();
    thread.groups.clear();
    thread.context.Prepare(stacks + id * kStackBytes, kStackBytes, FiberMain);
    ++id;
  }
  for (;;) {
    bool progress = false;
    bool unfinished = false;
    for (unsigned w = 0; w < machine->warps.size(); ++w) {
      const size_t end = std::min(machine->threads, size_t{w + 1} * kWarp);
      do {
        for (size_t t = w * kWarp; t < end && !machine->abandoned; ++t) {
          Fiber& thread = machine->fibers[t];
          if (thread.state != State::kReady) continue;
          progress = true;
          fiber = &thread;
          Context::Switch(&machine->scheduler, thread.context);
          fiber = nullptr;
        }
      } while (!machine->abandoned && ReleaseWarp(w));
    }
    if (machine->abandoned) return;
    for (const Fiber& thread : machine->fibers) unfinished |= thread.state != State::kDone;
    if (!unfinished) break;
    if (ReleaseBlock() || progress) continue;
    ReportDivergence();
    machine->abandoned = true;
    return;
  }
  for (const Fiber& thread : machine->fibers) {
    if (thread.open.empty() && thread.groups.empty()) continue;
    Report(FaultKind::kUninitializedRead, "thread " + std::to_string(thread.id) +
                                              " returned with asynchronous copies that it never waited for");
    break;
  }
}

void Complete(const PendingCopy& copy) {
  const uintptr_t to = reinterpret_cast<uintptr_t>(copy.to);
  Access(to, copy.bytes, Kind::kWrite, nullptr);
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(static_cast<char*>(copy.to) + copy.valid, 0, copy.bytes - copy.valid);
}

}  // namespace

const char* FaultName(FaultKind kind) {
  switch (kind) {
    case FaultKind::kOutOfBounds: return "out of bounds";
    case FaultKind::kUninitializedRead: return "uninitialised read";
    case FaultKind::kMisaligned: return "misaligned access";
    case FaultKind::kRace: return "race";
    case FaultKind::kBarrierDivergence: return "barrier divergence";
    case FaultKind::kLaunch: return "impossible launch";
  }
  return "";
}

std::vector<Fault> TakeFaults() {
  std::lock_guard<std::mutex> lock(faults_mutex);
  std::vector<Fault> taken;
  taken.swap(faults);
  return taken;
}

void PrintFaults(bool print) { print_faults = print; }

bool RunGrid(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes, const Body& body) {
  std::lock_guard<std::mutex> lock(GridMutex());
  Machine running;
  machine = &running;
  running.kernel = kernel;
  running.grid = grid;
  running.block = block;
  running.body = body;
  running.shared_bytes = shared_bytes;
  running.threads = block.volume();
  if (grid.volume() == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535 || running.threads == 0 ||
      running.threads > kMaxThreads || block.z > 64) {
    Report(FaultKind::kLaunch, "grid (" + std::to_string(grid.x) + ", " + std::to_string(grid.y) + ", " +
                                   std::to_string(grid.z) + "), " + std::to_string(running.threads) + " threads");
    machine = nullptr;
    return false;
  }
  if (epoch_counter > 0xf0000000u) std::abort();  // epochs would wrap
  running.launch_epoch = epoch_counter + 1;
  running.fibers.resize(running.threads);
  running.warps.resize((running.threads + kWarp - 1) / kWarp);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x && !running.abandoned; ++x) {
        running.block_index = {x, y, z};
        RunBlock();
      }
    }
  }
  machine = nullptr;
  return !running.faulty;
}

Dim3 ThreadIndex() { return fiber->index; }
Dim3 BlockIndex() { return machine->block_index; }
Dim3 BlockSize() { return machine->block; }
Dim3 GridSize() { return machine->grid; }
unsigned Lane() { return fiber->id % kWarp; }

void BlockBarrier(const char* file, int line) { Wait(State::kBlockBarrier, file, line); }

const char* WarpCollective(const void* payload, size_t bytes, unsigned mask, bool fence, const char* file, int line) {
  if (bytes > kPayload) std::abort();
  const unsigned lanes = static_cast<unsigned>(std::min<size_t>(
      kWarp, machine->threads - size_t{WarpOf(fiber->id)} * kWarp));
  const unsigned all = lanes == kWarp ? ~0u : (1u << lanes) - 1;
  if ((mask & all) != all) {
    Report(FaultKind::kBarrierDivergence, "a warp collective over part of a warp, which this machine does not model");
  }
  Fiber* self = fiber;
  Warp& warp = machine->warps[WarpOf(self->id)];
  const unsigned slot = self->parity;
  self->parity ^= 1;
  self->fence = fence;
  if (bytes > 0) std::memcpy(warp.payload[slot][self->id % kWarp], payload, bytes);
  Wait(State::kCollective, file, line);
  return warp.payload[slot][0];
}

void ReadLane(const char* lanes, unsigned lane, void* value, size_t bytes) {
  std::memcpy(value, lanes + lane * kPayload, bytes);
}

char* TakeShared(size_t* cursor, size_t bytes, size_t align) {
  const size_t offset = (*cursor + align - 1) / align * align;
  // The guard is this machine's own: it does not count against what the launch asked for.
  *cursor = (offset + bytes + kGuardBytes + 15) / 16 * 16;
  if (*cursor > kArenaBytes) {
    Report(FaultKind::kLaunch, "more shared memory than there is");
    machine->abandoned = true;
    LeaveFiber();
  }
  if (!arena_granted[offset]) {
    std::memset(arena_granted + offset, 1, bytes);
    arena_used = std::max(arena_used, offset + bytes);
    for (size_t c = offset / 4; c < (offset + bytes + 3) / 4; ++c) arena_cells[c] = Cell();
    // Noise instead of the zeros that a fresh process would offer.
    std::memset(arena + offset, 0x7f, bytes);
    machine->shared_taken += (bytes + 15) / 16 * 16;
    if (machine->shared_taken > machine->shared_bytes) {
      Report(FaultKind::kLaunch, "the kernel takes " + std::to_string(machine->shared_taken) +
                                     " bytes of shared memory, the launch gave " +
                                     std::to_string(machine->shared_bytes));
    }
  }
  return arena + offset;
}

void CheckAccess(const void* address, size_t bytes, bool write, size_t align) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  if (at % align != 0) Report(FaultKind::kMisaligned, Address(at, bytes, write, __builtin_return_address(0)));
  Access(at, bytes, write ? Kind::kWrite : Kind::kRead, __builtin_return_address(0));
}

void CheckAtomic(const void* address, size_t bytes) {
  Access(reinterpret_cast<uintptr_t>(address), bytes, Kind::kAtomic, __builtin_return_address(0));
}

void AsyncCopy(void* shared, const void* global, size_t bytes, size_t valid_bytes) {
  const uintptr_t to = reinterpret_cast<uintptr_t>(shared);
  if (valid_bytes > 0) CheckAccess(global, valid_bytes, false, 4);
  if (to % bytes != 0 || (valid_bytes > 0 && reinterpret_cast<uintptr_t>(global) % bytes != 0)) {
    Report(FaultKind::kMisaligned, Address(to, bytes, true, __builtin_return_address(0)));
  }
  // Whoever still reads what was there is too late, and whoever reads before the wait too early.
  Access(to, bytes, Kind::kWrite, __builtin_return_address(0));
  bool is_shared = false;
  Cell* cell = Locate(to, bytes, &is_shared);
  for (size_t i = 0; i < bytes / 4; ++i) cell[i].valid = 0;
  fiber->open.push_back({shared, global, bytes, valid_bytes});
}

void AsyncCommit() {
  fiber->groups.push_back(std::move(fiber->open));
  fiber->open.clear();
}

void AsyncWait(unsigned pending_groups) {
  while (fiber->groups.size() > pending_groups) {
    for (const PendingCopy& copy : fiber->groups.front()) Complete(copy);
    fiber->groups.pop_front();
  }
}

void* Allocate(size_t bytes) {
  // Bytes to either side belong to nobody.
  char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 512 + 255) / 256 * 256));
  if (memory == nullptr) return nullptr;
  void* pointer = memory + 256;
  std::lock_guard<std::mutex> lock(MemoryMutex());
  Region& region = Regions()[reinterpret_cast<uintptr_t>(pointer)];
  region.begin = reinterpret_cast<uintptr_t>(pointer);
  region.bytes = bytes;
  region.cells.assign((bytes + 3) / 4, Cell());
  allocated_bytes += bytes;
  return pointer;
}

bool Release(void* pointer) {
  std::lock_guard<std::mutex> lock(MemoryMutex());
  const auto found = Regions().find(reinterpret_cast<uintptr_t>(pointer));
  if (found == Regions().end()) return false;
  allocated_bytes -= found->second.bytes;
  Regions().erase(found);
  std::free(static_cast<char*>(pointer) - 256);
  return true;
}

size_t AllocatedBytes() {
  std::lock_guard<std::mutex> lock(MemoryMutex());
  return allocated_bytes;
}

void Renew(void* pointer, size_t bytes) {
  std::lock_guard<std::mutex> lock(MemoryMutex());
  const auto found = Regions().find(reinterpret_cast<uintptr_t>(pointer));
  if (found == Regions().end()) std::abort();
  allocated_bytes += bytes;
  allocated_bytes -= found->second.bytes;
  found->second.bytes = bytes;
  found->second.cells.assign((bytes + 3) / 4, Cell());
  std::memset(pointer, 0x7f, bytes);
}

bool MarkWritten(void* pointer, size_t bytes) {
  bool shared = false;
  Cell* cell = Locate(reinterpret_cast<uintptr_t>(pointer), bytes, &shared);
  if (cell == nullptr) return false;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(pointer);
  for (uintptr_t at = begin; at < begin + bytes;) {
    const unsigned first = at % 4;
    const unsigned count = static_cast<unsigned>(std::min<uintptr_t>(4 - first, begin + bytes - at));
    (cell++)->valid |= static_cast<uint8_t>(((1u << count) - 1) << first);
    at += count;
  }
  return true;
}

bool CheckRead(const void* pointer, size_t bytes) {
  bool shared = false;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(pointer);
  const Cell* cell = Locate(begin, bytes, &shared);
  if (cell == nullptr) return false;
  for (uintptr_t at = begin; at < begin + bytes;) {
    const unsigned first = at % 4;
    const unsigned count = static_cast<unsigned>(std::min<uintptr_t>(4 - first, begin + bytes - at));
    const uint8_t mask = static_cast<uint8_t>(((1u << count) - 1) << first);
    if (((cell++)->valid & mask) != mask) {
      Report(FaultKind::kUninitializedRead, "copy to the host of " + std::to_string(bytes) +
                                                " bytes, of which byte " + std::to_string(at - begin) +
                                                " was never written");
      return false;
    }
    at += count;
  }
  return true;
}

bool IsDevice(const void* pointer) { return FindRegion(reinterpret_cast<uintptr_t>(pointer)) != nullptr; }

}  // namespace cuda_host

#define CUDA_HOST_HOOK(size)                                                                                  \
  void __tsan_read##size(void* address) {                                                                     \
    cuda_host::Access(reinterpret_cast<uintptr_t>(address), size, cuda_host::Kind::kRead,                     \
                      __builtin_return_address(0));                                                           \
  }                                                                                                           \
  void __tsan_write##size(void* address) {                                                                    \
    cuda_host::Access(reinterpret_cast<uintptr_t>(address), size, cuda_host::Kind::kWrite,                    \
                      __builtin_return_address(0));                                                           \
  }                                                                                                           \
  void __tsan_unaligned_read##size(void* address) { __tsan_read##size(address); }                             \
  void __tsan_unaligned_write##size(void* address) { __tsan_write##size(address); }

extern "C" {
CUDA_HOST_HOOK(1)
CUDA_HOST_HOOK(2)
CUDA_HOST_HOOK(4)
CUDA_HOST_HOOK(8)
CUDA_HOST_HOOK(16)
#define CUDA_HOST_ATOMIC(bits, type)                                                                          \
  type __tsan_atomic##bits##_load(const volatile type* a, int) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); } \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int) { __atomic_store_n(a, v, __ATOMIC_SEQ_CST); } \
  type __tsan_atomic##bits##_fetch_add(volatile type* a, type v, int) {                                       \
    return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST);                                                        \
  }                                                                                                           \
  type __tsan_atomic##bits##_fetch_sub(volatile type* a, type v, int) {                                       \
    return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST);                                                        \
  }
CUDA_HOST_ATOMIC(8, uint8_t)
CUDA_HOST_ATOMIC(32, uint32_t)
CUDA_HOST_ATOMIC(64, uint64_t)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(void* address, size_t bytes) {
  cuda_host::Access(reinterpret_cast<uintptr_t>(address), bytes, cuda_host::Kind::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, size_t bytes) {
  cuda_host::Access(reinterpret_cast<uintptr_t>(address), bytes, cuda_host::Kind::kWrite, __builtin_return_address(0));
}
}
