#include "tests/gpusim/core/machine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace gpusim::test {

namespace {

// A register's type: as many bits as the operand has.
std::string bits_name(std::size_t bytes) {
  return fmt::format("b{}", 8 * bytes);
}

// A kernel whose thread i gives one instruction the operands in0[i], in1[i]... and stores the result in out[i].
std::string kernel_of(const std::string& instruction, const std::string& tail, std::size_t result_bytes,
                      std::initializer_list<Column> inputs) {
  std::string loads, operands = "%d", parameters, registers = fmt::format(".reg .{} %d;", bits_name(result_bytes));
  int i = 0;
  for (const Column& column : inputs) {
    parameters += fmt::format(", .param .u64 in{}", i);
    registers += fmt::format(".reg .{} %s{};", bits_name(column.bytes), i);
    loads += fmt::format("ld.param.u64 %p, [in{0}]; mad.wide.u32 %p, %i, {1}, %p; ld.global.{2} %s{0}, [%p];\n", i,
                         column.bytes, bits_name(column.bytes));
    operands += fmt::format(", %s{}", i++);
  }
  return fmt::format(
      ".visible .entry k(.param .u64 out, .param .u32 n{}) {{\n{}.reg .b32 %i, %n, %b; .reg .b64 %p; .reg .pred %q;\n"
      "mov.u32 %b, %ctaid.x; mov.u32 %i, %tid.x; mad.lo.u32 %i, %b, 64, %i; ld.param.u32 %n, [n];\n"
      "setp.ge.u32 %q, %i, %n; @%q ret;\n{}{} {}{};\n"
      "ld.param.u64 %p, [out]; mad.wide.u32 %p, %i, {}, %p; st.global.{} [%p], %d; ret; }}",
      parameters, registers, loads, instruction, operands, tail, result_bytes, bits_name(result_bytes));
}

}  // namespace

LaunchResult Machine::launch_kernel(const std::string& kernel, Dim3 grid, Dim3 block,
                                    std::span<const void* const> arguments) {
  return launch(module->function(kernel), {grid, block, dynamic_shared_bytes, arguments}, options);
}

void check_refused(const std::string& ptx, const std::string& kernel, const std::vector<std::string>& words, int line) {
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

std::uint64_t Column::bits(std::size_t i) const {
  std::uint64_t result = 0;
  std::memcpy(&result, static_cast<const std::byte*>(data) + i * bytes, bytes);
  return result;
}

std::vector<std::byte> evaluate_bits(const std::string& instruction, const std::string& tail, std::size_t result_bytes,
                                     std::initializer_list<Column> operands) {
  Machine machine(kernel_of(instruction, tail, result_bytes, operands));
  const std::size_t count = operands.begin()->count;
  const auto threads = static_cast<std::uint32_t>(count);
  auto* out = machine.allocate<std::byte>(count * result_bytes);
  std::vector<std::byte*> uploaded;
  for (const Column& column : operands) {
    const auto* bytes = static_cast<const std::byte*>(column.data);
    uploaded.push_back(machine.upload(std::vector<std::byte>(bytes, bytes + column.count * column.bytes)));
  }
  std::vector<const void*> arguments = {&out, &threads};
  for (std::byte*& column : uploaded) arguments.push_back(&column);
  const LaunchResult result = machine.launch_kernel("k", {(threads + 63) / 64}, {64}, arguments);
  REQUIRE(result.fault == Fault::none);
  return {out, out + count * result_bytes};
}

void check_bits(const std::string& instruction, const std::string& tail, const Column& expected,
                std::initializer_list<Column> operands) {
  const std::vector<std::byte> bytes = evaluate_bits(instruction, tail, expected.bytes, operands);
  Column results = expected;
  results.data = bytes.data();
  int shown = 0;
  for (std::size_t i = 0; i < expected.count; ++i) {
    if (results.bits(i) == expected.bits(i)) continue;
    std::string inputs;
    for (const Column& column : operands) inputs += fmt::format(" {:x}", column.bits(i));
    FAIL_CHECK(fmt::format("{} of{}: {:x}, expected {:x}", instruction, inputs, results.bits(i), expected.bits(i)));
    if (++shown == 5) return;
  }
}

}  // namespace gpusim::test
