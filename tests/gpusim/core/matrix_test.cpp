// Fragments of matrices. Where each element lives is written down here once more, from the PTX ISA's section "Matrix
// Fragments for mma" formula by formula, and not taken from the simulator.
#include <cmath>

#include "tests/gpusim/core/machine.h"

namespace gpusim::test {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

struct At {
  int row, column;
};

// Element i of a lane's fragment. groupID = lane >> 2, threadID_in_group = lane % 4.
struct Layout {
  const char* shape;
  const char* type;
  int m, n, k, bits;
  int a_count, b_count;  // elements of a lane
  At (*a)(int lane, int i);
  At (*b)(int lane, int i);
};

const Layout layouts[] = {
    {"m16n8k8", "f16", 16, 8, 8, 16, 4, 2,
     [](int lane, int i) {
       return At{i < 2 ? lane >> 2 : (lane >> 2) + 8, (lane % 4) * 2 + (i & 1)};
     },
     [](int lane, int i) {
       return At{(lane % 4) * 2 + i, lane >> 2};
     }},
    {"m16n8k16", "f16", 16, 8, 16, 16, 8, 4,
     [](int lane, int i) {
       const bool upper = (i >= 0 && i < 2) || (i >= 4 && i < 6);
       return At{upper ? lane >> 2 : (lane >> 2) + 8, i < 4 ? (lane % 4) * 2 + (i & 1) : (lane % 4) * 2 + (i & 1) + 8};
     },
     [](int lane, int i) {
       return At{i < 2 ? (lane % 4) * 2 + (i & 1) : (lane % 4) * 2 + (i & 1) + 8, lane >> 2};
     }},
    {"m16n8k4", "tf32", 16, 8, 4, 32, 2, 1,
     [](int lane, int i) {
       return At{i == 0 ? lane >> 2 : (lane >> 2) + 8, lane % 4};
     },
     [](int lane, int) {
       return At{lane % 4, lane >> 2};
     }},
    {"m16n8k8", "tf32", 16, 8, 8, 32, 4, 2,
     [](int lane, int i) {
       return At{i == 0 || i == 2 ? lane >> 2 : (lane >> 2) + 8, i < 2 ? lane % 4 : lane % 4 + 4};
     },
     [](int lane, int i) {
       return At{i == 0 ? lane % 4 : lane % 4 + 4, lane >> 2};
     }},
    {"m16n8k16", "s8", 16, 8, 16, 8, 8, 4,
     [](int lane, int i) {
       return At{i < 4 ? lane >> 2 : (lane >> 2) + 8, (lane % 4) * 4 + (i & 3)};
     },
     [](int lane, int i) {
       return At{(lane % 4) * 4 + i, lane >> 2};
     }},
    {"m16n8k32", "s8", 16, 8, 32, 8, 16, 8,
     [](int lane, int i) {
       const bool upper = (i >= 0 && i < 4) || (i >= 8 && i < 12);
       return At{upper ? lane >> 2 : (lane >> 2) + 8, i < 8 ? (lane % 4) * 4 + (i & 3) : (lane % 4) * 4 + (i & 3) + 16};
     },
     [](int lane, int i) {
       return At{i < 4 ? (lane % 4) * 4 + (i & 3) : (lane % 4) * 4 + (i & 3) + 16, lane >> 2};
     }},
};

// C and D of m16n8: four numbers of a lane.
At of_sum(int lane, int i) {
  return {i < 2 ? lane >> 2 : (lane >> 2) + 8, (lane % 4) * 2 + (i & 1)};
}

u32 encode(const std::string& type, int value) {
  const float x = static_cast<float>(value);
  if (type == "s8") return static_cast<std::uint8_t>(value);
  if (type == "bf16") return std::bit_cast<u32>(x) >> 16;
  if (type == "tf32") return std::bit_cast<u32>(x);
  if (value == 0) return 0;  // f16: small integers only
  int exponent = 0;
  const double fraction = std::frexp(std::abs(x), &exponent);
  return (value < 0 ? 0x8000 : 0) | static_cast<u32>(exponent + 14) << 10 |
         (static_cast<u32>(std::ldexp(fraction, 11)) & 0x3FF);
}

int entry_a(int row, int column) {
  return (row * 7 + column * 3) % 11 - 5;
}
int entry_b(int row, int column) {
  return (row * 5 + column * 2) % 9 - 4;
}
int entry_c(int row, int column) {
  return row * 10 - column;
}

std::string registers(const char* prefix, int count) {
  std::string list = "{";
  for (int i = 0; i < count; ++i) list += fmt::format("{}%{}{}", i == 0 ? "" : ", ", prefix, i);
  return list + "}";
}

// The lanes' fragments in memory: the registers of lane 0, then of lane 1...
std::vector<u32> fragments(const Layout& layout, const std::string& type, bool is_a) {
  const int count = is_a ? layout.a_count : layout.b_count, per_register = 32 / layout.bits,
            in_registers = count / per_register;
  std::vector<u32> result(static_cast<std::size_t>(32 * in_registers), 0);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < count; ++i) {
      const At at = is_a ? layout.a(lane, i) : layout.b(lane, i);
      const u32 bits = encode(type, is_a ? entry_a(at.row, at.column) : entry_b(at.row, at.column));
      result[static_cast<std::size_t>(lane * in_registers + i / per_register)] |= bits
                                                                                  << (layout.bits * (i % per_register));
    }
  }
  return result;
}

void check_mma(const Layout& layout, const std::string& type, bool half_sums) {
  CAPTURE(layout.shape);
  CAPTURE(type);
  const int a = layout.a_count * layout.bits / 32, b = layout.b_count * layout.bits / 32, c = half_sums ? 2 : 4;
  const std::string sum = half_sums ? "f16" : type == "s8" ? "s32" : "f32";
  std::string loads;
  for (const auto& [name, count] : {std::pair{"a", a}, {"b", b}, {"c", c}}) {
    loads += fmt::format("ld.param.u64 %p, [{0}]; mad.wide.u32 %p, %l, {1}, %p;\n", name, 4 * count);
    for (int i = 0; i < count; ++i) loads += fmt::format("ld.global.b32 %{0}{1}, [%p+{2}];\n", name, i, 4 * i);
  }
  Machine machine(
      fmt::format(".visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c) {{ .reg .b32 %a<8>, %b<8>, %c<4>, "
                  "%d<4>, %l; .reg .b64 %p;\n"
                  "mov.u32 %l, %laneid;\n{}mma.sync.aligned.{}.row.col.{}.{}.{}.{} {}, {}, {}, {};\n"
                  "ld.param.u64 %p, [c]; mad.wide.u32 %p, %l, {}, %p; st.global.v2.b32 [%p], {{%d0, %d1}};\n{} ret; }}",
                  loads, layout.shape, sum, type, type, sum, registers("d", c), registers("a", a), registers("b", b),
                  registers("c", c), 4 * c, half_sums ? "" : "st.global.v2.b32 [%p+8], {%d2, %d3};"));
  std::vector<u32> sums(static_cast<std::size_t>(32 * c), 0), want = sums;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const At at = of_sum(lane, i);
      int product = entry_c(at.row, at.column);
      const int start = product;
      for (int k = 0; k < layout.k; ++k) product += entry_a(at.row, k) * entry_b(k, at.column);
      const auto place = static_cast<std::size_t>(half_sums ? lane * 2 + i / 2 : lane * 4 + i);
      const auto bits = [&](int value) {
        return half_sums      ? encode("f16", value) << (16 * (i % 2))
               : type == "s8" ? static_cast<u32>(value)
                              : std::bit_cast<u32>(static_cast<float>(value));
      };
      sums[place] |= bits(start);
      want[place] |= bits(product);
    }
  }
  u32* out = machine.upload(sums);
  CHECK(machine
            .run("k", {1}, {32}, machine.upload(fragments(layout, type, true)),
                 machine.upload(fragments(layout, type, false)), out)
            .fault == Fault::none);
  CHECK(std::vector<u32>(out, out + sums.size()) == want);
}

}  // namespace

TEST_CASE("mma: every shape and type, sums in f32, f16 and s32") {
  for (const Layout& layout : layouts) {
    check_mma(layout, layout.type, false);
    if (std::string(layout.type) == "f16") {
      check_mma(layout, "bf16", false);
      check_mma(layout, "f16", true);
    }
  }
}

TEST_CASE("mma in f64") {
  Machine machine(R"(.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c) {
  .reg .b64 %p, %q, %a, %b, %c<2>, %d<2>; .reg .b32 %l; mov.u32 %l, %laneid;
  ld.param.u64 %p, [a]; mad.wide.u32 %p, %l, 8, %p; ld.global.b64 %a, [%p];
  ld.param.u64 %p, [b]; mad.wide.u32 %p, %l, 8, %p; ld.global.b64 %b, [%p];
  ld.param.u64 %q, [c]; mad.wide.u32 %q, %l, 16, %q; ld.global.v2.b64 {%c0, %c1}, [%q];
  mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%d0, %d1}, {%a}, {%b}, {%c0, %c1};
  st.global.v2.b64 [%q], {%d0, %d1}; ret; })");
  std::vector<double> a, b, c, want;
  for (int lane = 0; lane < 32; ++lane) {
    a.push_back(entry_a(lane >> 2, lane % 4));
    b.push_back(entry_b(lane % 4, lane >> 2));
    for (int i = 0; i < 2; ++i) {
      const int row = lane >> 2, column = (lane % 4) * 2 + i;
      c.push_back(entry_c(row, column));
      double sum = c.back();
      for (int k = 0; k < 4; ++k) sum += entry_a(row, k) * entry_b(k, column);
      want.push_back(sum);
    }
  }
  double* out = machine.upload(c);
  CHECK(machine.run("k", {1}, {32}, machine.upload(a), machine.upload(b), out).fault == Fault::none);
  CHECK(std::vector<double>(out, out + 64) == want);
}

TEST_CASE("mma of bf16 keeps f32 sums and special values") {
  // One product of 2^-20 beside 1 must not be lost; infinity and NaN go through.
  const Layout& layout = layouts[1];
  Machine machine(fmt::format(
      R"(.visible .entry k(.param .u64 out, .param .b32 x, .param .b32 y) {{ .reg .b32 %a<4>, %b<2>, %c<4>, %l, %x, %y; .reg .b64 %p;
  mov.u32 %l, %laneid; ld.param.b32 %x, [x]; ld.param.b32 %y, [y];
  mov.b32 %a0, %x; mov.b32 %a1, 0; mov.b32 %a2, 0; mov.b32 %a3, 0; mov.b32 %b0, %y; mov.b32 %b1, 0;
  mov.b32 %c0, 0f3F800000; mov.b32 %c1, %c0; mov.b32 %c2, %c0; mov.b32 %c3, %c0;
  mma.sync.aligned.{}.row.col.f32.bf16.bf16.f32 {{%c0, %c1, %c2, %c3}}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {{%c0, %c1, %c2, %c3}};
  ld.param.u64 %p, [out]; mad.wide.u32 %p, %l, 16, %p; st.global.v4.b32 [%p], {{%c0, %c1, %c2, %c3}}; ret; }})",
      layout.shape));
  float* out = machine.allocate<float>(128);
  const auto run = [&](u32 x, u32 y) {
    CHECK(machine.run("k", {1}, {32}, out, x, y).fault == Fault::none);
    return out[0];
  };
  CHECK(run(0x3580, 0x3F80) == 1 + 4 * 0x1p-20f);  // each row has four lanes' even columns
  CHECK(std::isinf(run(0x7F80, 0x3F80)));
  CHECK(std::isnan(run(0x7F80, 0)));
}

TEST_CASE("ldmatrix and stmatrix, straight and transposed") {
  for (const int matrices : {1, 2, 4}) {
    for (const bool loads_transposed : {false, true}) {
      for (const bool stores_transposed : {false, true}) {
        CAPTURE(matrices);
        Machine machine(fmt::format(R"(.shared .align 16 .b8 box[1024];
.visible .entry k(.param .u64 in, .param .u64 out) {{ .reg .b32 %r<4>, %l, %s, %t; .reg .b64 %p; .reg .pred %q;
  mov.u32 %l, %laneid; mov.u32 %s, box; shl.b32 %t, %l, 4; add.u32 %s, %s, %t;
  ld.param.u64 %p, [in]; mad.wide.u32 %p, %l, 16, %p; ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%p]; st.shared.v4.b32 [%s], {{%r0, %r1, %r2, %r3}};
  bar.warp.sync -1;
  mov.b32 %r0, 0; mov.b32 %r1, 0; mov.b32 %r2, 0; mov.b32 %r3, 0;
  ldmatrix.sync.aligned.m8n8.x{0}{1}.shared.b16 {3}, [%s];
  stmatrix.sync.aligned.m8n8.x{0}{2}.shared.b16 [%s+512], {3};
  ld.param.u64 %p, [out]; mad.wide.u32 %p, %l, 32, %p; st.global.v4.b32 [%p], {{%r0, %r1, %r2, %r3}};
  setp.ge.u32 %q, %l, {4}; @%q ret;
  ld.shared.v4.b32 {{%r0, %r1, %r2, %r3}}, [%s+512]; st.global.v4.b32 [%p+16], {{%r0, %r1, %r2, %r3}}; ret; }})",
                                    matrices, loads_transposed ? ".trans" : "", stores_transposed ? ".trans" : "",
                                    registers("r", matrices), 8 * matrices));
        std::vector<u16> in;
        for (int i = 0; i < 256; ++i) in.push_back(static_cast<u16>(i));
        u16* out = machine.upload(std::vector<u16>(16 * 32, 0));
        CHECK(machine.run("k", {1}, {32}, machine.upload(in), out).fault == Fault::none);
        const auto element = [&](int matrix, int row, int column) {
          return in[static_cast<std::size_t>(64 * matrix + 8 * row + column)];
        };
        for (int lane = 0; lane < 32; ++lane) {
          // PTX ISA, ldmatrix: thread T holds of row T / 4 the elements 2 (T % 4) and the next; transposed, of the column.
          for (int i = 0; i < matrices; ++i) {
            for (int h = 0; h < 2; ++h) {
              const int one = lane / 4, other = 2 * (lane % 4) + h;
              CHECK(out[16 * lane + 2 * i + h] == (loads_transposed ? element(i, other, one) : element(i, one, other)));
            }
          }
          // What was loaded and stored the same way is what it was; else it is transposed.
          if (lane >= 8 * matrices) continue;
          for (int c = 0; c < 8; ++c) {
            const bool same = loads_transposed == stores_transposed;
            CHECK(out[16 * lane + 8 + c] == (same ? element(lane / 8, lane % 8, c) : element(lane / 8, c, lane % 8)));
          }
        }
      }
    }
  }
}

TEST_CASE("wmma: loads, products and stores, rows and columns") {
  struct Form {
    const char *shape, *type, *a_layout, *b_layout, *d_layout;
    int m, n, k, a_registers, b_registers;
  };
  for (const Form& form : {Form{"m16n16k16", "f16", "row", "col", "row", 16, 16, 16, 8, 8},
                           Form{"m16n16k16", "bf16", "col", "row", "col", 16, 16, 16, 4, 4},
                           Form{"m32n8k16", "f16", "col", "col", "col", 32, 8, 16, 8, 8},
                           Form{"m8n32k16", "bf16", "row", "row", "row", 8, 32, 16, 2, 8},
                           Form{"m16n16k8", "tf32", "row", "col", "row", 16, 16, 8, 4, 4}}) {
    CAPTURE(form.shape);
    CAPTURE(form.type);
    const std::string types = std::string(form.type) == "f16" ? "f32.f32" : fmt::format("f32.{0}.{0}.f32", form.type);
    const std::string a = registers("a", form.a_registers), b = registers("b", form.b_registers), c = registers("c", 8),
                      d = registers("d", 8);
    const int pitch = 40;  // elements from a row, or column, to the next
    Machine machine(fmt::format(R"(.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) {{
  .reg .b32 %a<8>, %b<8>, %c<8>, %d<8>, %s; .reg .b64 %p, %q; mov.u32 %s, {};
  ld.param.u64 %p, [a]; wmma.load.a.sync.aligned.{a_layout}.{shape}.global.{type} {a}, [%p], %s;
  ld.param.u64 %p, [b]; wmma.load.b.sync.aligned.{b_layout}.{shape}.{type} {b}, [%p], %s;
  ld.param.u64 %p, [c]; wmma.load.c.sync.aligned.row.{shape}.f32 {c}, [%p];
  wmma.mma.sync.aligned.{a_layout}.{b_layout}.{shape}.{types} {d}, {a}, {b}, {c};
  ld.param.u64 %p, [d]; wmma.store.d.sync.aligned.{d_layout}.{shape}.global.f32 [%p], {d}, %s; ret; }})",
                                pitch, fmt::arg("a_layout", form.a_layout), fmt::arg("b_layout", form.b_layout),
                                fmt::arg("d_layout", form.d_layout), fmt::arg("shape", form.shape),
                                fmt::arg("type", form.type), fmt::arg("types", types), fmt::arg("a", a),
                                fmt::arg("b", b), fmt::arg("c", c), fmt::arg("d", d)));
    const std::size_t element_bytes = std::string(form.type) == "tf32" ? 4 : 2;
    const auto place = [&](const char* layout, int row, int column) {
      return static_cast<std::size_t>(layout[0] == 'r' ? row * pitch + column : column * pitch + row);
    };
    const auto upload = [&](int rows, int columns, const char* layout, int (*entry)(int, int)) {
      std::vector<std::uint8_t> bytes(static_cast<std::size_t>(pitch * pitch) * element_bytes, 0xFF);
      for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < columns; ++column) {
          const u32 bits = encode(form.type, entry(row, column));
          std::memcpy(bytes.data() + place(layout, row, column) * element_bytes, &bits, element_bytes);
        }
      }
      return machine.upload(bytes);
    };
    std::vector<float> sums;
    for (int row = 0; row < form.m; ++row) {
      for (int column = 0; column < form.n; ++column) sums.push_back(static_cast<float>(entry_c(row, column)));
    }
    float* out = machine.allocate<float>(pitch * pitch);
    machine.options.mode = Mode::check;
    const LaunchResult result = machine.run("k", {1}, {32}, upload(form.m, form.k, form.a_layout, entry_a),
                                            upload(form.k, form.n, form.b_layout, entry_b), machine.upload(sums), out);
    CHECK(result.findings.empty());
    for (int row = 0; row < form.m; ++row) {
      for (int column = 0; column < form.n; ++column) {
        int want = entry_c(row, column);
        for (int k = 0; k < form.k; ++k) want += entry_a(row, k) * entry_b(k, column);
        CHECK(out[place(form.d_layout, row, column)] == static_cast<float>(want));
      }
    }
  }
}

}  // namespace gpusim::test
