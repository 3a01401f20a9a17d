// The functions of CUDA's device run-time library that PTX calls by name.
#include <fmt/format.h>

#include <cstdio>

#include "tools/gpusim/machine/calls.h"
#include "tools/gpusim/machine/decode.h"

namespace gpusim {

namespace {

template <class T>
T argument(const Warp& warp, const CallSite& site, unsigned lane, std::size_t i) {
  T value{};
  if (i < site.arguments.size()) {
    std::memcpy(&value, warp.local_of(lane) + warp.frames.back().local_base + site.arguments[i].offset,
                std::min(sizeof value, site.arguments[i].bytes));
  }
  return value;
}

template <class T>
void set_result(const Warp& warp, const CallSite& site, unsigned lane, T value) {
  if (site.results.empty()) return;
  std::memcpy(warp.local_of(lane) + warp.frames.back().local_base + site.results[0].offset, &value,
              std::min(sizeof value, site.results[0].bytes));
}

// What a generic address points at; nullptr when it is not `bytes` of memory.
const std::byte* generic_pointer(const Warp& warp, unsigned lane, std::uint64_t address, std::size_t bytes) {
  const Launch& launch = warp.launch();
  const auto in = [&](std::uint64_t offset, std::size_t size) { return offset + bytes <= size; };
  switch (address & ~(window_bytes - 1)) {
    case shared_window:
      return in(address - shared_window, launch.shared_bytes) ? warp.block->shared + (address - shared_window)
                                                              : nullptr;
    case local_window:
      return in(address - local_window, launch.local_bytes) ? warp.local_of(lane) + (address - local_window) : nullptr;
    default:
      break;
  }
  return address >= launch.memory_begin && address + bytes <= launch.memory_end
             ? reinterpret_cast<const std::byte*>(address)
             : nullptr;
}

std::string read_string(const Warp& warp, unsigned lane, std::uint64_t address) {
  std::string text;
  for (const std::byte* c; (c = generic_pointer(warp, lane, address, 1)) != nullptr && *c != std::byte{0}; ++address) {
    text.push_back(static_cast<char>(*c));
  }
  return text;
}

// The arguments of a device's printf lie in memory one after the other, each aligned to its size: 4 or 8 bytes.
class Arguments {
 public:
  Arguments(const Warp& warp, unsigned lane, std::uint64_t address) : warp_(warp), lane_(lane), address_(address) {}
  template <class T>
  T next() {
    address_ = (address_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    T value{};
    if (const std::byte* from = generic_pointer(warp_, lane_, address_, sizeof(T)))
      std::memcpy(&value, from, sizeof value);
    address_ += sizeof(T);
    return value;
  }

 private:
  const Warp& warp_;
  unsigned lane_;
  std::uint64_t address_;
};

template <class T>
std::string print_one(const std::string& format, T value) {
  std::string text(static_cast<std::size_t>(std::snprintf(nullptr, 0, format.c_str(), value)), '\0');
  std::snprintf(text.data(), text.size() + 1, format.c_str(), value);
  return text;
}

std::string format_output(const Warp& warp, unsigned lane, const std::string& format, Arguments arguments) {
  std::string output;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      output += format[i];
      continue;
    }
    std::string piece = "%";
    bool is_long = false;
    for (++i; i < format.size(); ++i) {
      const char c = format[i];
      if (c == '*') {
        piece += std::to_string(arguments.next<std::int32_t>());
      } else if (c == 'l' || c == 'j' || c == 'z' || c == 't') {
        is_long = true;
      } else if (c != 'h') {
        piece += c;
        if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '%') break;
      }
    }
    const char kind = piece.back();
    if (kind == '%') {
      output += '%';
    } else if (kind == 's') {
      output += print_one(piece, read_string(warp, lane, arguments.next<std::uint64_t>()).c_str());
    } else if (kind == 'c') {
      output += print_one(piece, arguments.next<std::int32_t>());
    } else if (kind == 'p') {
      output += fmt::format("0x{:x}", arguments.next<std::uint64_t>());
    } else if (std::string_view("fFeEgGaA").find(kind) != std::string_view::npos) {
      output += print_one(piece, arguments.next<double>());
    } else if (is_long) {
      output += print_one(piece.insert(piece.size() - 1, "ll"), arguments.next<long long>());
    } else {
      output += print_one(piece, arguments.next<std::int32_t>());
    }
  }
  return output;
}

template <class F>
void each_lane(std::uint32_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(static_cast<unsigned>(std::countr_zero(mask)));
}

const Op* print(const Op* op, Warp& warp) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const auto& site = *static_cast<const CallSite*>(op->extra);
  each_lane(warp.mask, [&](unsigned lane) {
    const std::string format = read_string(warp, lane, argument<std::uint64_t>(warp, site, lane, 0));
    const std::string text =
        format_output(warp, lane, format, {warp, lane, argument<std::uint64_t>(warp, site, lane, 1)});
    if (warp.launch().options->print) {
      warp.launch().options->print(text);
    } else {
      std::fwrite(text.data(), 1, text.size(), stdout);
    }
    set_result(warp, site, lane, std::int32_t{1});
  });
  return op + 1;
}

// __assertfail(message, file, line, function, size of a character)
const Op* assertion_failed(const Op* op, Warp& warp) {
  const auto& site = *static_cast<const CallSite*>(op->extra);
  const auto lane = static_cast<unsigned>(std::countr_zero(warp.mask));
  const auto text = [&](std::size_t i) {
    return read_string(warp, lane, argument<std::uint64_t>(warp, site, lane, i));
  };
  const Dim3 block = warp.block->index, thread = warp.thread_of(lane);
  return warp.fail(op, Fault::assertion,
                   fmt::format("{}:{}: {}: block: [{},{},{}], thread: [{},{},{}] Assertion `{}` failed.", text(1),
                               argument<std::uint32_t>(warp, site, lane, 2), text(3), block.x, block.y, block.z,
                               thread.x, thread.y, thread.z, text(0)));
}

}  // namespace

void add_device_functions(InstructionSet& set) {
  set.add_function("vprintf", print);
  set.add_function("__assertfail", assertion_failed);
}

}  // namespace gpusim
