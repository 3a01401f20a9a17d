// Module level: variables, signatures of functions, files. Bodies are stepped over.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "tools/gpusim/ptx/parser.h"

namespace gpusim::ptx {

Operand number_operand(const Lexer& lexer, std::string_view text, bool negative) {
  Operand operand;
  operand.text = text;
  const auto integer = [&](std::string_view digits, int base) {
    while (!digits.empty() && (digits.back() == 'U' || digits.back() == 'u')) digits.remove_suffix(1);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error != std::errc() || end != digits.data() + digits.size()) lexer.fail(fmt::format("bad number {}", text));
    return value;
  };
  const char second = text.size() > 1 && text[0] == '0' ? text[1] : '\0';
  if (second == 'f' || second == 'F') {
    operand.kind = Operand::Kind::float32;
    operand.value = static_cast<std::int64_t>(integer(text.substr(2), 16) ^ (negative ? 0x80000000u : 0));
  } else if (second == 'd' || second == 'D') {
    operand.kind = Operand::Kind::float64;
    operand.value = static_cast<std::int64_t>(integer(text.substr(2), 16) ^ (negative ? std::uint64_t{1} << 63 : 0));
  } else if (second == 'x' || second == 'X') {
    operand.kind = Operand::Kind::integer;
    operand.value = static_cast<std::int64_t>(integer(text.substr(2), 16));
  } else if (text.find_first_of(".eE") != std::string_view::npos) {
    operand.kind = Operand::Kind::float64;
    const double value = std::strtod(std::string(text).c_str(), nullptr);
    operand.value = std::bit_cast<std::int64_t>(negative ? -value : value);
  } else {
    operand.kind = Operand::Kind::integer;
    const bool binary = second == 'b' || second == 'B';
    const bool octal = second != '\0' && !binary;
    operand.value = static_cast<std::int64_t>(integer(binary ? text.substr(2) : text, binary ? 2 : octal ? 8 : 10));
  }
  if (negative && operand.kind == Operand::Kind::integer) operand.value = -operand.value;
  return operand;
}

std::int64_t parse_integer(Lexer& lexer) {
  std::int64_t sum = 0;
  bool negative = lexer.accept("-");
  for (;;) {
    if (lexer.peek().kind != Token::Kind::number) lexer.fail("expected a number");
    sum += number_operand(lexer, lexer.next().text, negative).value;
    if (lexer.accept("+")) {
      negative = lexer.accept("-");
    } else if (lexer.accept("-")) {
      negative = true;
    } else {
      return sum;
    }
  }
}

std::optional<Space> space_named(std::string_view directive) {
  if (directive == ".global") return Space::global;
  if (directive == ".const") return Space::constant;
  if (directive == ".shared") return Space::shared;
  if (directive == ".local") return Space::local;
  if (directive == ".param") return Space::param;
  return std::nullopt;
}

namespace {

void put(Variable& variable, std::size_t offset, const void* value, std::size_t bytes) {
  variable.initial.resize(std::max(variable.initial.size(), offset + bytes));
  std::memcpy(variable.initial.data() + offset, value, bytes);
}

// One scalar of an initialiser, which belongs at `offset`.
void parse_initial_value(Lexer& lexer, Variable& variable, std::size_t offset) {
  const std::size_t bytes = bytes_of(variable.type);
  const bool negative = lexer.accept("-");
  if (lexer.peek().kind == Token::Kind::number) {
    const Operand number = number_operand(lexer, lexer.next().text, negative);
    if (number.kind == Operand::Kind::float64 && variable.type == Type::f32) {
      const auto value = static_cast<float>(std::bit_cast<double>(number.value));
      put(variable, offset, &value, bytes);
    } else {
      put(variable, offset, &number.value, bytes);
    }
    return;
  }
  Token symbol = lexer.expect_word("a number or a symbol");
  const bool generic = symbol.text == "generic";
  if (generic) {
    lexer.expect("(");
    symbol = lexer.expect_word("a symbol");
    lexer.expect(")");
  }
  const std::int64_t addend = lexer.accept("+") ? parse_integer(lexer) : lexer.accept("-") ? -parse_integer(lexer) : 0;
  variable.relocations.push_back({offset, bytes, symbol.text, addend, generic});
}

// Braces nest as dimensions do, and each row starts where the one before it would have ended.
void parse_initial_list(Lexer& lexer, Variable& variable, std::size_t offset, const std::size_t* dimension,
                        const std::size_t* last) {
  std::size_t step = bytes_of(variable.type);
  for (const std::size_t* inner = dimension + 1; inner < last; ++inner) step *= *inner;
  lexer.expect("{");
  while (!lexer.peek().is("}")) {
    if (lexer.peek().is("{")) {
      parse_initial_list(lexer, variable, offset, dimension + 1, last);
    } else {
      parse_initial_value(lexer, variable, offset);
    }
    offset += step;
    if (!lexer.accept(",")) break;
  }
  lexer.expect("}");
}

// What stands between the space and the name.
struct VariableHead {
  Type type = Type::none;
  std::size_t alignment = 0, vector = 1;
};

VariableHead parse_variable_head(Lexer& lexer) {
  VariableHead head;
  while (lexer.peek().is_directive()) {
    const std::string_view word = lexer.next().text;
    if (word == ".align") {
      head.alignment = static_cast<std::size_t>(parse_integer(lexer));
    } else if (word == ".v2" || word == ".v4") {
      head.vector = word == ".v2" ? 2 : 4;
    } else if (word == ".attribute") {
      while (!lexer.accept(")")) lexer.next();
    } else if (word == ".ptr" || space_named(word)) {
      // says what a pointer parameter points at
    } else if (head.type = type_named(word.substr(1)); head.type == Type::none) {
      lexer.fail(fmt::format("unknown type {}", word));
    }
  }
  return head;
}

Variable parse_declarator(Lexer& lexer, Space space, const VariableHead& head) {
  Variable variable;
  variable.name = lexer.expect_word("a name").text;
  variable.space = space;
  variable.type = head.type;
  variable.alignment = std::max<std::size_t>(head.alignment, bytes_of(head.type) * head.vector);
  if (head.alignment != 0) variable.alignment = head.alignment;
  std::vector<std::size_t> dimensions;
  while (lexer.accept("[")) {
    dimensions.push_back(lexer.peek().is("]") ? 0 : static_cast<std::size_t>(parse_integer(lexer)));
    lexer.expect("]");
  }
  if (head.vector > 1) dimensions.push_back(head.vector);
  variable.bytes = bytes_of(head.type);
  for (const std::size_t dimension : dimensions) variable.bytes *= dimension;
  if (lexer.accept("=")) {
    if (lexer.peek().is("{")) {
      parse_initial_list(lexer, variable, 0, dimensions.data(), dimensions.data() + dimensions.size());
    } else {
      parse_initial_value(lexer, variable, 0);
    }
    variable.bytes = std::max(variable.bytes, variable.initial.size());
  }
  return variable;
}

}  // namespace

Variable parse_variable(Lexer& lexer, Space space) {
  const VariableHead head = parse_variable_head(lexer);
  return parse_declarator(lexer, space, head);
}

std::vector<Variable> parse_variables(Lexer& lexer, Space space) {
  const VariableHead head = parse_variable_head(lexer);
  std::vector<Variable> variables;
  do {
    variables.push_back(parse_declarator(lexer, space, head));
  } while (lexer.accept(","));
  lexer.expect(";");
  return variables;
}

std::vector<Variable> parse_parameters(Lexer& lexer) {
  std::vector<Variable> parameters;
  lexer.expect("(");
  while (!lexer.accept(")")) {
    const Token space = lexer.expect_word("a parameter");
    if (space.text != ".param" && space.text != ".reg") lexer.fail("expected .param");
    parameters.push_back(parse_variable(lexer, Space::param));
    lexer.accept(",");
  }
  return parameters;
}

namespace {

Function parse_function(Lexer& lexer, bool is_kernel) {
  Function function;
  function.is_kernel = is_kernel;
  if (lexer.peek().is("(")) function.results = parse_parameters(lexer);
  function.name = lexer.expect_word("the function's name").text;
  if (lexer.peek().is("(")) function.parameters = parse_parameters(lexer);
  const auto up_to_three = [&](unsigned(&numbers)[3]) {
    numbers[0] = numbers[1] = numbers[2] = 1;
    int i = 0;
    do {
      numbers[i++] = static_cast<unsigned>(parse_integer(lexer));
    } while (i < 3 && lexer.accept(","));
  };
  while (lexer.peek().is_directive()) {
    const std::string_view word = lexer.next().text;
    if (word == ".maxntid") {
      up_to_three(function.max_threads);
    } else if (word == ".reqntid") {
      up_to_three(function.required_threads);
    } else if (word == ".minnctapersm") {
      function.min_blocks_per_sm = static_cast<unsigned>(parse_integer(lexer));
    } else if (word == ".maxnreg") {
      function.max_registers = static_cast<unsigned>(parse_integer(lexer));
    } else {  // .noreturn, .pragma "...", .explicitcluster, .abi_preserve N...
      while (!lexer.peek().is_word() && !lexer.peek().is("{") && !lexer.peek().is(";")) lexer.next();
    }
  }
  if (lexer.accept(";")) return function;
  if (!lexer.peek().is("{")) lexer.fail("expected the function's body");
  function.has_body = true;
  function.body_start = lexer.start() + 1;
  function.body_line = lexer.peek().line;
  lexer.skip_braces();
  return function;
}

void parse_file(Lexer& lexer, Module& module) {
  const int number = static_cast<int>(parse_integer(lexer));
  module.files[number] = lexer.next().text;
  while (lexer.accept(",")) parse_integer(lexer);  // time and size
}

}  // namespace

Module parse_module(std::string_view text) {
  Module module;
  module.text = text;
  Lexer lexer(text);
  bool is_external = false;
  while (lexer.peek().kind != Token::Kind::end) {
    const Token directive = lexer.next();
    const std::string_view word = directive.text;
    if (word == ".extern" || word == ".visible" || word == ".weak" || word == ".common") {
      is_external = word == ".extern";
      continue;
    }
    if (word == ".version" || word == ".address_size") {
      lexer.next();
    } else if (word == ".target") {
      module.target = lexer.next().text;
      while (lexer.accept(",")) lexer.next();
    } else if (word == ".entry" || word == ".func") {
      module.functions.push_back(parse_function(lexer, word == ".entry"));
    } else if (word == ".file") {
      parse_file(lexer, module);
    } else if (word == ".section") {
      lexer.next();
      if (lexer.peek().is("{")) lexer.skip_braces();
    } else if (word == ".alias" || word == ".pragma") {
      while (!lexer.accept(";")) lexer.next();
    } else if (const auto space = space_named(word)) {
      for (Variable& variable : parse_variables(lexer, *space)) {
        variable.is_external = is_external;
        module.variables.push_back(std::move(variable));
      }
    } else if (word != ";") {
      throw Error(fmt::format("PTX line {}: expected a declaration, not {}", directive.line, word), directive.line);
    }
    is_external = false;
  }
  return module;
}

}  // namespace gpusim::ptx
