#include "tools/gpusim/runtime/settings.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace gpusim {
namespace {

[[noreturn]] void refuse(const char* variable, std::string_view value) {
  std::fprintf(stderr, "gpusim: %s='%.*s' makes no sense\n", variable, static_cast<int>(value.size()), value.data());
  _exit(2);  // this may be the start of the library, when nothing can be taken down properly
}

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Settings read_environment() {
  Settings result;
  if (const auto mode = variable("GPUSIM_MODE"); mode == "check") {
    result.mode = Mode::check;
  } else if (mode == "profile") {
    result.mode = Mode::profile;
  } else if (!mode.empty() && mode != "fast") {
    refuse("GPUSIM_MODE", mode);
  }
  if (const auto gpu = variable("GPUSIM_GPU"); !gpu.empty()) {
    result.gpu = find_gpu(gpu);
    if (!result.gpu) refuse("GPUSIM_GPU", gpu);
  }
  if (const auto threads = variable("GPUSIM_THREADS"); !threads.empty()) {
    const char* end = threads.data() + threads.size();
    const auto [stopped, error] = std::from_chars(threads.data(), end, result.threads);
    if (error != std::errc() || stopped != end) refuse("GPUSIM_THREADS", threads);
  }
  result.json = variable("GPUSIM_JSON");
  if (const auto at = result.json.find("%p"); at != std::string::npos) {
    result.json.replace(at, 2, std::to_string(getpid()));
  }
  result.time = variable("GPUSIM_TIME") == "1";
  result.report_leaks = variable("GPUSIM_LEAKS") != "0";
  return result;
}

}  // namespace

const Settings& settings() {
  static const Settings& result = *new Settings(read_environment());  // outlives every other object's destructor
  return result;
}

}  // namespace gpusim
