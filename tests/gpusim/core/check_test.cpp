// Check mode: every kind of finding, at the right line, and a correct twin that is silent.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

const char* const declarations = R"(.shared .align 16 .b8 box[1024]; .const .b32 fixed[2] = {1, 2};
.visible .entry k(.param .u64 in, .param .u64 out) .maxntid 1024, 1, 1 {
  .local .align 8 .b8 own[16]; .reg .b32 %i, %r<9>, %s, %t, %n; .reg .b64 %a, %b, %d; .reg .pred %q<5>;
  ld.param.u64 %a, [in]; ld.param.u64 %b, [out]; mov.u32 %i, %tid.x; mul.lo.u32 %n, %i, 4; mov.u32 %s, box; add.u32 %t, %s, %n;
  mad.wide.u32 %a, %i, 4, %a; mad.wide.u32 %b, %i, 4, %b; mov.u32 %r0, 0;
)";

struct Case {
  std::string body;  // the line that ends in // here is where a finding is expected
  unsigned threads = 64;
};

// `in` has 64 numbers, `out` room for 64 that nobody has written.
LaunchResult check(const Case& test, u32** in_address = nullptr) {
  Machine machine(declarations + test.body + "\n  ret; }");
  machine.options.mode = Mode::check;
  u32* in = machine.upload(std::vector<u32>(64, 5));
  u32* out = machine.allocate<u32>(64);
  if (in_address != nullptr) *in_address = in;
  return machine.run("k", {1}, {test.threads}, in, out);
}

void check_silent(const Case& test) {
  const LaunchResult result = check(test);
  CHECK(result.fault == Fault::none);
  for (const Finding& finding : result.findings) {
    FAIL_CHECK(fmt::format("{} at {}: {}", name_of(finding.kind), finding.place.ptx_text, finding.message));
  }
}

void check_found(FindingKind kind, const Case& test, std::size_t count, const std::vector<std::string>& words = {}) {
  const std::string text = header + std::string(declarations) + test.body;
  const std::size_t mark = text.find("// here");
  REQUIRE(mark != std::string::npos);
  const int line =
      1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(mark), '\n'));
  const LaunchResult result = check(test);
  CAPTURE(test.body);
  REQUIRE(result.findings.size() == 1);
  const Finding& finding = result.findings[0];
  CAPTURE(finding.message);
  CHECK(name_of(finding.kind) == std::string(name_of(kind)));
  CHECK(finding.place.ptx_line == line);
  CHECK(finding.kernel == "k");
  CHECK(finding.count == count);
  for (const std::string& word : words) CHECK(finding.message.find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("out of bounds, in global memory") {
  check_silent({"ld.global.u32 %r1, [%a];\n st.global.u32 [%b], %r1;"});
  check_found(FindingKind::out_of_bounds, {"ld.global.u32 %r1, [%a+4]; // here"}, 1,
              {"reads 4 bytes", "allocation #2", "256 bytes", "0 bytes past the end"});
  check_found(FindingKind::out_of_bounds, {"st.global.u32 [%b+-8], %r0; // here"}, 2,
              {"writes 4 bytes", "8 bytes before allocation #3"});
  check_found(FindingKind::out_of_bounds, {"atom.global.add.u32 %r1, [%b+2048], 1; // here"}, 64, {"updates"});
  check_found(FindingKind::null_pointer, {"mov.u64 %d, 16; ld.global.u32 %r1, [%d]; // here"}, 64, {"null pointer"});
}

TEST_CASE("out of bounds, in shared and local memory") {
  check_silent({"st.shared.u32 [%t+768], %r0;"});
  check_found(FindingKind::out_of_bounds, {"st.shared.u32 [%t+772], %r0; // here"}, 1,
              {"offset 1024", "shared memory", "1024 bytes"});
  check_silent({"mov.u64 %d, own; st.local.u64 [%d+8], %d; cvta.local.u64 %d, %d; st.u32 [%d], %r0;"});
  check_found(FindingKind::out_of_bounds, {"st.local.u32 [own+100], %r0; // here"}, 64, {"local memory"});
}

TEST_CASE("misaligned") {
  check_found(FindingKind::misaligned, {"ld.global.u32 %r1, [%a+2]; // here", 1}, 1);
  check_silent(
      {"and.b32 %r2, %n, 0xFFFFFFF8; add.u32 %r2, %r2, %s; setp.ne.u32 %q1, %i, 0; @%q1 ret; st.shared.v2.u32 [%r2], "
       "{%r0, %r0};"});
  check_found(FindingKind::misaligned,
              {"setp.ne.u32 %q1, %i, 1; @%q1 ret;\n st.shared.v2.u32 [%t], {%r0, %r0}; // here"}, 1, {"multiple of 8"});
}

TEST_CASE("reads of what nobody wrote") {
  check_found(FindingKind::uninitialised_read, {"ld.global.u32 %r1, [%b]; // here"}, 64, {"nobody has written"});
  check_silent({"st.global.u32 [%b], %r0;\n ld.global.u32 %r1, [%b];"});
  check_found(FindingKind::uninitialised_read, {"st.global.u8 [%b], %r0;\n ld.global.u16 %r1, [%b]; // here"}, 64);
  check_found(FindingKind::uninitialised_read, {"ld.shared.u32 %r1, [%t]; // here"}, 64, {"nobody has written"});
  check_silent({"st.shared.u32 [%t], %r0;\n ld.shared.u32 %r1, [%t];"});
  check_found(FindingKind::uninitialised_read, {"st.shared.u8 [%t], %r0;\n ld.shared.u16 %r1, [%t]; // here"}, 64);
  check_found(FindingKind::uninitialised_read, {"atom.shared.add.u32 %r1, [box], 1; // here", 1}, 1);
}

TEST_CASE("races in shared memory") {
  const std::string neighbour = "xor.b32 %r2, %n, 128; add.u32 %r2, %r2, %s;\n";  // of the other warp
  const std::string second_warp = "setp.lt.u32 %q1, %i, 32; @%q1 ret;\n";
  check_found(FindingKind::shared_race,
              {neighbour + "st.shared.u32 [%t], %i;\n" + second_warp + "ld.shared.u32 %r1, [%r2]; // here"}, 32,
              {"warp 0 writes", "this is warp 1"});
  check_silent({neighbour + "st.shared.u32 [%t], %i;\n bar.sync 0;\n ld.shared.u32 %r1, [%r2];"});
  // Read, then written by the other warp.
  check_found(
      FindingKind::shared_race,
      {neighbour + "st.shared.u32 [%t], %i;\n bar.sync 0; setp.lt.u32 %q1, %i, 32; @!%q1 ld.shared.u32 %r1, [%r2];\n" +
       "@%q1 st.shared.u32 [%t], %r0; // here"},
      32, {"warp 1 reads"});
  check_silent(
      {neighbour +
       "st.shared.u32 [%t], %i;\n bar.sync 0;\n ld.shared.u32 %r1, [%r2];\n bar.sync 0;\n st.shared.u32 [%t], %r1;"});
  // Two writers: of different values, and of the same.
  check_found(FindingKind::shared_race, {"st.shared.u32 [box], %i; // here"}, 1, {"warp 0 writes"});
  check_silent({"st.shared.u32 [box], %r0;"});
  // Atomic operations among themselves are no race; with a plain read they are.
  const std::string zero = "setp.eq.u32 %q1, %i, 0; @%q1 st.shared.u32 [box], %r0; bar.sync 0;\n";
  check_silent({zero + "atom.shared.add.u32 %r1, [box], 1; bar.sync 0; ld.shared.u32 %r1, [box];"});
  check_found(FindingKind::shared_race,
              {zero + "atom.shared.add.u32 %r1, [box], 1; // here\n ld.shared.u32 %r1, [box];\n bar.sync 0;"}, 32);
  // Bytes of one word that belong to different warps.
  check_silent(
      {"add.u32 %r2, %s, %i; setp.eq.u32 %q1, %i, 31; setp.eq.or.u32 %q1, %i, 32, %q1; @%q1 st.shared.u8 [%r2], %r0;"});
}

TEST_CASE("named barriers order those that take part") {
  const std::string text = R"(shr.u32 %r3, %i, 5; setp.eq.u32 %q1, %r3, 2; @%q1 bra OTHER;
  st.shared.u32 [%t], %i; bar.sync 1, 64; xor.b32 %r2, %n, 128; add.u32 %r2, %r2, %s; ld.shared.u32 %r1, [%r2]; bra DONE;
OTHER:
  )";
  check_silent({text + "st.shared.u32 [%t], %i;\nDONE:", 96});
  check_found(FindingKind::shared_race, {text + "ld.shared.u32 %r1, [box]; // here\nDONE:", 96}, 32);
}

TEST_CASE("barriers that not all reach") {
  check_found(FindingKind::divergent_barrier,
              {"setp.lt.u32 %q1, %i, 16; @!%q1 bra DONE;\n bar.sync 0; // here\nDONE:", 32}, 16, {"0xffff0000"});
  check_silent({"setp.lt.u32 %q1, %i, 48; @!%q1 ret; bar.sync 0;"});  // threads that have exited are not waited for
  check_found(FindingKind::divergent_barrier,
              {"setp.lt.u32 %q1, %i, 32; @%q1 bra LOW;\n bar.sync 0;\n bra DONE;\nLOW:\n bar.sync 0; // here\nDONE:"},
              32, {});
}

TEST_CASE("shuffles that not all reach") {
  const std::string half = "setp.lt.u32 %q1, %i, 16; @!%q1 bra DONE;\n";
  check_found(FindingKind::divergent_shuffle, {half + "shfl.sync.bfly.b32 %r1, %i, 16, 31, -1; // here\nDONE:", 32}, 16,
              {"does not take part"});
  check_found(FindingKind::divergent_shuffle, {half + "shfl.sync.bfly.b32 %r1, %i, 1, 31, -1; // here\nDONE:", 32}, 16,
              {"names lanes 0xffff0000"});
  check_silent({half + "shfl.sync.bfly.b32 %r1, %i, 1, 31, 0xFFFF;\nDONE:", 32});
  check_found(FindingKind::divergent_shuffle, {"vote.sync.any.pred %q1, %q1, 0xFFFF; // here", 32}, 32,
              {"does not name"});
  check_found(FindingKind::divergent_shuffle, {half + "bar.warp.sync -1; // here\nDONE:", 32}, 16);
}

TEST_CASE("cp.async nobody waits for") {
  const std::string copy =
      "mul.lo.u32 %r4, %i, 16; add.u32 %r4, %r4, %s; sub.u64 %d, %a, 0; and.b64 %d, %d, 0xFFFFFFFFFFFFFFF0;\n"
      "cp.async.cg.shared.global [%r4], [%d], 16; cp.async.commit_group;\n";
  check_found(FindingKind::missing_async_wait, {copy + "ld.shared.u32 %r1, [%r4]; // here"}, 64, {"under way"});
  check_found(FindingKind::missing_async_wait, {copy + "cp.async.wait_group 1;\n ld.shared.u32 %r1, [%r4]; // here"},
              64);
  check_found(FindingKind::missing_async_wait, {copy + "st.shared.u32 [%r4], %r0; // here"}, 64, {"writes"});
  check_silent({copy + "cp.async.wait_all; ld.shared.u32 %r1, [%r4];"});
  // Its own copies have landed, but another warp's are not ordered.
  check_found(FindingKind::shared_race,
              {copy + "cp.async.wait_group 0; xor.b32 %r4, %r4, 512;\n setp.lt.u32 %q1, %i, 32; @%q1 ret;\n "
                      "ld.shared.u32 %r1, [%r4]; // here"},
              32);
  check_silent({copy + "cp.async.wait_group 0; bar.sync 0; xor.b32 %r4, %r4, 512; ld.shared.u32 %r1, [%r4];"});
  // Bytes that src-size leaves out are not read.
  check_silent(
      {"add.u64 %d, %a, 65536; mul.lo.u32 %r4, %i, 16; add.u32 %r4, %r4, %s; cp.async.ca.shared.global [%r4], [%d], "
       "16, %r0; cp.async.wait_all;",
       4});
  check_found(FindingKind::out_of_bounds,
              {"add.u64 %d, %a, 65536; mul.lo.u32 %r4, %i, 16; add.u32 %r4, %r4, %s;\n"
               "cp.async.ca.shared.global [%r4], [%d], 4; // here\n cp.async.wait_all;",
               4},
              4, {"copies from"});
}

TEST_CASE("writes to constants") {
  check_silent({"ld.const.u32 %r1, [fixed+4];"});
  check_found(FindingKind::constant_write,
              {"mov.u64 %d, fixed; cvta.const.u64 %d, %d;\n st.u32 [%d], %r0; // here", 32}, 32,
              {"constant memory", "__constant__ variable fixed"});
}

TEST_CASE("faults are findings, too") {
  check_found(FindingKind::trap, {"setp.ne.u32 %q1, %i, 7; @%q1 ret;\n trap; // here"}, 1, {"trap"});
}

TEST_CASE("a kernel goes on after a finding: loads give zero, stores do nothing") {
  u32* in = nullptr;
  Machine machine(declarations + std::string("ld.global.u32 %r1, [%a+128]; st.global.u32 [%b], %r1; ret; }"));
  machine.options.mode = Mode::check;
  in = machine.upload(std::vector<u32>(64, 5));
  u32* out = machine.allocate<u32>(64);
  CHECK(machine.run("k", {1}, {64}, in, out).findings.size() == 1);
  CHECK(out[31] == 5);
  CHECK(out[32] == 0);
}

TEST_CASE("the place in the source, and a bound on the number of findings") {
  Machine machine(
      ".file 1 \"some/kernel.cu\"\n.visible .entry k() { .reg .b64 %d; .reg .b32 %r; mov.u64 %d, 0;\n.loc 1 12 "
      "3\nld.global.u32 %r, [%d];\n"
      ".loc 1 13 3, function_name $L__info_string0, inlined_at 1 20 5\nld.global.u32 %r, [%d]; ret; }");
  machine.options.mode = Mode::check;
  LaunchResult result = machine.run("k", {4}, {64});
  REQUIRE(result.findings.size() == 2);
  CHECK(result.findings[0].place.file == "some/kernel.cu");
  CHECK(result.findings[0].place.line == 12);
  CHECK(result.findings[1].place.line == 13);
  CHECK(result.findings[0].count == 256);
  machine.options.max_findings = 1;
  result = machine.run("k", {4}, {64});
  CHECK(result.findings.size() == 1);
  CHECK(result.findings_not_recorded == 256);
}

}  // namespace gpusim::test
