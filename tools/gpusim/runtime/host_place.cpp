#include "tools/gpusim/runtime/host_place.h"

#include <dlfcn.h>
#include <execinfo.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace gpusim {
namespace {

struct ClosePipe {
  void operator()(std::FILE* pipe) const { pclose(pipe); }
};

// addr2line prints "file:line", and for inlined functions one such line for each level, the innermost first.
std::vector<HostPlace> lines_of(const std::string& object, std::uintptr_t offset) {
  char command[4096];
  std::snprintf(command, sizeof command, "unset LD_PRELOAD LD_LIBRARY_PATH; addr2line -i -e '%s' 0x%zx 2>/dev/null",
                object.c_str(), static_cast<std::size_t>(offset));
  const std::unique_ptr<std::FILE, ClosePipe> output(popen(command, "r"));
  std::vector<HostPlace> result;
  char line[4096];
  while (output && std::fgets(line, sizeof line, output.get())) {
    const std::string text = line;
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || text[0] == '?') continue;
    result.push_back({text.substr(0, colon), std::atoi(text.c_str() + colon + 1)});
  }
  return result;
}

// The C library's own sources have names, too, but are not there.
bool is_own(const HostPlace& place) {
  std::error_code error;
  return place.line > 0 && place.file.find("/cuda_runtime") == std::string::npos &&
         std::filesystem::exists(place.file, error);
}

}  // namespace

HostStack host_stack() {
  void* addresses[24];
  const int count = backtrace(addresses, 24);
  Dl_info here{}, there{};
  dladdr(reinterpret_cast<void*>(&host_place), &here);
  HostStack result;
  for (int i = 0; i < count; ++i) {
    if (dladdr(addresses[i], &there) == 0 || there.dli_fbase == here.dli_fbase) continue;
    result.push_back(addresses[i]);
  }
  return result;
}

HostPlace host_place(const HostStack& stack) {
  for (void* address : stack) {
    Dl_info info{};
    if (dladdr(address, &info) == 0 || !info.dli_fname) continue;
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    const auto object = std::filesystem::exists(info.dli_fname, error) ? std::filesystem::path(info.dli_fname) : self;
    // One byte back: a return address may belong to the next line. Objects are linked to be loaded anywhere, but
    // executables need not be: then addresses in the file are those in memory.
    const auto base = reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    const auto at = reinterpret_cast<std::uintptr_t>(address) - 1;
    for (const std::uintptr_t offset : {at - base, at}) {
      for (const HostPlace& place : lines_of(object.string(), offset)) {
        if (is_own(place)) return place;
      }
    }
  }
  return {};
}

}  // namespace gpusim
