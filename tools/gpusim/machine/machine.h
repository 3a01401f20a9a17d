// The simulated GPU as its run-time library sees it: memory, modules of PTX, launches, and what a launch reports.
//
//   gpusim::Memory memory(80ull << 30);
//   auto module = gpusim::Module::parse(ptx_text, memory);
//   const gpusim::Function& kernel = module->function("vector_add");        // decodes it; throws what it cannot run
//   gpusim::LaunchResult result = gpusim::launch(kernel, {.grid = {64}, .block = {256}, .arguments = pointers}, options);
//
// A device address IS a host address: Memory hands out host memory, and copies are memcpy. Kernels may touch only what
// a Memory allocated (pinned and managed host memory therefore come from it too); anything else is an illegal address.
// Functions here throw gpusim::Error and nothing else; they print nothing and never end the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/gpusim/machine/memory.h"
#include "tools/gpusim/machine/report.h"
#include "tools/gpusim/ptx/error.h"

namespace gpusim {

struct Parameter {
  std::size_t offset, bytes, alignment;  // in the kernel's parameter buffer
};

// What is known of a function from its PTX alone.
struct FunctionInfo {
  std::string name;
  bool is_kernel = false;             // .entry, not .func
  std::vector<Parameter> parameters;  // in order
  std::size_t parameter_bytes = 0;
  std::size_t static_shared_bytes = 0;
  std::size_t local_bytes = 0;        // per thread: arrays and call parameters, calls not included
  Dim3 max_threads = {0, 0, 0};       // .maxntid, zeros when absent (__launch_bounds__)
  Dim3 required_threads = {0, 0, 0};  // .reqntid
  unsigned min_blocks_per_sm = 0;     // .minnctapersm
  unsigned max_registers = 0;         // .maxnreg
  unsigned live_registers =
      0;  // 32-bit registers a thread needs at once in this interpreter: a rough estimate of ptxas's
};

// A function ready to run. Owned by its module.
class Function {
 public:
  virtual ~Function() = default;
  FunctionInfo info;
};

// A .global or .const variable; it lives in device memory as long as its module.
struct Variable {
  void* address;
  std::size_t bytes;
  bool is_constant;
};

class Module {
 public:
  // Reads the module's declarations and places its variables in `memory`, which must outlive it. Bodies of functions are
  // read when first asked for. Throws Error (line, text) on bad syntax.
  static std::unique_ptr<Module> parse(std::string ptx, Memory& memory);
  virtual ~Module() = default;

  // Throws Error when there is no such function, or when it holds an instruction that the simulator does not know:
  // the message has the instruction's text and line. Safe to call from several threads.
  virtual const Function& function(std::string_view name) = 0;
  virtual bool has_function(std::string_view name) const = 0;
  virtual std::vector<std::string> kernel_names() const = 0;

  // nullptr when there is no such variable.
  virtual const Variable* variable(std::string_view name) const = 0;

  virtual std::string_view target() const = 0;  // "sm_80"
  virtual std::string_view text() const = 0;    // the whole PTX
};

enum class Mode {
  fast,    // values only; an illegal access still ends the launch, as on a device
  check,   // and everything that FindingKind lists
  profile  // and Profile's counters
};

struct LaunchOptions {
  Mode mode = Mode::fast;
  unsigned threads = 0;               // of the host, that share the blocks; 0: all
  unsigned max_findings = 100;        // check mode stops recording (not counting) new places after so many
  bool per_instruction = false;       // profile mode: also fill Profile::instructions
  unsigned sms = 108;                 // what %nsmid says
  bool cooperative = false;           // all blocks progress together, as a grid-wide barrier needs
  std::uintptr_t grid_workspace = 0;  // %envreg1 and 2: two zeroed words in device memory, for grid-wide barriers
  std::function<void(std::string_view)> print;  // the device's printf, one call per formatted output; default: stdout
};

struct LaunchShape {
  Dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  // One pointer per parameter, to a value of the parameter's size: what cudaLaunchKernel gets.
  std::span<const void* const> arguments = {};
};

// Runs the whole grid and returns when it is done. The caller has checked the shape against the GPU's limits (launch
// itself throws Error only for what it cannot do at all: an empty or too large block, too few arguments, not a kernel).
LaunchResult launch(const Function& kernel, const LaunchShape& shape, const LaunchOptions& options);

// The instruction set of the host that the interpreter runs on, the best of those that this build has: "x86_64_v4",
// "x86_64_v3" or "baseline". HEED_GPUSIM_TARGET names one that it must not exceed. Throws Error when none is left.
std::string_view host_target();

}  // namespace gpusim
