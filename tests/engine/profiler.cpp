#include "engine/profiler.h"
#include "engine/json.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "engine/file.h"
#include "engine/ops.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::test {
namespace {

using Json = nlohmann::json;
using Kind = Profiler::Kind;

// A kernel that takes at least a millisecond.
constinit kernels::Kernel<void(View x, View y, Stream)> slow{"profiler_test_slow"};
constinit kernels::Kernel<void(View x, Stream)> failing{"profiler_test_failing"};

void wait_a_millisecond() {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1)) {
  }
}
void run_slow(View, View, Stream) {
  wait_a_millisecond();
}
void run_failing(View, Stream) {
  throw Error("failing: on purpose");
}
const kernels::Register slow_on_cpu{slow, DeviceType::cpu, "waiting", &run_slow, kernels::is_default};
const kernels::Register failing_on_cpu{failing, DeviceType::cpu, "only", &run_failing, kernels::is_default};

// y = x, slowly; its gradient likewise.
Tensor inner(const Tensor& x) {
  Operation op("inner");
  const Tensor y = empty_like(x);
  slow(x.view(), y.view(), op.stream(x));
  return op.record(y, {x}, [](const Upstream& up) -> Gradients {
    const Tensor dx = empty_like(up.dy());
    slow(up.dy().view(), dx.view(), Stream{});
    return {dx};
  });
}

Tensor outer(const Tensor& x) {
  Operation op("outer");
  wait_a_millisecond();
  return op.record(inner(inner(x)), {x}, [](const Upstream& up) -> Gradients { return {up.dy()}; });
}

// "kind name.variant parent" of every event.
std::vector<std::string> described(const Profiler& profiler) {
  std::vector<std::string> result;
  for (const Profiler::Event& event : profiler.events()) {
    result.push_back(fmt::format("{} {}{}{} {}", name_of(event.kind), event.name, *event.variant ? "." : "",
                                 event.variant, event.parent));
  }
  return result;
}

using Lines = std::vector<std::string>;

const Profiler::Row& row_of(const std::vector<Profiler::Row>& rows, Kind kind, const std::string& name) {
  for (const Profiler::Row& row : rows) {
    if (row.kind == kind && row.name == name) return row;
  }
  throw Error("no row for " + name);
}

}  // namespace

TEST_CASE("profiler: operations and kernels, forward and backward, nested as they ran") {
  const Tensor x = empty({2, 3});
  x.set_requires_grad();
  const Tensor dy = empty({2, 3});
  const Profiler profiler;
  backward(outer(x), dy);
  const Lines expected = {"forward outer -1",
                          "forward inner 0",
                          "kernel profiler_test_slow.waiting 1",
                          "forward inner 0",
                          "kernel profiler_test_slow.waiting 3",
                          "backward outer -1"};
  const Lines actual = described(profiler);
  REQUIRE_GE(actual.size(), expected.size());
  CHECK_EQ(Lines(actual.begin(), actual.begin() + static_cast<std::ptrdiff_t>(expected.size())), expected);
  for (const Profiler::Event& event : profiler.events()) {
    CHECK_GE(event.duration_ns, 0);
    if (event.parent < 0) continue;
    const Profiler::Event& parent = profiler.events()[static_cast<std::size_t>(event.parent)];
    CHECK_LE(parent.start_ns, event.start_ns);
    CHECK_GE(parent.start_ns + parent.duration_ns, event.start_ns + event.duration_ns);
  }
}

TEST_CASE("profiler: shapes, dtypes and bytes of what an event touches") {
  const Tensor x = empty({2, 3}, {Dtype::f64});
  const Profiler profiler;
  {
    Operation op("with_tensors");
    op.record(empty({4}, {Dtype::u8}), {x, Tensor(), alias(x, x.layout().sliced(0, 0, 1, 1).expanded({5, 3}))},
              [](const Upstream&) -> Gradients { return {}; });
    slow(x.view(), empty({0, 7}).view(), Stream{});
  }
  const Profiler::Event& operation = profiler.events()[0];
  REQUIRE_EQ(operation.inputs.size(), 2);
  CHECK_EQ(operation.inputs[0].shape, Shape{2, 3});
  CHECK_EQ(operation.inputs[0].dtype, Dtype::f64);
  CHECK_EQ(operation.inputs[0].bytes, 48);
  CHECK_EQ(operation.inputs[1].shape, Shape{5, 3});
  CHECK_EQ(operation.inputs[1].bytes, 24);  // each element in memory once
  REQUIRE_EQ(operation.outputs.size(), 1);
  CHECK_EQ(operation.outputs[0].bytes, 4);
  CHECK_EQ(operation.bytes(), 76);
  const Profiler::Event& kernel = profiler.events()[1];
  REQUIRE_EQ(kernel.inputs.size(), 2);
  CHECK_EQ(kernel.inputs[1].shape, Shape{0, 7});
  CHECK_EQ(kernel.bytes(), 48);
}

TEST_CASE("profiler: the summary") {
  const Tensor x = empty({256});
  const Profiler profiler;
  outer(x);
  outer(x);
  const std::vector<Profiler::Row> rows = profiler.rows();
  REQUIRE_EQ(rows.size(), 3);
  const Profiler::Row& outside = row_of(rows, Kind::forward, "outer");
  const Profiler::Row& inside = row_of(rows, Kind::forward, "inner");
  const Profiler::Row& kernel = row_of(rows, Kind::kernel, "profiler_test_slow");
  CHECK_EQ(outside.calls, 2);
  CHECK_EQ(inside.calls, 4);
  CHECK_EQ(kernel.calls, 4);
  CHECK_EQ(kernel.variant, "waiting");
  CHECK_GE(outside.self_ns, 2'000'000);
  CHECK_GE(kernel.self_ns, 4'000'000);
  CHECK_EQ(kernel.self_ns, kernel.total_ns);
  CHECK_EQ(outside.self_ns, outside.total_ns - inside.total_ns);
  CHECK_EQ(inside.self_ns, inside.total_ns - kernel.total_ns);
  double shares = 0;
  for (const Profiler::Row& row : rows) shares += row.share;
  CHECK_LE(std::abs(shares - 1), 1e-12);
  CHECK_EQ(kernel.gb_per_s, 4 * 2048.0 / static_cast<double>(kernel.total_ns));
  CHECK(std::is_sorted(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.self_ns > b.self_ns; }));

  const Json json = parse_json(profiler.json());
  REQUIRE_EQ(json.size(), 3);
  CHECK_EQ(json[0]["name"], rows[0].name);
  CHECK_EQ(json[0]["calls"], rows[0].calls);
  const std::string table = profiler.table();
  CHECK_EQ(std::count(table.begin(), table.end(), '\n'), 4);
  CHECK_NE(table.find("profiler_test_slow.waiting"), std::string::npos);
}

TEST_CASE("profiler: an operation inside its like is not counted twice") {
  const Profiler profiler;
  {
    const Operation first("again");
    const Operation second("again");
    wait_a_millisecond();
  }
  const Profiler::Row row = profiler.rows().at(0);
  CHECK_EQ(row.calls, 2);
  CHECK_EQ(row.total_ns, profiler.events()[0].duration_ns);
  CHECK_EQ(row.self_ns, row.total_ns);
  CHECK_EQ(row.share, 1);
}

TEST_CASE("profiler: the trace is Chrome's JSON") {
  const TemporaryFolder folder;
  const Profiler profiler;
  outer(empty({2, 3}));
  const Operation unfinished("unfinished");
  profiler.write_trace(folder / "trace.json");
  const Json trace = parse_json(read_file(folder / "trace.json"));
  const Json& events = trace.at("traceEvents");
  REQUIRE_EQ(events.size(), 6);  // the process's name, and five finished events
  CHECK_EQ(events[0]["ph"], "M");
  const Json& operation = events[1];
  CHECK_EQ(operation["name"], "outer");
  CHECK_EQ(operation["cat"], "forward");
  CHECK_EQ(operation["ph"], "X");
  CHECK_EQ(operation["pid"], events[2]["pid"]);
  CHECK_EQ(operation["tid"], events[2]["tid"]);
  CHECK_EQ(operation["args"]["inputs"], Json({"f32 [2, 3]"}));
  CHECK_EQ(operation["args"]["outputs"], Json({"f32 [2, 3]"}));
  CHECK_EQ(operation["args"]["bytes"], 48);
  const Json& kernel = events[3];
  CHECK_EQ(kernel["cat"], "kernel");
  CHECK_EQ(kernel["args"]["variant"], "waiting");
  CHECK_EQ(kernel["args"]["views"], Json({"f32 [2, 3]", "f32 [2, 3]"}));
  CHECK_GE(kernel["dur"].get<double>(), 1000);  // microseconds
  CHECK_LE(operation["ts"].get<double>(), kernel["ts"].get<double>());
}

TEST_CASE("profiler: what throws ends all the same") {
  const Profiler profiler;
  CHECK_EQ(message_of([] {
             const Operation op("thrower");
             failing(empty({1}).view(), Stream{});
           }),
           "failing: on purpose");
  CHECK_EQ(message_of([] { failing(empty({1}).view(), Stream{}); }), "failing: on purpose");
  CHECK_EQ(described(profiler),
           Lines{"forward thrower -1", "kernel profiler_test_failing.only 0", "kernel profiler_test_failing.only -1"});
  for (const Profiler::Event& event : profiler.events()) CHECK_GE(event.duration_ns, 0);
}

TEST_CASE("profiler: one at a time, from its making to its end") {
  {
    const Profiler profiler;
    CHECK_EQ(message_of([] { const Profiler second; }), "Profiler: this thread is being profiled already");
    const Operation op("seen");  // the refused second one did not turn the first off
    CHECK_EQ(profiler.events().size(), 1);
  }
  CHECK_EQ(operation_observer, nullptr);
  CHECK_EQ(kernels::launch_observer, nullptr);
  auto before = std::make_unique<Operation>("before");
  const Profiler profiler;
  before.reset();
  { const Operation during("during"); }
  CHECK_EQ(described(profiler), Lines{"forward during -1"});
}

TEST_CASE("profiler: other threads work unobserved, also while profilers come and go") {
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop) inner(empty({1}));
  });
  for (int i = 0; i < 100; ++i) {
    const Profiler profiler;
    { const Operation op("mine"); }
    CHECK_EQ(profiler.events().size(), 1);
  }
  stop = true;
  other.join();
}

}  // namespace heed::test
