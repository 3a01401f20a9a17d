#include "engine/profiler.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "engine/device.h"
#include "engine/file.h"
#include "engine/json.h"

namespace heed {
namespace {

Profiler::Operand operand_of(const View& view) {
  Profiler::Operand operand{{}, view.dtype, static_cast<std::int64_t>(size_of(view.dtype))};
  for (int i = 0; i < view.rank; ++i) {
    operand.shape.push_back(view.shape[i]);
    if (view.strides[i] != 0 || view.shape[i] == 0) operand.bytes *= view.shape[i];
  }
  return operand;
}

std::vector<Profiler::Operand> operands_of(const std::vector<Tensor>& tensors) {
  std::vector<Profiler::Operand> operands;
  for (const Tensor& x : tensors) {
    if (x.defined()) operands.push_back(operand_of(x.view()));
  }
  return operands;
}

std::vector<std::string> texts_of(const std::vector<Profiler::Operand>& operands) {
  std::vector<std::string> texts;
  for (const Profiler::Operand& operand : operands) texts.push_back(fmt::format("{} {}", operand.dtype, operand.shape));
  return texts;
}

// The events are of one row: what a reader of the table would call the same thing.
using Key = std::tuple<Profiler::Kind, std::string_view, std::string_view>;
Key key_of(const Profiler::Event& event) {
  return {event.kind, event.name, event.variant};
}

bool is_inside_its_like(const std::vector<Profiler::Event>& events, const Profiler::Event& event) {
  for (int i = event.parent; i >= 0; i = events[static_cast<std::size_t>(i)].parent) {
    if (key_of(events[static_cast<std::size_t>(i)]) == key_of(event)) return true;
  }
  return false;
}

Json trace_of(const Profiler::Event& event, int process) {
  Json args;
  if (*event.variant != '\0') args["variant"] = event.variant;
  if (event.kind == Profiler::Kind::kernel) {
    args["views"] = texts_of(event.inputs);
  } else {
    args["inputs"] = texts_of(event.inputs);
    args["outputs"] = texts_of(event.outputs);
  }
  args["bytes"] = event.bytes();
  return {{"name", event.name},
          {"cat", name_of(event.kind)},
          {"ph", "X"},
          {"ts", static_cast<double>(event.start_ns) / 1e3},
          {"dur", static_cast<double>(event.duration_ns) / 1e3},
          {"pid", process},
          {"tid", process},
          {"args", std::move(args)}};
}

}  // namespace

const char* name_of(Profiler::Kind kind) {
  switch (kind) {
    case Profiler::Kind::forward:
      return "forward";
    case Profiler::Kind::backward:
      return "backward";
    case Profiler::Kind::kernel:
      return "kernel";
  }
  return "?";
}

std::int64_t Profiler::Event::bytes() const {
  std::int64_t sum = 0;
  for (const Operand& operand : inputs) sum += operand.bytes;
  for (const Operand& operand : outputs) sum += operand.bytes;
  return sum;
}

// ---- Recording -----------------------------------------------------------------------------------------------------

Profiler::Profiler() {
  check(operation_observer == nullptr && kernels::launch_observer == nullptr,
        "Profiler: this thread is being profiled already");
  operation_observer = this;
  kernels::launch_observer = this;
}

Profiler::~Profiler() {
  operation_observer = nullptr;
  kernels::launch_observer = nullptr;
}

std::int64_t Profiler::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count();
}

void Profiler::begin(Kind kind, const char* name, const char* variant) {
  events_.push_back({.kind = kind, .name = name, .variant = variant, .parent = current_});
  current_ = static_cast<int>(events_.size()) - 1;
  events_.back().start_ns = now();
}

// Nothing runs when a profiler that was made inside an operation sees that operation end.
void Profiler::end() {
  if (current_ < 0) return;
  Event& event = events_[static_cast<std::size_t>(current_)];
  event.duration_ns = now() - event.start_ns;
  current_ = event.parent;
}

void Profiler::begin_operation(const char* name, bool is_backward) {
  begin(is_backward ? Kind::backward : Kind::forward, name, "");
}

void Profiler::operation_tensors(const std::vector<Tensor>& inputs, const std::vector<Tensor>& outputs) {
  if (current_ < 0) return;
  Event& event = events_[static_cast<std::size_t>(current_)];
  event.inputs = operands_of(inputs);
  event.outputs = operands_of(outputs);
}

void Profiler::end_operation() {
  end();
}

void Profiler::begin_launch(const char* kernel, const char* variant, std::span<const View> views) {
  begin(Kind::kernel, kernel, variant);
  Event& event = events_.back();
  for (const View& view : views) event.inputs.push_back(operand_of(view));
  event.start_ns = now();  // without the time that recording the views took
}

// A destructor calls this: what went wrong on the device is left for the next call to report.
void Profiler::end_launch(Stream stream) {
  try {
    synchronize(stream.device);
  } catch (const Error&) {
  }
  end();
}

// ---- Reporting -----------------------------------------------------------------------------------------------------

std::vector<Profiler::Row> Profiler::rows() const {
  struct Sum {
    std::int64_t calls = 0, total_ns = 0, self_ns = 0, bytes = 0;
  };
  std::map<Key, Sum> sums;
  std::int64_t all_ns = 0;
  for (const Event& event : events_) {
    if (event.duration_ns < 0) continue;
    Sum& sum = sums[key_of(event)];
    ++sum.calls;
    sum.self_ns += event.duration_ns;
    if (!is_inside_its_like(events_, event)) {
      sum.total_ns += event.duration_ns;
      sum.bytes += event.bytes();
    }
    if (event.parent < 0 || events_[static_cast<std::size_t>(event.parent)].duration_ns < 0) {
      all_ns += event.duration_ns;
    } else {
      sums[key_of(events_[static_cast<std::size_t>(event.parent)])].self_ns -= event.duration_ns;
    }
  }
  std::vector<Row> rows;
  for (const auto& [key, sum] : sums) {
    const auto& [kind, name, variant] = key;
    rows.push_back({kind, std::string(name), std::string(variant), sum.calls, sum.total_ns, sum.self_ns,
                    all_ns == 0 ? 0 : static_cast<double>(sum.self_ns) / static_cast<double>(all_ns),
                    sum.total_ns == 0 ? 0 : static_cast<double>(sum.bytes) / static_cast<double>(sum.total_ns)});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.self_ns > b.self_ns; });
  return rows;
}

std::string Profiler::table() const {
  std::string text = fmt::format("{:<8}  {:<32} {:>8} {:>11} {:>11} {:>7} {:>8}\n", "kind", "name", "calls", "total ms",
                                 "self ms", "share", "GB/s");
  for (const Row& row : rows()) {
    const std::string name = row.variant.empty() ? row.name : row.name + "." + row.variant;
    text += fmt::format("{:<8}  {:<32} {:>8} {:>11.3f} {:>11.3f} {:>6.1f}% {:>8.2f}\n", name_of(row.kind), name,
                        row.calls, static_cast<double>(row.total_ns) / 1e6, static_cast<double>(row.self_ns) / 1e6,
                        100 * row.share, row.gb_per_s);
  }
  return text;
}

std::string Profiler::json() const {
  Json list = Json::array();
  for (const Row& row : rows()) {
    list.push_back({{"kind", name_of(row.kind)},
                    {"name", row.name},
                    {"variant", row.variant},
                    {"calls", row.calls},
                    {"total_ms", static_cast<double>(row.total_ns) / 1e6},
                    {"self_ms", static_cast<double>(row.self_ns) / 1e6},
                    {"share", row.share},
                    {"gb_per_s", row.gb_per_s}});
  }
  return json_text(list, 2);
}

void Profiler::write_trace(const std::filesystem::path& path) const {
  const int process = static_cast<int>(::getpid());
  AtomicFile file(path);
  file.write("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
  const Json title = {{"name", "process_name"}, {"ph", "M"}, {"pid", process}, {"args", {{"name", "heed"}}}};
  file.write(json_text(title));
  for (const Event& event : events_) {
    if (event.duration_ns >= 0) file.write(",\n" + json_text(trace_of(event, process)));
  }
  file.write("]}\n");
  file.commit();
}

}  // namespace heed
