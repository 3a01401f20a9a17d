// Files: read in pieces of known size, and written so that a crash at any moment leaves either the old file or the new
// one, never a part of it. Errors name the path and what the system says: `read model.npy: No such file or directory`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace heed {

// A regular file, read from front to back. Folders, pipes and devices are refused.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // when it was opened
  std::uint64_t remaining() const { return size_ - position_; }
  // The next `bytes` bytes. Throws when the file has fewer; check remaining() before allocating what a file asks for.
  void read(void* to, std::size_t bytes);

 private:
  std::string path_;
  int descriptor_;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;
};

// All of a file. Throws when it is larger than `limit` bytes, before allocating anything.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 30);

// A file that appears, or replaces an older one, at commit() and not before. Until then the bytes go to a temporary
// file `.NAME.tmp-N` beside it, which the destructor removes; only a crash leaves that behind. A symbolic link at
// `path` is itself replaced.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* from, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // Returns once the file has reached the disk under its name.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// A folder of files that appears, or replaces an older one, as a whole at commit(): at every moment, a crash included,
// one complete folder is to be found. Until then the files are written into fresh(), a folder beside it.
class AtomicFolder {
 public:
  // `members` are the names of files that such a folder may hold. What it replaces is deleted: a folder that holds
  // anything else is refused.
  AtomicFolder(const std::filesystem::path& path, std::vector<std::string> members);

  const std::filesystem::path& fresh() const { return fresh_; }
  void commit();

  // Whether there is a folder, or one that was being replaced when the program was killed; and completing that.
  static bool exists(const std::filesystem::path& path);
  static void recover(const std::filesystem::path& path);

 private:
  std::filesystem::path path_, fresh_;
};

// A file of these bytes, by way of AtomicFile.
void write_file(const std::filesystem::path& path, std::string_view contents);

}  // namespace heed
