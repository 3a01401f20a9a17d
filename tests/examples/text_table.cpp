// Tables for the terminal, where a letter of two bytes takes one place.
#include "examples/common/text_table.h"

#include <doctest/doctest.h>

#include <string>

namespace {

using namespace heed::examples;

TEST_CASE("text_table: the first column left, the others right") {
  CHECK(text_table({{"film", "score"}, {"Heat", "1.5"}, {"Alien", "10.25"}}) ==
        "film   score\n"
        "------------\n"
        "Heat     1.5\n"
        "Alien  10.25\n");
}

TEST_CASE("text_table: columns on demand left, and no blanks at the end of a line") {
  CHECK(text_table({{"", "n", "remark"}, {"a", "10", "x"}, {"b", "7", "long one"}}, {2}) ==
        "    n  remark\n"
        "---------------\n"
        "a  10  x\n"
        "b   7  long one\n");
}

TEST_CASE("text_table: widths count characters, not bytes") {
  CHECK(text_table({{"Titel", "Wert"}, {"Amélie", "1"}, {"Москва", "22"}, {"七人の侍", "–3"}}) ==
        "Titel   Wert\n"
        "------------\n"
        "Amélie     1\n"
        "Москва    22\n"
        "七人の侍      –3\n");
}

TEST_CASE("text_table: short rows, and none at all") {
  CHECK(text_table({{"a", "b"}, {"only"}, {"x", "y"}}) == "a     b\n-------\nonly\nx     y\n");
  CHECK(text_table({}) == "");
}

TEST_CASE("shortened: whole characters, the last of them an ellipsis") {
  CHECK(shortened("Alien", 5) == "Alien");
  CHECK(shortened("Aliens", 5) == "Alie…");
  CHECK(shortened("Amélie", 6) == "Amélie");
  CHECK(shortened("Amélies", 4) == "Amé…");
  CHECK(shortened("Amélies", 3) == "Am…");
  CHECK(shortened("七人の侍", 3) == "七人…");
  CHECK(shortened("Alien", 1) == "…");
  CHECK(shortened("", 4) == "");
}

}  // namespace
