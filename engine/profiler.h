// Where the time goes. While a Profiler lives, every operation and every kernel that its thread runs is recorded,
// forward and backward:
//
//   Profiler profiler;
//   backward(cross_entropy(model(x), target));
//   fmt::print("{}", profiler.table());
//   profiler.write_trace("step.json");  // open it in chrome://tracing or ui.perfetto.dev
//
// Only the thread that made the profiler is recorded; what a data loader does on its own thread is not this thread's
// time. A kernel on a CUDA device is waited for, so its time is its own; without a profiler the program would run ahead.
// Without a profiler an operation pays for one test of a pointer; with one, for about a microsecond and 500 bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/operation.h"
#include "kernels/registry.h"

namespace heed {

class Profiler : OperationObserver, kernels::LaunchObserver {
 public:
  enum class Kind { forward, backward, kernel };

  // A tensor that an operation or kernel was given or made. `bytes` counts each element in memory once, an expanded
  // axis therefore as one element; a table that rows are gathered from counts in full.
  struct Operand {
    Shape shape;
    Dtype dtype;
    std::int64_t bytes;
  };

  // One operation, backward function or kernel launch. What runs inside it has it as parent.
  struct Event {
    Kind kind;
    const char* name;
    const char* variant = "";  // of a kernel
    int parent = -1;           // index of the event around it; -1: none
    std::int64_t start_ns = 0;
    std::int64_t duration_ns = -1;  // -1: still running
    std::vector<Operand> inputs;    // of a kernel: all its views, in order
    std::vector<Operand> outputs;
    std::int64_t bytes() const;  // of all operands
  };

  // Everything of one name, variant and kind.
  struct Row {
    Kind kind;
    std::string name;
    std::string variant;
    std::int64_t calls = 0;
    std::int64_t total_ns = 0;  // inside another event of the same row not counted again
    std::int64_t self_ns = 0;   // without the events inside
    double share = 0;           // of all self times
    double gb_per_s = 0;        // bytes of the operands over total time
  };

  // Throws when this thread has a profiler already.
  Profiler();
  ~Profiler() override;
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  // In the order they began; a parent before what is inside it.
  const std::vector<Event>& events() const { return events_; }
  // What has finished, summed up; the most self time first.
  std::vector<Row> rows() const;
  // rows() as text for a person, and as a JSON list of objects.
  std::string table() const;
  std::string json() const;
  // Finished events in Chrome's trace format: complete events, times in microseconds, with shapes, dtypes, bytes.
  void write_trace(const std::filesystem::path& path) const;

 private:
  void begin_operation(const char* name, bool is_backward) override;
  void operation_tensors(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) override;
  void end_operation() override;
  void begin_launch(const char* kernel, const char* variant, std::span<const View> views) override;
  void end_launch(Stream stream) override;

  void begin(Kind kind, const char* name, const char* variant);
  void end();
  std::int64_t now() const;

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<Event> events_;
  int current_ = -1;  // the innermost event that is still running
};

// "forward", "backward", "kernel"
const char* name_of(Profiler::Kind kind);

}  // namespace heed
