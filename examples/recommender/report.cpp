#include "examples/recommender/report.h"

#include "engine/file.h"

namespace heed::recommender {

std::string render_report(const Report& report) {
  return report.title;
}

void write_report(const std::filesystem::path& path, const Report& report) {
  write_file(path, render_report(report));
}

}  // namespace heed::recommender
