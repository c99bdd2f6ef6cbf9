#include "ops/similarity_search/index_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <new>
#include <string>

#include "ops/similarity_search/similarity_search.h"
#include "runtime/large_pages.h"
#include "runtime/memory.h"

namespace prismrec::similarity_search {
namespace {

// What is read, written or summed up at once.
constexpr size_t kPiece = size_t{1} << 20;
constexpr size_t kPanelsPerChunk = 128;

constexpr uint64_t kPrime1 = 0x9e3779b185ebca87u;
constexpr uint64_t kPrime2 = 0xc2b2ae3d27d4eb4fu;

uint64_t Mix(uint64_t sum, uint64_t word) {
  sum += word * kPrime2;
  return ((sum << 31) | (sum >> 33)) * kPrime1;
}

// Four sums side by side, as a multiplication takes several cycles.
uint64_t Checksum(const char* data, size_t size) {
  uint64_t sums[4] = {kPrime1 + kPrime2, kPrime2, size, 0 - kPrime1};
  size_t at = 0;
  for (; at + sizeof(sums) <= size; at += sizeof(sums)) {
    uint64_t words[4];
    std::memcpy(words, data + at, sizeof(words));
    for (int i = 0; i < 4; ++i) sums[i] = Mix(sums[i], words[i]);
  }
  for (; at < size; ++at) sums[at % 4] = Mix(sums[at % 4], static_cast<unsigned char>(data[at]));
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum = Mix(sum, part) ^ (sum >> 29);
  return sum;
}

class File {
 public:
  File(const std::string& path, int flags) : handle_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~File() {
    if (handle_ >= 0) close(handle_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int handle() const { return handle_; }

 private:
  int handle_;
};

Status Failed(const char* what, const std::string& path, int error) {
  const std::string message = std::string("cannot ") + what + " " + path;
  if (error == ENOENT) {
    return MakeStatus(StatusCode::kFileNotFound, message, "", std::strerror(error), "Check the path.");
  }
  const bool full = error == ENOSPC || error == EDQUOT;
  return MakeStatus(full ? StatusCode::kDiskFull : StatusCode::kIo, message, "",
                    std::strerror(error), full ? "Free some space." : "");
}

// 0, or the error; 0 with less than `size` bytes where the file ends early.
int ReadAt(int file, char* to, size_t size, size_t offset, size_t* read) {
  *read = 0;
  while (*read < size) {
    const ssize_t more = pread(file, to + *read, size - *read, static_cast<off_t>(offset + *read));
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return errno;
    if (more == 0) break;
    *read += static_cast<size_t>(more);
  }
  return 0;
}

int Write(int file, const char* from, size_t size) {
  for (size_t written = 0; written < size;) {
    const ssize_t more = write(file, from + written, size - written);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return errno;
    written += static_cast<size_t>(more);
  }
  return 0;
}

bool AllFinite(const float* values, size_t count) {
  // A sum of zeros, without a branch for each value.
  float sum = 0;
  for (size_t i = 0; i < count; ++i) sum += values[i] * 0.0f;
  return sum == 0.0f;
}

}  // namespace

uint64_t HeaderChecksum(const IndexHeader& header) {
  return Checksum(reinterpret_cast<const char*>(&header), offsetof(IndexHeader, checksum));
}

uint64_t ContentChecksum(const char* data, size_t size, ThreadPool& pool, const CancelFlag& cancel) {
  const size_t pieces = (size + kPiece - 1) / kPiece;
  std::vector<uint64_t> sums(pieces);
  pool.ParallelFor(pieces, cancel, [&](size_t piece, int) {
    const size_t begin = piece * kPiece;
    sums[piece] = Checksum(data + begin, std::min(kPiece, size - begin));
  });
  return Checksum(reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(uint64_t));
}

Status Index::Save(const std::string& path, ThreadPool& pool, const CancelFlag& cancel) const {
  IndexHeader header = *header_;
  const char* const content = memory_ + ContentOffset();
  const size_t size = bytes_ - ContentOffset();
  header.content = ContentChecksum(content, size, pool, cancel);
  header.checksum = HeaderChecksum(header);
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.handle() < 0) return Failed("write", path, errno);
  // The rest of the header's place is 0.
  std::vector<char> head(ContentOffset());
  std::memcpy(head.data(), &header, sizeof(header));
  int error = Write(file.handle(), head.data(), head.size());
  for (size_t at = 0; error == 0 && at < size; at += kPiece) {
    if (cancel.Cancelled()) return Cancelled();
    error = Write(file.handle(), content + at, std::min(kPiece, size - at));
  }
  if (error == 0 && fsync(file.handle()) != 0) error = errno;
  return error == 0 ? Status::Ok() : Failed("write", path, error);
}

Status Index::Open(const std::string& path, bool mapped, ThreadPool& pool, const CancelFlag& cancel,
                   std::unique_ptr<Index>* index) {
  const auto refuse = [&path](const std::string& expected, const std::string& received) {
    return MakeStatus(StatusCode::kDataFormat, path + " is not an index that can be used", expected,
                      received, "Build the index again and save it.");
  };
  const File file(path, O_RDONLY);
  struct stat about;
  if (file.handle() < 0 || fstat(file.handle(), &about) != 0) return Failed("read", path, errno);
  const size_t size = S_ISREG(about.st_mode) ? static_cast<size_t>(about.st_size) : 0;
  IndexHeader header;
  size_t read = 0;
  if (size < sizeof(header)) return refuse("a saved index", std::to_string(size) + " bytes");
  if (const int error = ReadAt(file.handle(), reinterpret_cast<char*>(&header), sizeof(header), 0, &read)) {
    return Failed("read", path, error);
  }
  if (read < sizeof(header) || std::memcmp(header.magic, kIndexMagic, sizeof(kIndexMagic)) != 0) {
    return refuse("a saved index", "another kind of file");
  }
  if (header.version != kIndexVersion) {
    return refuse("version " + std::to_string(kIndexVersion) + " in this machine's byte order",
                  "version " + std::to_string(header.version));
  }
  if (header.checksum != HeaderChecksum(header) || header.panel_items != kPanelItems ||
      header.rows < 1 || header.rows >= kNoItem || header.cols < 1 ||
      header.rows > size / sizeof(float) / header.cols || header.metric > 1 || header.biased > 1 ||
      header.coded > 1 || header.reserved != 0 ||
      !(header.largest_bias >= 0 && std::isfinite(header.largest_bias))) {
    return refuse("an intact header", "a damaged one");
  }
  std::unique_ptr<Index> opened(new Index());
  opened->rows_ = header.rows;
  opened->cols_ = header.cols;
  opened->metric_ = header.metric == 0 ? Metric::kDot : Metric::kCosine;
  opened->largest_bias_ = header.largest_bias;
  const size_t needed = opened->Place(header.biased != 0, header.coded != 0);
  if (header.bytes != size || needed != size) {
    return refuse(std::to_string(needed) + " bytes", std::to_string(size) + " bytes");
  }

  const MemoryClaim claim(mapped ? 0 : size);
  void* const memory = mapped ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.handle(), 0)
                              : mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  opened->memory_ = static_cast<char*>(memory);
  opened->bytes_ = size;
  opened->Place(header.biased != 0, header.coded != 0);
  if (!mapped) {
    AdviseLargePages(memory, size);
    std::atomic<int> error{0};
    std::atomic<bool> ended{false};
    pool.ParallelFor((size + kPiece - 1) / kPiece, cancel, [&](size_t piece, int) {
      const size_t begin = piece * kPiece, count = std::min(kPiece, size - begin);
      size_t got = 0;
      if (const int failed = ReadAt(file.handle(), opened->memory_ + begin, count, begin, &got)) {
        error = failed;
      } else if (got < count) {
        ended = true;
      }
    });
    if (cancel.Cancelled()) return Cancelled();
    if (error != 0) return Failed("read", path, error);
    if (ended) return refuse(std::to_string(size) + " bytes", "fewer");
  }
  // What is used from here on is what lies in memory, and that is what is checked.
  if (std::memcmp(opened->memory_, &header, sizeof(header)) != 0 ||
      header.content != ContentChecksum(opened->memory_ + ContentOffset(), size - ContentOffset(),
                                        pool, cancel)) {
    if (cancel.Cancelled()) return Cancelled();
    return refuse("content with the checksum it was saved with", "damaged content");
  }
  const char* const wrong = opened->WhatIsWrong(pool, cancel);
  if (cancel.Cancelled()) return Cancelled();
  if (wrong != nullptr) return refuse("an index as `save` writes it", wrong);
  *index = std::move(opened);
  return Status::Ok();
}

// A checksum guards against accidents; whoever can make an index up can make up its checksum too.
const char* Index::WhatIsWrong(ThreadPool& pool, const CancelFlag& cancel) const {
  // What searches use to address memory.
  std::vector<bool> seen(rows_);
  for (size_t i = 0; i < rows_; ++i) {
    if (ids_[i] >= rows_ || seen[ids_[i]]) return "ids that are not each item once";
    seen[ids_[i]] = true;
  }
  const size_t chunks = (panels() + kPanelsPerChunk - 1) / kPanelsPerChunk;
  // The first in the order of the panels, whoever finds it.
  std::vector<const char*> wrong(chunks, nullptr);
  pool.ParallelFor(chunks, cancel, [&](size_t chunk, int) {
    const size_t end = std::min(panels(), (chunk + 1) * kPanelsPerChunk);
    for (size_t p = chunk * kPanelsPerChunk; p < end && wrong[chunk] == nullptr; ++p) {
      wrong[chunk] = WhatIsWrongIn(p);
    }
  });
  for (const char* finding : wrong) {
    if (finding != nullptr) return finding;
  }
  return nullptr;
}

const char* Index::WhatIsWrongIn(size_t p) const {
  const size_t first = p * kPanelItems, count = std::min(kPanelItems, rows_ - first);
  const auto sound = [](float bound) { return std::isfinite(bound) && bound >= 0; };
  if (!sound(norms_[p]) || (p > 0 && norms_[p] > norms_[p - 1])) return "lengths out of order";
  if (!AllFinite(panel(p), cols_ * kPanelItems)) return "vectors that are not finite";
  if (bias_ != nullptr) {
    if (!AllFinite(bias_ + first, kPanelItems) || !std::isfinite(bias_tops_[p])) {
      return "a bias that is not finite";
    }
    for (size_t i = first; i < first + count; ++i) {
      if (bias_[i] > bias_tops_[p] || std::fabs(static_cast<double>(bias_[i])) > largest_bias_) {
        return "a bias beyond its bound";
      }
    }
  }
  if (coarse_codes_ == nullptr) return nullptr;
  if (!sound(errors_[p].coarse) || !sound(errors_[p].fine)) return "bounds that are not finite";
  for (size_t i = first; i < first + kPanelItems; ++i) {
    if (!sound(scales_[i])) return "scales that are not finite";
  }
  return nullptr;
}

}  // namespace prismrec::similarity_search
