#include "tools/gpusim/runtime/simulator.h"

#include <cstdio>

namespace gpusim {
namespace {

struct Output {
  std::mutex mutex;
  std::string text;
};

struct Speed {
  std::mutex mutex;
  std::uint64_t launches = 0, lane_instructions = 0;
  double seconds = 0;
} speed;

Output& output() {
  static Output& result = *new Output;
  return result;
}

}  // namespace

Simulator& simulator() {
  static Simulator& result = *new Simulator;
  return result;
}

void count_launch(std::uint64_t lane_instructions, double seconds) {
  const std::lock_guard lock(speed.mutex);
  speed.launches += 1;
  speed.lane_instructions += lane_instructions;
  speed.seconds += seconds;
}

void print_speed() {
  if (speed.launches == 0) return;
  const double millions = static_cast<double>(speed.lane_instructions) / 1e6;
  std::fprintf(stderr, "gpusim: %llu launches, %.1f million lane instructions in %.3f s: %.2f G/s\n",
               static_cast<unsigned long long>(speed.launches), millions, speed.seconds,
               millions / 1e3 / speed.seconds);
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
