#include "engine/safetensors.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <vector>

#include "engine/autograd.h"
#include "engine/file.h"
#include "engine/joined.h"
#include "engine/json.h"

namespace heed {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian; elements are copied as they are");

constexpr std::uint64_t max_header_bytes = 100'000'000;
constexpr const char* metadata_key = "__metadata__";

// The dtypes in the order of the file, as the reference implementation has it: by alignment, the widest first.
struct FileDtype {
  const char* name;
  std::size_t bytes;  // of an element in the file
  Dtype dtype;        // of the tensor
};
constexpr FileDtype file_dtypes[] = {{"I64", 8, Dtype::i64}, {"F64", 8, Dtype::f64},     {"F32", 4, Dtype::f32},
                                     {"I32", 4, Dtype::i32}, {"BF16", 2, Dtype::bf16},   {"F16", 2, Dtype::f16},
                                     {"U8", 1, Dtype::u8},   {"BOOL", 1, Dtype::boolean}};

const FileDtype& file_dtype_of(Dtype dtype) {
  return *std::find_if(std::begin(file_dtypes), std::end(file_dtypes),
                       [&](const FileDtype& candidate) { return candidate.dtype == dtype; });
}

// ---- Reading -------------------------------------------------------------------------------------------------------

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::vector<std::uint64_t> data_offsets;
};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
};

// Follows the JSON text as it is parsed, accepting exactly the structure of a header. Building the document first would
// lose duplicate keys and admit nesting of any depth.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header header;

  bool start_object(std::size_t) override {
    if (place_ == Place::start) return enter(Place::file);
    if (place_ == Place::file) return enter(key_ == metadata_key ? Place::metadata : Place::tensor);
    return reject("an object");
  }

  bool key(std::string& key) override {
    check(keys_[place_].insert(key).second, "duplicate key {}{}", key, where());
    key_ = key;
    if (place_ == Place::file && key != metadata_key) header.entries.push_back({key, {}, {}, {}});
    if (place_ != Place::tensor) return true;
    check(key == "dtype" || key == "shape" || key == "data_offsets", "tensor {}: unknown key {}", name(), key);
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (const char* wanted : {"dtype", "shape", "data_offsets"}) {
        check(keys_[place_].contains(wanted), "tensor {}: {} is missing", name(), wanted);
      }
      check(entry().data_offsets.size() == 2, "tensor {}: data_offsets has {} numbers, not 2", name(),
            entry().data_offsets.size());
    }
    return enter(place_ == Place::file ? Place::end : Place::file);
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") return enter(Place::shape);
    if (place_ == Place::tensor && key_ == "data_offsets") return enter(Place::data_offsets);
    return reject("a list");
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      header.metadata[key_] = value;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      entry().dtype = value;
    } else {
      return reject("a string");
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ == Place::shape) {
      check(entry().shape.size() < max_rank, "tensor {}: more than the {} axes that heed supports", name(), max_rank);
      entry().shape.push_back(value);
    } else if (place_ == Place::data_offsets) {
      check(entry().data_offsets.size() < 2, "tensor {}: data_offsets has more than 2 numbers", name());
      entry().data_offsets.push_back(value);
    } else {
      return reject("a number");
    }
    return true;
  }

  bool null() override { return reject("null"); }
  bool boolean(bool) override { return reject("a boolean"); }
  bool number_integer(std::int64_t) override { return reject("a negative number"); }
  bool number_float(double, const std::string&) override { return reject("a number that is not a 64-bit integer"); }
  bool binary(nlohmann::json::binary_t&) override { return reject("binary data"); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) override {
    fail("the header is not JSON: {}", error.what());
  }

 private:
  enum class Place { start, file, metadata, tensor, shape, data_offsets, end };

  bool enter(Place place) {
    if (place == Place::metadata || place == Place::tensor) keys_[place].clear();
    place_ = place;
    return true;
  }
  Entry& entry() { return header.entries.back(); }
  const std::string& name() { return entry().name; }
  std::string where() {
    if (place_ == Place::metadata) return fmt::format(" in {}", metadata_key);
    return place_ == Place::tensor ? " in tensor " + name() : std::string();
  }
  [[noreturn]] bool reject(const char* what) {
    switch (place_) {
      case Place::start:
        fail("the header is {}, not an object", what);
      case Place::file:
        fail("{}: {} where an object belongs", key_, what);
      case Place::metadata:
        fail("{}: {}: {} where a string belongs", metadata_key, key_, what);
      default:
        fail("tensor {}: {}: {} does not belong there", name(), key_, what);
    }
  }

  Place place_ = Place::start;
  std::string key_;                              // the last one read
  std::map<Place, std::set<std::string>> keys_;  // those read so far in each open object
};

Header read_header(InputFile& file) {
  check(file.size() >= 8, "{} bytes are too few for a header", file.size());
  std::uint64_t length = 0;
  file.read(&length, sizeof length);
  check(length <= max_header_bytes, "header of {} bytes, more than the {} allowed", length, max_header_bytes);
  check(length <= file.remaining(), "header of {} bytes in a file of {}", length, file.size());
  std::string text(length, '\0');
  file.read(text.data(), text.size());
  check(text.starts_with('{'), "the header does not start with '{{'");
  // The JSON library takes a zero byte for the end of the text, and would not see what follows.
  check(text.find('\0') == std::string::npos, "the header is not JSON: it holds a zero byte");
  HeaderParser parser;
  nlohmann::json::sax_parse(text, &parser);
  return std::move(parser.header);
}

// What an entry says, checked: a dtype that heed knows, and a shape whose size in bytes is that of the data.
struct Contents {
  const FileDtype* dtype;
  Shape shape;
};

Contents checked_contents(const Entry& entry) {
  const auto dtype = std::find_if(std::begin(file_dtypes), std::end(file_dtypes),
                                  [&](const FileDtype& candidate) { return entry.dtype == candidate.name; });
  check(dtype != std::end(file_dtypes), "tensor {}: dtype {} is not one that heed reads", entry.name, entry.dtype);
  Shape shape;
  for (const std::uint64_t length : entry.shape) shape.push_back(std::bit_cast<std::int64_t>(length));
  const bool fits = std::all_of(shape.begin(), shape.end(), [](std::int64_t length) { return length >= 0; });
  const std::optional<std::int64_t> bytes = fits ? bytes_of(shape, dtype->bytes) : std::nullopt;
  if (!bytes.has_value()) fail("tensor {}: shape [{}] is too large", entry.name, joined(entry.shape, ", "));
  const std::uint64_t begin = entry.data_offsets[0], end = entry.data_offsets[1];
  check(begin <= end, "tensor {}: data_offsets [{}, {}] end before they begin", entry.name, begin, end);
  check(end - begin == static_cast<std::uint64_t>(*bytes),
        "tensor {}: shape {} of {} needs {} bytes, data_offsets span {}", entry.name, shape, entry.dtype, *bytes,
        end - begin);
  return {dtype, shape};
}

Tensor read_tensor(InputFile& file, const Entry& entry, const Contents& contents) {
  const Tensor x = empty(contents.shape, {contents.dtype->dtype, {}});
  const auto count = static_cast<std::size_t>(x.count());
  file.read(x.view().data, count * contents.dtype->bytes);
  if (x.dtype() == Dtype::boolean) {
    const auto* bytes = x.view().as<std::uint8_t>();
    check(std::all_of(bytes, bytes + count, [](std::uint8_t byte) { return byte <= 1; }),
          "tensor {}: a BOOL element that is neither 0 nor 1", entry.name);
  }
  return x;
}

Safetensors read_all(InputFile& file) {
  Header header = read_header(file);
  std::vector<Entry>& entries = header.entries;
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.data_offsets < b.data_offsets; });
  std::vector<Contents> contents;
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    check(entry.data_offsets[0] == expected, "tensor {}: its data begins at {}, where {} {}", entry.name,
          entry.data_offsets[0], expected, entry.data_offsets[0] < expected ? "is already taken" : "is next");
    contents.push_back(checked_contents(entry));
    expected = entry.data_offsets[1];
    check(expected <= file.remaining(), "tensor {}: its data ends at {}, but the file holds {} bytes of data",
          entry.name, expected, file.remaining());
  }
  check(expected == file.remaining(), "the tensors take {} bytes, but the file holds {} bytes of data", expected,
        file.remaining());
  Safetensors result;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    result.tensors.emplace(entries[i].name, read_tensor(file, entries[i], contents[i]));
  }
  result.metadata = std::move(header.metadata);
  return result;
}

// ---- Writing -------------------------------------------------------------------------------------------------------

std::string quoted(const std::string& text) {
  try {
    return json_text(Json(text));
  } catch (const nlohmann::json::exception&) {
    fail("the name or metadata '{}' is not UTF-8", text);
  }
}

using Named = std::pair<std::string, Tensor>;

std::vector<Named> in_file_order(const std::map<std::string, Tensor>& tensors) {
  std::vector<Named> result;
  for (const auto& [name, x] : tensors) {
    check(name != metadata_key, "a tensor cannot be named {}", metadata_key);
    check(x.defined(), "tensor {} is undefined", name);
    result.emplace_back(name, x);
  }
  // Stable: a map is sorted by name already.
  std::stable_sort(result.begin(), result.end(), [](const Named& a, const Named& b) {
    return &file_dtype_of(a.second.dtype()) < &file_dtype_of(b.second.dtype());
  });
  return result;
}

std::string header_of(const std::vector<Named>& tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> members;
  if (!metadata.empty()) {
    std::vector<std::string> texts;
    for (const auto& [key, text] : metadata) texts.push_back(quoted(key) + ":" + quoted(text));
    members.push_back(fmt::format("{}:{{{}}}", quoted(metadata_key), joined(texts, ",")));
  }
  std::uint64_t begin = 0;
  for (const auto& [name, x] : tensors) {
    const FileDtype& dtype = file_dtype_of(x.dtype());
    const std::uint64_t end = begin + static_cast<std::uint64_t>(x.count()) * dtype.bytes;
    members.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", quoted(name),
                                  dtype.name, joined(x.shape(), ","), begin, end));
    begin = end;
  }
  std::string header = fmt::format("{{{}}}", joined(members, ","));
  header.resize((header.size() + 7) / 8 * 8, ' ');
  check(header.size() <= max_header_bytes, "header of {} bytes, more than the {} allowed", header.size(),
        max_header_bytes);
  return header;
}

void write_all(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
               const std::map<std::string, std::string>& metadata) {
  const NoGrad no_grad;
  const std::vector<Named> ordered = in_file_order(tensors);
  const std::string header = header_of(ordered, metadata);
  const std::uint64_t length = header.size();
  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(header);
  for (const auto& [name, x] : ordered) {
    const Tensor plain = x.to(Device{}).contiguous();
    file.write(plain.view().data, static_cast<std::size_t>(plain.count()) * size_of(plain.dtype()));
  }
  file.commit();
}

}  // namespace

Safetensors load_safetensors(const std::filesystem::path& path) {
  InputFile file(path);
  try {
    return read_all(file);
  } catch (const Error& error) {
    fail("load_safetensors {}: {}", file.path(), error.what());
  }
}

void save_safetensors(const std::filesystem::path& path, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  try {
    write_all(path, tensors, metadata);
  } catch (const Error& error) {
    fail("save_safetensors {}: {}", path.string(), error.what());
  }
}

}  // namespace heed
