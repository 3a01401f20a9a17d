// wmma: whole matrices of a warp, loaded, multiplied and stored.
//
// PTX does not say which lane holds which element. Here the registers of a fragment, one after the other and in each lane
// after lane, hold the matrix in the order in which memory has it (C and D: row by row). Where a fragment has room for the
// matrix twice, as f16 has in A and B, the second half repeats the first.
#include "tools/gpusim/machine/instructions/addresses.h"
#include "tools/gpusim/machine/instructions/half_formats.h"

namespace gpusim::GPUSIM_TARGET {

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

struct Shape {
  std::string_view name;
  unsigned m, n, k;
};
constexpr Shape shapes[] = {
    {"m16n16k16", 16, 16, 16}, {"m32n8k16", 32, 8, 16}, {"m8n32k16", 8, 32, 16}, {"m16n16k8", 16, 16, 8}};
constexpr Type types[] = {Type::f16, Type::bf16, Type::tf32, Type::f32};
constexpr unsigned most_elements = 32 * 16;

enum class Part : u32 { a, b, sum };

struct Fragment {
  unsigned rows, columns;
  Type type;
  bool row_major, is_sum;

  unsigned elements() const { return rows * columns; }
  unsigned element_bytes() const { return ptx::bytes_of(type); }
  unsigned per_register() const { return 4 / element_bytes(); }
  unsigned distinct_registers() const { return elements() / (warp_size * per_register()); }
  unsigned registers() const { return !is_sum && type == Type::f16 ? 8 : distinct_registers(); }
  // Where element i of the registers is in the matrix.
  unsigned row_of(unsigned i) const { return is_sum || row_major ? i / columns : i % rows; }
  unsigned column_of(unsigned i) const { return is_sum || row_major ? i % columns : i / rows; }
};

// A fragment's kind, in a few bits.
u32 code_of(u32 shape, Part part, u32 type, bool row_major) {
  return shape | static_cast<u32>(part) << 2 | type << 4 | u32{row_major} << 6;
}

Fragment fragment_of(u32 code) {
  const Shape& shape = shapes[code & 3];
  const Part part = static_cast<Part>(code >> 2 & 3);
  return {part == Part::b ? shape.k : shape.m, part == Part::a ? shape.k : shape.n, types[code >> 4 & 3],
          (code >> 6 & 1) != 0, part == Part::sum};
}

// Slots: the address, the stride, the registers. The fragment's code stands above the form of the address.
template <bool loads>
const Op* move_matrix(const Op* op, Warp& warp) {
  const Fragment f = fragment_of(op->variant >> AddressForm::count_shift);
  if (warp.block->observer != nullptr) warp.block->observer->shuffle(warp, op, all_lanes, 0);
  Addresses base, a;
  read_addresses(warp, {op->slot[0], op->variant, op->immediate}, base);
  const auto first = static_cast<unsigned>(std::countr_zero(warp.mask));
  const u32 stride = warp.in<u32>(op->slot[1])[first];
  // What shares a register is neighbours in memory, but for 16-bit sums column by column.
  const unsigned pieces = f.per_register() == 2 && f.is_sum && !f.row_major ? 2 : 1, bytes = 4 / pieces;
  for (unsigned r = 0; r < f.distinct_registers(); ++r) {
    alignas(64) u32 values[warp_size] = {};
    if (!loads) std::memcpy(values, warp.in<u32>(op->operand(2 + r)), sizeof values);
    for (unsigned piece = 0; piece < pieces; ++piece) {
      alignas(64) std::byte piece_values[4 * warp_size];
      for (unsigned l = 0; l < warp_size; ++l) {
        const unsigned element = (r * warp_size + l) * f.per_register() + piece, row = f.row_of(element),
                       column = f.column_of(element);
        const std::uint64_t place =
            f.row_major ? std::uint64_t{row} * stride + column : std::uint64_t{column} * stride + row;
        a.address[l] = base.address[first] + place * f.element_bytes();
        std::memcpy(piece_values + l * bytes, reinterpret_cast<const std::byte*>(&values[l]) + piece * bytes, bytes);
      }
      if (!resolve_filled(op, warp, space_of(op->variant), warp.mask, loads ? Access::load : Access::store, bytes, a,
                          loads ? nullptr : piece_values)) {
        return nullptr;
      }
      each_lane(a.mask, [&](unsigned l) {
        std::byte* value = reinterpret_cast<std::byte*>(&values[l]) + piece * bytes;
        if (loads) {
          std::memcpy(value, a.pointer[l], bytes);
        } else {
          std::memcpy(a.pointer[l], value, bytes);
        }
      });
    }
    if (!loads) continue;
    for (unsigned copy = r; copy < f.registers(); copy += f.distinct_registers())
      blend(warp.out<u32>(op->operand(2 + copy)), values, warp.mask);
  }
  return op + 1;
}

float element_value(Type type, u32 bits) {
  return type == Type::f16    ? f16_to_float(static_cast<u16>(bits))
         : type == Type::bf16 ? bf16_to_float(static_cast<u16>(bits))
         : type == Type::tf32 ? from_bits<float>(bits & ~u32{0x1FFF})
                              : from_bits<float>(bits);
}

// The matrix, row by row.
void read_fragment(const Op* op, const Warp& warp, unsigned first, const Fragment& f, float* matrix) {
  for (unsigned i = 0; i < f.elements(); ++i) {
    const unsigned place = i / f.per_register();
    const u32 bits = warp.in<u32>(op->operand(first + place / warp_size))[place % warp_size];
    matrix[f.row_of(i) * f.columns + f.column_of(i)] =
        element_value(f.type, bits >> (8 * f.element_bytes() * (i % f.per_register())));
  }
}

void write_sum(const Op* op, Warp& warp, const Fragment& f, const float* matrix) {
  for (unsigned r = 0; r < f.registers(); ++r) {
    alignas(64) u32 values[warp_size];
    for (unsigned l = 0; l < warp_size; ++l) {
      const float* element = matrix + (r * warp_size + l) * f.per_register();
      values[l] =
          f.type == Type::f16 ? float_to_f16(element[0]) | u32{float_to_f16(element[1])} << 16 : bits_of(element[0]);
    }
    blend(warp.out<u32>(op->operand(r)), values, warp.mask);
  }
}

// Slots: d, a, b, c. Variant: the codes of a, b and c, seven bits each; immediate: that of d.
const Op* multiply(const Op* op, Warp& warp) {
  if (warp.block->observer != nullptr) warp.block->observer->shuffle(warp, op, all_lanes, 0);
  const Fragment fd = fragment_of(static_cast<u32>(op->immediate)), fa = fragment_of(op->variant & 127),
                 fb = fragment_of(op->variant >> 7 & 127), fc = fragment_of(op->variant >> 14 & 127);
  alignas(64) float a[most_elements], b[most_elements], c[most_elements];
  read_fragment(op, warp, fd.registers(), fa, a);
  read_fragment(op, warp, fd.registers() + fa.registers(), fb, b);
  read_fragment(op, warp, fd.registers() + fa.registers() + fb.registers(), fc, c);
  for (unsigned row = 0; row < fc.rows; ++row) {
    float* sum = c + row * fc.columns;
    for (unsigned k = 0; k < fa.columns; ++k) {
      const float factor = a[row * fa.columns + k];
      for (unsigned n = 0; n < fc.columns; ++n) sum[n] += factor * b[k * fc.columns + n];
    }
  }
  write_sum(op, warp, fd, c);
  return op + 1;
}

u32 take_shape(Binder& b) {
  for (u32 i = 0; i < std::size(shapes); ++i) {
    if (b.take(shapes[i].name)) return i;
  }
  b.fail("the simulator does not know this shape");
}

u32 take_element_type(Binder& b) {
  const Type type = b.take_type();
  for (u32 i = 0; i < std::size(types); ++i) {
    if (types[i] == type) return i;
  }
  b.fail("the simulator does not know matrices of this type");
}

void bind_move(Binder& b, bool loads) {
  const std::string_view name = b.take_one_of({"a", "b", "c", "d"});
  const bool row_major = b.take_one_of({"row", "col"}) == "row";
  const u32 shape = take_shape(b);
  const Space space = take_space(b);
  const u32 code = code_of(shape,
                           name == "a"   ? Part::a
                           : name == "b" ? Part::b
                                         : Part::sum,
                           take_element_type(b), row_major);
  const Fragment f = fragment_of(code);
  const Operand& first = b.next();
  const Operand& second = b.next();
  const Binder::Address address = b.address(loads ? second : first, space);
  Operand stride;
  stride.kind = Operand::Kind::integer;
  stride.value = row_major ? f.columns : f.rows;
  b.input(b.has_operand() ? b.next() : stride, Type::b32);
  if (loads) {
    b.outputs(first, Type::b32);
  } else {
    b.inputs(second, Type::b32);
  }
  if (b.slots() != 2 + f.registers()) b.fail("the number of registers does not fit");
  b.op().variant = address_form(address, code);
  b.run(loads ? move_matrix<true> : move_matrix<false>, class_of(space));
}

// wmma.mma.sync.aligned.alayout.blayout.shape.dtype{.atype.btype}.ctype d, a, b, c
void bind_multiply(Binder& b) {
  bool row_major[2] = {};
  int layouts = 0;
  for (const std::string_view modifier : b.instruction().modifiers) {
    if (layouts < 2 && (modifier == "row" || modifier == "col")) row_major[layouts++] = modifier == "row";
  }
  for (int i = 0; i < 2; ++i) b.take_one_of({"row", "col"});
  const u32 shape = take_shape(b), d = take_element_type(b);
  u32 in = 0, c = take_element_type(b);
  if (b.take_type_or(Type::none) != Type::none) {  // not the f16 form, which leaves the types of A and B out
    in = c;
    c = take_element_type(b);
  }
  const u32 codes[] = {code_of(shape, Part::a, in, row_major[0]), code_of(shape, Part::b, in, row_major[1]),
                       code_of(shape, Part::sum, c, true)};
  b.op().immediate = code_of(shape, Part::sum, d, true);
  b.op().variant = codes[0] | codes[1] << 7 | codes[2] << 14;
  unsigned wanted = fragment_of(static_cast<u32>(b.op().immediate)).registers();
  for (const u32 code : codes) wanted += fragment_of(code).registers();
  b.outputs(b.next(), Type::b32);
  for (int i = 0; i < 3; ++i) b.inputs(b.next(), Type::b32);
  if (b.slots() != wanted) b.fail("the number of registers does not fit");
  b.set_tensor_operations(2 * shapes[shape].m * shapes[shape].n * shapes[shape].k);
  b.run(multiply, InstructionClass::tensor);
}

}  // namespace

void add_wmma(InstructionSet& set) {
  set.add("wmma", [](Binder& b) {
    const std::string_view what = b.take_one_of({"load", "store", "mma"});
    b.take("sync");
    b.take("aligned");
    if (what == "mma") return bind_multiply(b);
    bind_move(b, what == "load");
  });
}

}  // namespace gpusim::GPUSIM_TARGET
