// Paths that part and meet, calls, barriers, the end of threads.
#include <cstdlib>

#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u32 = std::uint32_t;

// A kernel whose body computes %r from the thread's number in the grid, %i, and stores it in out[%i].
std::string kernel(const std::string& body) {
  return R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %i, %r, %b, %t<20>; .reg .b64 %p, %d<10>; .reg .pred %q<10>;
  mov.u32 %b, %ctaid.x; mov.u32 %i, %ntid.x; mul.lo.u32 %b, %b, %i; mov.u32 %i, %tid.x; add.u32 %i, %i, %b;
  mov.u32 %r, 0;
)" + body +
         R"(
  ld.param.u64 %p, [out]; mad.wide.u32 %p, %i, 4, %p; st.global.u32 [%p], %r;
  ret; })";
}

template <class F>
void check_kernel(const std::string& ptx, unsigned blocks, unsigned threads, F expected) {
  Machine machine(ptx);
  u32* out = machine.allocate<u32>(blocks * threads);
  const LaunchResult result = machine.run("k", {blocks}, {threads}, out);
  CHECK_MESSAGE(result.fault == Fault::none, result.message);
  for (u32 i = 0; i < blocks * threads; ++i) {
    if (out[i] == expected(i)) continue;
    FAIL(fmt::format("thread {}: {}, expected {}", i, out[i], expected(i)));
  }
}

}  // namespace

TEST_CASE("the instructions are of no better level than HEED_GPUSIM_TARGET names") {
  const char* limit = std::getenv("HEED_GPUSIM_TARGET");
  if (limit != nullptr) CHECK(host_target() <= limit);
}

TEST_CASE("nested branches meet again") {
  check_kernel(kernel(R"(
  and.b32 %t1, %i, 1; setp.eq.u32 %q1, %t1, 0; and.b32 %t2, %i, 2; setp.eq.u32 %q2, %t2, 0;
  @%q1 bra EVEN;
  @%q2 bra ODD_LOW;
  add.u32 %r, %r, 100; bra INNER;
ODD_LOW:
  add.u32 %r, %r, 200;
INNER:
  add.u32 %r, %r, 1; bra DONE;
EVEN:
  add.u32 %r, %r, 300;
DONE:
  activemask.b32 %t3; popc.b32 %t3, %t3; add.u32 %r, %r, %t3;)"),
               2, 64, [](u32 i) {
                 return (i % 2 == 0 ? 300 : i & 2 ? 101 : 201) + 32u;
               });
}

TEST_CASE("a loop that lanes leave one after the other, with break and continue") {
  check_kernel(kernel(R"(
  mov.u32 %t1, 0;
LOOP:
  setp.ge.u32 %q1, %t1, %i; @%q1 bra DONE;
  add.u32 %t1, %t1, 1;
  and.b32 %t2, %t1, 3; setp.eq.u32 %q2, %t2, 0; @%q2 bra LOOP;
  setp.gt.u32 %q3, %t1, 20; @%q3 bra DONE;
  add.u32 %r, %r, %t1;
  bra LOOP;
DONE:
  activemask.b32 %t3; popc.b32 %t3, %t3; mad.lo.u32 %r, %t3, 1000, %r;)"),
               1, 48, [](u32 i) {
                 u32 r = 0, n = 0;
                 while (n < i) {
                   ++n;
                   if (n % 4 == 0) continue;
                   if (n > 20) break;
                   r += n;
                 }
                 return r + 1000 * (i < 32 ? 32 : 16);
               });
}

TEST_CASE("threads that exit inside a branch are not waited for") {
  check_kernel(kernel(R"(
  mov.u32 %r, 7; ld.param.u64 %p, [out]; mad.wide.u32 %p, %i, 4, %p; st.global.u32 [%p], %r;
  setp.lt.u32 %q1, %i, 10; @%q1 exit;
  and.b32 %t1, %i, 1; setp.eq.u32 %q2, %t1, 0; @!%q2 bra ODD;
  mov.u32 %r, 9; setp.gt.u32 %q3, %i, 50; @%q3 ret;
ODD:
  bar.sync 0;
  add.u32 %r, %r, 1;)"),
               1, 64, [](u32 i) {
                 return i < 10 ? 7u : i % 2 == 1 ? 8u : i > 50 ? 7u : 10u;
               });
}

TEST_CASE("a branch by index") {
  check_kernel(kernel(R"(
  rem.u32 %t1, %i, 3;
targets: .branchtargets A, B, C;
  brx.idx %t1, targets;
A:
  mov.u32 %r, 10; bra DONE;
B:
  mov.u32 %r, 20; bra DONE;
C:
  mov.u32 %r, 30;
DONE:
  activemask.b32 %t3; popc.b32 %t3, %t3; add.u32 %r, %r, %t3;)"),
               1, 64, [](u32 i) { return (i % 3 + 1) * 10 + 32; });
}

TEST_CASE("calls, recursive and through a pointer, of lanes that want different functions") {
  check_kernel(R"(
.func (.param .b32 result) factorial(.param .b32 n) {
  .reg .b32 %r<5>; .reg .pred %p;
  ld.param.u32 %r1, [n]; mov.u32 %r2, 1; setp.le.u32 %p, %r1, 1; @%p bra DONE;
  sub.u32 %r3, %r1, 1;
  { .param .b32 a; .param .b32 b; st.param.b32 [a], %r3; call.uni (b), factorial, (a); ld.param.b32 %r4, [b]; }
  mul.lo.u32 %r2, %r4, %r1;
DONE:
  st.param.b32 [result], %r2; ret;
}
.func (.param .b32 result) twice(.param .b32 n) {
  .reg .b32 %r<3>; ld.param.u32 %r1, [n]; add.u32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret;
}
)" + kernel(R"(
  rem.u32 %t1, %i, 9; and.b32 %t2, %i, 1; setp.eq.u32 %q1, %t2, 0;
  mov.u64 %d1, factorial; mov.u64 %d2, twice; selp.b64 %d3, %d1, %d2, %q1;
  { .param .b32 a; .param .b32 b; st.param.b32 [a], %t1;
    prototype: .callprototype (.param .b32 _) _ (.param .b32 _);
    call (b), %d3, (a), prototype; ld.param.b32 %r, [b]; }
  activemask.b32 %t3; popc.b32 %t3, %t3; mad.lo.u32 %r, %t3, 1000000, %r;)"),
               1, 40, [](u32 i) {
                 u32 f = 1;
                 for (u32 k = 2; k <= i % 9; ++k) f *= k;
                 return (i % 2 == 0 ? f : 2 * (i % 9)) + 1000000 * (i < 32 ? 32 : 8);
               });
}

TEST_CASE("endless recursion overflows the stack, and is an error") {
  Machine machine(R"(
.func again(.param .b32 n) {
  .reg .b32 %r<3>; .local .b8 space[64]; ld.param.u32 %r1, [n];
  { .param .b32 a; st.param.b32 [a], %r1; call.uni again, (a); }
  ret; }
.visible .entry k() { .reg .b32 %r<3>; { .param .b32 a; mov.u32 %r1, 1; st.param.b32 [a], %r1; call.uni again, (a); } ret; })");
  CHECK(machine.run("k", {1}, {32}).fault == Fault::stack_overflow);
}

TEST_CASE("barriers order the warps of a block") {
  // Each round every thread reads what another warp wrote in the round before.
  check_kernel(".shared .b32 box[256];\n" + kernel(R"(
  mov.u32 %t5, %tid.x; mov.u32 %t1, box; shl.b32 %t2, %t5, 2; add.u32 %t1, %t1, %t2;
  add.u32 %t3, %t5, 32; rem.u32 %t3, %t3, 256; mov.u32 %t4, box; mad.lo.u32 %t4, %t3, 4, %t4;
  st.shared.u32 [%t1], %t5; mov.u32 %t6, 0;
ROUND:
  bar.sync 0; ld.shared.u32 %r, [%t4]; barrier.sync 0; add.u32 %r, %r, 1; st.shared.u32 [%t1], %r;
  add.u32 %t6, %t6, 1; setp.lt.u32 %q1, %t6, 5; @%q1 bra ROUND;)"),
               3, 256, [](u32 i) { return (i % 256 + 5 * 32) % 256 + 5; });
}

TEST_CASE("barriers that reduce, named barriers with counts, producers that only arrive") {
  check_kernel(kernel(R"(
  and.b32 %t1, %i, 3; setp.eq.u32 %q1, %t1, 0;
  bar.red.popc.u32 %r, 0, %q1;
  bar.red.and.pred %q2, 0, %q1; bar.red.or.pred %q3, 0, %q1;
  @%q2 add.u32 %r, %r, 1000; @%q3 add.u32 %r, %r, 100;)"),
               2, 96, [](u32) { return 124u; });
  check_kernel(".shared .b32 box[2];\n" + kernel(R"(
  shr.u32 %t1, %i, 5; setp.eq.u32 %q1, %t1, 1; setp.eq.u32 %q2, %t1, 2; mov.u32 %r, 5;
  @%q2 bra DONE;
  @%q1 bra PRODUCER;
  bar.sync 1, 64; ld.shared.u32 %r, [box]; bra DONE;
PRODUCER:
  mov.u32 %t2, 42; st.shared.u32 [box], %t2; bar.arrive 1, 64;
DONE:)"),
               1, 96, [](u32 i) { return i < 32 ? 42u : 5u; });
}

TEST_CASE("a barrier that can never be complete ends the launch") {
  Machine machine(R"(.visible .entry k() { .reg .b32 %t; .reg .pred %q;
  mov.u32 %t, %tid.x; setp.ge.u32 %q, %t, 32; @%q bra DONE; bar.sync 1, 64;
DONE:
  ret; })");
  const LaunchResult result = machine.run("k", {1}, {64});
  CHECK(result.fault == Fault::deadlock);
  CHECK(result.place.ptx_text == "bar.sync 1, 64");
}

TEST_CASE("a thread that spins on a flag lets others set it") {
  for (const bool cooperative : {false, true}) {
    Machine machine(".global .u32 flag = 0;\n" + kernel(R"(
  setp.ne.u32 %q1, %i, 32; @%q1 bra WAIT;
  mov.u32 %t2, 1; st.volatile.global.u32 [flag], %t2;
WAIT:
  ld.volatile.global.u32 %t1, [flag]; setp.eq.u32 %q2, %t1, 0; @%q2 bra WAIT;
  mov.u32 %r, %t1;)"));
    machine.options.cooperative = cooperative;
    u32* out = machine.allocate<u32>(64);
    // Two blocks of one warp progress together only in a cooperative launch.
    CHECK(machine.run("k", {cooperative ? 2u : 1u}, {cooperative ? 32u : 64u}, out).fault == Fault::none);
    CHECK(out[63] == 1);
  }
}

TEST_CASE("trap and assertions say where") {
  Machine machine(
      ".visible .entry k() { .reg .b32 %t; .reg .pred %q;\nmov.u32 %t, %tid.x; setp.eq.u32 %q, %t, 3;\n@%q trap;\nret; "
      "}");
  const LaunchResult result = machine.run("k", {1}, {32});
  CHECK(result.fault == Fault::trap);
  CHECK(result.place.ptx_line == 6);
}

TEST_CASE("printf formats for each thread") {
  Machine machine(R"(
.extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
.global .align 1 .b8 text[30] = {105, 61, 37, 100, 32, 120, 61, 37, 46, 49, 102, 32, 37, 108, 108, 100, 37, 37, 10, 0};
.visible .entry k() {
  .local .align 8 .b8 arguments[24]; .reg .b64 %d<6>; .reg .b32 %r<4>; .reg .f64 %f;
  mov.u32 %r1, %tid.x; mov.u64 %d1, arguments; cvta.local.u64 %d2, %d1;
  cvt.rn.f64.u32 %f, %r1; mov.u64 %d4, -5;
  st.local.u32 [%d1], %r1; st.local.f64 [%d1+8], %f; st.local.u64 [%d1+16], %d4;
  mov.u64 %d3, text; cvta.global.u64 %d3, %d3;
  { .param .b64 p0; .param .b64 p1; .param .b32 ret0; st.param.b64 [p0], %d3; st.param.b64 [p1], %d2;
    call.uni (ret0), vprintf, (p0, p1); ld.param.b32 %r2, [ret0]; }
  ret; })");
  std::string output;
  machine.options.print = [&](std::string_view text) { output += text; };
  CHECK(machine.run("k", {1}, {2}).fault == Fault::none);
  CHECK(output == "i=0 x=0.0 -5%\ni=1 x=1.0 -5%\n");
}

}  // namespace gpusim::test
