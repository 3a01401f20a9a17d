#include "tools/gpusim/runtime/registers.h"

#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>

namespace gpusim {
namespace {

template <class T>
T read_at(std::string_view data, std::size_t offset) {
  T value{};
  if (offset + sizeof value <= data.size()) std::memcpy(&value, data.data() + offset, sizeof value);
  return value;
}

std::string find_ptxas() {
  namespace fs = std::filesystem;
  std::string folders = std::getenv("PATH") ? std::getenv("PATH") : "";
  if (const char* home = std::getenv("CUDA_HOME")) folders += std::string(":") + home + "/bin";
  folders += ":/usr/local/cuda/bin";
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string file = folders.substr(begin, end - begin) + "/ptxas";
    if (access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  return {};
}

struct TemporaryFile {
  std::string name = (std::filesystem::temp_directory_path() / "gpusim-XXXXXX").string();
  int descriptor = mkstemp(name.data());
  ~TemporaryFile() {
    if (descriptor >= 0) {
      close(descriptor);
      unlink(name.c_str());
    }
  }
};

struct ClosePipe {
  void operator()(std::FILE* pipe) const { pclose(pipe); }
};

// ptxas -v tells, for each function:
//   ptxas info    : Function properties for NAME
//       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
//   ptxas info    : Used 10 registers, used 0 barriers, ...
ResourceTable parse_ptxas(std::FILE* output) {
  ResourceTable result;
  KernelResources* current = nullptr;
  char line[4096];
  while (std::fgets(line, sizeof line, output)) {
    char name[4000];
    int registers, stack, stores, loads;
    if (std::sscanf(line, "ptxas info : Function properties for %3999s", name) == 1) {
      current = &result[name];
    } else if (current && std::sscanf(line, " %d bytes stack frame, %d bytes spill stores, %d bytes spill loads",
                                      &stack, &stores, &loads) == 3) {
      current->stack_bytes = stack;
      current->spill_bytes = stores + loads;
    } else if (current && std::sscanf(line, "ptxas info : Used %d registers", &registers) == 1) {
      current->registers = registers;
    }
  }
  return result;
}

}  // namespace

ResourceTable resources_of_cubin(std::string_view elf) {
  ResourceTable result;
  const auto header = read_at<Elf64_Ehdr>(elf, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return result;
  const auto section = [&](std::size_t index) {
    return read_at<Elf64_Shdr>(elf, header.e_shoff + index * header.e_shentsize);
  };
  const auto names = section(header.e_shstrndx);
  if (names.sh_offset >= elf.size()) return result;
  constexpr std::string_view prefix = ".text.";
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const auto candidate = section(i);
    const std::string_view table = elf.substr(names.sh_offset, names.sh_size);
    if (candidate.sh_name >= table.size()) continue;
    const std::string_view name =
        table.substr(candidate.sh_name, table.find('\0', candidate.sh_name) - candidate.sh_name);
    if (!name.starts_with(prefix)) continue;
    result[std::string(name.substr(prefix.size()))] = {
        .registers = static_cast<int>(candidate.sh_info >> 24), .stack_bytes = -1, .spill_bytes = -1};
  }
  return result;
}

ResourceTable resources_by_ptxas(std::string_view ptx, int capability) {
  const std::string ptxas = find_ptxas();
  TemporaryFile file;
  if (ptxas.empty() || file.descriptor < 0) return {};
  if (write(file.descriptor, ptx.data(), ptx.size()) != static_cast<ssize_t>(ptx.size())) return {};
  // The child must not load the stand-ins.
  const std::string command = "unset LD_PRELOAD LD_LIBRARY_PATH; '" + ptxas + "' -v -arch=sm_" +
                              std::to_string(capability) + " -o /dev/null '" + file.name + "' 2>&1";
  const std::unique_ptr<std::FILE, ClosePipe> output(popen(command.c_str(), "r"));
  return output ? parse_ptxas(output.get()) : ResourceTable{};
}

}  // namespace gpusim
