#include "engine/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/file.h"
#include "engine/joined.h"

namespace heed {
namespace {

static_assert(std::endian::native == std::endian::little, "elements are copied as they are");

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::uint64_t max_header_bytes = 1 << 20;  // NumPy writes a few hundred at most
constexpr std::size_t alignment = 64;                // of the elements in the file

struct Header {
  std::string descr;  // e.g. <f4: byte order, kind, bytes per element
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

// The header is a Python dict literal, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, with the keys in
// any order. This reads exactly as much of Python as that takes.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !descr_) {
        check(!starts_with('['), "arrays of records are not supported");
        descr_ = string();
      } else if (key == "fortran_order" && !fortran_order_) {
        fortran_order_ = boolean();
      } else if (key == "shape" && !shape_) {
        shape_ = tuple();
      } else {
        fail("unexpected key '{}' in the header", key);
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    check(text_.empty(), "the header goes on after its closing brace");
    check(descr_ && fortran_order_ && shape_, "the header lacks {}",
          !descr_           ? "descr"
          : !fortran_order_ ? "fortran_order"
                            : "shape");
    return {*descr_, *fortran_order_, *shape_};
  }

 private:
  void skip_space() {
    const std::size_t first = text_.find_first_not_of(" \t\r\n");
    text_.remove_prefix(std::min(first, text_.size()));
  }
  bool starts_with(char wanted) {
    skip_space();
    return text_.starts_with(wanted);
  }
  bool accept(char wanted) {
    if (!starts_with(wanted)) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) { check(accept(wanted), "the header has no '{}' where one belongs", wanted); }

  std::string string() {
    const char quote = starts_with('"') ? '"' : '\'';
    expect(quote);
    const std::size_t length = text_.find(quote);
    check(length != text_.npos, "the header has a string without an end");
    const std::string result(text_.substr(0, length));
    text_.remove_prefix(length + 1);
    return result;
  }

  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view name = value ? "True" : "False";
      if (!text_.starts_with(name)) continue;
      text_.remove_prefix(name.size());
      return value;
    }
    fail("fortran_order is neither True nor False");
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> result;
    expect('(');
    while (!accept(')')) {
      result.push_back(length());
      if (!accept(',')) {
        expect(')');
        check(result.size() > 1, "the shape is not a tuple");  // (3) is Python for 3
        break;
      }
    }
    return result;
  }

  std::int64_t length() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    check(error == std::errc() && value >= 0, "the shape holds something that is not a length");
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return value;
  }

  std::string_view text_;
  std::optional<std::string> descr_;
  std::optional<bool> fortran_order_;
  std::optional<std::vector<std::int64_t>> shape_;
};

Header read_header(InputFile& file) {
  char start[8];  // magic, then the version: major, minor
  check(file.size() >= sizeof start, "{} bytes are too few for a header", file.size());
  file.read(start, sizeof start);
  check(std::string_view(start, magic.size()) == magic, "not an .npy file: it does not start with \\x93NUMPY");
  const int major = static_cast<unsigned char>(start[6]), minor = static_cast<unsigned char>(start[7]);
  check(1 <= major && major <= 3 && minor == 0, "version {}.{} of the format is unknown", major, minor);
  std::uint32_t length = 0;
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  check(file.remaining() >= length_bytes, "the file ends within its header");
  file.read(&length, length_bytes);
  check(length <= max_header_bytes, "header of {} bytes, more than the {} allowed", length, max_header_bytes);
  check(length <= file.remaining(), "header of {} bytes, but {} are left in the file", length, file.remaining());
  std::string text(length, '\0');
  file.read(text.data(), text.size());
  return HeaderParser(text).parse();
}

// ---- Elements ------------------------------------------------------------------------------------------------------

// Reads the elements of a contiguous tensor, each a Stored in the file.
using ReadElements = void (*)(InputFile&, const Tensor&);

void read_as_they_are(InputFile& file, const Tensor& x) {
  const auto count = static_cast<std::size_t>(x.count());
  file.read(x.view().data, count * size_of(x.dtype()));
  if (x.dtype() != Dtype::boolean) return;
  const auto* bytes = x.view().as<std::uint8_t>();
  check(std::all_of(bytes, bytes + count, [](std::uint8_t byte) { return byte <= 1; }),
        "a boolean element that is neither 0 nor 1");
}

template <class Stored>
void read_integers(InputFile& file, const Tensor& x) {
  std::vector<Stored> stored(static_cast<std::size_t>(x.count()));
  file.read(stored.data(), stored.size() * sizeof(Stored));
  std::transform(stored.begin(), stored.end(), x.data<std::int64_t>(), [](Stored value) {
    check(std::in_range<std::int64_t>(value), "element {} is beyond the range of i64", value);
    return static_cast<std::int64_t>(value);
  });
}

struct FileDtype {
  std::string_view name;  // without the byte order
  std::size_t bytes;
  Dtype dtype;
  ReadElements read;
};
constexpr FileDtype file_dtypes[] = {{"f4", 4, Dtype::f32, read_as_they_are},
                                     {"f8", 8, Dtype::f64, read_as_they_are},
                                     {"i4", 4, Dtype::i32, read_as_they_are},
                                     {"i8", 8, Dtype::i64, read_as_they_are},
                                     {"u1", 1, Dtype::u8, read_as_they_are},
                                     {"b1", 1, Dtype::boolean, read_as_they_are},
                                     {"f2", 2, Dtype::f16, read_as_they_are},
                                     {"i1", 1, Dtype::i64, read_integers<std::int8_t>},
                                     {"i2", 2, Dtype::i64, read_integers<std::int16_t>},
                                     {"u2", 2, Dtype::i64, read_integers<std::uint16_t>},
                                     {"u4", 4, Dtype::i64, read_integers<std::uint32_t>},
                                     {"u8", 8, Dtype::i64, read_integers<std::uint64_t>}};

const FileDtype& file_dtype_of(const std::string& descr) {
  const char order = descr.empty() ? '?' : descr[0];
  for (const FileDtype& dtype : file_dtypes) {
    if (descr.substr(std::min<std::size_t>(1, descr.size())) != dtype.name) continue;
    check(order != '>' || dtype.bytes == 1, "dtype {}: big-endian elements are not supported", descr);
    if (order == '<' || order == '=' || order == '|' || order == '>') return dtype;
  }
  fail("dtype {} is not one that heed reads", descr);
}

// The shape, once its size in bytes is known to be what the file still holds.
Shape checked_shape(const Header& header, const FileDtype& dtype, std::uint64_t bytes_left) {
  check(header.shape.size() <= max_rank, "shape of {} axes, more than the {} that heed supports", header.shape.size(),
        max_rank);
  const Shape shape(header.shape);
  const std::optional<std::int64_t> bytes = bytes_of(shape, dtype.bytes);
  check(bytes.has_value(), "shape {} is too large", shape);
  check(static_cast<std::uint64_t>(*bytes) == bytes_left, "shape {} of {} needs {} bytes, the file holds {}", shape,
        header.descr, *bytes, bytes_left);
  return shape;
}

Tensor read_all(InputFile& file) {
  const Header header = read_header(file);
  const FileDtype& dtype = file_dtype_of(header.descr);
  Shape shape = checked_shape(header, dtype, file.remaining());
  // Column-major elements are the row-major ones of the transpose.
  if (header.fortran_order) std::reverse(shape.begin(), shape.end());
  const Tensor x = empty(shape, {dtype.dtype, {}});
  dtype.read(file, x);
  if (!header.fortran_order) return x;
  Axes reversed;
  for (int axis = x.rank() - 1; axis >= 0; --axis) reversed.push_back(axis);
  return x.permute(reversed).contiguous();
}

// ---- Writing -------------------------------------------------------------------------------------------------------

std::string header_of(const Tensor& x) {
  const auto dtype = std::find_if(std::begin(file_dtypes), std::end(file_dtypes),
                                  [&](const FileDtype& candidate) { return candidate.dtype == x.dtype(); });
  check(dtype != std::end(file_dtypes), "NumPy has no {}; convert with .to(Dtype::f32)", x.dtype());
  const std::string lengths = joined(x.shape(), ", ");
  std::string text = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 dtype->bytes == 1 ? '|' : '<', dtype->name, lengths, x.rank() == 1 ? "," : "");
  constexpr std::size_t before = magic.size() + 2 + sizeof(std::uint16_t);
  const std::size_t total = (before + text.size() + 1 + alignment - 1) / alignment * alignment;
  text.resize(total - before - 1, ' ');
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  const char start[] = {1, 0, static_cast<char>(length & 0xff), static_cast<char>(length >> 8)};
  return std::string(magic) + std::string(start, sizeof start) + text;
}

void write_all(const std::filesystem::path& path, const Tensor& x) {
  const NoGrad no_grad;
  check(x.defined(), "undefined tensor");
  const std::string header = header_of(x);
  const Tensor plain = x.to(Device{}).contiguous();
  AtomicFile file(path);
  file.write(header);
  file.write(plain.view().data, static_cast<std::size_t>(plain.count()) * size_of(plain.dtype()));
  file.commit();
}

}  // namespace

Tensor load_npy(const std::filesystem::path& path) {
  InputFile file(path);
  try {
    return read_all(file);
  } catch (const Error& error) {
    fail("load_npy {}: {}", file.path(), error.what());
  }
}

void save_npy(const std::filesystem::path& path, const Tensor& x) {
  try {
    write_all(path, x);
  } catch (const Error& error) {
    fail("save_npy {}: {}", path.string(), error.what());
  }
}

}  // namespace heed
