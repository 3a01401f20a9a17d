#include "tools/gpusim/runtime/check_report.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>
#include <vector>

#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/runtime/blocks.h"
#include "tools/gpusim/runtime/json_report.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/source_text.h"
#include "tools/gpusim/runtime/status.h"

namespace gpusim {
namespace {

// An error as it is shown: of a kernel, or of a call that the host made.
struct CheckError {
  std::string kind;
  std::string where;  // the kernel, demangled, or the call
  std::string message;
  Place place;
  bool in_kernel = false;
  Dim3 block = {}, thread = {};
  std::string allocation = {};
  std::size_t count = 1;

  // By the place in the source, where it is known: a loop that was unrolled has many places in the PTX.
  bool same_place(const CheckError& other) const {
    const bool same_line = place.file == other.place.file && place.line == other.place.line;
    return kind == other.kind && where == other.where && same_line &&
           (place.line > 0 || place.ptx_line == other.place.ptx_line);
  }
};

struct Log {
  std::mutex mutex;
  std::vector<CheckError> errors;
  std::size_t launches = 0, occurrences_not_recorded = 0;
  std::set<std::string> kernels;
};

Log& log() {
  static Log& result = *new Log;
  return result;
}

constexpr std::size_t most_shown = 50;

std::string text_of(const Dim3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

void show(const CheckError& error) {
  std::string text = "gpusim: " + error.kind + " in " + error.where + "\n  " + error.message + "\n";
  if (error.place.line > 0) text += "  at " + source_line(error.place.file, error.place.line) + "\n";
  if (error.in_kernel) text += "  by block " + text_of(error.block) + " thread " + text_of(error.thread) + "\n";
  if (error.place.ptx_line > 0) {
    text += "  PTX line " + std::to_string(error.place.ptx_line) + ": " + error.place.ptx_text + "\n";
  }
  std::fputs(text.c_str(), stderr);
}

void add(CheckError error) {
  Log& known = log();
  const auto same = std::find_if(known.errors.begin(), known.errors.end(),
                                 [&](const CheckError& other) { return other.same_place(error); });
  if (same != known.errors.end()) {
    same->count += error.count;
    return;
  }
  if (known.errors.size() < most_shown) show(error);
  known.errors.push_back(std::move(error));
}

void report_leaks() {
  auto left = blocks().all();
  std::sort(left.begin(), left.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [begin, block] : left) {
    const auto allocation = simulator().memory.find(begin);
    const HostPlace place = host_place(block.stack);
    add({.kind = "leaked allocation",
         .where = allocation ? allocation->name : "the program",
         .message = (allocation ? describe(*allocation) : std::string("an allocation")) + " was never freed",
         .place = {.file = place.file, .line = place.line}});
  }
}

Json to_json(const CheckError& error) {
  Json result = {{"kind", error.kind}, {"where", error.where}, {"message", error.message}, {"count", error.count}};
  if (error.place.line > 0) {
    result["file"] = error.place.file;
    result["line"] = error.place.line;
    result["text"] = line_of_file(error.place.file, error.place.line);
  }
  if (error.in_kernel) {
    result["block"] = {error.block.x, error.block.y, error.block.z};
    result["thread"] = {error.thread.x, error.thread.y, error.thread.z};
    result["ptx_line"] = error.place.ptx_line;
    result["ptx"] = error.place.ptx_text;
  }
  if (!error.allocation.empty()) result["allocation"] = error.allocation;
  return result;
}

std::string counted(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

void summarise() {
  const Log& known = log();
  std::size_t occurrences = known.occurrences_not_recorded;
  for (const CheckError& error : known.errors) occurrences += error.count;
  std::string text = "gpusim: checked " + counted(known.launches, "launch", "launches") + " of " +
                     counted(known.kernels.size(), "kernel", "kernels") + ": ";
  if (known.errors.empty()) {
    text += "no errors";
  } else {
    text += counted(known.errors.size(), "error", "errors") + ", met " + counted(occurrences, "time", "times");
    if (known.errors.size() > most_shown) text += "; the first " + std::to_string(most_shown) + " are shown above";
  }
  std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace

void report_launch(const Kernel& kernel, const LaunchResult& result) {
  Log& known = log();
  const std::lock_guard lock(known.mutex);
  known.launches += 1;
  known.kernels.insert(kernel.name);
  known.occurrences_not_recorded += result.findings_not_recorded;
  for (const Finding& finding : result.findings) {
    add({.kind = name_of(finding.kind),
         .where = demangled(finding.kernel),
         .message = finding.message,
         .place = finding.place,
         .in_kernel = true,
         .block = finding.block,
         .thread = finding.thread,
         .allocation = finding.allocation,
         .count = finding.count});
  }
  if (result.fault != Fault::none && result.findings.empty()) report_fault(kernel, result);
}

void report_fault(const Kernel& kernel, const LaunchResult& result) {
  std::string text = std::string(name_of(result.fault)) + " in " + demangled(kernel.name) + ": " +
                     without_name(result.message, kernel.name);
  if (result.place.line > 0) text += "\n  at " + source_line(result.place.file, result.place.line);
  complain(text);
}

void report_host_error(FindingKind kind, const std::string& call, const std::string& message) {
  if (settings().mode != Mode::check) return;
  const HostPlace place = host_place(host_stack());
  Log& known = log();
  const std::lock_guard lock(known.mutex);
  add({.kind = name_of(kind), .where = call, .message = message, .place = {.file = place.file, .line = place.line}});
}

std::size_t finish_check() {
  Log& known = log();
  const std::lock_guard lock(known.mutex);
  // After an error that sticks nothing can be freed any more.
  if (settings().report_leaks && sticky_error() == cudaSuccess) report_leaks();
  // A process that never came near the device, a shell for example, has nothing to say.
  if (known.launches > 0 || !known.errors.empty()) {
    summarise();
    Json report = {{"launches", known.launches}, {"kernels", known.kernels.size()}, {"errors", Json::array()}};
    for (const CheckError& error : known.errors) report["errors"].push_back(to_json(error));
    write_json("check", std::move(report));
  }
  return known.errors.size();
}

}  // namespace gpusim
