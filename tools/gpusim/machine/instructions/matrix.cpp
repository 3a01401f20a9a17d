// Matrices in registers: ldmatrix, stmatrix, and the tensor cores' mma.
//
// PTX ISA, "Matrix fragments for mma": with P elements in a 32-bit register, register r of A holds for lane l the elements
// (row l / 4 + 8 (r % 2), columns P (l % 4) + 4 P (r / 2) ...), of B (rows P (l % 4) + 4 P r ..., column l / 4). So the 32
// lanes of a register, one after the other, are a tile of 8 rows of A, or of 8 columns of B, with 4 P elements each.
#include "tools/gpusim/machine/instructions/addresses.h"
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

// ---- ldmatrix and stmatrix: lane 8 i + r has the address of row r of the i-th matrix of 8 x 8 elements

constexpr u32 lanes_with_rows(unsigned matrices) {
  return matrices == 4 ? all_lanes : (u32{1} << (8 * matrices)) - 1;
}

// The two elements that lane l holds of a matrix: of its row l / 4, or transposed of its column l / 4.
struct Element {
  unsigned row, column;
};
template <bool transposes>
GPUSIM_INLINE Element element_of(unsigned l, unsigned which) {
  const unsigned one = l / 4, other = 2 * (l % 4) + which;
  return transposes ? Element{other, one} : Element{one, other};
}

template <bool transposes>
const Op* load_matrix(const Op* op, Warp& warp) {
  const unsigned matrices = op->variant >> AddressForm::count_shift;
  Addresses a;
  const AddressOperand address{op->slot[matrices], op->variant, op->immediate};
  if (warp.block->observer != nullptr) warp.block->observer->shuffle(warp, op, all_lanes, 0);
  if (!resolve(op, warp, address, lanes_with_rows(matrices), Access::load, 16, a)) return nullptr;
  alignas(64) u16 elements[8][8];
  for (unsigned i = 0; i < matrices; ++i) {
    for (unsigned r = 0; r < 8; ++r) {
      if (bit(a.mask, 8 * i + r)) {
        std::memcpy(elements[r], a.pointer[8 * i + r], 16);
      } else {
        std::memset(elements[r], 0, 16);
      }
    }
    alignas(64) u32 result[warp_size];
    for (unsigned l = 0; l < warp_size; ++l) {
      const Element low = element_of<transposes>(l, 0), high = element_of<transposes>(l, 1);
      result[l] = elements[low.row][low.column] | u32{elements[high.row][high.column]} << 16;
    }
    blend(warp.out<u32>(op->slot[i]), result, warp.mask);
  }
  return op + 1;
}

template <bool transposes>
const Op* store_matrix(const Op* op, Warp& warp) {
  const unsigned matrices = op->variant >> AddressForm::count_shift;
  alignas(64) u16 elements[4][8][8];
  for (unsigned i = 0; i < matrices; ++i) {
    const u32* value = warp.in<u32>(op->slot[1 + i]);
    for (unsigned l = 0; l < warp_size; ++l) {
      const Element low = element_of<transposes>(l, 0), high = element_of<transposes>(l, 1);
      elements[i][low.row][low.column] = static_cast<u16>(value[l]);
      elements[i][high.row][high.column] = static_cast<u16>(value[l] >> 16);
    }
  }
  Addresses a;
  const AddressOperand address{op->slot[0], op->variant, op->immediate};
  if (warp.block->observer != nullptr) warp.block->observer->shuffle(warp, op, all_lanes, 0);
  if (!resolve(op, warp, address, lanes_with_rows(matrices), Access::store, 16, a,
               reinterpret_cast<const std::byte*>(elements)))
    return nullptr;
  each_lane(a.mask, [&](unsigned l) { std::memcpy(a.pointer[l], elements[l / 8][l % 8], 16); });
  return op + 1;
}

void bind_matrix_move(Binder& b, bool loads) {
  for (const auto modifier : {"sync", "aligned", "m8n8"}) b.take(modifier);
  const std::string_view number = b.take_one_of({"x1", "x2", "x4"});
  const unsigned matrices = number == "x4" ? 4 : number == "x2" ? 2 : 1;
  const bool transposes = b.take("trans");
  const Space space = take_space(b);
  if (!b.take("b16")) return;
  if (loads) b.outputs(b.next(), Type::b32);
  const Binder::Address address = b.address(b.next(), space);
  if (!loads) b.inputs(b.next(), Type::b32);
  if (b.slots() != matrices + 1) b.fail("the number of registers does not fit");
  b.op().variant = address_form(address, matrices);
  b.run(loads        ? transposes ? load_matrix<true> : load_matrix<false>
               : transposes ? store_matrix<true>
                     : store_matrix<false>,
        InstructionClass::matrix_move);
}

// ---- mma

// How a register holds the elements of A and B, and in what they are multiplied.
struct OfF16 {
  static constexpr unsigned per_register = 2;
  using Stored = u16;
  using Number = float;
  GPUSIM_INLINE static float widen(u16 x) { return f16_to_float(x); }
};
struct OfBF16 {
  static constexpr unsigned per_register = 2;
  using Stored = u16;
  using Number = float;
  GPUSIM_INLINE static float widen(u16 x) { return bf16_to_float(x); }
};
struct OfTf32 {  // the lower 13 bits are not looked at
  static constexpr unsigned per_register = 1;
  using Stored = u32;
  using Number = float;
  GPUSIM_INLINE static float widen(u32 x) { return from_bits<float>(x & ~u32{0x1FFF}); }
};
template <class T>
struct OfByte {
  static constexpr unsigned per_register = 4;
  using Stored = T;
  using Number = std::int32_t;
  GPUSIM_INLINE static std::int32_t widen(T x) { return x; }
};

// C and D: two registers for each tile of 8 rows with columns 2 (l % 4) and 2 (l % 4) + 1, or one that packs both.
struct InFull {
  static constexpr unsigned registers = 4;
  template <class Number>
  GPUSIM_INLINE static void read(const Warp& warp, const Op* op, unsigned first, Number (&c)[16][8]) {
    for (unsigned r = 0; r < 4; ++r) {
      const Number* in = warp.in<Number>(op->operand(first + r));
      for (unsigned l = 0; l < warp_size; ++l) c[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2] = in[l];
    }
  }
  template <class Number>
  GPUSIM_INLINE static void write(const Warp& warp, const Op* op, const Number (&d)[16][8]) {
    for (unsigned r = 0; r < 4; ++r) {
      alignas(64) Number t[warp_size];
      for (unsigned l = 0; l < warp_size; ++l) t[l] = d[l / 4 + 8 * (r / 2)][2 * (l % 4) + r % 2];
      blend(warp.out<Number>(op->operand(r)), t, warp.mask);
    }
  }
};
struct InHalf {
  static constexpr unsigned registers = 2;
  GPUSIM_INLINE static void read(const Warp& warp, const Op* op, unsigned first, float (&c)[16][8]) {
    for (unsigned r = 0; r < 2; ++r) {
      const u32* in = warp.in<u32>(op->operand(first + r));
      for (unsigned l = 0; l < warp_size; ++l) {
        c[l / 4 + 8 * r][2 * (l % 4)] = f16_to_float(static_cast<u16>(in[l]));
        c[l / 4 + 8 * r][2 * (l % 4) + 1] = f16_to_float(static_cast<u16>(in[l] >> 16));
      }
    }
  }
  GPUSIM_INLINE static void write(const Warp& warp, const Op* op, const float (&d)[16][8]) {
    for (unsigned r = 0; r < 2; ++r) {
      alignas(64) u32 t[warp_size];
      for (unsigned l = 0; l < warp_size; ++l) {
        const float* pair = &d[l / 4 + 8 * r][2 * (l % 4)];
        t[l] = float_to_f16(pair[0]) | u32{float_to_f16(pair[1])} << 16;
      }
      blend(warp.out<u32>(op->operand(r)), t, warp.mask);
    }
  }
};

// A row of B, C or D. The products of the numbers that tensor cores take are exact in f32.
template <class Number>
using Eight [[gnu::vector_size(32)]] = Number;

// D = A B + C for m16n8, k = 4 P tiles. Sums are taken in the order of k, in f32 or s32.
template <class A, class B, class Sum, unsigned tiles>
const Op* mma(const Op* op, Warp& warp) {
  using Number = typename A::Number;
  constexpr unsigned width = 4 * A::per_register, depth = width * tiles;
  if (warp.block->observer != nullptr) warp.block->observer->shuffle(warp, op, all_lanes, 0);
  alignas(64) Number a[2 * tiles][8 * width], b[depth][8], c[16][8];
  using Row = Eight<Number>;
  for (unsigned r = 0; r < 2 * tiles; ++r) {
    const auto* in = warp.in<typename A::Stored>(op->operand(Sum::registers + r));
#pragma GCC ivdep
    for (unsigned i = 0; i < 8 * width; ++i) a[r][i] = A::widen(in[i]);
  }
  for (unsigned r = 0; r < tiles; ++r) {
    const auto* in = warp.in<typename B::Stored>(op->operand(Sum::registers + 2 * tiles + r));
    alignas(64) Number columns[8 * width];
#pragma GCC ivdep
    for (unsigned i = 0; i < 8 * width; ++i) columns[i] = B::widen(in[i]);
    for (unsigned k = 0; k < width; ++k) {
      for (unsigned n = 0; n < 8; ++n) b[r * width + k][n] = columns[n * width + k];
    }
  }
  Sum::read(warp, op, Sum::registers + 3 * tiles, c);
  for (unsigned half = 0; half < 2; ++half) {
    for (unsigned row = 0; row < 8; ++row) {
      Row& sum = reinterpret_cast<Row&>(c[8 * half + row]);
      Row s = sum;
      for (unsigned tile = 0; tile < tiles; ++tile) {
        const Number* factor = &a[2 * tile + half][row * width];
#pragma GCC unroll 16
        for (unsigned k = 0; k < width; ++k) s += factor[k] * reinterpret_cast<const Row&>(b[tile * width + k]);
      }
      sum = s;
    }
  }
  Sum::write(warp, op, c);
  return op + 1;
}

// m8n8k4: one register of each operand, two of C and D
const Op* mma_f64(const Op* op, Warp& warp) {
  const double* a = warp.in<double>(op->slot[2]);
  const double* b = warp.in<double>(op->slot[3]);
  const double* c[2] = {warp.in<double>(op->slot[4]), warp.in<double>(op->slot[5])};
  alignas(64) double d[2][warp_size];
  for (unsigned l = 0; l < warp_size; ++l) {
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned row = l / 4, column = 2 * (l % 4) + i;
      double sum = c[i][l];
      for (unsigned k = 0; k < 4; ++k) sum = __builtin_fma(a[4 * row + k], b[4 * column + k], sum);
      d[i][l] = sum;
    }
  }
  for (unsigned i = 0; i < 2; ++i) blend(warp.out<double>(op->slot[i]), d[i], warp.mask);
  return op + 1;
}

template <class A, class Sum>
Handler floating_mma(unsigned k) {
  constexpr unsigned width = 4 * A::per_register;
  return k == width ? mma<A, A, Sum, 1> : k == 2 * width ? mma<A, A, Sum, 2> : nullptr;
}
template <class A, class B>
Handler byte_mma(unsigned k) {
  return k == 16 ? mma<OfByte<A>, OfByte<B>, InFull, 1> : k == 32 ? mma<OfByte<A>, OfByte<B>, InFull, 2> : nullptr;
}

Handler find_mma(unsigned k, std::string_view a, std::string_view b, std::string_view sum) {
  if (a == "bf16" && b == a && sum == "f32") return floating_mma<OfBF16, InFull>(k);
  if (a == "f16" && b == a && sum == "f32") return floating_mma<OfF16, InFull>(k);
  if (a == "f16" && b == a && sum == "f16") return floating_mma<OfF16, InHalf>(k);
  if (a == "tf32" && b == a && sum == "f32") return floating_mma<OfTf32, InFull>(k);
  if (sum != "s32") return nullptr;
  if (a == "s8" && b == "s8") return byte_mma<std::int8_t, std::int8_t>(k);
  if (a == "u8" && b == "u8") return byte_mma<std::uint8_t, std::uint8_t>(k);
  if (a == "s8" && b == "u8") return byte_mma<std::int8_t, std::uint8_t>(k);
  if (a == "u8" && b == "s8") return byte_mma<std::uint8_t, std::int8_t>(k);
  return nullptr;
}

// mma.sync.aligned.shape.row.col.dtype.atype.btype.ctype d, a, b, c
void bind_mma(Binder& b) {
  for (const auto modifier : {"sync", "aligned", "row", "col"}) b.take(modifier);
  const std::string_view shape = b.take_one_of({"m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32", "m8n8k4"});
  const Type d = b.take_type(), a_type = b.take_type(), b_type = b.take_type(), c = b.take_type();
  const bool is_double = shape == "m8n8k4" && d == Type::f64 && a_type == d && b_type == d && c == d;
  if (shape.empty() || d != c || (shape == "m8n8k4" && !is_double)) return;
  const Type in_register = is_double ? Type::b64 : Type::b32;
  b.outputs(b.next(), in_register);
  for (int i = 0; i < 3; ++i) b.inputs(b.next(), in_register);
  if (is_double) {
    b.set_tensor_operations(2 * 8 * 8 * 4);
    if (b.slots() != 6) b.fail("the number of registers does not fit");
    return b.run(mma_f64, InstructionClass::tensor);
  }
  const unsigned k = shape == "m16n8k4" ? 4 : shape == "m16n8k8" ? 8 : shape == "m16n8k16" ? 16 : 32;
  const unsigned tiles = k * ptx::bytes_of(a_type) / 16, sums = d == Type::f16 ? 2 : 4;
  if (b.slots() != 2 * sums + 3 * tiles) b.fail("the number of registers does not fit");
  b.set_tensor_operations(2 * 16 * 8 * k);
  b.run(find_mma(k, ptx::name_of(a_type), ptx::name_of(b_type), ptx::name_of(d)), InstructionClass::tensor);
}

}  // namespace

void add_matrix(InstructionSet& set) {
  set.add("ldmatrix", [](Binder& b) { bind_matrix_move(b, true); });
  set.add("stmatrix", [](Binder& b) { bind_matrix_move(b, false); });
  set.add("mma", bind_mma);
}

}  // namespace gpusim::GPUSIM_TARGET
