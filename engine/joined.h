// Lists in messages.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

namespace heed {

// The parts, texts or integers, with the separator between them. fmt::join does the same for seconds of compile time.
template <class Parts>
std::string joined(const Parts& parts, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& part : parts) {
    if (!first) text += separator;
    first = false;
    if constexpr (std::is_arithmetic_v<std::decay_t<decltype(part)>>) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  }
  return text;
}

}  // namespace heed
