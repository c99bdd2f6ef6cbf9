#include "cuda/library.h"

#include <cstdlib>
#include <string>

#include "cuda/runtime.cuh"
#include "ops/contrastive_loss/cuda/contrastive_loss.h"
#include "ops/dynamic_routing/cuda/dynamic_routing.h"
#include "ops/max_cover/cuda/max_cover.h"
#include "ops/similarity_search/cuda/similarity_search.h"
#include "ops/softmax_loss/cuda/softmax_loss.h"

namespace prismrec::cuda {
namespace {

constexpr int kLeastCapability = 75;

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Status Fill(Report* report) {
  if (cudaDriverGetVersion(&report->driver) != cudaSuccess) report->driver = 0;
  if (cudaRuntimeGetVersion(&report->runtime) != cudaSuccess) report->runtime = 0;
  cudaGetLastError();
  if (report->driver == 0) {
    return DeviceUnavailable("no NVIDIA driver is installed", "a driver for CUDA " + VersionText(report->runtime),
                                       "none", "Install NVIDIA's driver, or use device \"cpu\".");
  }
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) {
    return DeviceUnavailable("the NVIDIA driver is too old", "a driver for CUDA " + VersionText(report->runtime),
                                       "one for CUDA " + VersionText(report->driver), "Install a newer driver.");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return DeviceUnavailable("the NVIDIA driver finds no GPU", "a GPU of compute capability 7.5 or newer", "none",
                             "See nvidia-smi; in a container, pass the GPU through.");
  }
  if (error != cudaSuccess) {
    return DeviceUnavailable("CUDA does not start", "", std::string(cudaGetErrorName(error)) + ": " +
                                                                       cudaGetErrorString(error));
  }
  int before = 0;
  PRISMREC_CUDA_CHECK(cudaGetDevice(&before));
  for (int d = 0; d < count; ++d) {
    cudaDeviceProp properties;
    Device device;
    PRISMREC_CUDA_CHECK(cudaGetDeviceProperties(&properties, d));
    device.name = properties.name;
    device.capability = properties.major * 10 + properties.minor;
    PRISMREC_CUDA_CHECK(cudaSetDevice(d));
    PRISMREC_CUDA_CHECK(cudaMemGetInfo(&device.free_bytes, &device.memory_bytes));
    report->devices.push_back(device);
  }
  PRISMREC_CUDA_CHECK(cudaSetDevice(before));
  const int wished = WishedDevice();
  if (wished < 0 || wished >= count) {
    return DeviceUnavailable("there is no device of that number", "PRISMREC_CUDA_DEVICE from 0 to " +
                                       std::to_string(count - 1), std::getenv("PRISMREC_CUDA_DEVICE"));
  }
  const Device& device = report->devices[static_cast<size_t>(wished)];
  if (device.capability < kLeastCapability) {
    return DeviceUnavailable("the GPU is too old", "compute capability 7.5 or newer",
                                       device.name + " with " + std::to_string(device.capability / 10) + "." +
                                           std::to_string(device.capability % 10));
  }
  return Status::Ok();
}

void Describe(Report* report) {
  try {
    report->status = Fill(report);
  } catch (const Error& error) {
    report->status = error.status();
  }
}

constexpr Library kLibrary = {
    kAbi,
    Describe,
    contrastive_loss::RunOnCuda,
    softmax_loss::RunOnCuda,
    similarity_search::RunOnCuda,
    dynamic_routing::ForwardOnCuda,
    dynamic_routing::BackwardOnCuda,
    max_cover::GreedyOnCuda,
};

}  // namespace
}  // namespace prismrec::cuda

extern "C" __attribute__((visibility("default"))) const prismrec::cuda::Library* prismrec_cuda_library() {
  return &prismrec::cuda::kLibrary;
}
