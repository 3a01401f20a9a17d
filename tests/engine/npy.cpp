#include "engine/npy.h"

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

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string file_of(int major, const std::string& header, const std::string& data) {
  std::string length = {static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  if (major > 1) length += std::string(2, '\0');
  return "\x93NUMPY" + std::string{static_cast<char>(major), '\0'} + length + header + data;
}

std::string described(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

Tensor loaded(const std::string& path, const std::string& contents) {
  write_file(path, contents);
  return load_npy(path);
}

std::string complaint(const std::string& path, const std::string& contents) {
  write_file(path, contents);
  const std::string start = fmt::format("load_npy {}: ", path);
  const std::string message = message_of([&] { load_npy(path); });
  if (message == "(nothing thrown)") return "";
  REQUIRE_MESSAGE(message.starts_with(start), message);
  return message.substr(start.size());
}

std::vector<Tensor> one_of_each() {
  return {from_vector<float>({1, -0.0f, NAN, INFINITY, 1e-45f, 6}, {2, 3}),
          from_vector<double>({1e300, -2}, {2}),
          from_vector<float>({1, 0x1p-24f, -INFINITY, 65504}, {4}).to(Dtype::f16),
          from_vector<std::int32_t>({INT32_MIN, 7}, {1, 2}),
          from_vector<std::int64_t>({INT64_MIN, INT64_MAX}, {2, 1, 1}),
          from_vector<std::uint8_t>({0, 255}, {2}),
          from_vector<bool>({true, false, true}, {3}),
          from_vector<float>({}, {0, 3}),
          from_vector<float>({2.5f}, {}),
          from_vector<float>(std::vector<float>(1), {1, 1, 1, 1, 1, 1, 1, 1})};
}

}  // namespace

TEST_CASE("npy: what is written is read back bit for bit") {
  const TemporaryFolder folder;
  for (const Tensor& x : one_of_each()) {
    save_npy(folder / "x", x);
    CHECK(identical(load_npy(folder / "x"), x));
    const std::string contents = read_file(folder / "x");
    const std::size_t data = static_cast<std::size_t>(x.count()) * size_of(x.dtype());
    CHECK_EQ((contents.size() - data) % 64, 0);
    CHECK_EQ(contents[contents.size() - data - 1], '\n');
  }
}

TEST_CASE("npy: the file is NumPy's, byte for byte") {
  const TemporaryFolder folder;
  save_npy(folder / "x", from_vector<float>({1, 2}, {2}));
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  CHECK_EQ(read_file(folder / "x"),
           file_of(1, dict + std::string(118 - dict.size() - 1, ' ') + "\n", bytes_of<float>({1, 2})));
}

TEST_CASE("npy: any layout is written in row-major order") {
  const TemporaryFolder folder;
  const Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  save_npy(folder / "x", x.transpose(0, 1));
  CHECK(identical(load_npy(folder / "x"), from_vector<float>({1, 4, 2, 5, 3, 6}, {3, 2})));
  save_npy(folder / "x", x.clone().set_requires_grad());
  CHECK(identical(load_npy(folder / "x"), x));
}

TEST_CASE("npy: every version, byte order mark, key order and element type that NumPy writes") {
  const TemporaryFolder folder;
  const std::string path = folder / "x";
  const std::string two = bytes_of<float>({1, 2});
  const Tensor expected = from_vector<float>({1, 2}, {2});
  for (int version = 1; version <= 3; ++version) {
    CHECK(identical(loaded(path, file_of(version, described("<f4", "(2,)"), two)), expected));
  }
  for (const char* header : {"{'shape': (2,), 'descr': '<f4', 'fortran_order': False}",
                             "{\"descr\":\"=f4\",\"fortran_order\":True,\"shape\":(2,),}   \n",
                             "{ 'descr' : '<f4' ,\n 'fortran_order' : False , 'shape' : ( 2 , ) }"}) {
    CHECK(identical(loaded(path, file_of(1, header, two)), expected));
  }
  const auto check_integers = [&](const std::string& descr, const std::string& data,
                                  const std::vector<std::int64_t>& values) {
    CHECK(identical(loaded(path, file_of(1, described(descr, "(2,)"), data)), from_vector(values, {2})));
  };
  check_integers("|i1", bytes_of<std::int8_t>({-128, 127}), {-128, 127});
  check_integers(">i1", bytes_of<std::int8_t>({-128, 127}), {-128, 127});
  check_integers("<i2", bytes_of<std::int16_t>({-32768, 32767}), {-32768, 32767});
  check_integers("<u2", bytes_of<std::uint16_t>({0, 65535}), {0, 65535});
  check_integers("<u4", bytes_of<std::uint32_t>({0, 4294967295}), {0, 4294967295});
  check_integers("<u8", bytes_of<std::uint64_t>({0, INT64_MAX}), {0, INT64_MAX});
  CHECK(identical(loaded(path, file_of(1, described("<f2", "(2,)"), bytes_of<std::uint16_t>({0x3c00, 0xfc00}))),
                  from_vector<float>({1, -INFINITY}, {2}).to(Dtype::f16)));
}

TEST_CASE("npy: column-major files") {
  const TemporaryFolder folder;
  const std::string data = bytes_of<std::int32_t>({0, 3, 1, 4, 2, 5});
  const Tensor x = loaded(folder / "x", file_of(1, described("<i4", "(2, 3)", "True"), data));
  CHECK(x.is_contiguous());
  CHECK(identical(x, from_vector<std::int32_t>({0, 1, 2, 3, 4, 5}, {2, 3})));
  CHECK(identical(loaded(folder / "x", file_of(1, described("<i4", "(6,)", "True"), data)),
                  from_vector<std::int32_t>({0, 3, 1, 4, 2, 5}, {6})));
  CHECK(identical(loaded(folder / "x", file_of(1, described("<i4", "(2, 0, 3)", "True"), "")),
                  from_vector<std::int32_t>({}, {2, 0, 3})));
}

TEST_CASE("npy: malformed files are refused with the reason") {
  const TemporaryFolder folder;
  const std::string path = folder / "x", eight(8, '\0');
  CHECK_EQ(complaint(path, ""), "0 bytes are too few for a header");
  CHECK_EQ(complaint(path, "12345678"), "not an .npy file: it does not start with \\x93NUMPY");
  CHECK_EQ(complaint(path, std::string("\x93NUMPY\4\0", 8)), "version 4.0 of the format is unknown");
  CHECK_EQ(complaint(path, std::string("\x93NUMPY\1\1", 8)), "version 1.1 of the format is unknown");
  CHECK_EQ(complaint(path, std::string("\x93NUMPY\2\0\1\0\0", 11)), "the file ends within its header");
  CHECK_EQ(complaint(path, std::string("\x93NUMPY\1\0\x03\0{}", 12)), "header of 3 bytes, but 2 are left in the file");
  CHECK_EQ(complaint(path, std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12)),
           "header of 4294967295 bytes, more than the 1048576 allowed");

  const auto expect = [&](const std::string& header, const std::string& message) {
    INFO(header);
    CHECK_EQ(complaint(path, file_of(1, header, eight)), message);
  };
  expect("", "the header has no '{' where one belongs");
  expect("{}", "the header lacks descr");
  expect("{'descr': '<f4'", "the header has no '}' where one belongs");
  expect("{'descr': '<f4', 'shape': (2,)}", "the header lacks fortran_order");
  expect("{'descr': '<f4", "the header has a string without an end");
  expect("{'descr' '<f4'}", "the header has no ':' where one belongs");
  expect("{'descr': [('a', '<f4')]}", "arrays of records are not supported");
  expect("{'descr': '<f4', 'descr': '<f4'}", "unexpected key 'descr' in the header");
  expect("{'more': 1}", "unexpected key 'more' in the header");
  expect("{'fortran_order': 0}", "fortran_order is neither True nor False");
  expect("{'shape': 2}", "the header has no '(' where one belongs");
  expect("{'shape': (2)}", "the shape is not a tuple");
  for (const char* shape : {"(-2,)", "(2.,)", "(,)", "(a,)", "(99999999999999999999,)", "(2,,)", "("}) {
    CHECK_NE(complaint(path, file_of(1, described("<f4", shape), eight)), "");
  }
  expect("{'shape': (-2,)}", "the shape holds something that is not a length");
  expect(described("<f4", "(2,)") + "x", "the header goes on after its closing brace");
  expect(described(">f4", "(2,)"), "dtype >f4: big-endian elements are not supported");
  for (const char* descr : {"", "<", "f4", "<c8", "<U2", "|O", "|S8", "<f16", "<m8[ns]", "?f4"}) {
    expect(described(descr, "(2,)"), fmt::format("dtype {} is not one that heed reads", descr));
  }
  expect(described("<f4", "(3,)"), "shape [3] of <f4 needs 12 bytes, the file holds 8");
  expect(described("<f4", "()"), "shape [] of <f4 needs 4 bytes, the file holds 8");
  expect(described("<f4", "(0,)"), "shape [0] of <f4 needs 0 bytes, the file holds 8");
  expect(described("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 2)"), "shape of 9 axes, more than the 8 that heed supports");
  expect(described("<f4", "(4611686018427387904, 4)"), "shape [4611686018427387904, 4] is too large");
  expect(described("<f4", "(0, 4611686018427387904, 4)"), "shape [0, 4611686018427387904, 4] is too large");
  CHECK_EQ(complaint(path, file_of(1, described("|b1", "(2,)"), "\1\2")), "a boolean element that is neither 0 nor 1");
  CHECK_EQ(complaint(path, file_of(1, described("<u8", "(1,)"), bytes_of<std::uint64_t>({UINT64_MAX}))),
           "element 18446744073709551615 is beyond the range of i64");
}

TEST_CASE("npy: writing refuses what NumPy does not have") {
  const TemporaryFolder folder;
  CHECK_EQ(message_of([&] { save_npy(folder / "x", empty({2}, {Dtype::bf16})); }),
           fmt::format("save_npy {}: NumPy has no bf16; convert with .to(Dtype::f32)", folder / "x"));
  CHECK_EQ(message_of([&] { save_npy(folder / "x", Tensor()); }),
           fmt::format("save_npy {}: undefined tensor", folder / "x"));
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}

TEST_CASE("npy: damaged files never crash the reader") {
  const TemporaryFolder folder;
  const auto survives = [&](const std::string& contents) {
    reset_peak_memory();
    const std::size_t before = memory_stats().peak_bytes;
    folder.write("damaged", contents);
    bool read = true;
    try {
      load_npy(folder / "damaged");
    } catch (const Error&) {
      read = false;
    }
    if (memory_stats().peak_bytes - before > 16 * contents.size() + 4096) FAIL_CHECK("allocated without need");
    return read;
  };
  std::mt19937_64 random(1);
  for (const char* descr : {"<f4", "|b1", "<u8", "<f2"}) {
    const std::string data(std::strcmp(descr, "|b1") == 0 ? 6 : 6 * (descr[2] - '0'), '\0');
    const std::string whole = file_of(1, described(descr, "(2, 3)", "True"), data);
    CHECK(survives(whole));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      if (survives(whole.substr(0, length))) FAIL_CHECK("a file cut after ", length, " bytes was read");
    }
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string damaged = whole;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      survives(damaged);
    }
    const std::string pieces[] = {"0", "-1", "99999999999999999999", "(", ")", "{", "}", "'", ",", ":", "True", " "};
    for (int round = 0; round < 1000; ++round) {
      std::string damaged = whole;
      const std::size_t position = random() % (damaged.size() - data.size() - 10) + 10;
      damaged.replace(position, random() % 4, pieces[random() % std::size(pieces)]);
      if (random() % 2 == 0) damaged[8] = static_cast<char>(damaged[8] + damaged.size() - whole.size());
      survives(damaged);
    }
  }
}

TEST_CASE("npy: exchange with NumPy") {
  if (!python_has("numpy")) {
    MESSAGE("skipped: python3 with numpy is not installed");
    return;
  }
  const TemporaryFolder folder;
  const std::vector<Tensor> tensors = one_of_each();
  for (std::size_t i = 0; i < tensors.size(); ++i) save_npy(folder / fmt::format("ours{}.npy", i), tensors[i]);
  CHECK_EQ(run_python(folder.path(), R"(
import numpy as np
expected = [np.array([[1, -0.0, np.nan], [np.inf, 1e-45, 6]], np.float32), np.array([1e300, -2.0]),
            np.array([[-2**31, 7]], np.int32), np.array([-2**63, 2**63 - 1]).reshape(2, 1, 1),
            np.array([0, 255], np.uint8), np.array([True, False, True]), np.zeros((0, 3), np.float32),
            np.array(2.5, np.float32), np.zeros((1,) * 8, np.float32)]
for i, value in enumerate(expected):
    x = np.load(f"ours{i}.npy")
    assert x.dtype == value.dtype and x.shape == value.shape and x.tobytes() == value.tobytes(), i
    np.save(f"theirs{i}.npy", value)
np.save("fortran.npy", np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)))
with open("version2.npy", "wb") as f:
    np.lib.format.write_array(f, np.array([1, -2.5, 6e-8], np.float16), version=(2, 0))
)"),
           0);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CHECK(identical(load_npy(folder / fmt::format("theirs{}.npy", i)), tensors[i]));
    CHECK_EQ(read_file(folder / fmt::format("theirs{}.npy", i)), read_file(folder / fmt::format("ours{}.npy", i)));
  }
  std::vector<std::int64_t> counted(24);
  for (std::size_t i = 0; i < counted.size(); ++i) counted[i] = static_cast<std::int64_t>(i);
  CHECK(identical(load_npy(folder / "fortran.npy"), from_vector(counted, {2, 3, 4})));
  CHECK(identical(load_npy(folder / "version2.npy"), from_vector<float>({1, -2.5f, 0x1p-24f}, {3})));
}

}  // namespace heed::test
