// Rows on the device: copies with a padded stride, of unit length where wished, and the way of a gradient back.
#ifndef PRISMREC_CUDA_ROWS_CUH_
#define PRISMREC_CUDA_ROWS_CUH_

#include <cstdint>

#include "cuda/runtime.cuh"
#include "runtime/tensor_view.h"

namespace prismrec::cuda {

struct DeviceRows {
  float* data = nullptr;    // [count, stride]
  float* length = nullptr;  // [count]; null: rows are as given
  int count = 0;
  int dim = 0;
  int stride = 0;
};

// Uninitialised rows.
DeviceRows AllocateRows(Session& session, size_t count, size_t dim, bool unit);

// Copies the host's matrix to rows [first, first + from.rows) of `to`, row order[i] where there is an order (on the
// device), scaled to unit length where `to` has lengths; a row of subnormal numbers has no direction and becomes 0.
void FillRows(Session& session, const MatrixView<const float>& from, const uint32_t* order, size_t first,
              const DeviceRows& to);

// From gradients [count, stride] with respect to rows [first, first + count) to those of the rows as given, for the
// host's [count, dim], row i at order[i].
void DownloadGradient(Session& session, const DeviceRows& rows, size_t first, size_t count, const float* gradient,
                      const uint32_t* order, float* host);

}  // namespace prismrec::cuda

#endif  // PRISMREC_CUDA_ROWS_CUH_
