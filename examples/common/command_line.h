// What the command lines of the programs have in common.
#pragma once

#include <omp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/random.h"
#include "examples/common/output.h"

namespace heed::examples {

// What every verb takes.
struct CommonOptions {
  std::uint64_t seed = 1;
  int threads = 0;
  std::string device = "cpu";
  Output output;
};

inline void add_common(CLI::App& verb, CommonOptions& common) {
  verb.add_option("--seed", common.seed, "Seed of everything random")->capture_default_str();
  verb.add_option("--threads", common.threads, "Threads; 0: one per core. Results do not depend on it")
      ->capture_default_str();
  verb.add_option("--device", common.device, "Where to compute: cpu, cuda or cuda:N")->capture_default_str();
  verb.add_option("--json", common.output.json, "Write the result as JSON to this file, - for standard output");
  verb.add_flag("--quiet", common.output.quiet, "No progress on standard error");
}

inline Device device_of(const CommonOptions& common) {
  return parse_device(common.device);
}

// Puts them in force, before the verb runs.
inline void apply(const CommonOptions& common) {
  set_default_device(device_of(common));
  check(common.threads >= 0, "--threads {}: not a number of threads", common.threads);
  if (common.threads > 0) omp_set_num_threads(common.threads);
  manual_seed(common.seed);
}

// Flags that override settings: each becomes an entry of a JSON object that is read over the preset.
struct SettingFlags {
  std::string preset;
  nlohmann::json overrides = nlohmann::json::object();
};

template <class T>
void add_setting(CLI::App& verb, SettingFlags& flags, const std::string& flag, const std::string& name,
                 const std::string& help) {
  verb.add_option_function<T>(
          flag, [&flags, name](const T& value) { flags.overrides[name] = value; }, help)
      ->group("Settings");
}

// Runs a program's body; what it throws is told on standard error, and the status is 1.
inline int guarded(const char* program, const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program, error.what());
    return 1;
  }
}

}  // namespace heed::examples
