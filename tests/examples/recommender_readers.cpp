// Every layout the recommender reads, and every way a file can be wrong.
#include "examples/recommender/readers.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "examples/common/text.h"
#include "kernels/error.h"
#include "tests/harness/temporary_folder.h"

namespace {

using namespace heed::examples;
using namespace heed::examples::recommender;
using heed::test::TemporaryFolder;

std::vector<std::string> item_ids_of(const Interactions& data, const std::string& user) {
  std::vector<std::string> ids;
  for (const Event& event : data.events_of(data.find_user(user).value())) ids.push_back(data.item_ids[event.item]);
  return ids;
}

using Ids = std::vector<std::string>;

// The message of the error that reading these bytes gives, without the folder; "" where there is none.
std::string message(std::string_view bytes, const ReadOptions& options = {}, const std::string& name = "events.csv") {
  const TemporaryFolder folder;
  const std::string path = folder.write(name, bytes);
  try {
    read_interactions(path, options);
  } catch (const heed::Error& error) {
    std::string text = error.what();
    for (std::size_t at; (at = text.find(folder.path() + "/")) != std::string::npos;) {
      text.erase(at, folder.path().size() + 1);
    }
    return text;
  }
  return "";
}

TEST_CASE("movielens 100k: tabs, flags for genres, Latin-1 titles") {
  const TemporaryFolder folder;
  folder.write("u.data", "196\t242\t3\t30\n186\t302\t3\t10\n196\t51\t5\t20\n");
  folder.write("u.item",
               "242|Kolya (1996)|24-Jan-1997||http://x|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
               "51|Les Mis\xe9rables (1995)|01-Jan-1995||http://y|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n"
               "999|Never Seen (1990)|||http://z|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n");
  folder.write("u.user", "196|49|M|writer|55105\n186|39|F|executive|00000\n");
  const Interactions data = read_interactions(folder.path());
  CHECK(data.users() == 2);
  CHECK(data.item_ids == Ids{"242", "302", "51"});  // order of first appearance; 999 was met by nobody
  CHECK(item_ids_of(data, "196") == Ids{"51", "242"});
  CHECK(data.events_of(0)[0].rating == 5);
  CHECK(data.events_of(0)[0].timestamp == 20);
  CHECK(data.item_info[0].title == "Kolya (1996)");
  CHECK(data.item_info[0].genres == Ids{"Comedy"});
  CHECK(data.item_info[0].year == 1997);
  CHECK(data.item_info[2].title == "Les Mis\xc3\xa9rables (1995)");
  CHECK(data.item_info[2].genres == Ids{"Drama", "Musical"});
  CHECK(data.item_info[1].title == "302");  // no row in u.item: the id stands for the title
  CHECK(data.user_column("gender").values == Ids{"M", "F"});
  CHECK(data.user_column("zip_code").values == Ids{"55105", "00000"});
  CHECK(data.has_ratings);
  CHECK(data.has_timestamps);
  CHECK_THROWS_WITH_AS(
      data.user_column("height"),
      (folder.path() + ": users have no column 'height'; there is age, gender, occupation, zip_code").c_str(),
      heed::Error);
}

TEST_CASE("movielens 1m: double colons; titles may hold single ones") {
  const TemporaryFolder folder;
  folder.write("ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413");
  folder.write("movies.dat",
               "1193::Star Wars: Episode V: A Test (1980)::Action|Sci-Fi\n661::Giant (1996)::Animation\n");
  folder.write("users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n");
  const Interactions data = read_interactions(folder.path());
  CHECK(data.events.size() == 3);
  CHECK(data.item_info[0].title == "Star Wars: Episode V: A Test (1980)");
  CHECK(data.item_info[0].genres == Ids{"Action", "Sci-Fi"});
  CHECK(data.item_info[0].year == 1980);
  CHECK(data.user_column("age").values == Ids{"1", "56"});
}

TEST_CASE("movielens csv: quoted titles") {
  const TemporaryFolder folder;
  folder.write("ratings.csv", "userId,movieId,rating,timestamp\r\n1,296,5.0,1147880044\r\n1,306,3.5,1147868817\r\n");
  folder.write("movies.csv",
               "movieId,title,genres\r\n296,\"Pulp, The \"\"Fiction\"\" (1994)\",Comedy|Crime\r\n"
               "306,Blade Runner 2049,(no genres listed)\r\n");
  folder.write("tags.csv", "userId,movieId,tag,timestamp\n1,296,x,1\n");
  const Interactions data = read_interactions(folder.path());
  CHECK(item_ids_of(data, "1") == Ids{"306", "296"});
  CHECK(data.events_of(0)[0].rating == 3.5F);
  CHECK(data.item_info[0].title == "Pulp, The \"Fiction\" (1994)");
  CHECK(data.item_info[0].genres == Ids{"Comedy", "Crime"});
  CHECK(data.item_info[1].genres.empty());
  CHECK(data.item_info[1].year == 0);  // a number at the end of a title is no year
}

TEST_CASE("recbole: typed headers, genres between blanks") {
  const TemporaryFolder folder;
  folder.write("x.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\na\tp\t3\t2.5\na\tq\t3\t1.5\n");
  folder.write("x.item",
               "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
               "p\tToy Story\t1995\tAnimation Children's\n");
  folder.write("x.user", "user_id:token\tage:token\na\t24\n");
  const Interactions data = read_interactions(folder.path());
  CHECK(item_ids_of(data, "a") == Ids{"q", "p"});
  CHECK(data.item_info[0].title == "Toy Story");
  CHECK(data.item_info[0].year == 1995);
  CHECK(data.item_info[0].genres == Ids{"Animation", "Children's"});
  CHECK(data.user_column("age").values == Ids{"24"});
  // The file alone finds its companions too.
  CHECK(read_interactions(folder.path() + "/x.inter").item_info[0].title == "Toy Story");
}

TEST_CASE("sasrec: two ids a line, the file's order is the order of time") {
  const TemporaryFolder folder;
  const Interactions data = read_interactions(folder.write("Video.txt", "1 5\n1 3\n2 5\n1 5\n"));
  CHECK(item_ids_of(data, "1") == Ids{"5", "3", "5"});  // repeated events stay
  CHECK_FALSE(data.has_timestamps);
  CHECK_FALSE(data.has_ratings);
  CHECK(data.events[0].rating == 1);
  CHECK(read_interactions(folder.write("named.txt", "ann\tfilm\nbob\tfilm\n")).user_ids == Ids{"ann", "bob"});
}

TEST_CASE("csv: any header, columns in any order, other separators, named columns") {
  const TemporaryFolder folder;
  const Interactions plain =
      read_interactions(folder.write("a.csv", "note,timestamp,item,user\n\"a,b\",7,x,u\n,3,y,u\n"));
  CHECK(item_ids_of(plain, "u") == Ids{"y", "x"});
  CHECK_FALSE(plain.has_ratings);
  CHECK(read_interactions(folder.write("b.csv", "user_id;item_id;rating\nu;x;4.5\n")).events[0].rating == 4.5F);
  CHECK(read_interactions(folder.write("c.tsv", "USER_ID\tITEM_ID\nu\tx\n")).item_ids == Ids{"x"});
  ReadOptions options;
  options.user_column = "who";
  options.item_column = "what";
  options.timestamp_column = "when";
  options.items_file = folder.write("things.csv", "asin,name,genre\nx,The X,A|B\n");
  options.users_file = folder.write("people.csv", "login;country\nu;NL\n");
  const Interactions named = read_interactions(folder.write("d.csv", "when,who,what\n2,u,x\n1,u,y\n"), options);
  CHECK(item_ids_of(named, "u") == Ids{"y", "x"});
  CHECK(named.item_info[0].title == "The X");
  CHECK(named.item_info[1].title == "y");
  CHECK(named.user_column("country").values == Ids{"NL"});
}

TEST_CASE("ties in time stay in the order of the file") {
  const TemporaryFolder folder;
  std::string text = "user,item,timestamp\n";
  for (int i = 0; i < 500; ++i)
    text += (i % 2 ? "a," : "b,") + std::to_string(i) + "," + std::to_string(-(i / 100)) + "\n";
  const Interactions data = read_interactions(folder.write("t.csv", text));
  for (int user = 0; user < 2; ++user) {
    const auto events = data.events_of(user);
    REQUIRE(events.size() == 250);
    for (std::size_t i = 1; i < events.size(); ++i) {
      CHECK(events[i - 1].timestamp <= events[i].timestamp);
      if (events[i - 1].timestamp == events[i].timestamp) CHECK(events[i - 1].item < events[i].item);
    }
  }
}

TEST_CASE("line ends, byte order mark, blank lines, a file longer than a block") {
  const TemporaryFolder folder;
  const std::string rows = "user,item\na,x\n\nb,y";
  for (const std::string& text : {rows, "\xef\xbb\xbf" + rows, std::string("user,item\r\na,x\r\n\r\nb,y\r\n")}) {
    const Interactions data = read_interactions(folder.write("e.csv", text));
    CHECK(data.user_ids == Ids{"a", "b"});
    CHECK(data.item_ids == Ids{"x", "y"});
  }
  std::string large = "user,item,timestamp\n";
  const int rows_written = 300000;  // about 4 MB: blocks end inside lines
  for (int i = 0; i < rows_written; ++i)
    large += std::to_string(i % 1000) + "," + std::to_string(i % 77) + "," + std::to_string(i) + "\n";
  const Interactions data = read_interactions(folder.write("large.csv", large));
  CHECK(data.events.size() == rows_written);
  CHECK(data.users() == 1000);
  for (int user = 0; user < 1000; user += 99) {
    const auto events = data.events_of(data.find_user(std::to_string(user)).value());
    for (std::size_t i = 0; i < events.size(); ++i) {
      const int row = user + 1000 * static_cast<int>(i);
      REQUIRE(events[i].timestamp == row);
      REQUIRE(data.item_ids[events[i].item] == std::to_string(row % 77));
    }
  }
}

TEST_CASE("ids outside ASCII become UTF-8") {
  const TemporaryFolder folder;
  CHECK(read_interactions(folder.write("l.csv", "user,item\nJos\xe9,x\n")).user_ids == Ids{"Jos\xc3\xa9"});
  CHECK(read_interactions(folder.write("u.csv", "user,item\nJos\xc3\xa9,x\n")).user_ids == Ids{"Jos\xc3\xa9"});
}

TEST_CASE("bad rows: file, line, reason, text") {
  const std::string header = "user,item,rating,timestamp\n";
  CHECK(message(header + "a,x,5,1\na,y,good,2\n") ==
        "events.csv:3: the rating 'good' is not a finite number: 'a,y,good,2'");
  CHECK(message(header + "a,x,nan,1\n") == "events.csv:2: the rating 'nan' is not a finite number: 'a,x,nan,1'");
  CHECK(message(header + "a,x,1e999,1\n") == "events.csv:2: the rating '1e999' is not a finite number: 'a,x,1e999,1'");
  CHECK(message(header + "a,x,5,2020-01-01\n") ==
        "events.csv:2: the timestamp '2020-01-01' is not a finite number: 'a,x,5,2020-01-01'");
  CHECK(message(header + "a,x,5,\n") == "events.csv:2: the timestamp '' is not a finite number: 'a,x,5,'");
  CHECK(message(header + "a,x,5\n") ==
        "events.csv:2: expected 4 fields (user, item, rating, timestamp), found 3: 'a,x,5'");
  CHECK(message(header + "a,x,5,1,9\r\n") ==
        "events.csv:2: expected 4 fields (user, item, rating, timestamp), found 5: 'a,x,5,1,9'");
  CHECK(message(header + "\n\n ,x,5,1\n") == "events.csv:4: the user is empty: ' ,x,5,1'");
  CHECK(message(header + "a,,5,1\n") == "events.csv:2: the item is empty: 'a,,5,1'");
  CHECK(message(header + "a,\"x,5,1\n") ==
        "events.csv:2: a quoted field does not end on its line, or goes on after its closing quote: 'a,\"x,5,1'");
  CHECK(message(header + "a,\"x\"y,5,1\n").starts_with("events.csv:2: a quoted field"));
  CHECK(message("1\t2\t3\t4\n1\t2\t3\n", {}, "u.data") ==
        "u.data:2: expected 4 fields (user_id, item_id, rating, timestamp), found 3: '1\\t2\\t3'");
  CHECK(message("1::2::3::4\n1::2::3:4\n", {}, "ratings.dat").starts_with("ratings.dat:2: expected 4 fields"));
  CHECK(message("1 2\n1 2 3\n", {}, "v.txt") == "v.txt:2: expected 2 fields (user_id, item_id), found 3: '1 2 3'");
  const std::string long_row = "a," + std::string(500, 'x') + ",5";
  CHECK(message(header + long_row).ends_with(": '" + long_row.substr(0, 120) + "...'"));
}

TEST_CASE("bad files") {
  CHECK(message("") == "events.csv: the file is empty");
  CHECK(message("\n \r\n") == "events.csv: the file is empty");
  CHECK(message("user,item\n") == "events.csv: a header and no events");
  CHECK(message("user,item,user\na,b,c\n") == "events.csv:1: the header names column 'user' twice: 'user,item,user'");
  CHECK(message("user,score,when\na,1,2\n") ==
        "events.csv:1: no column item or item_id or itemId or movieId or movie_id; the columns are user, score, when");
  ReadOptions options;
  options.user_column = "who";
  CHECK(message("user,item\na,x\n", options) == "events.csv:1: no column 'who'; the columns are user, item");
  CHECK(message("one line of words, here\n").starts_with("events.csv:1: cannot tell the layout of this file"));
  CHECK(message(std::string("user,item\na,\0x\n", 14)) == "events.csv:2: binary data (byte 0x00): 'a,\\x00x'");
  CHECK(message("PK\x03\x04zipped") == "events.csv: this is a zip archive: unzip it first");
  CHECK(message("\x1f\x8b\x08") == "events.csv: this is a gzip archive: unpack it first");
  CHECK(message(std::string("\xff\xfeu\0s\0", 6)) == "events.csv: this is UTF-16 text: convert it to UTF-8 first");
  CHECK(message(std::string(5 << 20, 'x')) == "events.csv:1: a line of more than 1 MiB: not a text file?");
  options = {};
  options.format = "netflix";
  CHECK(message("user,item\na,x\n", options) ==
        "format 'netflix' is not known; there is auto, movielens-100k, movielens-1m, movielens-csv, recbole, sasrec, "
        "csv");
  options.format = "sasrec";
  CHECK(message("a,x,5\n", options) == "events.csv:1: expected 2 fields (user_id, item_id), found 1: 'a,x,5'");
  CHECK_THROWS_WITH_AS(read_interactions("/nowhere/at/all"), "/nowhere/at/all: no such file or folder", heed::Error);
}

TEST_CASE("folders that do not say what they hold") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(read_interactions(folder.path()),
                       (folder.path() + ": no file of events in this folder; looked for u.data, ratings.dat, "
                                        "ratings.csv, *.inter, *.txt, *.csv")
                           .c_str(),
                       heed::Error);
  const std::string one = folder.write("one.csv", "user,item\na,x\n");
  CHECK(read_interactions(folder.path()).users() == 1);
  const std::string two = folder.write("two.csv", "user,item\na,x\n");
  CHECK_THROWS_WITH_AS(
      read_interactions(folder.path()),
      (folder.path() + ": several files could hold the events: " + one + ", " + two + "; name one of them").c_str(),
      heed::Error);
}

TEST_CASE("bad rows beside the events") {
  const TemporaryFolder folder;
  folder.write("u.data", "1\t2\t3\t4\n");
  const std::string users = folder.write("u.user", "1|20|M|writer|1\n1|21|M|writer|1\n");
  CHECK_THROWS_WITH_AS(read_interactions(folder.path()),
                       (users + ":2: user '1' is listed a second time: '1|21|M|writer|1'").c_str(), heed::Error);
  folder.write("u.user", "1|20|M|writer|1\n");
  const std::string items = folder.write("u.item", "2|Title|1990\n");
  CHECK_THROWS_AS(read_interactions(folder.path()), heed::Error);
  folder.write("u.item", "2|A|||u|x|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n");
  CHECK_THROWS_WITH_AS(
      read_interactions(folder.path()),
      (items + ":1: the unknown 'x' is not a finite number: '2|A|||u|x|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0'").c_str(),
      heed::Error);
}

TEST_CASE("text: UTF-8 as the standard draws its borders") {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(is_utf8(good));
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    CHECK_FALSE(is_utf8(bad));
    CHECK(is_utf8(to_utf8(bad)));
    CHECK(is_utf8(excerpt(bad)));
  }
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "\xc3\xa9";
  CHECK(is_utf8(excerpt("x" + accents)));  // the cut falls inside a character
}

// Random bytes, and good files with bytes changed: an answer or a heed::Error, nothing else.
TEST_CASE("damaged files never do more than throw") {
  const std::string good = "user,item,rating,timestamp\na,\"x, y\",5,1\nb,z,4,2\n\na,z,3,3\n";
  std::uint64_t state = 1;
  const auto random = [&state] { return (state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; };
  int errors = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = good;
    const auto changes = 1 + random() % 3;
    for (std::uint64_t i = 0; i < changes; ++i) bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    if (round % 3 == 0) {
      for (char& byte : bytes) byte = static_cast<char>(random() % 256);
    }
    const std::string text = message(bytes);
    if (!text.empty()) ++errors;
    CHECK(is_utf8(text));
  }
  CHECK(errors > 100);
}

}  // namespace
