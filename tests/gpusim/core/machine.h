// Small PTX texts, run on the simulator: whole modules, and single instructions on arrays of operands.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "tools/gpusim/machine/machine.h"

namespace gpusim::test {

inline const char* const header = ".version 8.0\n.target sm_80\n.address_size 64\n";

// A module in a device of its own.
class Machine {
 public:
  explicit Machine(const std::string& ptx)
      : memory(std::size_t{64} << 20, true), module(Module::parse(header + ptx, memory)) {}

  template <class T>
  T* upload(const std::vector<T>& values) {
    T* data = static_cast<T*>(memory.allocate(values.size() * sizeof(T)));
    std::copy(values.begin(), values.end(), data);
    memory.note_initialised(data, values.size() * sizeof(T));
    return data;
  }
  template <class T>
  T* allocate(std::size_t count) {
    return static_cast<T*>(memory.allocate(count * sizeof(T)));
  }

  template <class... Arguments>
  LaunchResult run(const std::string& kernel, Dim3 grid, Dim3 block, const Arguments&... arguments) {
    const std::vector<const void*> pointers = {static_cast<const void*>(&arguments)...};
    return launch(module->function(kernel), {grid, block, dynamic_shared_bytes, pointers}, options);
  }

  Memory memory;
  std::unique_ptr<Module> module;
  LaunchOptions options;
  std::size_t dynamic_shared_bytes = 0;
};

// The module is refused, with these words in the message.
inline void check_refused(const std::string& ptx, const std::string& kernel, const std::vector<std::string>& words,
                          int line = 0) {
  std::string message;
  int where = 0;
  try {
    Machine(ptx).module->function(kernel);
  } catch (const Error& error) {
    message = error.what();
    where = error.line;
  }
  CAPTURE(message);
  REQUIRE_FALSE(message.empty());
  for (const std::string& word : words) CHECK(message.find(word) != std::string::npos);
  if (line != 0) CHECK(where == line);
}

// How PTX calls the C++ type, as bits: a register of 16, 32 or 64.
template <class T>
std::string bits_name() {
  return sizeof(T) == 8 ? "b64" : sizeof(T) == 4 ? "b32" : "b16";
}

// One instruction, `add.f32`, on arrays of operands: result[i] = instruction(a[i], b[i], ...). `tail` is text behind the
// operands, as in "lop3.b32" with ", 0x1B".
template <class D, class First, class... Rest>
std::vector<D> evaluate(const std::string& instruction, const std::string& tail, const std::vector<First>& first,
                        const std::vector<Rest>&... rest) {
  const std::size_t count = first.size();
  std::string loads, operands = "%d", parameters, registers = fmt::format(".reg .{} %d;", bits_name<D>());
  int i = 0;
  const auto add = [&]<class T>(const std::vector<T>&) {
    parameters += fmt::format(", .param .u64 in{}", i);
    registers += fmt::format(".reg .{} %s{};", bits_name<T>(), i);
    loads += fmt::format("ld.param.u64 %p, [in{0}]; mad.wide.u32 %p, %i, {1}, %p; ld.global.{2} %s{0}, [%p];\n", i,
                         sizeof(T), bits_name<T>());
    operands += fmt::format(", %s{}", i++);
  };
  add(first);
  (add(rest), ...);
  Machine machine(fmt::format(
      ".visible .entry k(.param .u64 out, .param .u32 n{}) {{\n{}.reg .b32 %i, %n, %b; .reg .b64 %p; .reg .pred %q;\n"
      "mov.u32 %b, %ctaid.x; mov.u32 %i, %tid.x; mad.lo.u32 %i, %b, 64, %i; ld.param.u32 %n, [n];\n"
      "setp.ge.u32 %q, %i, %n; @%q ret;\n{}{} {}{};\n"
      "ld.param.u64 %p, [out]; mad.wide.u32 %p, %i, {}, %p; st.global.{} [%p], %d; ret; }}",
      parameters, registers, loads, instruction, operands, tail, sizeof(D), bits_name<D>()));
  D* out = machine.allocate<D>(count);
  const LaunchResult result =
      machine.run("k", {static_cast<unsigned>(count + 63) / 64}, {64}, out, static_cast<std::uint32_t>(count),
                  machine.upload(first), machine.upload(rest)...);
  REQUIRE(result.fault == Fault::none);
  return {out, out + count};
}

template <class T>
std::uint64_t bits_of(T value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

// The instruction gives bit for bit what `expected` does on the host.
template <class D, class F, class... In>
void check_instruction(const std::string& instruction, const std::string& tail, F expected,
                       const std::vector<In>&... in) {
  const std::vector<D> results = evaluate<D>(instruction, tail, in...);
  int shown = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const D want = static_cast<D>(expected(in[i]...));
    if (bits_of(results[i]) == bits_of(want)) continue;
    std::string operands;
    ((operands += fmt::format(" {:x}", bits_of(in[i]))), ...);
    FAIL_CHECK(fmt::format("{} of{}: {:x}, expected {:x}", instruction, operands, bits_of(results[i]), bits_of(want)));
    if (++shown == 5) return;
  }
}

// Operands: every pair (or triple) of the values at the edges, and random ones.
template <class T>
std::vector<T> edges() {
  std::vector<T> values;
  if constexpr (std::is_floating_point_v<T>) {
    using L = std::numeric_limits<T>;
    for (const T x :
         {T{0}, T{1}, T{1.5}, T{0.75}, T{2.5}, T{3}, L::min(), L::denorm_min(), L::min() - L::denorm_min(), L::max(),
          L::infinity(), T{1} + L::epsilon(), T{1} - L::epsilon(), T{16777216}, T{2147483648}, T{4294967040}}) {
      values.push_back(x);
      values.push_back(-x);
    }
    values.push_back(L::quiet_NaN());
  } else {
    using L = std::numeric_limits<T>;
    for (const int x : {0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 100}) values.push_back(static_cast<T>(x));
    values.push_back(L::max());
    values.push_back(L::min());
    values.push_back(static_cast<T>(-1));
    values.push_back(static_cast<T>(L::max() - 1));
    values.push_back(static_cast<T>(L::max() / 3));
  }
  return values;
}

template <class T>
T random_bits(std::mt19937_64& random) {
  const std::uint64_t bits = random();
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
std::vector<T> singles() {
  std::mt19937_64 random(1);
  std::vector<T> values = edges<T>();
  for (int i = 0; i < 500; ++i) values.push_back(random_bits<T>(random));
  return values;
}

template <class T>
struct Pairs {
  std::vector<T> a, b;
};
template <class T>
Pairs<T> pairs() {
  Pairs<T> result;
  std::mt19937_64 random(2);
  for (const T a : edges<T>()) {
    for (const T b : edges<T>()) {
      result.a.push_back(a);
      result.b.push_back(b);
    }
  }
  for (int i = 0; i < 500; ++i) {
    result.a.push_back(random_bits<T>(random));
    // Near in magnitude, or most sums would just be the larger one.
    result.b.push_back(i % 2 == 0 ? random_bits<T>(random) : static_cast<T>(result.a.back() / 3));
  }
  return result;
}

}  // namespace gpusim::test
