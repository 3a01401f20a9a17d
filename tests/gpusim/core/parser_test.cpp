// PTX that is read, and PTX that is refused with its line.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

TEST_CASE("what the simulator does not know is named before anything runs") {
  const auto body = [](const std::string& text) {
    return ".visible .entry k() {\n.reg .b32 %r<4>; .reg .b64 %d<4>; .reg .pred %p;\n" + text + "\nret; }";
  };
  check_refused(body("frobnicate.u32 %r1, %r2;"), "k",
                {"k: ", "line 6", "does not know this instruction", "frobnicate.u32 %r1, %r2"}, 6);
  check_refused(body("add.u32.strange %r1, %r2, %r3;"), "k", {"does not know .strange here"}, 6);
  check_refused(body("add.q32 %r1, %r2, %r3;"), "k", {"a type is missing"}, 6);
  check_refused(body("add.u64 %d1, %d2, %r1;"), "k", {"%r1 has 32 bits where 64 are expected"}, 6);
  check_refused(body("add.u32 %r1, %r2;"), "k", {"an operand is missing"}, 6);
  check_refused(body("add.u32 %r1, %r2, %r3, %r3;"), "k", {"too many operands"}, 6);
  check_refused(body("mov.u32 %r1, nothing;"), "k", {"unknown name nothing"}, 6);
  check_refused(body("mov.u32 %r1, %tid.q;"), "k", {"unknown register %tid.q"}, 6);
  check_refused(body("bra NOWHERE;"), "k", {"no label NOWHERE"}, 6);
  check_refused(body("call.uni missing;"), "k", {"no function missing"}, 6);
  check_refused(body("add.u32 %r1, %r2, %r3"), "k", {"expected ';'"});
  check_refused(body("ld.shared.v2.u32 {%r1, %r2, %r3}, [%r1];"), "k", {"another length"}, 6);
  check_refused(body("mma.sync.aligned.m16n8k16.row.col.f32.e4m3.e4m3.f32 {%r1}, {%r1}, {%r1}, {%r1};"), "k", {"mma"},
                6);
}

TEST_CASE("functions that nobody asks for may hold anything") {
  Machine machine(".visible .entry bad() { frobnicate; }\n.visible .entry good() { ret; }");
  CHECK(machine.module->kernel_names() == std::vector<std::string>{"bad", "good"});
  CHECK(machine.run("good", {1}, {1}).fault == Fault::none);
  CHECK_THROWS_AS(machine.module->function("bad"), Error);
  CHECK_THROWS_AS(machine.module->function("bad"), Error);  // again
  CHECK_THROWS_AS(machine.module->function("neither"), Error);
  CHECK(machine.module->target() == "sm_80");
}

TEST_CASE("syntax errors of a module") {
  const auto refused = [](const std::string& text) {
    Memory memory(1 << 20);
    CHECK_THROWS_AS(Module::parse(text, memory), Error);
  };
  refused(".version 8.0 .target sm_80 .entry k( {");
  refused(".entry k() { ");
  refused("rubbish");
  refused(".global .b99 x;");
  refused(".global .b32 x = {1, 2");
  refused(".global .u64 x = nothing;");
}

TEST_CASE("names belong to their braces") {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %x, %y; .reg .b64 %p; .reg .pred %q; mov.u32 %x, 1;
  { .reg .b32 %x; mov.u32 %x, 5; setp.eq.u32 %q, %x, 5; @%q bra SAME; mov.u32 %x, 6;
SAME:
    add.u32 %y, %x, 0; }
  { .reg .b32 %z<2>; mov.u32 %z1, 100; bra SAME; mov.u32 %z1, 200;
SAME:
    add.u32 %y, %y, %z1; }
  add.u32 %y, %y, %x;  /* 1 + 5 + 100 */ // and a comment
  ld.param.u64 %p, [out]; st.global.u32 [%p+ -4+4], %y; ret; })");
  auto* out = machine.allocate<std::uint32_t>(1);
  CHECK(machine.run("k", {1}, {1}, out).fault == Fault::none);
  CHECK(*out == 106);
}

TEST_CASE("numbers in all their forms") {
  Machine machine(
      R"(.visible .entry k(.param .u64 out) { .reg .b64 %p; .reg .f32 %f; .reg .b32 %r; .reg .f64 %d; ld.param.u64 %p, [out];
  mov.u32 %r, 0x1F; st.global.u32 [%p], %r; mov.u32 %r, 017; st.global.u32 [%p+4], %r; mov.s32 %r, -3; st.global.u32 [%p+8], %r;
  mov.f32 %f, 0f40490FDB; st.global.f32 [%p+12], %f; mov.f32 %f, 1.5e1; st.global.f32 [%p+16], %f; mov.u32 %r, 0b101U; st.global.u32 [%p+20], %r;
  mov.f64 %d, 0d4000000000000000; st.global.f64 [%p+24], %d; mov.f64 %d, 0f3F800000; st.global.f64 [%p+32], %d; ret; })");
  auto* out = machine.allocate<std::uint32_t>(10);
  CHECK(machine.run("k", {1}, {1}, out).fault == Fault::none);
  CHECK(out[0] == 31);
  CHECK(out[1] == 15);
  CHECK(out[2] == 0xFFFFFFFD);
  CHECK(out[3] == 0x40490FDB);
  CHECK(std::bit_cast<float>(out[4]) == 15.0f);
  CHECK(out[5] == 5);
  CHECK(*reinterpret_cast<double*>(out + 6) == 2.0);
  CHECK(*reinterpret_cast<double*>(out + 8) == 1.0);
}

TEST_CASE("launches that cannot be are refused") {
  Machine machine(".visible .entry k(.param .u32 x) { ret; }\n.func f() { ret; }");
  CHECK_THROWS_AS(machine.run("k", {1}, {32}), Error);
  CHECK_THROWS_AS(machine.run("k", {0}, {32}, 1u), Error);
  CHECK_THROWS_AS(machine.run("k", {1}, {32, 32, 2}, 1u), Error);
  CHECK_THROWS_AS(machine.run("f", {1}, {32}), Error);
  CHECK(machine.run("k", {1}, {1024}, 1u).fault == Fault::none);
}

TEST_CASE("many registers share few places") {
  // A chain of 3000 values, of which two live at a time, and one that lives through a loop.
  std::string body = "mov.u32 %k, 77; mov.u32 %n, 0;\nLOOP:\nmov.u32 %r0, %n;\n";
  for (int i = 1; i < 3000; ++i) body += fmt::format("add.u32 %r{}, %r{}, 1;\n", i, i - 1);
  Machine machine(".visible .entry k(.param .u64 out) { .reg .b32 %r<3000>, %k, %n; .reg .b64 %p; .reg .pred %q;\n" +
                  body +
                  "add.u32 %n, %n, 1; setp.lt.u32 %q, %n, 3; @%q bra LOOP; add.u32 %k, %k, %r2999; ld.param.u64 %p, "
                  "[out]; st.global.u32 [%p], %k; ret; }");
  auto* out = machine.allocate<std::uint32_t>(1);
  CHECK(machine.run("k", {1}, {1}, out).fault == Fault::none);
  CHECK(*out == 77 + 2999 + 2);
  CHECK(machine.module->function("k").info.live_registers < 10);
}

}  // namespace gpusim::test
