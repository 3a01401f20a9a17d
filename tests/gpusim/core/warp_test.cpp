// What lanes of a warp do together.
#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

// One warp; the body leaves its results in %r1 to %r4 (64 lanes' worth of threads may be asked for).
std::vector<u32> run_warp(const std::string& body, unsigned threads = 32) {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %i, %r<5>, %t<9>; .reg .b64 %o, %d<4>; .reg .pred %q<5>;
  mov.u32 %i, %laneid; mov.u32 %r1, 0; mov.u32 %r2, 0; mov.u32 %r3, 0; mov.u32 %r4, 0;
)" + body + R"(
  mov.u32 %t8, %tid.x; ld.param.u64 %o, [out]; mad.wide.u32 %o, %t8, 16, %o; st.global.v4.u32 [%o], {%r1, %r2, %r3, %r4}; ret; })");
  u32* out = machine.allocate<u32>(4 * threads);
  CHECK(machine.run("k", {1}, {threads}, out).fault == Fault::none);
  return {out, out + 4 * threads};
}

}  // namespace

TEST_CASE("shuffles, whole and in segments") {
  const auto result = run_warp(R"(
  add.u32 %t1, %i, 100;
  shfl.sync.up.b32 %r1|%q1, %t1, 3, 0, -1;
  shfl.sync.down.b32 %r2|%q2, %t1, 5, 31, -1;
  shfl.sync.bfly.b32 %r3, %t1, 9, 31, -1;
  shfl.sync.idx.b32 %r4, %t1, %i, 31, -1;
  add.u32 %t2, %i, 1; shfl.sync.idx.b32 %r4, %t1, %t2, 0x181f, -1;
  @!%q1 add.u32 %r1, %r1, 1000; @!%q2 add.u32 %r2, %r2, 1000;)");
  for (u32 l = 0; l < 32; ++l) {
    CHECK(result[4 * l] == (l >= 3 ? 100 + l - 3 : 1100 + l));
    CHECK(result[4 * l + 1] == (l + 5 <= 31 ? 100 + l + 5 : 1100 + l));
    CHECK(result[4 * l + 2] == 100 + (l ^ 9));
    CHECK(result[4 * l + 3] == 100 + (l / 8 * 8 + (l + 1) % 8));  // segments of 8 lanes
  }
}

TEST_CASE("votes of the lanes that are there") {
  const auto result = run_warp(R"(
  and.b32 %t1, %i, 3; setp.eq.u32 %q1, %t1, 0; setp.lt.u32 %q2, %i, 20;
  vote.sync.ballot.b32 %r1, %q1, -1;
  vote.sync.any.pred %q3, %q1, -1; vote.sync.all.pred %q4, %q1, -1;
  selp.u32 %r2, 1, 0, %q3; @%q4 add.u32 %r2, %r2, 2;
  @!%q2 bra DONE;
  activemask.b32 %r3; vote.sync.ballot.b32 %r4, !%q1, 0xFFFFF;
DONE:)");
  for (u32 l = 0; l < 32; ++l) {
    CHECK(result[4 * l] == 0x11111111);
    CHECK(result[4 * l + 1] == 1);
    CHECK(result[4 * l + 2] == (l < 20 ? 0xFFFFF : 0));
    CHECK(result[4 * l + 3] == (l < 20 ? 0xEEEEEu : 0));
  }
}

TEST_CASE("match, redux, elect, lane masks") {
  const auto result = run_warp(R"(
  shr.u32 %t1, %i, 3; match.any.sync.b32 %r1, %t1, -1;
  mov.u32 %t2, 7; match.all.sync.b32 %t3|%q1, %t2, -1; match.all.sync.b32 %t4|%q2, %t1, -1;
  selp.u32 %r2, 1, 0, %q1; @%q2 add.u32 %r2, %r2, 2; popc.b32 %t3, %t3; add.u32 %r2, %r2, %t3; add.u32 %r2, %r2, %t4;
  redux.sync.add.u32 %r3, %i, -1; sub.s32 %t5, 5, %i; redux.sync.min.s32 %t6, %t5, -1; add.u32 %r3, %r3, %t6;
  elect.sync %t7|%q3, 0xFFFFFFF0; selp.u32 %r4, 1, 0, %q3;
  mov.u32 %t1, %lanemask_lt; popc.b32 %t1, %t1; mad.lo.u32 %r4, %t1, 16, %r4;)");
  for (u32 l = 0; l < 32; ++l) {
    CHECK(result[4 * l] == 0xFFu << (l / 8 * 8));
    CHECK(result[4 * l + 1] == 33);
    CHECK(result[4 * l + 2] == 496u - 26);
    if (l >= 4) CHECK(result[4 * l + 3] == 16 * l + (l == 4));
  }
}

TEST_CASE("special registers") {
  Machine machine(R"(.visible .entry k(.param .u64 out) {
  .reg .b32 %r<12>; .reg .b64 %o, %d; ld.param.u64 %o, [out];
  mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z; mov.u32 %r3, %ntid.y; mov.u32 %r4, %ctaid.y; mov.u32 %r5, %nctaid.x;
  mov.u32 %r6, %warpid; mov.u32 %r7, %laneid; add.u32 %r8, %ctaid.x, 10; mov.u64 %d, %clock64; mov.u32 %r9, %dynamic_smem_size;
  mov.u32 %r10, %ntid.x; mad.lo.u32 %r11, %r1, %r10, %r0; mul.lo.u32 %r10, %r10, %r3; mad.lo.u32 %r11, %r2, %r10, %r11;
  mov.u32 %r10, %nctaid.x; mad.lo.u32 %r10, %r4, %r10, %ctaid.x; mad.lo.u32 %r11, %r10, 60, %r11; mad.wide.u32 %o, %r11, 40, %o;
  st.global.v2.u32 [%o], {%r0, %r1}; st.global.v2.u32 [%o+8], {%r2, %r3}; st.global.v2.u32 [%o+16], {%r4, %r5};
  st.global.v2.u32 [%o+24], {%r6, %r7}; st.global.v2.u32 [%o+32], {%r8, %r9}; ret; })");
  machine.dynamic_shared_bytes = 48;
  u32* out = machine.allocate<u32>(10 * 60 * 6);
  CHECK(machine.run("k", {2, 3}, {5, 4, 3}, out).fault == Fault::none);
  for (u32 b = 0; b < 6; ++b) {
    for (u32 t = 0; t < 60; ++t) {
      const u32* x = out + 10 * (60 * b + t);
      CHECK(std::vector<u32>(x, x + 10) ==
            std::vector<u32>{t % 5, t / 5 % 4, t / 20, 4, b / 2, 2, t / 32, t % 32, b % 2 + 10, 48});
    }
  }
}

}  // namespace gpusim::test
