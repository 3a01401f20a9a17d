#include "tools/gpusim/runtime/json_report.h"

#include <filesystem>
#include <fstream>

#include "tools/gpusim/runtime/settings.h"
#include "tools/gpusim/runtime/status.h"

namespace gpusim {

void write_json(const char* mode, Json report) {
  if (settings().json.empty()) return;
  std::error_code error;
  Json whole = {{"mode", mode},
                {"gpu", settings().gpu->name},
                {"program", std::filesystem::read_symlink("/proc/self/exe", error).string()}};
  whole.update(report);
  std::ofstream file(settings().json);
  file << whole.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
  if (!file.flush()) complain("cannot write " + settings().json);
}

}  // namespace gpusim
