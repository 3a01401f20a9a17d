// Labelled texts, and readers for the layouts in which they come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heed::examples::classifier {

struct Example {
  std::string text;         // bytes as they stand in the file
  std::int64_t label = -1;  // a position in labels
};

struct Corpus {
  std::string source;               // where it came from
  std::vector<std::string> labels;  // in order: numbers by value, else by bytes
  std::vector<Example> examples;
  std::string columns = {};  // tsv, csv: which were taken for the label and the text

  std::vector<std::int64_t> counts() const;  // examples of each label
};

struct ReadOptions {
  // auto, or one of formats(): tsv and csv (columns, with a header or not: one that does not name
  // both is recognised by a label that no other row has), fasttext (`__label__x text`), lines
  // (`label text`), jsonl (an object with a text and a label per line)
  std::string format = "auto";
  std::string text_column, label_column;  // tsv, csv: a name of the header or a number from 1; jsonl: a key
  std::vector<std::string> labels = {};   // those that a model knows; others throw. Empty: whatever there is.
};
const std::vector<std::string>& formats();

// Reads a file, or standard input where path is "-". Throws heed::Error naming file, line and reason: an empty text is
// fine, a missing or empty label is not.
Corpus read_corpus(const std::string& path, const ReadOptions& options = {});
// The same from text in memory; `source` is the path that errors name.
Corpus parse_corpus(std::string_view contents, const std::string& source, const ReadOptions& options = {});

// Takes a share of every label's examples out of `corpus`, at random but the same for the same seed, at least one where
// a label has two.
Corpus split_off(Corpus& corpus, double share, std::uint64_t seed);

}  // namespace heed::examples::classifier
