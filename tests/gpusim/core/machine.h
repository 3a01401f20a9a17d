// Small PTX texts, run on the simulator: whole modules, and single instructions on arrays of operands.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>
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
    const std::array<const void*, sizeof...(arguments)> pointers = {static_cast<const void*>(&arguments)...};
    return launch_kernel(kernel, grid, block, pointers);
  }
  LaunchResult launch_kernel(const std::string& kernel, Dim3 grid, Dim3 block, std::span<const void* const> arguments);

  Memory memory;
  std::unique_ptr<Module> module;
  LaunchOptions options;
  std::size_t dynamic_shared_bytes = 0;
};

// The module is refused, with these words in the message.
void check_refused(const std::string& ptx, const std::string& kernel, const std::vector<std::string>& words,
                   int line = 0);

// Operands of one type, as PTX sees them: bits in registers of 2, 4 or 8 bytes.
struct Column {
  const void* data;
  std::size_t bytes, count;  // of each, and how many

  template <class T>
  Column(const std::vector<T>& values) : data(values.data()), bytes(sizeof(T)), count(values.size()) {}
  std::uint64_t bits(std::size_t i) const;
};

// One instruction, `add.f32`, on arrays of operands: result[i] = instruction(a[i], b[i], ...), each of result_bytes.
// `tail` is text behind the operands, as in "lop3.b32" with ", 0x1B".
std::vector<std::byte> evaluate_bits(const std::string& instruction, const std::string& tail, std::size_t result_bytes,
                                     std::initializer_list<Column> operands);
// Bit for bit what `expected` holds.
void check_bits(const std::string& instruction, const std::string& tail, const Column& expected,
                std::initializer_list<Column> operands);

template <class D, class... In>
std::vector<D> evaluate(const std::string& instruction, const std::string& tail, const std::vector<In>&... in) {
  const std::vector<std::byte> bytes = evaluate_bits(instruction, tail, sizeof(D), {in...});
  std::vector<D> results(bytes.size() / sizeof(D));
  std::memcpy(results.data(), bytes.data(), bytes.size());
  return results;
}

// The instruction gives bit for bit what `expected` does on the host.
template <class D, class F, class First, class... In>
void check_instruction(const std::string& instruction, const std::string& tail, F expected,
                       const std::vector<First>& first, const std::vector<In>&... in) {
  std::vector<D> want(first.size());
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = static_cast<D>(expected(first[i], in[i]...));
  check_bits(instruction, tail, want, {first, in...});
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
