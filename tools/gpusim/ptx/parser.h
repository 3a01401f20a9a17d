// Shared by the two halves of the parser: declarations (module level) and bodies of functions.
#pragma once

#include <optional>

#include "tools/gpusim/ptx/lexer.h"
#include "tools/gpusim/ptx/syntax.h"

namespace gpusim::ptx {

// The text of a number token, and a minus in front of it or not, as an integer or floating-point operand.
Operand number_operand(const Lexer& lexer, std::string_view text, bool negative);

// At a number, perhaps signed: sums of several are computed, as in 8+4.
std::int64_t parse_integer(Lexer& lexer);

// The space that ".global" names, if it is one.
std::optional<Space> space_named(std::string_view directive);

// After the directive of a space: `.align 8 .b32 name[4] = {1, 2}, other;` up to the semicolon, or for a parameter up to
// the comma or parenthesis behind it.
std::vector<Variable> parse_variables(Lexer& lexer, Space space);
Variable parse_variable(Lexer& lexer, Space space);
// `(.param .b32 a, .param .b64 b)`
std::vector<Variable> parse_parameters(Lexer& lexer);

}  // namespace gpusim::ptx
