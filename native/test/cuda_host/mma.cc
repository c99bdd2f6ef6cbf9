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

float AsBf16(uint32_t bits) {
  bits <<= 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// All lanes' fragments.
class Fragments {
 public:
  Fragments(const uint32_t* a, const uint32_t* b, const char* instruction) {
    Require(80, instruction);
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    lanes_ = WarpCollective(mine, sizeof mine, ~0u, false, instruction, 0);
  }
  // Register i of a lane, those of b after the four of a.
  uint32_t operator()(unsigned lane, unsigned i) const {
    uint32_t all[6];
    ReadLane(lanes_, lane, all, sizeof all);
    return all[i];
  }

 private:
  Lanes lanes_;
};

// The results of a lane from its two rows of a and its two columns of b. A tensor core adds up eight terms at a time.
template <unsigned kDepth>
void Accumulate(float* accumulator, const double (&left)[2][kDepth], const double (&right)[2][kDepth]) {
  for (unsigned i = 0; i < 4; ++i) {
    for (unsigned begin = 0; begin < kDepth; begin += 8) {
      double sum = accumulator[i];
      for (unsigned k = begin; k < begin + 8; ++k) sum += left[i / 2][k] * right[i % 2][k];
      accumulator[i] = CutOff(sum);
    }
  }
}

}  // namespace

uint32_t ToBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (std::isnan(x)) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The rows and columns of a lane's results: lane / 4 and lane / 4 + 8, lane % 4 * 2 and lane % 4 * 2 + 1.
void MmaTf32(float* accumulator, const uint32_t* a, const uint32_t* b) {
  const Fragments fragments(a, b, "mma.m16n8k8.tf32");
  const unsigned row = Lane() / 4;
  const unsigned column = Lane() % 4 * 2;
  double left[2][8];
  double right[2][8];
  for (unsigned which = 0; which < 2; ++which) {
    for (unsigned k = 0; k < 8; ++k) {
      left[which][k] = AsTf32(fragments(row * 4 + k % 4, which + (k / 4) * 2));
      right[which][k] = AsTf32(fragments((column + which) * 4 + k % 4, 4 + k / 4));
    }
  }
  Accumulate(accumulator, left, right);
}

void MmaBf16(float* accumulator, const uint32_t* a, const uint32_t* b) {
  const Fragments fragments(a, b, "mma.m16n8k16.bf16");
  const unsigned row = Lane() / 4;
  const unsigned column = Lane() % 4 * 2;
  const auto half = [](uint32_t pair, unsigned k) { return AsBf16(k % 2 == 0 ? pair & 0xffff : pair >> 16); };
  double left[2][16];
  double right[2][16];
  for (unsigned which = 0; which < 2; ++which) {
    for (unsigned k = 0; k < 16; ++k) {
      left[which][k] = half(fragments(row * 4 + k % 8 / 2, which + (k / 8) * 2), k);
      right[which][k] = half(fragments((column + which) * 4 + k % 8 / 2, 4 + k / 8), k);
    }
  }
  Accumulate(accumulator, left, right);
}

}  // namespace cuda_host
