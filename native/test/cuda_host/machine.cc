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

// What is known of four bytes of memory. An epoch is a number that rises with every barrier: an access has the epoch of
// its block, which begins with a barrier of the block, and of its lane, which begins with a fence that the lane was in.
struct Cell {
  uint32_t write_block = 0, write_lane = 0;
  uint32_t read_block = 0, read_lane = 0;  // of several lanes the earliest
  uint32_t read_lanes = 0;                 // who read, where readers is kWarpmates
  uint16_t writer = 0, reader = 0;
  uint8_t written = 0;    // bytes of the last write; kAtomic where it was one
  uint8_t read = 0;       // bytes read in the interval
  uint8_t valid = 0;      // bytes that hold a value
  uint8_t readers = 0;    // lanes of one warp, several warps of one block, several blocks
};
constexpr uint8_t kAtomic = 16;
enum : uint8_t { kWarpmates, kWarps, kBlocks };

struct Region {
  uintptr_t begin = 0;
  size_t bytes = 0;
  int device = 0;
  std::vector<Cell> cells;
};

enum class State : uint8_t { kReady, kCollective, kBlockBarrier, kGridBarrier, kDone };

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
  uint32_t epoch = 0;
  char* stack = nullptr;
  // What it waits for.
  const char* file = nullptr;
  int line = 0;
  unsigned mask = 0;
  bool fence = false;
  size_t deposited = 0;
  std::vector<PendingCopy> open;
  std::deque<std::vector<PendingCopy>> groups;
};

struct Warp {
  uint32_t epoch = 0;  // of the last fence of all lanes
  // known[i][j]: of accesses of lane j, those up to this epoch come before what lane i does now. Meant only where parts
  // of the warp have met since the last fence of all lanes.
  bool parted = false;
  uint32_t known[kWarp][kWarp];
  alignas(16) char deposits[kWarp][kPayload];
  // What the lanes that met deposited: it stays until all of them have run again.
  alignas(16) char results[kWarp][kPayload];
};

// Shared memory of a block; zeros to begin with.
struct Arena {
  alignas(128) char bytes[kArenaBytes];
  Cell cells[kArenaBytes / 4];
  // Which bytes belong to a piece.
  uint8_t granted[kArenaBytes];
  size_t used;
};

struct Block {
  uint16_t slot = 0;  // among the blocks that run at the same time
  Dim3 index;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  uint32_t first_epoch = 0, epoch = 0;
  size_t shared_taken = 0;
  Arena* arena = nullptr;
};

struct Machine {
  const Grid& grid;
  Body body;
  size_t threads = 0;
  uint32_t first_epoch = 0;
  // What is older comes before everything that runs now: of an earlier launch, or from before a barrier of the grid.
  uint32_t ordered_epoch = 0;
  std::vector<uint16_t> owners;  // the slots of the blocks that the epochs from first_epoch on belong to
  Context scheduler;
  bool abandoned = false;
  bool faulty = false;
  unsigned seen_kinds = 0;
  const Region* last_region = nullptr;
};

// Pages of zeros that cost nothing until they are touched.
class Pages {
 public:
  explicit Pages(size_t bytes) : bytes_(bytes) {
    memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
  }
  ~Pages() { munmap(memory_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  char* data() const { return static_cast<char*>(memory_); }

 private:
  size_t bytes_;
  void* memory_;
};

// One grid runs at a time; so epochs are shared by all, and blocks that run one by one share stacks and an arena.
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
thread_local Block* block = nullptr;
thread_local Fiber* fiber = nullptr;

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

std::string Where(const Fiber& at) {
  char text[160];
  std::snprintf(text, sizeof text, " by thread (%u, %u, %u) of block (%u, %u, %u)", at.index.x, at.index.y, at.index.z,
                block->index.x, block->index.y, block->index.z);
  return text;
}

// `describe` gives the text.
template <class F>
void Report(FaultKind kind, F describe) {
  if (machine != nullptr) {
    machine->faulty = true;
    if (machine->seen_kinds & (1u << static_cast<unsigned>(kind))) return;
    machine->seen_kinds |= 1u << static_cast<unsigned>(kind);
  }
  // The linker may have taken the kernels' instances of what strings are made of, whose hooks must not see a thread.
  Fiber* const at = fiber;
  fiber = nullptr;
  const std::string line = std::string(FaultName(kind)) + " in " +
                           (machine != nullptr ? machine->grid.kernel : "the host's code") + ": " + describe() +
                           (at != nullptr ? Where(*at) : "");
  {
    std::lock_guard<std::mutex> lock(faults_mutex);
    if (print_faults) std::fprintf(stderr, "cuda_host: %s\n", line.c_str());
    faults.push_back({kind, line});
  }
  fiber = at;
}

[[noreturn]] void LeaveFiber() {
  fiber->state = State::kDone;
  Context::Switch(&fiber->context, machine->scheduler);
  std::abort();  // nobody comes back here
}

[[noreturn]] void Abandon() {
  machine->abandoned = true;
  LeaveFiber();
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

uint32_t NewEpoch(const Block& owner) {
  if (machine->grid.cooperative) machine->owners.push_back(owner.slot);
  return ++epoch_counter;
}

// Of an epoch of this launch.
bool InOtherBlock(uint32_t epoch) {
  if (machine->grid.cooperative) return machine->owners[epoch - machine->first_epoch] != block->slot;
  return epoch < block->first_epoch;
}

// Whether what lane `other` of the running thread's warp did in its epoch comes before what happens now.
bool Known(unsigned other, uint32_t epoch) {
  const Warp& warp = block->warps[WarpOf(fiber->id)];
  return epoch < warp.epoch || (warp.parted && warp.known[fiber->id % kWarp][other] >= epoch);
}

bool WriteIsUnordered(const Cell& cell, bool shared) {
  if (!shared) {
    if (cell.write_block < machine->ordered_epoch) return false;
    if (InOtherBlock(cell.write_block)) return true;
  }
  if (cell.write_block != block->epoch || cell.writer == fiber->id) return false;
  return WarpOf(cell.writer) != WarpOf(fiber->id) || !Known(cell.writer % kWarp, cell.write_lane);
}

bool ReadByOtherBlocks(const Cell& cell, bool shared) {
  if (shared || cell.read_block < machine->ordered_epoch) return false;
  return cell.readers == kBlocks || InOtherBlock(cell.read_block);
}

// The other lanes of the running thread's warp whose reads do not come before what happens now.
uint32_t UnorderedReaders(const Cell& cell) {
  uint32_t lanes = cell.read_lanes & ~(1u << fiber->id % kWarp);
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(left));
    if (Known(lane, cell.read_lane)) lanes &= ~(1u << lane);
  }
  return lanes;
}

bool ReadIsUnordered(const Cell& cell, bool shared) {
  if (ReadByOtherBlocks(cell, shared)) return true;
  if (cell.read_block != block->epoch) return false;
  return cell.readers == kWarps || WarpOf(cell.reader) != WarpOf(fiber->id) || UnorderedReaders(cell) != 0;
}

void NoteRead(Cell* cell, uint8_t mask, bool shared) {
  const uint32_t mine = 1u << fiber->id % kWarp;
  if (ReadByOtherBlocks(*cell, shared)) {
    cell->readers = kBlocks;
    cell->read |= mask;
  } else if (cell->read_block != block->epoch) {
    cell->readers = kWarpmates;
    cell->read = mask;
    cell->read_lanes = mine;
    cell->read_lane = fiber->epoch;
  } else {
    cell->read |= mask;
    if (cell->readers == kWarpmates && WarpOf(cell->reader) != WarpOf(fiber->id)) cell->readers = kWarps;
    if (cell->readers == kWarpmates) {
      // Who came before this reader need not be remembered.
      const uint32_t others = UnorderedReaders(*cell);
      cell->read_lanes = others | mine;
      cell->read_lane = others != 0 ? std::min(cell->read_lane, fiber->epoch) : fiber->epoch;
    }
  }
  cell->reader = fiber->id;
  cell->read_block = block->epoch;
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
  if (machine != nullptr && region->device != machine->grid.device) return nullptr;
  if (machine != nullptr) machine->last_region = region;
  return region;
}

// The cell of `address`, or null where it belongs to nobody. `shared`: it is in the running block's arena.
Cell* Locate(uintptr_t address, size_t bytes, bool* shared) {
  if (block != nullptr) {
    Arena& arena = *block->arena;
    const size_t offset = address - reinterpret_cast<uintptr_t>(arena.bytes);
    if (offset < kArenaBytes) {
      *shared = true;
      // Guards are wider than any access, so both ends in a piece are both in the same one.
      if (offset + bytes > kArenaBytes || !arena.granted[offset] || !arena.granted[offset + bytes - 1]) return nullptr;
      return &arena.cells[offset / 4];
    }
  }
  *shared = false;
  const Region* region = FindRegion(address);
  if (region == nullptr || address + bytes > region->begin + region->bytes) return nullptr;
  return const_cast<Cell*>(&region->cells[(address - region->begin) / 4]);
}

enum class Kind { kRead, kWrite, kAtomic };

void Touch(Cell* cell, uint8_t mask, Kind kind, bool shared, uintptr_t address, size_t bytes, const void* pc) {
  const bool write = kind != Kind::kRead;
  if (kind != Kind::kWrite && (cell->valid & mask) != mask) {
    Report(FaultKind::kUninitializedRead, [&] { return Address(address, bytes, false, pc); });
    cell->valid |= mask;
  }
  const bool both_atomic = kind == Kind::kAtomic && (cell->written & kAtomic);
  if ((cell->written & mask) && !both_atomic && WriteIsUnordered(*cell, shared)) {
    Report(FaultKind::kRace, [&] {
      return Address(address, bytes, write, pc) + ", written by thread " + std::to_string(cell->writer) +
             " with no barrier between,";
    });
  }
  if (!write) {
    NoteRead(cell, mask, shared);
    return;
  }
  if ((cell->read & mask) && ReadIsUnordered(*cell, shared)) {
    Report(FaultKind::kRace, [&] {
      return Address(address, bytes, true, pc) + ", read by thread " + std::to_string(cell->reader) +
             " with no barrier between,";
    });
  }
  cell->written = mask | (kind == Kind::kAtomic ? kAtomic : 0);
  cell->writer = fiber->id;
  cell->write_block = block->epoch;
  cell->write_lane = fiber->epoch;
  cell->valid |= mask;
}

void Access(uintptr_t address, size_t bytes, Kind kind, const void* pc) {
  if (fiber == nullptr) return;
  if (address - reinterpret_cast<uintptr_t>(fiber->stack) < kStackBytes) return;
  bool shared = false;
  Cell* cell = Locate(address, bytes, &shared);
  if (cell == nullptr) {
    const uintptr_t arguments = reinterpret_cast<uintptr_t>(machine->body.arguments);
    const bool constant = address >= arguments && address + bytes <= arguments + machine->body.bytes;
    if (kind == Kind::kRead && (constant || (!shared && InImage(address)))) return;
    Report(FaultKind::kOutOfBounds, [&] { return Address(address, bytes, kind != Kind::kRead, pc); });
    Abandon();
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

void FenceWarp(Block& of, unsigned w) {
  Warp& warp = of.warps[w];
  warp.epoch = NewEpoch(of);
  warp.parted = false;
  const size_t end = std::min(of.fibers.size(), size_t{w + 1} * kWarp);
  for (size_t t = w * kWarp; t < end; ++t) of.fibers[t].epoch = warp.epoch;
}

// Each of the lanes now knows what any of them knew or did.
void FenceLanes(Block& of, unsigned w, unsigned mask) {
  Warp& warp = of.warps[w];
  Fiber* lanes = &of.fibers[w * kWarp];
  if (!warp.parted) std::memset(warp.known, 0, sizeof warp.known);
  warp.parted = true;
  uint32_t all[kWarp] = {};
  for (unsigned i = 0; i < kWarp; ++i) {
    if (!(mask >> i & 1)) continue;
    for (unsigned j = 0; j < kWarp; ++j) all[j] = std::max(all[j], warp.known[i][j]);
  }
  const uint32_t epoch = NewEpoch(of);
  for (unsigned i = 0; i < kWarp; ++i) {
    if (!(mask >> i & 1)) continue;
    all[i] = lanes[i].epoch;
    lanes[i].epoch = epoch;
  }
  for (unsigned i = 0; i < kWarp; ++i) {
    if (mask >> i & 1) std::memcpy(warp.known[i], all, sizeof all);
  }
}

void NextBlockEpoch(Block& of) {
  of.epoch = NewEpoch(of);
  for (unsigned w = 0; w < of.warps.size(); ++w) FenceWarp(of, w);
}

std::string Site(const Fiber& waiting) {
  const char* slash = std::strrchr(waiting.file, '/');
  std::string site = std::string(slash != nullptr ? slash + 1 : waiting.file) + ":" + std::to_string(waiting.line);
  if (waiting.state != State::kCollective) return site;
  char lanes[40];
  std::snprintf(lanes, sizeof lanes, " with lanes 0x%08x", waiting.mask);
  return site + lanes;
}

bool SameWait(const Fiber& a, const Fiber& b) {
  return a.state == b.state && a.file == b.file && a.line == b.line &&
         (a.state != State::kCollective || a.mask == b.mask);
}

// The lanes of a warp that exist.
unsigned LanesOf(const Block& of, unsigned w) {
  const size_t lanes = std::min<size_t>(kWarp, of.fibers.size() - size_t{w} * kWarp);
  return lanes == kWarp ? ~0u : (1u << lanes) - 1;
}

// Lets lanes go on that have all arrived at their collective. Divergence that can never mend is found when nothing else
// moves any more.
bool ReleaseWarp(Block& of, unsigned w) {
  Warp& warp = of.warps[w];
  Fiber* lanes = &of.fibers[w * kWarp];
  const unsigned all = LanesOf(of, w);
  unsigned waiting = 0;
  for (unsigned i = 0; i < kWarp; ++i) {
    if ((all >> i & 1) && lanes[i].state == State::kCollective) waiting |= 1u << i;
  }
  bool released = false;
  while (waiting != 0) {
    const Fiber& first = lanes[__builtin_ctz(waiting)];
    const unsigned mask = first.mask;
    bool together = true;
    for (unsigned i = 0; i < kWarp && together; ++i) together = !(mask >> i & 1) || SameWait(lanes[i], first);
    if (!together) {
      waiting &= waiting - 1;
      continue;
    }
    if (first.fence && mask == all) FenceWarp(of, w);
    if (first.fence && mask != all) FenceLanes(of, w, mask);
    for (unsigned i = 0; i < kWarp; ++i) {
      if (!(mask >> i & 1)) continue;
      std::memcpy(warp.results[i], warp.deposits[i], lanes[i].deposited);
      lanes[i].state = State::kReady;
    }
    waiting &= ~mask;
    released = true;
  }
  return released;
}

bool AllAt(const Block& of, State state, const Fiber& first) {
  return std::all_of(of.fibers.begin(), of.fibers.end(),
                     [&](const Fiber& thread) { return thread.state == state && SameWait(thread, first); });
}

bool ReleaseBlock(Block& of) {
  if (!AllAt(of, State::kBlockBarrier, of.fibers[0])) return false;
  NextBlockEpoch(of);
  for (Fiber& thread : of.fibers) thread.state = State::kReady;
  return true;
}

bool ReleaseGrid(std::vector<Block>& blocks) {
  for (const Block& of : blocks) {
    if (!AllAt(of, State::kGridBarrier, blocks[0].fibers[0])) return false;
  }
  machine->ordered_epoch = epoch_counter + 1;
  for (Block& of : blocks) {
    NextBlockEpoch(of);
    for (Fiber& thread : of.fibers) thread.state = State::kReady;
  }
  return true;
}

// Somebody waits for a thread that will never come: of its warp, its block or its grid.
void ReportDivergence(const std::vector<Block>& blocks) {
  const auto name = [&](const Block& of, const Fiber& thread) {
    return "thread " + std::to_string(thread.id) +
           (blocks.size() > 1 ? " of block " + std::to_string(of.slot) : std::string());
  };
  for (const Block& of : blocks) {
    for (const Fiber& thread : of.fibers) {
      if (thread.state == State::kDone) continue;
      for (const Block& other_block : blocks) {
        if (&other_block != &of && thread.state != State::kGridBarrier) continue;
        for (const Fiber& other : other_block.fibers) {
          const bool wanted = thread.state != State::kCollective ||
                              (WarpOf(other.id) == WarpOf(thread.id) && (thread.mask >> other.id % kWarp & 1));
          if (!wanted || SameWait(thread, other)) continue;
          const std::string fate = other.state == State::kDone ? " has returned" : " waits at " + Site(other);
          Report(FaultKind::kBarrierDivergence, [&] {
            return name(of, thread) + " waits at " + Site(thread) + ", but " + name(other_block, other) + fate;
          });
          return;
        }
      }
    }
  }
}

void StartBlock(Block& of, Dim3 index, char* stacks) {
  const Dim3 size = machine->grid.block;
  of.index = index;
  of.shared_taken = 0;
  std::memset(of.arena->granted, 0, of.arena->used);
  of.arena->used = 0;
  of.fibers.resize(machine->threads);
  of.warps.resize((machine->threads + kWarp - 1) / kWarp);
  of.first_epoch = epoch_counter + 1;
  NextBlockEpoch(of);
  unsigned id = 0;
  for (Fiber& thread : of.fibers) {
    thread.state = State::kReady;
    thread.id = static_cast<uint16_t>(id);
    thread.index = {id % size.x, id / size.x % size.y, id / (size.x * size.y)};
    thread.open.clear();
    thread.groups.clear();
    thread.stack = stacks + id * kStackBytes;
    thread.context.Prepare(thread.stack, kStackBytes, FiberMain);
    ++id;
  }
}

// Runs a block's threads for as long as any of them can go on; whether any could.
bool Advance(Block& of) {
  bool ran = false;
  for (;;) {
    bool progress = false;
    block = &of;
    for (unsigned w = 0; w < of.warps.size(); ++w) {
      const size_t end = std::min(machine->threads, size_t{w + 1} * kWarp);
      do {
        for (size_t t = w * kWarp; t < end && !machine->abandoned; ++t) {
          Fiber& thread = of.fibers[t];
          if (thread.state != State::kReady) continue;
          progress = true;
          fiber = &thread;
          Context::Switch(&machine->scheduler, thread.context);
          fiber = nullptr;
        }
      } while (!machine->abandoned && ReleaseWarp(of, w));
    }
    block = nullptr;
    ran |= progress;
    if (machine->abandoned || !(ReleaseBlock(of) || progress)) return ran;
  }
}

// The blocks that have been started, to their end.
void RunBlocks(std::vector<Block>& blocks) {
  for (;;) {
    bool progress = false;
    bool unfinished = false;
    for (Block& of : blocks) {
      progress |= Advance(of);
      if (machine->abandoned) return;
      for (const Fiber& thread : of.fibers) unfinished |= thread.state != State::kDone;
    }
    if (!unfinished) break;
    if (ReleaseGrid(blocks) || progress) continue;
    ReportDivergence(blocks);
    machine->abandoned = true;
    return;
  }
  for (const Block& of : blocks) {
    for (const Fiber& thread : of.fibers) {
      if (thread.open.empty() && thread.groups.empty()) continue;
      Report(FaultKind::kUninitializedRead, [&] {
        return "thread " + std::to_string(thread.id) + " returned with asynchronous copies that it never waited for";
      });
      return;
    }
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
    case FaultKind::kWarpMask: return "wrong lanes";
    case FaultKind::kLaunch: return "impossible launch";
    case FaultKind::kUnsupported: return "unsupported instruction";
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

bool RunGrid(const Grid& grid, const Body& body) {
  std::lock_guard<std::mutex> lock(GridMutex());
  const size_t threads = grid.block.volume();
  Machine running{grid, body, threads, epoch_counter + 1, epoch_counter + 1, {}, {}};
  machine = &running;
  if (grid.size.volume() == 0 || grid.size.x > 2147483647u || grid.size.y > 65535 || grid.size.z > 65535 ||
      threads == 0 || threads > kMaxThreads || grid.block.z > 64) {
    Report(FaultKind::kLaunch, [&] {
      return "grid (" + std::to_string(grid.size.x) + ", " + std::to_string(grid.size.y) + ", " +
             std::to_string(grid.size.z) + "), " + std::to_string(threads) + " threads";
    });
    machine = nullptr;
    return false;
  }
  if (epoch_counter > 0xf0000000u) std::abort();  // epochs would wrap
  const auto each_block = [&](auto body_of) {
    for (unsigned z = 0; z < grid.size.z; ++z) {
      for (unsigned y = 0; y < grid.size.y; ++y) {
        for (unsigned x = 0; x < grid.size.x && !running.abandoned; ++x) body_of(Dim3(x, y, z));
      }
    }
  };
  if (grid.cooperative) {
    std::vector<Block> blocks(grid.size.volume());
    const Pages stacks(blocks.size() * threads * kStackBytes);
    const Pages arenas(blocks.size() * sizeof(Arena));
    uint16_t slot = 0;
    each_block([&](Dim3 index) {
      Block& of = blocks[slot];
      of.slot = slot;
      of.arena = reinterpret_cast<Arena*>(arenas.data()) + slot;
      StartBlock(of, index, stacks.data() + slot * threads * kStackBytes);
      ++slot;
    });
    RunBlocks(blocks);
  } else {
    static const Pages stacks(kMaxThreads * kStackBytes);
    static const Pages arena(sizeof(Arena));
    std::vector<Block> blocks(1);
    blocks[0].arena = reinterpret_cast<Arena*>(arena.data());
    each_block([&](Dim3 index) {
      StartBlock(blocks[0], index, stacks.data());
      RunBlocks(blocks);
    });
  }
  machine = nullptr;
  return !running.faulty;
}

Dim3 ThreadIndex() { return fiber->index; }
Dim3 BlockIndex() { return block->index; }
Dim3 BlockSize() { return machine->grid.block; }
Dim3 GridSize() { return machine->grid.size; }
unsigned ThreadRank() { return fiber->id; }
unsigned Lane() { return fiber->id % kWarp; }
bool Cooperative() { return machine->grid.cooperative; }

void BlockBarrier(const char* file, int line) { Wait(State::kBlockBarrier, file, line); }

void GridBarrier(const char* file, int line) {
  if (!machine->grid.cooperative) {
    Report(FaultKind::kLaunch, [] { return "a barrier of the grid in a launch that is not cooperative"; });
    Abandon();
  }
  Wait(State::kGridBarrier, file, line);
}

Lanes WarpCollective(const void* payload, size_t bytes, unsigned mask, bool fence, const char* file, int line) {
  if (bytes > kPayload) std::abort();
  Fiber* self = fiber;
  const unsigned lane = self->id % kWarp;
  if (!(mask >> lane & 1)) {
    Report(FaultKind::kWarpMask, [] { return "a lane that is not among those that it names"; });
    Abandon();
  }
  Warp& warp = block->warps[WarpOf(self->id)];
  self->mask = mask & LanesOf(*block, WarpOf(self->id));
  self->fence = fence;
  self->deposited = bytes;
  if (bytes > 0) std::memcpy(warp.deposits[lane], payload, bytes);
  Wait(State::kCollective, file, line);
  return {warp.results[0], self->mask};
}

void Require(int capability, const char* instruction) {
  if (machine->grid.capability >= capability) return;
  Report(FaultKind::kUnsupported, [&] {
    return std::string(instruction) + " needs sm_" + std::to_string(capability) + ", this is sm_" +
           std::to_string(machine->grid.capability) + ",";
  });
  Abandon();
}

void ReadLane(const Lanes& lanes, unsigned lane, void* value, size_t bytes) {
  if (!(lanes.mask >> lane & 1)) {
    Report(FaultKind::kWarpMask, [&] {
      return "a value from lane " + std::to_string(lane) + ", which is not among those named";
    });
  }
  std::memcpy(value, lanes.values + lane * kPayload, bytes);
}

char* TakeShared(size_t* cursor, size_t bytes, size_t align) {
  Arena& arena = *block->arena;
  const size_t offset = (*cursor + align - 1) / align * align;
  // The guard is this machine's own: it does not count against what the launch asked for.
  *cursor = (offset + bytes + kGuardBytes + 15) / 16 * 16;
  if (*cursor > kArenaBytes) {
    Report(FaultKind::kLaunch, [] { return "more shared memory than there is"; });
    Abandon();
  }
  if (!arena.granted[offset]) {
    std::memset(arena.granted + offset, 1, bytes);
    arena.used = std::max(arena.used, offset + bytes);
    for (size_t c = offset / 4; c < (offset + bytes + 3) / 4; ++c) arena.cells[c] = Cell();
    // Noise instead of the zeros that a fresh process would offer.
    std::memset(arena.bytes + offset, 0x7f, bytes);
    block->shared_taken += (bytes + 15) / 16 * 16;
    if (block->shared_taken > machine->grid.shared_bytes) {
      Report(FaultKind::kLaunch, [&] {
        return "the kernel takes " + std::to_string(block->shared_taken) +
               " bytes of shared memory, the launch gave " + std::to_string(machine->grid.shared_bytes);
      });
    }
  }
  return arena.bytes + offset;
}

void CheckAccess(const void* address, size_t bytes, bool write, size_t align) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  const void* pc = __builtin_return_address(0);
  if (at % align != 0) Report(FaultKind::kMisaligned, [&] { return Address(at, bytes, write, pc); });
  Access(at, bytes, write ? Kind::kWrite : Kind::kRead, pc);
}

void CheckAtomic(const void* address, size_t bytes) {
  Access(reinterpret_cast<uintptr_t>(address), bytes, Kind::kAtomic, __builtin_return_address(0));
}

void AsyncCopy(void* shared, const void* global, size_t bytes, size_t valid_bytes) {
  const uintptr_t to = reinterpret_cast<uintptr_t>(shared);
  const void* pc = __builtin_return_address(0);
  if (valid_bytes > 0) CheckAccess(global, valid_bytes, false, 4);
  if (to % bytes != 0 || (valid_bytes > 0 && reinterpret_cast<uintptr_t>(global) % bytes != 0)) {
    Report(FaultKind::kMisaligned, [&] { return Address(to, bytes, true, pc); });
  }
  // Whoever still reads what was there is too late, and whoever reads before the wait too early.
  Access(to, bytes, Kind::kWrite, pc);
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

void* Allocate(int device, size_t bytes) {
  // Bytes to either side belong to nobody.
  char* memory = static_cast<char*>(std::aligned_alloc(256, (bytes + 512 + 255) / 256 * 256));
  if (memory == nullptr) return nullptr;
  void* pointer = memory + 256;
  std::lock_guard<std::mutex> lock(MemoryMutex());
  Region& region = Regions()[reinterpret_cast<uintptr_t>(pointer)];
  region.begin = reinterpret_cast<uintptr_t>(pointer);
  region.bytes = bytes;
  region.device = device;
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
      Report(FaultKind::kUninitializedRead, [&] {
        return "copy to the host of " + std::to_string(bytes) + " bytes, of which byte " + std::to_string(at - begin) +
               " was never written";
      });
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
