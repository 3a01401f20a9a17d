// Throwing heed::Error with a formatted message.
#pragma once

#include <fmt/format.h>

#include "kernels/error.h"

namespace heed {

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// Throws unless `condition` holds. The arguments are only formatted on failure.
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    fail(format, std::forward<Args>(args)...);
}

}  // namespace heed
