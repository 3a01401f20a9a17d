// Spaces, vectors, atomics, variables of the module, and copies that arrive later.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

}  // namespace

TEST_CASE("vectors, narrow elements and registers wider than they") {
  Machine machine(R"(.visible .entry k(.param .u64 in, .param .u64 out) {
  .reg .b32 %r<9>; .reg .b16 %h<5>; .reg .b64 %a, %b, %d<5>; .reg .u32 %i;
  ld.param.u64 %a, [in]; ld.param.u64 %b, [out]; mov.u32 %i, %tid.x;
  mad.wide.u32 %a, %i, 16, %a; mad.wide.u32 %b, %i, 64, %b;
  ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%a]; st.global.v4.u32 [%b], {%r4, %r3, %r2, %r1};
  ld.global.s8 %r5, [%a+15]; st.global.u32 [%b+16], %r5;
  ld.global.u8 %h1, [%a+15]; cvt.u32.u16 %r6, %h1; st.global.u32 [%b+20], %r6;
  ld.global.v2.s16 {%r7, %r8}, [%a+12]; st.global.v2.u32 [%b+24], {%r7, %r8};
  ld.global.v2.b64 {%d1, %d2}, [%a]; st.global.v2.b64 [%b+32], {%d2, %d1};
  ld.global.s32 %d3, [%a+12]; st.global.u64 [%b+48], %d3;
  st.global.u8 [%b+56], %r4; st.global.v2.u16 [%b+60], {%h1, 7};
  ret; })");
  std::vector<u32> in;
  for (u32 i = 0; i < 4 * 40; ++i) in.push_back(i * 0x9E3779B1u);
  u32* out = machine.upload(std::vector<u32>(16 * 40, 0));
  CHECK(machine.run("k", {1}, {40}, machine.upload(in), out).fault == Fault::none);
  for (u32 t = 0; t < 40; ++t) {
    const u32 *x = &in[4 * t], *y = out + 16 * t;
    const u32 low_half = static_cast<u32>(static_cast<std::int16_t>(x[3])),
              high_half = static_cast<u32>(static_cast<std::int16_t>(x[3] >> 16));
    const std::vector<u32> want = {x[3],
                                   x[2],
                                   x[1],
                                   x[0],
                                   static_cast<u32>(static_cast<std::int8_t>(x[3] >> 24)),
                                   x[3] >> 24,
                                   low_half,
                                   high_half,
                                   x[2],
                                   x[3],
                                   x[0],
                                   x[1],
                                   x[3],
                                   static_cast<u32>(static_cast<std::int32_t>(x[3]) >> 31),
                                   x[3] & 0xFF,
                                   x[3] >> 24 | 7 << 16};
    CHECK(std::vector<u32>(y, y + 16) == want);
  }
}

TEST_CASE("generic addresses reach every space, and isspacep tells them apart") {
  Machine machine(R"(.shared .align 4 .b32 box[4];
.visible .entry k(.param .u64 out) {
  .local .align 4 .b8 own[16]; .reg .b64 %g<4>, %o, %x; .reg .b32 %r<9>; .reg .pred %q<5>;
  ld.param.u64 %o, [out]; cvta.to.global.u64 %g0, %o;
  mov.u64 %x, box; cvta.shared.u64 %g1, %x; mov.u64 %x, own; cvta.local.u64 %g2, %x;
  mov.u32 %r0, %tid.x;
  st.u32 [%g1+4], %r0; add.u32 %r1, %r0, 100; st.u32 [%g2+8], %r1;
  ld.shared.u32 %r2, [box+4]; ld.local.u32 %r3, [own+8]; ld.u32 %r4, [%g1+4]; add.u32 %r2, %r2, %r4;
  isspacep.shared %q1, %g1; isspacep.local %q2, %g2; isspacep.global %q3, %o; isspacep.shared %q4, %o;
  selp.u32 %r5, 1, 0, %q1; @%q2 add.u32 %r5, %r5, 2; @%q3 add.u32 %r5, %r5, 4; @%q4 add.u32 %r5, %r5, 8;
  setp.eq.u32 %q1, %r0, 0; selp.b64 %x, %g1, %g2, %q1; ld.u32 %r6, [%x+8];
  mad.wide.u32 %o, %r0, 16, %o; st.global.v4.u32 [%o], {%r2, %r3, %r5, %r6}; ret; })");
  u32* out = machine.allocate<u32>(4 * 2);
  CHECK(machine.run("k", {1}, {2}, out).fault == Fault::none);
  CHECK(std::vector<u32>(out, out + 3) == std::vector<u32>{2, 100, 7});  // the last lane's store to shared memory stays
  CHECK(std::vector<u32>(out + 4, out + 8) == std::vector<u32>{2, 101, 7, 101});
}

TEST_CASE("variables of the module: initial values, pointers among them, constants") {
  Machine machine(R"(
.const .align 4 .f32 table[3] = {0f3F800000, 2.5, -3};
.global .align 4 .b32 numbers[2][2] = {{1, 2}, {3}};
.global .u64 pointer = numbers+8;
.global .align 8 .u64 generic_pointer[1] = {generic(numbers)};
.visible .entry k(.param .u64 out) {
  .reg .b64 %o, %p; .reg .b32 %r<5>; ld.param.u64 %o, [out];
  ld.const.b32 %r1, [table+4]; ld.global.u64 %p, [pointer]; ld.u32 %r2, [%p];
  ld.global.u64 %p, [generic_pointer]; ld.u32 %r3, [%p+4]; ld.global.u32 %r4, [numbers+12];
  st.global.v4.u32 [%o], {%r1, %r2, %r3, %r4}; ret; })");
  u32* out = machine.allocate<u32>(4);
  CHECK(machine.run("k", {1}, {1}, out).fault == Fault::none);
  CHECK(std::vector<u32>(out, out + 4) == std::vector<u32>{std::bit_cast<u32>(2.5f), 3, 2, 0});
  REQUIRE(machine.module->variable("numbers") != nullptr);
  CHECK(machine.module->variable("numbers")->bytes == 16);
  CHECK(machine.module->variable("table")->is_constant);
  CHECK(machine.module->variable("none") == nullptr);
}

TEST_CASE("parameters: sizes, alignment, structures") {
  Machine machine(
      R"(.visible .entry k(.param .u8 a, .param .f64 b, .param .align 4 .b8 c[12], .param .u64 out) .maxntid 128, 1, 1 .minnctapersm 2 {
  .reg .b64 %o, %d; .reg .b32 %r<3>; ld.param.u64 %o, [out]; ld.param.u8 %r1, [a]; ld.param.b64 %d, [b]; ld.param.u32 %r2, [c+8];
  st.global.u64 [%o], %d; st.global.v2.u32 [%o+8], {%r1, %r2}; ret; })");
  const FunctionInfo& info = machine.module->function("k").info;
  REQUIRE(info.parameters.size() == 4);
  CHECK(info.parameters[1].offset == 8);
  CHECK(info.parameters[2].offset == 16);
  CHECK(info.parameters[3].offset == 32);
  CHECK(info.parameter_bytes == 40);
  CHECK(info.max_threads == Dim3{128, 1, 1});
  CHECK(info.min_blocks_per_sm == 2);
  struct {
    u32 x[3];
  } c = {{1, 2, 3}};
  u32* out = machine.allocate<u32>(4);
  CHECK(machine.run("k", {1}, {1}, std::uint8_t{200}, 1.5, c, out).fault == Fault::none);
  double b = 0;
  std::memcpy(&b, out, 8);
  CHECK(b == 1.5);
  CHECK(out[2] == 200);
  CHECK(out[3] == 3);
}

TEST_CASE("atomics of many blocks") {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b64 %o, %d; .reg .b32 %r<9>; .reg .b16 %h; ld.param.u64 %o, [out]; mov.u32 %r1, %tid.x;
  red.global.add.u32 [%o], 1; red.global.add.f32 [%o+4], 0f3F000000; atom.global.max.s32 %r2, [%o+8], %r1;
  atom.global.add.u64 %d, [%o+16], 3; red.global.add.f64 [%o+24], 0d3FD0000000000000;
  atom.global.inc.u32 %r3, [%o+32], 9; red.global.or.b32 [%o+36], %r1; atom.global.min.u32 %r4, [%o+40], %r1;
  red.relaxed.gpu.global.add.noftz.f16x2 [%o+44], 0x3C003800; ret; })");
  std::vector<u32> start(12, 0);
  start[2] = 0xFFFFFFFF;
  start[10] = 500;
  u32* out = machine.upload(start);
  CHECK(machine.run("k", {8}, {128}, out).fault == Fault::none);
  CHECK(out[0] == 1024);
  CHECK(std::bit_cast<float>(out[1]) == 512.0f);
  CHECK(out[2] == 127);
  CHECK(out[4] == 3072);
  CHECK(*reinterpret_cast<double*>(out + 6) == 256.0);
  CHECK(out[8] == 1024 % 10);
  CHECK(out[9] == 127);
  CHECK(out[10] == 0);
  CHECK(out[11] == 0x64006000);  // 1024 and 512
}

TEST_CASE("compare and swap, exchange, in shared memory") {
  Machine machine(R"(.shared .b32 box[2];
.visible .entry k(.param .u64 out) {
  .reg .b64 %o; .reg .b32 %r<9>; .reg .pred %q; ld.param.u64 %o, [out]; mov.u32 %r1, %tid.x; add.u32 %r2, %r1, 1;
  mov.u32 %r5, 0; setp.eq.u32 %q, %r1, 0; @%q st.shared.v2.u32 [box], {%r5, %r5}; bar.sync 0;
  atom.shared.cas.b32 %r3, [box], %r1, %r2; atom.shared.exch.b32 %r4, [box+4], %r2;
  mad.wide.u32 %o, %r1, 8, %o; st.global.v2.u32 [%o], {%r3, %r4}; ret; })");
  u32* out = machine.allocate<u32>(64);
  CHECK(machine.run("k", {1}, {32}, out).fault == Fault::none);
  for (u32 i = 0; i < 32; ++i) {  // lanes come in order, each finds what the one before left
    CHECK(out[2 * i] == i);
    CHECK(out[2 * i + 1] == i);
  }
}

TEST_CASE("cp.async lands at the wait, not before") {
  Machine machine(R"(.extern .shared .align 16 .b8 box[];
.visible .entry k(.param .u64 in, .param .u64 out) {
  .reg .b64 %a, %b; .reg .b32 %r<12>, %s; ld.param.u64 %a, [in]; ld.param.u64 %b, [out]; mov.u32 %r0, %tid.x;
  mad.wide.u32 %a, %r0, 16, %a; mad.wide.u32 %b, %r0, 32, %b; mov.u32 %s, box; mad.lo.u32 %s, %r0, 32, %s;
  cp.async.cg.shared.global [%s], [%a], 16; cp.async.commit_group;
  cp.async.ca.shared.global [%s+16], [%a], 8, 4; cp.async.ca.shared.global.L2::128B [%s+24], [%a+8], 4, 0; cp.async.commit_group;
  ld.shared.u32 %r1, [%s];
  cp.async.wait_group 1;
  ld.shared.u32 %r2, [%s]; ld.shared.u32 %r3, [%s+16];
  cp.async.wait_group 0;
  ld.shared.v2.u32 {%r4, %r5}, [%s+16]; ld.shared.u32 %r6, [%s+24]; ld.shared.u32 %r7, [%s+12];
  st.global.v4.u32 [%b], {%r1, %r2, %r3, %r4}; st.global.v4.u32 [%b+16], {%r5, %r6, %r7, 0};
  ret; })");
  machine.dynamic_shared_bytes = 32 * 40;
  std::vector<u32> in;
  for (u32 i = 0; i < 160; ++i) in.push_back(i + 1);
  u32* out = machine.allocate<u32>(8 * 40);
  CHECK(machine.run("k", {1}, {40}, machine.upload(in), out).fault == Fault::none);
  for (u32 t = 0; t < 40; ++t) {
    const u32* y = out + 8 * t;
    CHECK(std::vector<u32>(y, y + 7) == std::vector<u32>{~0u, 4 * t + 1, ~0u, 4 * t + 1, 0, 0, 4 * t + 4});
  }
}

TEST_CASE("a function finds dynamic shared memory behind the static memory of the kernel that calls it") {
  const auto kernel = [](const std::string& name, int words) {
    return ".visible .entry " + name + "(.param .u64 out) { .reg .b64 %p; .reg .b32 %r<4>; .shared .align 4 .b32 own[" +
           std::to_string(words) + R"(];
  ld.param.u64 %p, [out]; st.shared.u32 [own], 1; mov.u32 %r0, box; add.u32 %r1, %r0, 12; st.shared.u32 [%r1], 5;
  { .param .b64 a; st.param.b64 [a], %p; call.uni fill, (a); } ret; })";
  };
  Machine machine(R"(.extern .shared .align 4 .b8 box[];
.func fill(.param .b64 out) { .reg .b64 %p, %d; .reg .b32 %r<4>; ld.param.u64 %p, [out];
  mov.u32 %r0, box; mov.u32 %r1, box+12; sub.u32 %r1, %r1, %r0; mov.u64 %d, box+12; ld.shared.u32 %r2, [%d];
  ld.shared.u32 %r3, [box+12]; st.global.v4.u32 [%p], {%r0, %r1, %r2, %r3}; ret; }
)" + kernel("one", 1) +
                  kernel("nine", 9));
  machine.dynamic_shared_bytes = 16;
  u32* out = machine.allocate<u32>(4);
  for (const auto& [name, begin] : {std::pair{"one", 16u}, std::pair{"nine", 48u}}) {
    CHECK(machine.run(name, {1}, {1}, out).fault == Fault::none);
    for (u32 i = 0; i < 4; ++i) CHECK(out[i] == std::array{begin, 12u, 5u, 5u}[i]);
  }
}

TEST_CASE("illegal accesses end the launch with the error of a device") {
  Machine machine(R"(.shared .b32 box[4];
.visible .entry global(.param .u64 p) { .reg .b64 %p; .reg .b32 %r; ld.param.u64 %p, [p]; ld.global.u32 %r, [%p]; st.global.u32 [%p], %r; ret; }
.visible .entry shared(.param .u32 i) { .reg .b32 %r, %i; ld.param.u32 %i, [i]; ld.shared.u32 %r, [%i]; st.shared.u32 [%i], %r; ret; })");
  u32* memory = machine.allocate<u32>(4);
  CHECK(machine.run("global", {1}, {1}, memory).fault == Fault::none);
  const LaunchResult null = machine.run("global", {1}, {1}, u64{8});
  CHECK(null.fault == Fault::illegal_address);
  CHECK(null.message.find("null pointer") != std::string::npos);
  CHECK(machine.run("global", {1}, {1}, ~u64{3}).fault == Fault::illegal_address);
  CHECK(machine.run("global", {1}, {1}, reinterpret_cast<u64>(memory) + 2).fault == Fault::misaligned_address);
  CHECK(machine.run("shared", {1}, {1}, u32{12}).fault == Fault::none);
  CHECK(machine.run("shared", {1}, {1}, u32{16}).fault == Fault::illegal_address);
  CHECK(machine.run("shared", {1}, {1}, u32{0xFFFFFFFC}).fault == Fault::illegal_address);
}

TEST_CASE("device memory: room, gaps, holes") {
  Memory memory(1 << 20, true);
  auto* a = static_cast<char*>(memory.allocate(1000, "first"));
  auto* b = static_cast<char*>(memory.allocate(5000, "second"));
  CHECK(reinterpret_cast<u64>(a) % 256 == 0);
  CHECK(memory.find(a + 999)->name == "first");
  CHECK_FALSE(memory.find(a + 1000));
  CHECK(memory.nearest(a + 1004)->name == "first");
  CHECK(memory.used() == 6000);
  CHECK(memory.allocate(2 << 20) == nullptr);
  CHECK_FALSE(memory.free(a + 1));
  memory.note_initialised(b, 10);
  CHECK(memory.first_uninitialised(b, 20) == b + 10);
  memory.copy_initialised(b, a + 100, 20);
  CHECK(memory.first_uninitialised(a + 100, 20) == a + 110);
  CHECK(memory.free(b));
  CHECK_FALSE(memory.free(b));
  CHECK(memory.allocations().size() == 1);
}

}  // namespace gpusim::test
