#include "engine/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace heed {
namespace {

std::string system_message() {
  return std::generic_category().message(errno);
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

}  // namespace

InputFile::InputFile(const std::filesystem::path& path) : path_(path.string()) {
  // Not blocking: opening a pipe that nobody writes to would otherwise wait for ever.
  descriptor_ = retried([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  check(descriptor_ >= 0, "read {}: {}", path_, system_message());
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
    check(got >= 0, "read {}: {}", path_, system_message());
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
    check(descriptor_ >= 0 || errno == EEXIST, "write {}: {}", path.string(), system_message());
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
    check(written >= 0, "write {}: {}", path_.string(), system_message());
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  check(descriptor_ >= 0, "write {}: already committed", path_.string());
  check(retried([&] { return ::fsync(descriptor_); }) == 0, "write {}: {}", path_.string(), system_message());
  check(::rename(temporary_.c_str(), path_.c_str()) == 0, "write {}: {}", path_.string(), system_message());
  ::close(std::exchange(descriptor_, -1));
  // The rename is an entry of the folder, which reaches the disk on its own account. Not every file system can be asked
  // to hurry with that; the file is whole either way.
  const int folder = retried([&] { return ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

void write_file(const std::filesystem::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

}  // namespace heed
