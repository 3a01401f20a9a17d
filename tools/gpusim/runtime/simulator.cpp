#include "tools/gpusim/runtime/simulator.h"

#include <cstdio>

namespace gpusim {
namespace {

struct Output {
  std::mutex mutex;
  std::string text;
};

Output& output() {
  static Output& result = *new Output;
  return result;
}

}  // namespace

Simulator& simulator() {
  static Simulator& result = *new Simulator;
  return result;
}

void buffer_output(std::string_view text) {
  const std::lock_guard lock(output().mutex);
  output().text += text;
}

void flush_output() {
  const std::lock_guard lock(output().mutex);
  if (output().text.empty()) return;
  std::fwrite(output().text.data(), 1, output().text.size(), stdout);
  output().text.clear();
}

}  // namespace gpusim
