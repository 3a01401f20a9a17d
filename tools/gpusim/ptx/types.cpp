#include "tools/gpusim/ptx/types.h"

#include <array>

namespace gpusim::ptx {

namespace {

struct Description {
  std::string_view name;
  unsigned bytes;
};

// In the order of the enumeration.
constexpr std::array<Description, 25> descriptions = {
    {{"", 0},       {"pred", 1},  {"b8", 1},    {"b16", 2},  {"b32", 4}, {"b64", 8},  {"b128", 16},
     {"u8", 1},     {"u16", 2},   {"u32", 4},   {"u64", 8},  {"s8", 1},  {"s16", 2},  {"s32", 4},
     {"s64", 8},    {"f16", 2},   {"bf16", 2},  {"f32", 4},  {"f64", 8}, {"tf32", 4}, {"f16x2", 4},
     {"bf16x2", 4}, {"u16x2", 4}, {"s16x2", 4}, {"f32x2", 8}}};

}  // namespace

Type type_named(std::string_view name) {
  for (std::size_t i = 1; i < descriptions.size(); ++i) {
    if (descriptions[i].name == name) return static_cast<Type>(i);
  }
  return Type::none;
}

std::string_view name_of(Type type) {
  return descriptions[static_cast<std::size_t>(type)].name;
}
unsigned bytes_of(Type type) {
  return descriptions[static_cast<std::size_t>(type)].bytes;
}
bool is_signed(Type type) {
  return type >= Type::s8 && type <= Type::s64;
}
bool is_float(Type type) {
  return (type >= Type::f16 && type <= Type::bf16x2) || type == Type::f32x2;
}

}  // namespace gpusim::ptx
