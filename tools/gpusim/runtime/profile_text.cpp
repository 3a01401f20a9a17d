#include "tools/gpusim/runtime/profile_text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>

#include "tools/gpusim/runtime/settings.h"
#include "tools/gpusim/runtime/source_text.h"

namespace gpusim {
namespace {

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

std::string amount(double value) {
  if (value < 1e4) return format("%.0f", value);
  constexpr std::pair<double, const char*> units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [unit, name] : units) {
    if (value >= unit) return format("%.3g %s", value / unit, name);
  }
  return format("%.0f", value);
}

std::string bytes(double value) {
  constexpr std::pair<double, const char*> units[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}};
  for (const auto& [unit, name] : units) {
    if (value >= unit) return format("%.3g %s", value / unit, name);
  }
  return format("%.0f B", value);
}

std::string duration(double seconds) {
  if (seconds >= 1e-3) return format("%.3g ms", seconds * 1e3);
  return seconds >= 1e-6 ? format("%.3g us", seconds * 1e6) : format("%.3g ns", seconds * 1e9);
}

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 1 : static_cast<double>(part) / static_cast<double>(whole);
}

Counters total_of(const KernelProfile& kernel) {
  Counters sum;
  for (const ShapeProfile& shape : kernel.shapes) sum += shape.profile.total;
  return sum;
}

std::string text_of(const Dim3& size) {
  return format("%u x %u x %u", size.x, size.y, size.z);
}

std::string instructions_row(const Counters& c) {
  const double all = static_cast<double>(c.total_warp_instructions());
  std::vector<std::pair<std::uint64_t, const char*>> classes;
  for (std::size_t i = 0; i < instruction_classes; ++i) {
    if (c.warp_instructions[i] > 0)
      classes.push_back({c.warp_instructions[i], name_of(static_cast<InstructionClass>(i))});
  }
  std::stable_sort(classes.begin(), classes.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string result = amount(all) + " of warps";
  for (std::size_t i = 0; i < classes.size(); ++i) {
    const double percent = 100 * static_cast<double>(classes[i].first) / all;
    result += format("%s %s %.*f %%", i == 0 ? ":" : ",", classes[i].second, percent < 9.5 ? 1 : 0, percent);
  }
  return result;
}

std::string memory_row(std::uint64_t sectors, std::uint64_t ideal, std::uint64_t asked) {
  return format("%s asked for, %s moved: %.2f x the ideal", bytes(static_cast<double>(asked)).c_str(),
                bytes(32.0 * static_cast<double>(sectors)).c_str(), ratio(sectors, ideal));
}

std::string occupancy_row(const KernelProfile& kernel, const Occupancy& occupancy) {
  std::string result = format("%d blocks, %d of %d warps (%.0f %%), limited by %s; ", occupancy.blocks, occupancy.warps,
                              settings().gpu->warps_per_multiprocessor(), 100 * occupancy.fraction, occupancy.limit);
  if (!kernel.resources) return result + "registers unknown (no fitting cubin, no ptxas)";
  result += format("%d registers", kernel.resources->registers);
  if (kernel.resources->spill_bytes >= 0) result += format(", %d bytes spilled", kernel.resources->spill_bytes);
  return result;
}

std::string roofline_row(const Roofline& roofline, std::size_t launches) {
  std::string result = "at least " + duration(roofline.seconds() / static_cast<double>(launches)) +
                       " a launch, bound by " + roofline.bound();
  for (std::size_t i = 1; i < std::min<std::size_t>(roofline.units.size(), 4); ++i) {
    result += format("%s %s %.0f %%", i == 1 ? "; of that" : ",", roofline.units[i].unit,
                     100 * roofline.units[i].seconds / roofline.seconds());
  }
  return result;
}

// The lines of source with the most of something to get rid of.
template <class Measure>
std::string worst_lines(const Profile& profile, const char* what, Measure measure) {
  std::vector<std::pair<std::uint64_t, const LineProfile*>> worst;
  const auto lines = by_line(profile);
  for (const LineProfile& line : lines) {
    if (const std::uint64_t cost = measure(line.counters); cost > 0) worst.push_back({cost, &line});
  }
  std::stable_sort(worst.begin(), worst.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string result;
  for (std::size_t i = 0; i < std::min<std::size_t>(worst.size(), 3); ++i) {
    result += format("    %-16s %s at ", what, amount(static_cast<double>(worst[i].first)).c_str()) +
              source_line(worst[i].second->file, worst[i].second->line) + "\n";
  }
  return result;
}

void add_row(std::string& text, const char* name, const std::string& value) {
  text += format("    %-16s ", name) + value + "\n";
}

void describe_shape(std::string& text, const KernelProfile& kernel, const ShapeProfile& shape) {
  const Counters& c = shape.profile.total;
  text += format("  %zu %s of %s blocks of %s threads, %s of shared memory\n", shape.launches,
                 shape.launches == 1 ? "launch" : "launches", text_of(shape.grid).c_str(), text_of(shape.block).c_str(),
                 bytes(static_cast<double>(kernel.static_shared + shape.dynamic_shared)).c_str());
  add_row(text, "instructions", instructions_row(c));
  add_row(text, "lanes at work",
          format("%.1f %%", 100 * ratio(c.total_lane_instructions(), 32 * c.total_warp_instructions())));
  if (c.branches > 0) {
    add_row(text, "branches",
            format("%s, %.1f %% divergent", amount(static_cast<double>(c.branches)).c_str(),
                   100 * ratio(c.divergent_branches, c.branches)));
  }
  if (c.global_load_requests > 0)
    add_row(text, "global loads", memory_row(c.global_load_sectors, c.global_load_ideal, c.global_load_bytes));
  if (c.global_store_requests > 0)
    add_row(text, "global stores", memory_row(c.global_store_sectors, c.global_store_ideal, c.global_store_bytes));
  if (c.shared_load_requests + c.shared_store_requests > 0) {
    add_row(text, "shared memory",
            format("%s wavefronts, %s of them bank conflicts",
                   amount(static_cast<double>(c.shared_load_wavefronts + c.shared_store_wavefronts)).c_str(),
                   amount(static_cast<double>(c.bank_conflicts())).c_str()));
  }
  if (c.local_load_bytes + c.local_store_bytes > 0) {
    add_row(text, "local memory", bytes(static_cast<double>(c.local_load_bytes + c.local_store_bytes)) + " moved");
  }
  if (c.global_atomics + c.shared_atomics > 0) {
    add_row(text, "atomics",
            amount(static_cast<double>(c.global_atomics)) + " global, " +
                amount(static_cast<double>(c.shared_atomics)) + " shared");
  }
  add_row(text, "arithmetic",
          amount(static_cast<double>(c.floating_operations)) + " floating-point operations, " +
              amount(static_cast<double>(c.tensor_operations)) + " by tensor cores");
  add_row(text, "occupancy", occupancy_row(kernel, shape.occupancy));
  add_row(text, "roofline", roofline_row(roofline_of(shape), shape.launches));
  text += worst_lines(shape.profile, "bank conflicts", [](const Counters& line) { return line.bank_conflicts(); });
  text += worst_lines(shape.profile, "excess sectors", [](const Counters& line) {
    return line.global_load_sectors - line.global_load_ideal + line.global_store_sectors - line.global_store_ideal;
  });
}

std::string overview(const std::vector<KernelProfile>& kernels) {
  std::string text = format("%9s %11s %8s  %-18s %8s %10s %7s  %s\n", "launches", "estimate", "share", "bound by",
                            "sectors", "conflicts", "lanes", "kernel");
  double whole = 0;
  std::vector<std::pair<double, const KernelProfile*>> order;
  for (const KernelProfile& kernel : kernels) {
    double seconds = 0;
    for (const ShapeProfile& shape : kernel.shapes) seconds += roofline_of(shape).seconds();
    whole += seconds;
    order.push_back({seconds, &kernel});
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [seconds, kernel] : order) {
    const Counters c = total_of(*kernel);
    std::size_t launches = 0;
    const ShapeProfile* largest = &kernel->shapes.front();
    for (const ShapeProfile& shape : kernel->shapes) {
      launches += shape.launches;
      if (roofline_of(shape).seconds() > roofline_of(*largest).seconds()) largest = &shape;
    }
    text += format("%9zu %11s %6.1f %%  %-18s %6.2f x %10s %5.1f %%  ", launches, duration(seconds).c_str(),
                   whole > 0 ? 100 * seconds / whole : 0, roofline_of(*largest).bound(),
                   ratio(c.global_load_sectors + c.global_store_sectors, c.global_load_ideal + c.global_store_ideal),
                   amount(static_cast<double>(c.bank_conflicts())).c_str(),
                   100 * ratio(c.total_lane_instructions(), 32 * c.total_warp_instructions())) +
            kernel->name + "\n";
  }
  return text;
}

}  // namespace

std::vector<LineProfile> by_line(const Profile& profile) {
  std::map<std::pair<std::string, int>, Counters> lines;
  for (const InstructionProfile& instruction : profile.instructions) {
    if (instruction.place.line > 0) lines[{instruction.place.file, instruction.place.line}] += instruction.counters;
  }
  std::vector<LineProfile> result;
  for (const auto& [place, counters] : lines) result.push_back({place.first, place.second, counters});
  return result;
}

Roofline roofline_of(const ShapeProfile& shape) {
  return roofline(*settings().gpu, shape.profile.total, tensor_work(shape.profile), shape.grid.count());
}

std::string profile_text(const std::vector<KernelProfile>& kernels) {
  std::string text = format("gpusim: profile for %s. Counts are exact; times are rooflines, not measurements.\n\n",
                            settings().gpu->description);
  text += overview(kernels);
  for (const KernelProfile& kernel : kernels) {
    text += "\n" + kernel.name + "\n";
    for (const ShapeProfile& shape : kernel.shapes) describe_shape(text, kernel, shape);
  }
  return text;
}

}  // namespace gpusim
