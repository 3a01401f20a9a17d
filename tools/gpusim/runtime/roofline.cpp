#include "tools/gpusim/runtime/roofline.h"

#include <algorithm>
#include <cmath>

namespace gpusim {
namespace {

double lanes(const Counters& counters, InstructionClass what) {
  return static_cast<double>(counters.lane_instructions[static_cast<std::size_t>(what)]);
}

// Per clock and multiprocessor, the same on all the GPUs of gpus.h.
constexpr double issue_rate = 4;        // warp instructions
constexpr double integer_rate = 64;     // lanes
constexpr double special_rate = 16;     // lanes
constexpr double shared_rate = 1;       // wavefronts
constexpr double conversion_rate = 16;  // lanes; some conversions are faster

}  // namespace

TensorWork tensor_work(const Profile& profile) {
  TensorWork result;
  for (const InstructionProfile& instruction : profile.instructions) {
    const double work = static_cast<double>(instruction.counters.tensor_operations);
    if (work == 0) continue;
    const std::string& text = instruction.place.ptx_text;
    const auto has = [&](const char* type) { return text.find(type) != std::string::npos; };
    (has(".tf32")               ? result.tf32
     : has(".bf16")             ? result.bf16
     : has(".f64")              ? result.f64
     : has("8.") && has(".s32") ? result.i8
                                : result.f16) += work;
  }
  return result;
}

Roofline roofline(const Gpu& gpu, const Counters& counters, const TensorWork& tensor, std::size_t blocks) {
  if (blocks == 0) return {};
  // The busiest multiprocessor has this share of all blocks, so rates count as if there were only so many.
  const double busy = static_cast<double>(blocks) / std::ceil(static_cast<double>(blocks) / gpu.multiprocessors);
  const double clocks = gpu.clock_khz * 1e3 * busy, share = busy / gpu.multiprocessors;
  const auto over = [&](double work, double rate) { return rate > 0 ? work / (rate * share) : 0; };
  const double sectors = static_cast<double>(counters.global_load_sectors + counters.global_store_sectors);
  const double wavefronts = static_cast<double>(counters.shared_load_wavefronts + counters.shared_store_wavefronts);
  Roofline result;
  result.units = {
      {"global memory", sectors * 32 / gpu.bandwidth},
      {"instruction issue", static_cast<double>(counters.total_warp_instructions()) / (issue_rate * clocks)},
      // A multiply-add counts two in the published rates, and is one instruction; packed half precision counts four.
      {"float32 units", over(lanes(counters, InstructionClass::float32) * 2, gpu.f32)},
      {"float64 units", over(lanes(counters, InstructionClass::float64) * 2, gpu.f64)},
      {"half precision units", over(lanes(counters, InstructionClass::half) * 4, gpu.f16)},
      {"integer units", lanes(counters, InstructionClass::integer) / (integer_rate * clocks)},
      {"special functions", lanes(counters, InstructionClass::special) / (special_rate * clocks)},
      {"conversions", lanes(counters, InstructionClass::conversion) / (conversion_rate * clocks)},
      {"shared memory", wavefronts / (shared_rate * clocks)},
      {"tensor cores", over(tensor.f16, gpu.tensor_f16) + over(tensor.bf16, gpu.tensor_bf16) +
                           over(tensor.tf32, gpu.tensor_tf32) + over(tensor.f64, gpu.tensor_f64) +
                           over(tensor.i8, gpu.tensor_i8)}};
  std::erase_if(result.units, [](const UnitTime& unit) { return unit.seconds <= 0; });
  std::stable_sort(result.units.begin(), result.units.end(),
                   [](const UnitTime& a, const UnitTime& b) { return a.seconds > b.seconds; });
  return result;
}

}  // namespace gpusim
