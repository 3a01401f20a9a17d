// What a PTX module says, before anything is made of it. Texts are views into the module's text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/gpusim/ptx/types.h"

namespace gpusim::ptx {

// A variable or a parameter.
struct Variable {
  std::string_view name;
  Space space = Space::generic;
  Type type = Type::none;
  std::size_t bytes = 0, alignment = 1;
  bool is_external = false;  // declared elsewhere; a shared array of unknown size is the launch's dynamic memory

  struct Relocation {  // the address of `symbol`, plus `addend`, belongs at `offset`
    std::size_t offset, bytes;
    std::string_view symbol;
    std::int64_t addend;
    bool generic;
  };
  std::vector<std::byte> initial;  // shorter than `bytes`: zeros follow
  std::vector<Relocation> relocations;
};

struct Register {
  Type type;
  std::string_view name;  // of the group: %r
};

struct Operand {
  enum class Kind : std::uint8_t {
    reg,       // index: of the register in Body::registers
    special,   // text: %tid.x
    integer,   // value
    float32,   // value: its bits (0f3F800000)
    float64,   // value: its bits (0d..., or a decimal fraction)
    variable,  // index: in Body::variables
    symbol,    // text: a variable or function of the module
    address,   // [base + value]; elements[0] is the base, none for an absolute address
    list,      // elements: {a, b} or (a, b)
    label,     // index: of the instruction it stands before
    sink       // _: a result nobody wants
  };
  Kind kind = Kind::sink;
  bool negated = false;  // !%p
  int index = -1;
  int predicate = -1;  // the second result in %r|%p
  std::int64_t value = 0;
  std::string_view text;
  std::vector<Operand> elements;
};

struct Instruction {
  std::string_view name;                    // ld
  std::vector<std::string_view> modifiers;  // global, v4, f32
  std::vector<Operand> operands;
  int guard = -1;  // the register of @%p
  bool guard_negated = false;
  std::string_view text;  // the statement, without its semicolon
  int line = 0;
  int source_file = 0, source_line = 0;  // .loc
};

// What follows a label and is no instruction.
struct Prototype {
  std::vector<Variable> results, parameters;
};

struct Body {
  std::vector<Register> registers;
  std::vector<Variable> variables;  // those of the function's signature come first, results before parameters
  std::vector<Instruction> instructions;
  std::map<std::string_view, std::vector<int>> branch_targets;  // .branchtargets: indices of instructions
  std::map<std::string_view, Prototype> prototypes;             // .callprototype
};

struct Function {
  std::string_view name;
  bool is_kernel = false;
  std::vector<Variable> results, parameters;
  unsigned max_threads[3] = {}, required_threads[3] = {}, min_blocks_per_sm = 0, max_registers = 0;
  bool has_body = false;
  std::size_t body_start = 0;  // of the text after its brace, and the line that stands in
  int body_line = 0;
};

struct Module {
  std::string_view text, target;
  std::vector<Variable> variables;  // .global, .const and .shared
  std::vector<Function> functions;
  std::map<int, std::string> files;  // .file
};

// Throw gpusim::Error with the line and its text.
Module parse_module(std::string_view text);
// `files` are the module's: places in the toolkit's headers are told as those of their callers.
Body parse_body(std::string_view text, const Function& function, const std::map<int, std::string>& files);

}  // namespace gpusim::ptx
