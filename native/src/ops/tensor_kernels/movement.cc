// Kernels that move elements without computing on them, and the segment sum.
#include <cstring>
#include <string>

#include "ops/tensor_kernels/walk.h"

namespace prismrec::tensor {
namespace {

// Side of the square tile of a two-dimensional transpose: both sides stay in the first-level cache.
constexpr size_t kTile = 16;

template <class T>
void CopyRun(const T* src, std::ptrdiff_t step_src, T* dst, std::ptrdiff_t step_dst, size_t n) {
  if (step_src == 1 && step_dst == 1) {
    std::memcpy(dst, src, n * sizeof(T));
    return;
  }
  for (size_t i = 0; i < n; ++i) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(i);
    dst[at * step_dst] = src[at * step_src];
  }
}

// The two innermost dimensions where the source runs along the outer of them.
template <class T>
void CopyTile(const Geometry& g, const T* src, T* dst) {
  const int row = g.rank - 2, col = g.rank - 1;
  for (size_t r0 = 0; r0 < g.size[row]; r0 += kTile) {
    const size_t r1 = std::min(g.size[row], r0 + kTile);
    for (size_t c0 = 0; c0 < g.size[col]; c0 += kTile) {
      const size_t c1 = std::min(g.size[col], c0 + kTile);
      for (size_t r = r0; r < r1; ++r) {
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(r);
        const T* from = src + at * g.stride_a[row];
        T* to = dst + at * g.stride_b[row];
        for (size_t c = c0; c < c1; ++c) {
          const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(c);
          to[step * g.stride_b[col]] = from[step * g.stride_a[col]];
        }
      }
    }
  }
}

template <class T>
void CopyTyped(const Geometry& g, const T* src, T* dst) {
  if (g.Count() == 0) return;
  if (g.rank == 0) {
    *dst = *src;
    return;
  }
  const int last = g.rank - 1;
  if (g.rank >= 2 && g.stride_a[last] != 1 && g.stride_a[last - 1] == 1 && g.size[last - 1] > 4) {
    const size_t plane = g.size[last] * g.size[last - 1];
    ForRows(g.Count() / plane, plane, kCheapGrain, [&](size_t begin, size_t end) {
      Odometer at(g, last - 1, begin);
      for (size_t p = begin; p < end; ++p, at.Next()) CopyTile(g, src + at.a(), dst + at.b());
    });
    return;
  }
  const size_t inner = g.size[last];
  ForRows(g.Count() / inner, inner, kCheapGrain, [&](size_t begin, size_t end) {
    Odometer at(g, last, begin);
    for (size_t r = begin; r < end; ++r, at.Next()) {
      CopyRun(src + at.a(), g.stride_a[last], dst + at.b(), g.stride_b[last], inner);
    }
  });
}

}  // namespace

void Copy(const Geometry& geometry, const void* src, void* dst, size_t item) {
  if (item == 1) {
    CopyTyped(geometry, static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst));
  } else {
    CopyTyped(geometry, static_cast<const uint32_t*>(src), static_cast<uint32_t*>(dst));
  }
}

Status Gather(const void* x, const int32_t* ids, void* out, size_t batch, size_t outer, size_t axis,
              size_t count, size_t inner) {
  for (size_t i = 0; i < batch * count; ++i) {
    if (ids[i] >= 0 && static_cast<size_t>(ids[i]) < axis) continue;
    return InvalidArgument("gather index out of range", "0 <= index < " + std::to_string(axis),
                           std::to_string(ids[i]) + " at position " + std::to_string(i),
                           "Check the ids that index the table.");
  }
  const uint32_t* from = static_cast<const uint32_t*>(x);
  uint32_t* to = static_cast<uint32_t*>(out);
  ForRows(batch * outer * count, inner, kCheapGrain, [&](size_t begin, size_t end) {
    for (size_t row = begin; row < end; ++row) {
      const size_t b = row / (outer * count);
      const size_t plane = row / count;
      const size_t id = static_cast<size_t>(ids[b * count + row % count]);
      std::memcpy(to + row * inner, from + (plane * axis + id) * inner, inner * sizeof(uint32_t));
    }
  });
  return Status::Ok();
}

void SegmentSum(const float* x, const int32_t* ids, float* out, size_t count, size_t segments,
                size_t inner) {
  if (segments * inner == 0) return;
  // Each piece owns a range of segments and reads all ids: no two threads write one row, and each
  // row is summed in the order of the ids.
  const size_t pieces =
      count * inner <= kCheapGrain
          ? 1
          : std::min<size_t>(segments, static_cast<size_t>(ThreadPool::Global().threads()));
  const size_t width = (segments + pieces - 1) / pieces;
  ForRange(segments, width, [&](size_t begin, size_t end) {
    std::memset(out + begin * inner, 0, (end - begin) * inner * sizeof(float));
    for (size_t c = 0; c < count; ++c) {
      const std::ptrdiff_t id = ids[c];
      if (id < static_cast<std::ptrdiff_t>(begin) || id >= static_cast<std::ptrdiff_t>(end))
        continue;
      float* row = out + static_cast<size_t>(id) * inner;
      const float* from = x + c * inner;
      for (size_t i = 0; i < inner; ++i) row[i] += from[i];
    }
  });
}

}  // namespace prismrec::tensor
