// The body of a function: registers, local declarations, labels and instructions, all names resolved.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <map>
#include <unordered_map>

#include "tools/gpusim/ptx/parser.h"

namespace gpusim::ptx {

namespace {

class BodyParser {
 public:
  BodyParser(std::string_view text, const Function& function, const std::map<int, std::string>& files)
      : lexer_(text, function.body_start, function.body_line), files_(files) {
    scopes_.emplace_back();
    for (const auto* group : {&function.results, &function.parameters}) {
      for (const Variable& variable : *group) declare(variable);
    }
  }

  Body parse() {
    int depth = 1;
    while (depth > 0) {
      if (lexer_.accept("{")) {
        scopes_.emplace_back();
        ++depth;
      } else if (lexer_.peek().is("}")) {
        if (--depth > 0) lexer_.next();
        close_scope();
      } else {
        parse_statement();
      }
    }
    return std::move(body_);
  }

 private:
  struct Group {  // %r<100> declares %r0 to %r99
    int first, count;
  };
  struct Scope {
    std::unordered_map<std::string_view, int> registers, variables, labels;
    std::unordered_map<std::string_view, Group> groups;
    std::vector<std::pair<int, std::size_t>> jumps;  // operands that name labels: instruction, operand
    std::vector<std::pair<std::string_view, std::vector<std::string_view>>> targets;  // .branchtargets
  };

  void declare(Variable variable) {
    scopes_.back().variables[variable.name] = static_cast<int>(body_.variables.size());
    body_.variables.push_back(std::move(variable));
  }

  void close_scope() {
    Scope scope = std::move(scopes_.back());
    scopes_.pop_back();
    for (const auto& jump : scope.jumps) {
      Operand& operand = body_.instructions[jump.first].operands[jump.second];
      if (const auto found = scope.labels.find(operand.text); found != scope.labels.end()) {
        operand.index = found->second;
      } else if (!scopes_.empty()) {
        scopes_.back().jumps.push_back(jump);
      } else {
        const Instruction& instruction = body_.instructions[jump.first];
        throw Error(
            fmt::format("PTX line {}: there is no label {}: {}", instruction.line, operand.text, instruction.text),
            instruction.line);
      }
    }
    for (const auto& [name, words] : scope.targets) {
      for (const std::string_view word : words) {
        const auto found = scope.labels.find(word);
        if (found == scope.labels.end()) lexer_.fail(fmt::format("there is no label {}", word));
        body_.branch_targets[name].push_back(found->second);
      }
    }
  }

  void parse_statement() {
    const Token& token = lexer_.peek();
    if (token.kind == Token::Kind::end) lexer_.fail("the function's body does not end");
    if (token.is_directive()) {
      parse_directive();
    } else if (token.is("@")) {
      parse_instruction();
    } else if (token.is_word()) {
      const Lexer before = lexer_;
      const std::string_view word = lexer_.next().text;
      if (lexer_.accept(":")) {
        parse_label(word);
      } else {
        lexer_ = before;
        parse_instruction();
      }
    } else if (!lexer_.accept(";")) {
      lexer_.fail("expected an instruction");
    }
  }

  void parse_label(std::string_view name) {
    if (lexer_.accept(".branchtargets")) {
      auto& [label, words] = scopes_.back().targets.emplace_back();
      label = name;
      do {
        words.push_back(lexer_.expect_word("a label").text);
      } while (lexer_.accept(","));
      lexer_.expect(";");
    } else if (lexer_.accept(".callprototype")) {
      Prototype& prototype = body_.prototypes[name];
      if (lexer_.peek().is("(")) prototype.results = parse_parameters(lexer_);
      lexer_.expect_word("_");
      if (lexer_.peek().is("(")) prototype.parameters = parse_parameters(lexer_);
      while (!lexer_.accept(";")) lexer_.next();
    } else if (lexer_.accept(".calltargets")) {
      while (!lexer_.accept(";")) lexer_.next();
    } else if (!scopes_.back().labels.emplace(name, static_cast<int>(body_.instructions.size())).second) {
      lexer_.fail(fmt::format("the label {} stands here twice", name));
    }
  }

  void parse_directive() {
    const std::string_view word = lexer_.next().text;
    if (word == ".reg") {
      parse_registers();
    } else if (word == ".loc") {
      parse_location();
    } else if (word == ".pragma") {
      while (!lexer_.accept(";")) lexer_.next();
    } else if (const auto space = space_named(word)) {
      for (Variable& variable : parse_variables(lexer_, *space)) declare(std::move(variable));
    } else {
      lexer_.fail(fmt::format("unknown directive {}", word));
    }
  }

  void parse_registers() {
    const Token word = lexer_.expect_word("a type");
    const Type type = type_named(word.text.substr(1));
    if (type == Type::none) lexer_.fail(fmt::format("unknown type of registers {}", word.text));
    do {
      const std::string_view name = lexer_.expect_word("a register").text;
      const int first = static_cast<int>(body_.registers.size());
      int count = 1;
      if (lexer_.accept("<")) {
        count = static_cast<int>(parse_integer(lexer_));
        lexer_.expect(">");
        scopes_.back().groups[name] = {first, count};
      } else {
        scopes_.back().registers[name] = first;
      }
      body_.registers.resize(body_.registers.size() + count, {type, name});
    } while (lexer_.accept(","));
    lexer_.expect(";");
  }

  // .loc 1 20 5, function_name $L__info_string0, inlined_at 1 30 7
  // The place that is inlined_at was itself told by an earlier .loc, with its own inlined_at if it has one.
  void parse_location() {
    const SourcePlace place = parse_place();
    SourcePlace caller;
    while (lexer_.accept(",")) {
      if (lexer_.expect_word("function_name or inlined_at").text == "function_name") {
        lexer_.next();
        if (lexer_.accept("+")) lexer_.next();
      } else {
        caller = parse_place();
      }
    }
    callers_[place] = caller;
    const SourcePlace shown = outside_headers(place);
    source_file_ = shown[0];
    source_line_ = shown[1];
  }

  using SourcePlace = std::array<int, 3>;  // file, line, column; zeros: none

  SourcePlace parse_place() {
    SourcePlace place{};
    for (int& number : place) number = static_cast<int>(parse_integer(lexer_));
    return place;
  }

  // Of what was inlined out of the toolkit's headers: the place in the program where that was called.
  SourcePlace outside_headers(SourcePlace place) const {
    const SourcePlace innermost = place;
    for (int depth = 0; depth < 100 && in_toolkit(place[0]); ++depth) {
      const auto found = callers_.find(place);
      if (found == callers_.end() || found->second == SourcePlace{}) return innermost;
      place = found->second;
    }
    return place;
  }

  bool in_toolkit(int file) const {
    const auto found = files_.find(file);
    if (found == files_.end()) return false;
    const std::string& name = found->second;
    return name.find("/targets/") != std::string::npos || name.find("/cuda/include/") != std::string::npos ||
           name.starts_with("/usr/include/");
  }

  void parse_instruction() {
    Instruction instruction;
    instruction.line = lexer_.peek().line;
    instruction.source_file = source_file_;
    instruction.source_line = source_line_;
    const std::size_t start = lexer_.start();
    if (lexer_.accept("@")) {
      instruction.guard_negated = lexer_.accept("!");
      instruction.guard = register_named(lexer_.expect_word("a predicate").text);
      if (instruction.guard < 0) lexer_.fail("expected a predicate");
    }
    std::string_view opcode = lexer_.expect_word("an instruction").text;
    for (bool first = true; !opcode.empty(); first = false) {
      const std::size_t dot = opcode.find('.');
      const std::string_view part = opcode.substr(0, dot);
      if (first) {
        instruction.name = part;
      } else {
        instruction.modifiers.push_back(part);
      }
      opcode = dot == std::string_view::npos ? std::string_view{} : opcode.substr(dot + 1);
    }
    const bool jumps = instruction.name == "bra";
    while (!lexer_.peek().is(";")) {
      instruction.operands.push_back(jumps ? parse_jump() : parse_operand());
      if (!lexer_.accept(",")) break;
    }
    instruction.text = lexer_.text().substr(start, lexer_.previous_end() - start);
    if (!lexer_.peek().is(";")) lexer_.fail("expected ';'");
    lexer_.next();
    body_.instructions.push_back(std::move(instruction));
  }

  Operand parse_jump() {
    Operand operand;
    operand.kind = Operand::Kind::label;
    operand.text = lexer_.expect_word("a label").text;
    scopes_.back().jumps.emplace_back(static_cast<int>(body_.instructions.size()), 0);
    return operand;
  }

  Operand parse_operand() {
    Operand operand;
    operand.negated = lexer_.accept("!");
    if (lexer_.peek().is("[")) return parse_address();
    if (lexer_.peek().is("{")) return parse_list("{", "}");
    if (lexer_.peek().is("(")) return parse_list("(", ")");
    const bool negative = lexer_.accept("-");
    if (lexer_.peek().kind == Token::Kind::number) return number_operand(lexer_, lexer_.next().text, negative);
    const Token name = lexer_.expect_word("an operand");
    resolve(operand, name.text);
    if (lexer_.accept("|")) {
      const std::string_view second = lexer_.expect_word("a predicate").text;
      operand.predicate = second == "_" ? -1 : register_named(second);
      if (second != "_" && operand.predicate < 0) lexer_.fail("expected a predicate");
    }
    if (operand.kind == Operand::Kind::variable || operand.kind == Operand::Kind::symbol) {
      if (lexer_.accept("+")) operand.value = parse_integer(lexer_);
    }
    return operand;
  }

  Operand parse_address() {
    Operand operand;
    operand.kind = Operand::Kind::address;
    lexer_.expect("[");
    if (lexer_.peek().is_word()) {
      resolve(operand.elements.emplace_back(), lexer_.next().text);
      if (lexer_.accept("+")) {
        operand.value = parse_integer(lexer_);
      } else if (lexer_.accept("-")) {
        operand.value = -parse_integer(lexer_);
      }
    } else {
      operand.value = parse_integer(lexer_);
    }
    lexer_.expect("]");
    return operand;
  }

  Operand parse_list(const char* open, const char* close) {
    Operand operand;
    operand.kind = Operand::Kind::list;
    lexer_.expect(open);
    while (!lexer_.peek().is(close)) {
      operand.elements.push_back(parse_operand());
      if (!lexer_.accept(",")) break;
    }
    lexer_.expect(close);
    return operand;
  }

  void resolve(Operand& operand, std::string_view name) {
    operand.text = name;
    if (name == "_") return;
    if (name == "WARP_SZ") {
      operand.kind = Operand::Kind::integer;
      operand.value = 32;
      return;
    }
    if (operand.index = register_named(name); operand.index >= 0) {
      operand.kind = Operand::Kind::reg;
      return;
    }
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->variables.find(name); found != scope->variables.end()) {
        operand.kind = Operand::Kind::variable;
        operand.index = found->second;
        return;
      }
    }
    operand.kind = name.front() == '%' ? Operand::Kind::special : Operand::Kind::symbol;
  }

  int register_named(std::string_view name) const {
    const std::size_t digits = name.find_last_not_of("0123456789") + 1;
    int number = -1;
    if (digits < name.size()) std::from_chars(name.data() + digits, name.data() + name.size(), number);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->registers.find(name); found != scope->registers.end()) return found->second;
      if (number < 0) continue;
      const auto group = scope->groups.find(name.substr(0, digits));
      if (group != scope->groups.end() && number < group->second.count) return group->second.first + number;
    }
    return -1;
  }

  Lexer lexer_;
  const std::map<int, std::string>& files_;
  std::map<SourcePlace, SourcePlace> callers_;  // of .loc
  Body body_;
  std::vector<Scope> scopes_;
  int source_file_ = 0, source_line_ = 0;
};

}  // namespace

Body parse_body(std::string_view text, const Function& function, const std::map<int, std::string>& files) {
  return BodyParser(text, function, files).parse();
}

}  // namespace gpusim::ptx
