// Profile mode: counters of kernels whose traffic can be worked out by hand.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u32 = std::uint32_t;

Counters profile(const std::string& body, unsigned threads = 32, unsigned blocks = 1) {
  Machine machine(R"(.shared .align 16 .b8 box[8192];
.visible .entry k(.param .u64 in, .param .u64 out) {
  .reg .b32 %i, %r<9>, %s; .reg .b64 %a, %b; .reg .f32 %f<4>; .reg .pred %q;
  ld.param.u64 %a, [in]; ld.param.u64 %b, [out]; mov.u32 %i, %tid.x;
)" + body + "\n ret; }");
  machine.options.mode = Mode::profile;
  std::vector<u32> data(4096, 0);
  const LaunchResult result = machine.run("k", {blocks}, {threads}, machine.upload(data), machine.upload(data));
  CHECK(result.fault == Fault::none);
  return result.profile.total;
}

std::uint64_t of(const Counters& counters, InstructionClass what) {
  return counters.warp_instructions[static_cast<std::size_t>(what)];
}

}  // namespace

TEST_CASE("sectors of global memory") {
  Counters c = profile(
      "mad.wide.u32 %a, %i, 4, %a; mad.wide.u32 %b, %i, 16, %b; ld.global.u32 %r1, [%a]; st.global.u32 [%b], %r1;");
  CHECK(c.global_load_requests == 1);
  CHECK(c.global_load_sectors == 4);
  CHECK(c.global_load_ideal == 4);
  CHECK(c.global_load_bytes == 128);
  CHECK(c.global_store_sectors == 16);  // every fourth word
  CHECK(c.global_store_ideal == 4);
  c = profile("ld.global.u32 %r1, [%a];", 64);  // all lanes the same word
  CHECK(c.global_load_requests == 2);
  CHECK(c.global_load_sectors == 2);
  CHECK(c.global_load_ideal == 2);
  c = profile("mad.wide.u32 %a, %i, 4, %a; ld.global.u32 %r1, [%a+4];");  // off by a word
  CHECK(c.global_load_sectors == 5);
  CHECK(c.global_load_ideal == 4);
  c = profile("mad.wide.u32 %a, %i, 16, %a; ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%a];");
  CHECK(c.global_load_sectors == 16);
  CHECK(c.global_load_ideal == 16);
  c = profile("red.global.add.u32 [%a], 1;", 40);
  CHECK(c.global_atomics == 40);
}

TEST_CASE("conflicts of the shared memory's banks") {
  const auto store = [](int stride) {
    return profile(fmt::format("mov.u32 %s, box; mad.lo.u32 %s, %i, {}, %s; st.shared.u32 [%s], %i;", 4 * stride));
  };
  CHECK(store(1).shared_store_wavefronts == 1);
  CHECK(store(2).shared_store_wavefronts == 2);
  CHECK(store(32).shared_store_wavefronts == 32);
  CHECK(store(33).shared_store_wavefronts == 1);
  CHECK(store(32).shared_store_ideal == 1);
  CHECK(store(32).bank_conflicts() == 31);
  Counters c = profile("ld.shared.u32 %r1, [box];");  // one word for all
  CHECK(c.shared_load_wavefronts == 1);
  c = profile("mov.u32 %s, box; mad.lo.u32 %s, %i, 16, %s; ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%s];");
  CHECK(c.shared_load_wavefronts == 4);
  CHECK(c.shared_load_ideal == 4);
  // Rows of 128 bytes: the eight rows of a matrix begin in the same bank, unless swizzled.
  const std::string rows = "and.b32 %r5, %i, 7; mov.u32 %s, box; mad.lo.u32 %s, %r5, 128, %s;";
  const std::string load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%s];";
  CHECK(profile(rows + load).bank_conflicts() == 7);
  CHECK(profile(rows + "mad.lo.u32 %s, %r5, 16, %s;" + load).bank_conflicts() == 0);
  c = profile("st.shared.u32 [box], 0; atom.shared.add.u32 %r1, [box], 1;");
  CHECK(c.shared_atomics == 32);
  CHECK(c.bank_conflicts() == 31);  // they take turns
}

TEST_CASE("instructions by class, operations, divergence") {
  const Counters c = profile(R"(
  cvt.rn.f32.u32 %f1, %i; fma.rn.f32 %f2, %f1, %f1, %f1; add.f32 %f2, %f2, %f1; ex2.approx.f32 %f3, %f2;
  setp.lt.u32 %q, %i, 8; @%q bra LOW; add.u32 %r1, %i, 1; bra DONE;
LOW:
  add.u32 %r1, %i, 2; add.u32 %r1, %r1, 2;
DONE:
  bar.sync 0; mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r1}, {%r1}, {%f0, %f1, %f2, %f3};)",
                             64, 2);
  CHECK(of(c, InstructionClass::float32) == 8);
  CHECK(of(c, InstructionClass::special) == 4);
  CHECK(of(c, InstructionClass::conversion) == 4);
  CHECK(of(c, InstructionClass::tensor) == 4);
  CHECK(of(c, InstructionClass::barrier) == 4);
  CHECK(c.barriers == 4);
  CHECK(c.tensor_operations == 4 * 2 * 16 * 8 * 8);
  CHECK(c.floating_operations == 128 * (2 + 1 + 1));
  CHECK(c.divergent_branches == 2);  // the first warp of each block
  const std::uint64_t integer = c.lane_instructions[static_cast<std::size_t>(InstructionClass::integer)];
  CHECK(integer == 128 + 2 * (8 * 2 + 56));  // setp, then each lane its own side
}

TEST_CASE("counters of each instruction add up to the total") {
  Machine machine(".visible .entry k() { .reg .b32 %r<3>; mov.u32 %r1, %tid.x;\nadd.u32 %r2, %r1, 1;\nret; }");
  machine.options.mode = Mode::profile;
  machine.options.per_instruction = true;
  const LaunchResult result = machine.run("k", {3}, {64});
  REQUIRE(result.profile.instructions.size() == 3);
  CHECK(result.profile.instructions[1].place.ptx_text == "add.u32 %r2, %r1, 1");
  CHECK(result.profile.instructions[1].counters.total_warp_instructions() == 6);
  Counters sum;
  for (const InstructionProfile& instruction : result.profile.instructions) sum += instruction.counters;
  CHECK(sum.total_lane_instructions() == result.profile.total.total_lane_instructions());
}

}  // namespace gpusim::test
