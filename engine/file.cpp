#include "engine/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace heed {
namespace {

// Throws with the system's reason unless a call succeeded.
void require(bool succeeded, const char* verb, const std::filesystem::path& path) {
  if (!succeeded) fail("{} {}: {}", verb, path.string(), std::generic_category().message(errno));
}

// POSIX calls that a signal interrupts are made again.
template <class Call>
auto retried(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

// Makes the names in a folder last: a rename is an entry of the folder, which reaches the disk on its own account. Not
// every file system can be asked to hurry with that; what was renamed is whole either way.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = retried([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : path_(path.string()) {
  // Not blocking: opening a pipe that nobody writes to would otherwise wait for ever.
  descriptor_ = retried([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  require(descriptor_ >= 0, "read", path_);
  struct stat status = {};
  const bool is_regular = ::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode);
  if (!is_regular) {
    ::close(descriptor_);
    fail("read {}: not a regular file", path_);
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(void* to, std::size_t bytes) {
  check(bytes <= remaining(), "read {}: {} bytes wanted, {} left", path_, bytes, remaining());
  auto* next = static_cast<std::byte*>(to);
  while (bytes > 0) {
    const ssize_t got = retried([&] { return ::read(descriptor_, next, bytes); });
    require(got >= 0, "read", path_);
    check(got > 0, "read {}: the file became shorter while it was read", path_);
    next += got;
    bytes -= static_cast<std::size_t>(got);
    position_ += static_cast<std::uint64_t>(got);
  }
}

std::string read_file(const std::filesystem::path& path, std::uint64_t limit) {
  InputFile file(path);
  check(file.size() <= limit, "read {}: {} bytes, more than the {} expected at most", file.path(), file.size(), limit);
  std::string contents(file.size(), '\0');
  file.read(contents.data(), contents.size());
  return contents;
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  check(path.has_filename(), "write {}: no file name", path.string());
  // Exclusive creation makes the name ours, whatever earlier runs left behind; and unlike mkstemp it gives the file the
  // permissions that the user's umask asks for.
  for (int number = 0; descriptor_ < 0; ++number) {
    temporary_ = folder_of(path) / fmt::format(".{}.tmp-{}", path.filename().string(), number);
    descriptor_ = retried([&] { return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
    require(descriptor_ >= 0 || errno == EEXIST, "write", path);
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* from, std::size_t bytes) {
  check(descriptor_ >= 0, "write {}: already committed", path_.string());
  const auto* next = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    const ssize_t written = retried([&] { return ::write(descriptor_, next, bytes); });
    require(written >= 0, "write", path_);
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "write {}: already committed", path_.string());
  require(retried([&] { return ::fsync(descriptor_); }) == 0, "write", path_);
  require(::rename(temporary_.c_str(), path_.c_str()) == 0, "write", path_);
  ::close(std::exchange(descriptor_, -1));
  sync_folder(folder_of(path_));
}

namespace {

// A folder and its two stand-ins beside it. The moments of a replacement, and what lies on the disk:
//   the new one is written        folder    fresh (incomplete)
//   ... and complete              folder    fresh
//   the first rename              previous  fresh
//   the second                    folder    previous
//   previous is removed           folder
// `previous` and `fresh` exist without `folder` only after the first rename, and `fresh` is complete then.
struct Places {
  explicit Places(const std::filesystem::path& path) : folder(std::filesystem::absolute(path).lexically_normal()) {
    if (!folder.has_filename()) folder = folder.parent_path();  // "run/"
    fresh = beside(".fresh");
    previous = beside(".previous");
  }
  std::filesystem::path beside(const char* suffix) const {
    return folder.parent_path() / ("." + folder.filename().string() + suffix);
  }
  bool interrupted() const {
    return !std::filesystem::exists(folder) && std::filesystem::exists(previous) && std::filesystem::exists(fresh);
  }

  std::filesystem::path folder, fresh, previous;
};

// File system errors as heed's own.
template <class Body>
auto reported(const std::filesystem::path& path, Body&& body) {
  try {
    return body();
  } catch (const std::filesystem::filesystem_error& error) {
    fail("write {}: {}", path.string(), error.code().message());
  }
}

}  // namespace

AtomicFolder::AtomicFolder(const std::filesystem::path& path, std::vector<std::string> members) : path_(path) {
  recover(path);
  reported(path, [&] {
    const Places places(path);
    if (std::filesystem::exists(places.folder)) {
      check(std::filesystem::is_directory(places.folder), "write {}: is not a folder", path.string());
      for (const auto& entry : std::filesystem::directory_iterator(places.folder)) {
        const std::string name = entry.path().filename().string();
        check(std::find(members.begin(), members.end(), name) != members.end(),
              "write {}: the folder is there already and holds {}, which would be deleted", path.string(), name);
      }
    }
    std::filesystem::create_directories(places.folder.parent_path());
    std::filesystem::remove_all(places.previous);
    std::filesystem::remove_all(places.fresh);
    std::filesystem::create_directory(places.fresh);
    fresh_ = places.fresh;
  });
}

void AtomicFolder::commit() {
  reported(path_, [&] {
    const Places places(path_);
    sync_folder(places.fresh);
    if (std::filesystem::exists(places.folder)) std::filesystem::rename(places.folder, places.previous);
    std::filesystem::rename(places.fresh, places.folder);
    sync_folder(places.folder.parent_path());
    std::filesystem::remove_all(places.previous);
  });
}

bool AtomicFolder::exists(const std::filesystem::path& path) {
  const Places places(path);
  return std::filesystem::is_directory(places.folder) || places.interrupted();
}

void AtomicFolder::recover(const std::filesystem::path& path) {
  reported(path, [&] {
    const Places places(path);
    if (!places.interrupted()) return;
    std::filesystem::rename(places.fresh, places.folder);
    sync_folder(places.folder.parent_path());
  });
}

void write_file(const std::filesystem::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

}  // namespace heed
