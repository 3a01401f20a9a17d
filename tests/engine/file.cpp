#include "engine/file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::test {
namespace {

std::size_t entries_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

}  // namespace

TEST_CASE("a file is written and read back") {
  const TemporaryFolder folder;
  std::string contents("zero \0 and \xff", 11);
  for (int i = 0; i < 100000; ++i) contents += static_cast<char>(i * 31);
  write_file(folder / "a", contents);
  CHECK_EQ(read_file(folder / "a"), contents);
  write_file(folder / "a", "");
  CHECK_EQ(read_file(folder / "a"), "");
  CHECK_EQ(entries_in(folder.path()), 1);
}

TEST_CASE("an input file is read in pieces, and not beyond its end") {
  const TemporaryFolder folder;
  write_file(folder / "a", "abcdef");
  InputFile file(folder / "a");
  CHECK_EQ(file.size(), 6);
  char text[4];
  file.read(text, 4);
  CHECK_EQ(std::string(text, 4), "abcd");
  CHECK_EQ(file.remaining(), 2);
  CHECK_EQ(message_of([&] { file.read(text, 3); }), fmt::format("read {}: 3 bytes wanted, 2 left", file.path()));
  file.read(text, 2);
  file.read(text, 0);
  CHECK_EQ(std::string(text, 4), "efcd");
}

TEST_CASE("a file that shrinks while it is read is an error") {
  const TemporaryFolder folder;
  write_file(folder / "a", "abcdef");
  InputFile file(folder / "a");
  std::filesystem::resize_file(folder / "a", 3);
  char text[6];
  CHECK_EQ(message_of([&] { file.read(text, 6); }),
           fmt::format("read {}: the file became shorter while it was read", file.path()));
}

TEST_CASE("errors name the path and the reason") {
  const TemporaryFolder folder;
  const std::string missing = folder / "missing", pipe = folder / "pipe";
  CHECK_EQ(message_of([&] { read_file(missing); }), fmt::format("read {}: No such file or directory", missing));
  CHECK_EQ(message_of([&] { read_file(folder.path()); }), fmt::format("read {}: not a regular file", folder.path()));
  REQUIRE_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  CHECK_EQ(message_of([&] { read_file(pipe); }), fmt::format("read {}: not a regular file", pipe));
  CHECK_EQ(message_of([&] { write_file(folder / "no/file", ""); }),
           fmt::format("write {}: No such file or directory", folder / "no/file"));
  CHECK_EQ(message_of([&] { write_file(folder.path() + "/", ""); }),
           fmt::format("write {}/: no file name", folder.path()));
  write_file(folder / "a", "abc");
  CHECK_EQ(message_of([&] { read_file(folder / "a", 2); }),
           fmt::format("read {}: 3 bytes, more than the 2 expected at most", folder / "a"));
  std::filesystem::create_directory(folder / "taken");
  CHECK_EQ(message_of([&] { write_file(folder / "taken", "abc"); }),
           fmt::format("write {}: Is a directory", folder / "taken"));
  CHECK_EQ(entries_in(folder.path()), 3);  // no temporary file stays behind
}

TEST_CASE("a file appears at commit, and an older one stays until then") {
  const TemporaryFolder folder;
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new, but never finished");
    CHECK_EQ(read_file(folder / "a"), "old");
    CHECK_EQ(entries_in(folder.path()), 2);
  }
  CHECK_EQ(entries_in(folder.path()), 1);
  CHECK_EQ(read_file(folder / "a"), "old");
  AtomicFile first(folder / "a"), second(folder / "a");  // two writers, each with a temporary file of its own
  first.write("first");
  second.write("second");
  second.commit();
  CHECK_EQ(read_file(folder / "a"), "second");
  first.commit();
  CHECK_EQ(read_file(folder / "a"), "first");
  CHECK_EQ(message_of([&] { first.write("more"); }), fmt::format("write {}: already committed", folder / "a"));
  CHECK_EQ(message_of([&] { first.commit(); }), fmt::format("write {}: already committed", folder / "a"));
}

TEST_CASE("what an earlier run left behind does not stand in the way") {
  const TemporaryFolder folder;
  write_file(folder / ".a.tmp-0", "left by a crash");
  write_file(folder / "a", "contents");
  CHECK_EQ(read_file(folder / "a"), "contents");
  CHECK_EQ(read_file(folder / ".a.tmp-0"), "left by a crash");
}

TEST_CASE("a written file has the permissions that the umask leaves") {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_file(folder / "a", "");
  ::umask(before);
  CHECK_EQ(std::filesystem::status(folder / "a").permissions(), std::filesystem::perms(0640));
}

}  // namespace heed::test
