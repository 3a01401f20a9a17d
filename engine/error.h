// Throwing heed::Error with a formatted message. Formats are checked when they are compiled. Everything includes this
// header, so it needs no more of fmt than <fmt/core.h>.
#pragma once

#include <fmt/core.h>

#include "kernels/error.h"

namespace heed {

[[noreturn, gnu::cold, gnu::noinline]] inline void throw_error(fmt::string_view format, fmt::format_args args) {
  throw Error(fmt::vformat(format, args));
}

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw_error(format, fmt::make_format_args(args...));
}

// Throws unless `condition` holds. The arguments are only formatted on failure.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw_error(format, fmt::make_format_args(args...));
}

}  // namespace heed
