#include "cuda/rows.cuh"

#include <cfloat>

#include "cuda/tile.cuh"

namespace prismrec::cuda {
namespace {

constexpr int kRowsThreads = 128;
constexpr int kRowsAtOnce = kRowsThreads / kWarpSize;

// A warp to a row. length null: copied as it is.
__global__ void __launch_bounds__(kRowsThreads)
    FillRowsKernel(const float* from, const uint32_t* order, int count, int dim, int stride, float* to, float* length) {
  const int i = static_cast<int>(blockIdx.x) * kRowsAtOnce + WarpIndex();
  if (i >= count) return;
  const float* row = from + static_cast<size_t>(order != nullptr ? order[i] : i) * dim;
  float scale = 1.0f;
  float largest = 1.0f;
  if (length != nullptr) {
    // Scaled first, so that neither tiny nor huge rows lose their length to the square.
    largest = 0;
    for (int k = Lane(); k < dim; k += kWarpSize) largest = fmaxf(largest, fabsf(row[k]));
    largest = WarpMax(largest);
    if (largest < FLT_MIN) {
      scale = 0;
    } else {
      float squares = 0;
      for (int k = Lane(); k < dim; k += kWarpSize) {
        const float x = row[k] / largest;
        squares = __fmaf_rn(x, x, squares);
      }
      const float scaled = sqrtf(WarpSum(squares));
      scale = 1.0f / scaled;
      if (Lane() == 0) length[i] = scaled * largest;
    }
    if (scale == 0 && Lane() == 0) length[i] = 0;
  }
  for (int k = Lane(); k < stride; k += kWarpSize) {
    to[static_cast<size_t>(i) * stride + k] =
        k >= dim ? 0.0f : length == nullptr ? row[k] : scale == 0 ? 0.0f : row[k] / largest * scale;
  }
}

// A warp to a row: (g - <h, g> h) / length.
__global__ void __launch_bounds__(kRowsThreads)
    GradientRowsKernel(const float* rows, const float* length, const float* gradient, const uint32_t* order, int count,
                       int dim, int stride, float* to) {
  const int i = static_cast<int>(blockIdx.x) * kRowsAtOnce + WarpIndex();
  if (i >= count) return;
  const float* h = rows + static_cast<size_t>(i) * stride;
  const float* g = gradient + static_cast<size_t>(i) * stride;
  float along = 0;
  float inverse = 1;
  if (length != nullptr) {
    for (int k = Lane(); k < dim; k += kWarpSize) along = __fmaf_rn(h[k], g[k], along);
    along = WarpSum(along);
    inverse = length[i] > 0 ? 1.0f / length[i] : 0.0f;
  }
  float* out = to + static_cast<size_t>(order != nullptr ? order[i] : i) * dim;
  for (int k = Lane(); k < dim; k += kWarpSize) {
    out[k] = length == nullptr ? g[k] : inverse == 0 ? 0.0f : __fmaf_rn(-along, h[k], g[k]) * inverse;
  }
}

dim3 Blocks(size_t count) { return dim3(static_cast<unsigned>((count + kRowsAtOnce - 1) / kRowsAtOnce)); }

}  // namespace

DeviceRows AllocateRows(Session& session, size_t count, size_t dim, bool unit) {
  DeviceRows rows;
  rows.count = static_cast<int>(count);
  rows.dim = static_cast<int>(dim);
  rows.stride = PaddedStride(rows.dim);
  rows.data = session.Allocate<float>(count * static_cast<size_t>(rows.stride));
  if (unit) rows.length = session.Allocate<float>(count);
  return rows;
}

void FillRows(Session& session, const MatrixView<const float>& from, const uint32_t* order, size_t first,
              const DeviceRows& to) {
  if (from.rows == 0) return;
  const float* given = session.Upload(from.data, from.size());
  PRISMREC_CUDA_LAUNCH(FillRowsKernel, Blocks(from.rows), dim3(kRowsThreads), 0, session.stream(), given, order,
                       static_cast<int>(from.rows), to.dim, to.stride, to.data + first * static_cast<size_t>(to.stride),
                       to.length == nullptr ? nullptr : to.length + first);
}

void DownloadGradient(Session& session, const DeviceRows& rows, size_t first, size_t count, const float* gradient,
                      const uint32_t* order, float* host) {
  if (count == 0 || host == nullptr) return;
  const size_t at = first * static_cast<size_t>(rows.stride);
  float* out = session.Allocate<float>(count * static_cast<size_t>(rows.dim));
  PRISMREC_CUDA_LAUNCH(GradientRowsKernel, Blocks(count), dim3(kRowsThreads), 0, session.stream(), rows.data + at,
                       rows.length == nullptr ? nullptr : rows.length + first, gradient, order,
                       static_cast<int>(count), rows.dim, rows.stride, out);
  session.Download(host, out, count * static_cast<size_t>(rows.dim));
}

}  // namespace prismrec::cuda
