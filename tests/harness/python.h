// Runs Python where it is installed, to hold files against other libraries.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine/file.h"

namespace heed::test {

// Runs `script` with python3 in `folder`. Returns its exit status; what it prints goes to standard error.
inline int run_python(const std::filesystem::path& folder, const std::string& script) {
  write_file(folder / "script.py", script);
  const int status = std::system(fmt::format("cd '{}' && python3 script.py 1>&2", folder.string()).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Whether python3 is there and has these modules: "numpy, safetensors".
inline bool python_has(const std::string& modules) {
  return std::system(fmt::format("python3 -c 'import {}' >/dev/null 2>&1", modules).c_str()) == 0;
}

}  // namespace heed::test
