// How much memory this process may still take: the machine's and its control groups'.
#ifndef PRISMREC_RUNTIME_MEMORY_H_
#define PRISMREC_RUNTIME_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

namespace prismrec {

// Bytes that an allocation can have without driving the machine into swapping or the container over
// its limit; SIZE_MAX where the system does not say.
size_t AvailableMemory();

// What a control group's folder leaves of its limit, file caches not counted; SIZE_MAX without one.
size_t GroupHeadroom(const std::string& folder);

// Calls visit(folder) for each control group that limits this process by `controller`, the outer
// ones too, in either version of the file system.
template <class Visit>
void ForEachControlGroup(const std::string& controller, Visit visit) {
  const std::string root = "/sys/fs/cgroup";
  visit(root);
  visit(root + "/" + controller);
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // hierarchy-id:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v1 = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!controllers.empty() && !v1) continue;
    std::string path = line.substr(second + 1);
    while (path.size() > 1) {
      visit(root + (v1 ? "/" + controller : "") + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
}

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_MEMORY_H_
