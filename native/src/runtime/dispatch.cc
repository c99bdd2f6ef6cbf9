#include "runtime/dispatch.h"

namespace prismrec {
namespace {

std::vector<Device>& Devices() {
  static std::vector<Device>* const devices = new std::vector<Device>;
  return *devices;
}

}  // namespace

bool RegisterDevice(const Device& device) {
  Devices().push_back(device);
  return true;
}

const Device* FindDevice(const char* name) {
  for (const Device& device : Devices()) {
    if (std::strcmp(device.name, name) == 0) return &device;
  }
  return nullptr;
}

}  // namespace prismrec
