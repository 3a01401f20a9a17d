#include "engine/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "engine/file.h"
#include "tests/harness/examine.h"
#include "tests/harness/identical.h"
#include "tests/harness/python.h"
#include "tests/harness/temporary_folder.h"

namespace heed::test {
namespace {

using Named = std::map<std::string, Tensor>;

template <class T>
Tensor of(const std::vector<T>& values, const Shape& shape) {
  return from_vector(values, shape);
}

void check_identical(const Named& actual, const Named& expected) {
  CHECK_EQ(actual.size(), expected.size());
  for (const auto& [name, x] : expected) {
    INFO(name);
    REQUIRE(actual.contains(name));
    CHECK(identical(actual.at(name), x));
  }
}

Named one_of_each() {
  Tensor bf16 = empty({2}, {Dtype::bf16});
  bf16.data<BFloat16>()[0] = BFloat16(1.5f);
  bf16.data<BFloat16>()[1] = BFloat16(-INFINITY);
  Tensor f16 = empty({3}, {Dtype::f16});
  f16.data<Float16>()[0] = Float16(1.5f);
  f16.data<Float16>()[1] = Float16(0x1p-24f);
  f16.data<Float16>()[2] = Float16(-INFINITY);
  return {{"a", of<float>({1, -0.0f, NAN, INFINITY, 1e-45f, 6}, {2, 3})},
          {"b", of<std::int64_t>({INT64_MIN, INT64_MAX}, {2})},
          {"c", of<bool>({true, false, true}, {3})},
          {"d", of<double>({1e300, -2}, {2})},
          {"e", of<std::int32_t>({INT32_MIN, 7}, {1, 2})},
          {"f", of<std::uint8_t>({0, 255}, {2})},
          {"g", bf16},
          {"i", f16},
          {"h", of<float>({}, {0, 3})},
          {"scalar", of<float>({2.5f}, {})},
          {"\"quoted\" \\ \n \xc3\xa9", of<float>({3}, {1})}};
}

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

// The message of loading a file of these bytes, without the path in front; "" when it loads.
std::string complaint(const std::string& path, const std::string& contents) {
  write_file(path, contents);
  const std::string start = fmt::format("load_safetensors {}: ", path);
  const std::string message = message_of([&] { load_safetensors(path); });
  if (message == "(nothing thrown)") return "";
  REQUIRE_MESSAGE(message.starts_with(start), message);
  return message.substr(start.size());
}

}  // namespace

TEST_CASE("a half as a float is exact, and comes back") {
  for (int half = 0; half < 0x10000; ++half) {
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    double expected = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) expected = fraction == 0 ? INFINITY : NAN;
    if (half & 0x8000) expected = -expected;
    Float16 stored;
    stored.bits = static_cast<std::uint16_t>(half);
    const float actual = static_cast<float>(stored);
    const bool same = std::isnan(expected) ? std::isnan(actual)
                                           : actual == expected && std::signbit(actual) == std::signbit(expected);
    if (!same) FAIL_CHECK(half, ": ", actual, " instead of ", expected);
    if (!std::isnan(expected) && Float16(actual).bits != half) FAIL_CHECK(actual, " does not come back");
    if (std::isnan(expected) && !std::isnan(static_cast<float>(Float16(actual)))) FAIL_CHECK("a NaN is lost");
  }
}

TEST_CASE("a float becomes the nearest half, the even one of two") {
  const auto half = [](int bits) {
    Float16 x;
    x.bits = static_cast<std::uint16_t>(bits);
    return static_cast<double>(static_cast<float>(x));
  };
  for (int bits = 0; bits < 0x7c00; ++bits) {
    // Between this half and the next; behind the last stands what would be the next if there were more exponents.
    const double low = half(bits), high = bits == 0x7bff ? 65536 : half(bits + 1), middle = (low + high) / 2;
    const int even = bits % 2 == 0 ? bits : bits + 1;
    const auto rounded = [](double x) { return Float16(static_cast<float>(x)).bits; };
    const auto next_to = [](double x, float towards) { return std::nextafter(static_cast<float>(x), towards); };
    if (rounded(middle) != even) FAIL_CHECK(middle, " does not round to even");
    if (rounded(next_to(middle, 0)) != bits) FAIL_CHECK("just below ", middle);
    if (rounded(next_to(middle, INFINITY)) != bits + 1) FAIL_CHECK("just above ", middle);
    if (rounded(-middle) != (even | 0x8000)) FAIL_CHECK(-middle, " does not round to even");
  }
  CHECK_EQ(Float16(INFINITY).bits, 0x7c00);
  CHECK_EQ(Float16(1e30f).bits, 0x7c00);
  CHECK_EQ(Float16(0x1p-149f).bits, 0);
}

TEST_CASE("safetensors: what is written is read back bit for bit") {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"", "\"\t"}};
  save_safetensors(folder / "x", one_of_each(), metadata);
  const Safetensors loaded = load_safetensors(folder / "x");
  check_identical(loaded.tensors, one_of_each());
  CHECK_EQ(loaded.metadata, metadata);
  save_safetensors(folder / "x", {});
  CHECK_EQ(read_file(folder / "x"), file_of("{}      ", ""));
  CHECK(load_safetensors(folder / "x").tensors.empty());
}

TEST_CASE("safetensors: the file is the reference implementation's, byte for byte") {
  const TemporaryFolder folder;
  save_safetensors(folder / "x",
                   {{"a", of<float>({1, 2}, {2})},
                    {"b", of<std::int64_t>({3}, {1})},
                    {"c", of<bool>({true, false, true}, {3})},
                    {"d", of<double>({0, 0}, {2})},
                    {"e", of<std::int32_t>({4, 5}, {2})},
                    {"f", of<std::uint8_t>({6, 7}, {2})},
                    {"h", of<float>({}, {0, 3})}},
                   {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("d":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},"a":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},)"
      R"("h":{"dtype":"F32","shape":[0,3],"data_offsets":[32,32]},"e":{"dtype":"I32","shape":[2],"data_offsets":[32,40]},)"
      R"("f":{"dtype":"U8","shape":[2],"data_offsets":[40,42]},"c":{"dtype":"BOOL","shape":[3],"data_offsets":[42,45]}})";
  const std::string contents = read_file(folder / "x");
  CHECK_EQ(contents.substr(8, header.size()), header);
  std::uint64_t length = 0;
  std::memcpy(&length, contents.data(), sizeof length);
  CHECK_EQ(length % 8, 0);
  CHECK_EQ(contents.substr(8 + header.size(), length - header.size()), std::string(length - header.size(), ' '));
  const std::string data(
      "\3\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
      "\0\0\x80\x3f\0\0\0\x40"
      "\4\0\0\0\5\0\0\0\6\7\1\0\1",
      45);
  CHECK_EQ(contents.substr(8 + length), data);
}

TEST_CASE("safetensors: any layout is written in row-major order") {
  const TemporaryFolder folder;
  const Tensor x = of<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  save_safetensors(folder / "x", {{"transposed", x.transpose(0, 1)},
                                  {"column", x.slice(1, 1, 2)},
                                  {"expanded", x.slice(0, 0, 1).expand({2, 3})},
                                  {"parameter", x.clone().set_requires_grad()}});
  check_identical(load_safetensors(folder / "x").tensors, {{"transposed", of<float>({1, 4, 2, 5, 3, 6}, {3, 2})},
                                                           {"column", of<float>({2, 5}, {2, 1})},
                                                           {"expanded", of<float>({1, 2, 3, 1, 2, 3}, {2, 3})},
                                                           {"parameter", x}});
}

TEST_CASE("safetensors: tensors may lie in any order; spaces may surround the JSON's parts") {
  const TemporaryFolder folder;
  write_file(folder / "x", file_of(R"({ "y" : {"shape":[1], "data_offsets":[4,8], "dtype":"F32"},
      "x":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}, "empty":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}   )",
                                   std::string("\0\x3c\0\xfc\0\0\x80\x3f", 8)));
  check_identical(load_safetensors(folder / "x").tensors, {{"x", of<float>({1, -INFINITY}, {2}).to(Dtype::f16)},
                                                           {"y", of<float>({1}, {1})},
                                                           {"empty", of<std::uint8_t>({}, {0})}});
}

TEST_CASE("safetensors: malformed files are refused with the reason") {
  const TemporaryFolder folder;
  const auto expect = [&](const std::string& header, const std::string& data, const std::string& message) {
    INFO(header);
    CHECK_EQ(complaint(folder / "x", file_of(header, data)), message);
  };
  const std::string eight(8, '\0');
  CHECK_EQ(complaint(folder / "x", ""), "0 bytes are too few for a header");
  CHECK_EQ(complaint(folder / "x", std::string(8, '\xff')),
           "header of 18446744073709551615 bytes, more than the 100000000 allowed");
  CHECK_EQ(complaint(folder / "x", std::string("\x08\0\0\0\0\0\0\0{}", 10)), "header of 8 bytes in a file of 10");
  expect("", "", "the header does not start with '{'");
  expect(" {}", "", "the header does not start with '{'");
  expect("[]", "", "the header does not start with '{'");
  expect(std::string("{}\0{", 4), "", "the header is not JSON: it holds a zero byte");
  expect("{}", "x", "the tensors take 0 bytes, but the file holds 1 bytes of data");
  for (const char* broken : {"{", "{}}", "{]", "{\"a\"}", "{\"\xff\":{}}", "{} {}", "{\"a\":{\"dtype\":\"F32\",}}"}) {
    const std::string message = complaint(folder / "x", file_of(broken, ""));
    CHECK_MESSAGE(message.starts_with("the header is not JSON: "), broken, ": ", message);
  }

  const auto tensor = [](const std::string& text) { return "{\"t\":" + text + "}"; };
  expect(tensor("1"), "", "t: a number where an object belongs");
  expect(tensor("[1]"), "", "t: a list where an object belongs");
  expect(tensor("{}"), "", "tensor t: dtype is missing");
  expect(tensor(R"({"dtype":"F32","shape":[1]})"), eight, "tensor t: data_offsets is missing");
  expect(tensor(R"({"dtype":1,"shape":[1],"data_offsets":[0,4]})"), eight,
         "tensor t: dtype: a number does not belong there");
  expect(tensor(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), eight,
         "tensor t: shape: a number does not belong there");
  expect(tensor(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), eight,
         "tensor t: shape: a negative number does not belong there");
  expect(tensor(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), eight,
         "tensor t: shape: a number that is not a 64-bit integer does not belong there");
  expect(tensor(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), eight,
         "tensor t: shape: a list does not belong there");
  expect(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), eight,
         "tensor t: data_offsets has 1 numbers, not 2");
  expect(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,8]})"), eight,
         "tensor t: data_offsets has more than 2 numbers");
  expect(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1})"), eight, "tensor t: unknown key more");
  expect(tensor(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), eight,
         "duplicate key dtype in tensor t");
  expect(tensor(R"({"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]})"), eight,
         "tensor t: dtype F8_E4M3 is not one that heed reads");
  expect(tensor(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})"), eight,
         "tensor t: more than the 8 axes that heed supports");
  expect(tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), eight,
         "tensor t: shape [3] of F32 needs 12 bytes, data_offsets span 8");
  expect(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), eight,
         "tensor t: its data begins at 8, where 0 is next");
  expect(tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,12]})"), eight,
         "tensor t: its data ends at 12, but the file holds 8 bytes of data");
  expect(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), eight,
         "the tensors take 4 bytes, but the file holds 8 bytes of data");
  expect(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), eight,
         "tensor t: its data begins at 4, where 0 is next");
  expect(tensor(R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), "",
         "tensor t: shape [4294967296, 4294967296] is too large");
  expect(tensor(R"({"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]})"), "",
         "tensor t: shape [0, 4294967296, 4294967296] is too large");
  expect(tensor(R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]})"), "",
         "tensor t: shape [18446744073709551615] is too large");
  expect(tensor(R"({"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]})"), "",
         "tensor t: its data ends at 1099511627776, but the file holds 0 bytes of data");
  expect(tensor(R"({"dtype":"BOOL","shape":[2],"data_offsets":[0,2]})"), "\1\2",
         "tensor t: a BOOL element that is neither 0 nor 1");

  const std::string u8 = R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  expect("{\"t\":" + u8 + ",\"t\":" + u8 + "}", eight, "duplicate key t");
  expect("{\"s\":" + u8 + R"(,"t":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}})", eight,
         "tensor t: its data begins at 2, where 4 is already taken");
  expect("{\"s\":" + u8 + R"(,"t":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})", eight,
         "tensor t: its data begins at 6, where 4 is next");
  expect(R"({"__metadata__":{"a":1}})", "", "__metadata__: a: a number where a string belongs");
  expect(R"({"__metadata__":{"a":{"b":"c"}}})", "", "__metadata__: a: an object where a string belongs");
  expect(R"({"__metadata__":null})", "", "__metadata__: null where an object belongs");
  expect(R"({"__metadata__":{"a":"1","a":"2"}})", "", "duplicate key a in __metadata__");
  expect(R"({"__metadata__":{},"__metadata__":{}})", "", "duplicate key __metadata__");
  expect("{\"a\":" + std::string(100000, '['), "", "a: a list where an object belongs");
}

TEST_CASE("safetensors: writing refuses what the format cannot hold, and leaves the old file alone") {
  const TemporaryFolder folder;
  const std::string path = folder / "x", start = "save_safetensors " + path + ": ";
  const Tensor x = of<float>({1}, {1});
  save_safetensors(path, {{"old", x}});
  CHECK_EQ(message_of([&] {
             save_safetensors(path, {{"__metadata__", x}});
           }),
           start + "a tensor cannot be named __metadata__");
  CHECK_EQ(message_of([&] { save_safetensors(path, {{"a", Tensor()}}); }), start + "tensor a is undefined");
  CHECK_EQ(message_of([&] {
             save_safetensors(path, {{"\xff", x}});
           }),
           start + "the name or metadata '\xff' is not UTF-8");
  CHECK_EQ(message_of([&] {
             save_safetensors(folder / "no/x", {{"a", x}});
           }),
           fmt::format("save_safetensors {0}: write {0}: No such file or directory", folder / "no/x"));
  check_identical(load_safetensors(path).tensors, {{"old", x}});
}

// Damaged files either fail with heed::Error or load something of the file's size: nothing else may come out, and under
// the sanitizers no read may go astray.
TEST_CASE("safetensors: damaged files never crash the reader") {
  const TemporaryFolder folder;
  save_safetensors(folder / "x", one_of_each(), {{"format", "pt"}});
  const std::string whole = read_file(folder / "x");
  const auto survives = [&](const std::string& contents) {
    reset_peak_memory();
    const std::size_t before = memory_stats().peak_bytes;
    folder.write("damaged", contents);
    bool loaded = true;
    try {
      load_safetensors(folder / "damaged");
    } catch (const Error&) {
      loaded = false;
    }
    if (memory_stats().peak_bytes - before > 100 * contents.size() + 4096) FAIL_CHECK("allocated without need");
    return loaded;
  };
  CHECK(survives(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    if (survives(whole.substr(0, length))) FAIL_CHECK("a file cut after ", length, " bytes was read");
  }
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i < whole.size(); ++i) {  // one bit of every byte
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << random() % 8));
    survives(damaged);
  }
  const std::string pieces[] = {
      "0",           "-1",   "9", "18446744073709551615", "[",    "]",  "{", "}", "\"", ",", ":", "\\u0000",
      "\"shape\":[", "null", " ", std::string(1, '\0'),   "\xff", "1e5"};
  for (int round = 0; round < 2000; ++round) {  // pieces of JSON replace others
    std::string damaged = whole;
    for (std::uint64_t n = random() % 3 + 1; n > 0; --n) {
      damaged.replace(random() % (damaged.size() - 8) + 8, random() % 4, pieces[random() % std::size(pieces)]);
    }
    std::uint64_t length = 0;
    std::memcpy(&length, damaged.data(), sizeof length);
    length += random() % 2 == 0 ? damaged.size() - whole.size() : 0;
    std::memcpy(damaged.data(), &length, sizeof length);
    survives(damaged);
  }
}

TEST_CASE("safetensors: exchange with the Python library") {
  if (!python_has("numpy, safetensors")) {
    MESSAGE("skipped: python3 with numpy and safetensors is not installed");
    return;
  }
  const TemporaryFolder folder;
  Named tensors = one_of_each();
  tensors.erase("g");  // NumPy has no bf16
  save_safetensors(folder / "ours", tensors, {{"format", "pt"}});
  CHECK_EQ(run_python(folder.path(), R"(
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
x = load_file("ours")
expected = {"a": np.array([[1, -0.0, np.nan], [np.inf, 1e-45, 6]], np.float32),
            "b": np.array([-2**63, 2**63 - 1]), "c": np.array([True, False, True]), "d": np.array([1e300, -2.0]),
            "e": np.array([[-2**31, 7]], np.int32), "f": np.array([0, 255], np.uint8),
            "h": np.zeros((0, 3), np.float32), "scalar": np.array(2.5, np.float32),
            '"quoted" \\ \n \u00e9': np.array([3], np.float32)}
assert x.keys() == expected.keys(), x.keys()
for name, value in expected.items():
    assert x[name].dtype == value.dtype and x[name].shape == value.shape and x[name].tobytes() == value.tobytes(), name
with safe_open("ours", "np") as f:
    assert f.metadata() == {"format": "pt"}
save_file(x, "theirs", {"format": "pt"})
save_file({"half": np.array([1, -2.5, 6e-8], np.float16)}, "half")
)"),
           0);
  check_identical(load_safetensors(folder / "theirs").tensors, tensors);
  CHECK_EQ(read_file(folder / "theirs"), read_file(folder / "ours"));
  check_identical(load_safetensors(folder / "half").tensors, {{"half", of<float>({1, -2.5f, 0x1p-24f}, {3})}});
}

}  // namespace heed::test
