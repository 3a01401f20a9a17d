// Runs a fuzz target on files, and on every beginning of them: what libFuzzer does not need, where there is no clang.
#include <cstdio>
#include <filesystem>

#include "engine/file.h"
#include "tests/fuzz/fuzz.h"

namespace {

void run(std::string_view bytes) {
  const std::string copy(bytes);  // of its own size, so that a sanitizer sees reads beyond it
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(copy.data()), copy.size());
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      const std::string bytes = heed::read_file(entry.path());
      const std::size_t step = bytes.size() / 500 + 1;
      for (std::size_t length = 0; length < bytes.size(); length += step)
        run(std::string_view(bytes).substr(0, length));
      run(bytes);
      ++files;
    }
  }
  std::printf("%d seeds\n", files);
  return files == 0;
}
