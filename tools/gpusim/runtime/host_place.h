// Where in the host's source a call came from: for findings that no kernel is to blame for.
#pragma once

#include <string>
#include <vector>

namespace gpusim {

using HostStack = std::vector<void*>;  // return addresses, the innermost first

HostStack host_stack();  // of the caller, outside this library

struct HostPlace {
  std::string file;  // empty when unknown: the program was built without -g, or there is no addr2line
  int line = 0;
};

// The innermost place in the program's own source (the run-time's headers are passed over).
HostPlace host_place(const HostStack& stack);

}  // namespace gpusim
