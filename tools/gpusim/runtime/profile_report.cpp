#include "tools/gpusim/runtime/profile_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "tools/gpusim/runtime/json_report.h"
#include "tools/gpusim/runtime/occupancy.h"
#include "tools/gpusim/runtime/profile_text.h"
#include "tools/gpusim/runtime/simulator.h"
#include "tools/gpusim/runtime/source_text.h"

namespace gpusim {
namespace {

struct Log {
  std::mutex mutex;
  std::vector<KernelProfile> kernels;  // in the order of their first launches
};

Log& log() {
  static Log& result = *new Log;
  return result;
}

void add_instructions(Profile& sum, const Profile& more) {
  sum.total += more.total;
  std::map<int, std::size_t> at;
  for (std::size_t i = 0; i < sum.instructions.size(); ++i) at[sum.instructions[i].place.ptx_line] = i;
  for (const InstructionProfile& instruction : more.instructions) {
    const auto known = at.find(instruction.place.ptx_line);
    if (known != at.end()) {
      sum.instructions[known->second].counters += instruction.counters;
    } else {
      sum.instructions.push_back(instruction);
    }
  }
}

KernelProfile& entry_of(Kernel& kernel) {
  for (KernelProfile& known : log().kernels) {
    if (known.mangled == kernel.name) return known;
  }
  KernelProfile fresh;
  fresh.mangled = kernel.name;
  fresh.name = demangled(kernel.name);
  fresh.resources = kernel.program.resources(kernel.name, true);
  fresh.static_shared = kernel.function().info.static_shared_bytes;
  log().kernels.push_back(std::move(fresh));
  return log().kernels.back();
}

ShapeProfile& shape_of(KernelProfile& kernel, const LaunchShape& shape) {
  for (ShapeProfile& known : kernel.shapes) {
    if (known.grid == shape.grid && known.block == shape.block && known.dynamic_shared == shape.dynamic_shared_bytes)
      return known;
  }
  ShapeProfile fresh;
  fresh.grid = shape.grid;
  fresh.block = shape.block;
  fresh.dynamic_shared = shape.dynamic_shared_bytes;
  fresh.occupancy =
      occupancy(*settings().gpu, static_cast<int>(shape.block.count()),
                kernel.resources ? kernel.resources->registers : 0, kernel.static_shared + fresh.dynamic_shared);
  kernel.shapes.push_back(std::move(fresh));
  return kernel.shapes.back();
}

// ---- JSON

Json to_json(const Counters& c) {
  Json by_class = Json::object();
  for (std::size_t i = 0; i < instruction_classes; ++i) {
    if (c.warp_instructions[i] == 0) continue;
    by_class[name_of(static_cast<InstructionClass>(i))] = {{"warps", c.warp_instructions[i]},
                                                           {"lanes", c.lane_instructions[i]}};
  }
  const auto memory = [](std::uint64_t requests, std::uint64_t sectors, std::uint64_t ideal, std::uint64_t bytes) {
    return Json{{"requests", requests}, {"sectors", sectors}, {"ideal_sectors", ideal}, {"bytes", bytes}};
  };
  const auto shared = [](std::uint64_t requests, std::uint64_t wavefronts, std::uint64_t ideal) {
    return Json{{"requests", requests}, {"wavefronts", wavefronts}, {"ideal_wavefronts", ideal}};
  };
  return {
      {"warp_instructions", c.total_warp_instructions()},
      {"lane_instructions", c.total_lane_instructions()},
      {"instructions", by_class},
      {"global_loads", memory(c.global_load_requests, c.global_load_sectors, c.global_load_ideal, c.global_load_bytes)},
      {"global_stores",
       memory(c.global_store_requests, c.global_store_sectors, c.global_store_ideal, c.global_store_bytes)},
      {"shared_loads", shared(c.shared_load_requests, c.shared_load_wavefronts, c.shared_load_ideal)},
      {"shared_stores", shared(c.shared_store_requests, c.shared_store_wavefronts, c.shared_store_ideal)},
      {"bank_conflicts", c.bank_conflicts()},
      {"local_bytes", {{"loaded", c.local_load_bytes}, {"stored", c.local_store_bytes}}},
      {"atomics", {{"global", c.global_atomics}, {"shared", c.shared_atomics}}},
      {"floating_operations", c.floating_operations},
      {"tensor_operations", c.tensor_operations},
      {"branches", c.branches},
      {"divergent_branches", c.divergent_branches},
      {"barriers", c.barriers}};
}

Json to_json(const Roofline& roofline) {
  Json units = Json::object();
  for (const UnitTime& unit : roofline.units) units[unit.unit] = unit.seconds;
  return {{"seconds", roofline.seconds()}, {"bound", roofline.bound()}, {"units", units}};
}

Json lines_of(const Profile& profile) {
  Json result = Json::array();
  for (const LineProfile& line : by_line(profile)) {
    Json row = {{"file", line.file}, {"line", line.line}, {"text", line_of_file(line.file, line.line)}};
    row.update(to_json(line.counters));
    result.push_back(std::move(row));
  }
  return result;
}

Json to_json(const KernelProfile& kernel) {
  Json shapes = Json::array();
  for (const ShapeProfile& shape : kernel.shapes) {
    shapes.push_back({{"grid", {shape.grid.x, shape.grid.y, shape.grid.z}},
                      {"block", {shape.block.x, shape.block.y, shape.block.z}},
                      {"dynamic_shared_bytes", shape.dynamic_shared},
                      {"launches", shape.launches},
                      {"occupancy",
                       {{"blocks", shape.occupancy.blocks},
                        {"warps", shape.occupancy.warps},
                        {"fraction", shape.occupancy.fraction},
                        {"limit", shape.occupancy.limit}}},
                      {"roofline", to_json(roofline_of(shape))},
                      {"counters", to_json(shape.profile.total)},
                      {"lines", lines_of(shape.profile)}});
  }
  Json result = {{"kernel", kernel.name}, {"mangled", kernel.mangled}, {"static_shared_bytes", kernel.static_shared}};
  const auto known = [](int value) { return value >= 0 ? Json(value) : Json(nullptr); };
  result["registers"] = kernel.resources ? known(kernel.resources->registers) : Json(nullptr);
  result["stack_bytes"] = kernel.resources ? known(kernel.resources->stack_bytes) : Json(nullptr);
  result["spill_bytes"] = kernel.resources ? known(kernel.resources->spill_bytes) : Json(nullptr);
  result["shapes"] = std::move(shapes);
  return result;
}

}  // namespace

void profile_launch(Kernel& kernel, const LaunchShape& shape, const Profile& profile) {
  const std::lock_guard lock(log().mutex);
  ShapeProfile& sum = shape_of(entry_of(kernel), shape);
  sum.launches += 1;
  add_instructions(sum.profile, profile);
}

void finish_profile() {
  const std::lock_guard lock(log().mutex);
  if (log().kernels.empty()) return;
  std::fputs(profile_text(log().kernels).c_str(), stderr);
  Json report = {{"kernels", Json::array()}};
  for (const KernelProfile& kernel : log().kernels) report["kernels"].push_back(to_json(kernel));
  write_json("profile", std::move(report));
}

}  // namespace gpusim
