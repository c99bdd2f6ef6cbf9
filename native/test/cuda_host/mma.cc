// Tensor-core instructions on the pretended machine, with the fragments' layouts and the rounding of the real ones.
#include <cfenv>
#include <cmath>
#include <cstring>

#include "machine.h"

namespace cuda_host {
namespace {

// A tensor core reads the upper 19 bits and ignores the rest.
float AsTf32(uint32_t bits) {
  bits &= ~0x1fffu;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Products are exact; their sum with the accumulator is cut off, not rounded to nearest (measured on sm_70 to sm_90
// by Fasi et al., "Numerical behavior of NVIDIA tensor cores", 2021).
float CutOff(double x) {
  float value = static_cast<float>(x);
  if (std::isfinite(value) && std::fabs(static_cast<double>(value)) > std::fabs(x)) value = std::nextafter(value, 0.0f);
  return value;
}

}  // namespace

void MmaTf32(float* accumulator, const uint32_t* a, const uint32_t* b) {
  uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const char* lanes = WarpCollective(mine, sizeof mine, ~0u, false, "mma.m16n8k8.tf32", 0);
  const auto fragment = [&](unsigned lane, unsigned i) {
    uint32_t bits;
    std::memcpy(&bits, lanes + lane * kPayload + i * sizeof bits, sizeof bits);
    return static_cast<double>(AsTf32(bits));
  };
  // The rows and columns of this lane's results: group and group + 8, 2 t and 2 t + 1.
  const unsigned group = Lane() / 4;
  const unsigned column = Lane() % 4 * 2;
  double left[2][8];
  double right[2][8];
  for (unsigned which = 0; which < 2; ++which) {
    for (unsigned k = 0; k < 8; ++k) {
      left[which][k] = fragment(group * 4 + k % 4, which + (k / 4) * 2);
      right[which][k] = fragment((column + which) * 4 + k % 4, 4 + k / 4);
    }
  }
  for (unsigned i = 0; i < 4; ++i) {
    double sum = accumulator[i];
    for (unsigned k = 0; k < 8; ++k) sum += left[i / 2][k] * right[i % 2][k];
    accumulator[i] = CutOff(sum);
  }
}

}  // namespace cuda_host
