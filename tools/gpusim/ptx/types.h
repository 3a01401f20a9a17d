// The scalar types and state spaces of PTX.
#pragma once

#include <cstdint>
#include <string_view>

namespace gpusim::ptx {

// clang-format off
enum class Type : std::uint8_t {
  none, pred,
  b8, b16, b32, b64, b128,
  u8, u16, u32, u64,
  s8, s16, s32, s64,
  f16, bf16, f32, f64, tf32,
  f16x2, bf16x2, u16x2, s16x2, f32x2
};
// clang-format on

// Type::none when `name` ("f32", without the dot) is not a type.
Type type_named(std::string_view name);
std::string_view name_of(Type type);

unsigned bytes_of(Type type);  // a predicate counts 1
bool is_signed(Type type);     // s8..s64
bool is_float(Type type);      // f16..f64, packed forms included

enum class Space : std::uint8_t { generic, constant, global, local, param, shared };

}  // namespace gpusim::ptx
