#include "examples/text_classifier/data.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>

#include "engine/error.h"
#include "engine/file.h"
#include "examples/common/random_stream.h"
#include "examples/text_classifier/lines.h"
#include "examples/text_classifier/rows.h"

namespace heed::examples::classifier {
namespace {

bool parse_integer(const std::string& text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Numbers by value, where all are numbers.
void sort_labels(std::vector<std::string>& labels) {
  std::int64_t number;
  const bool numbers =
      std::all_of(labels.begin(), labels.end(), [&](const std::string& label) { return parse_integer(label, number); });
  std::sort(labels.begin(), labels.end(), [numbers](const std::string& a, const std::string& b) {
    std::int64_t first = 0, second = 0;
    if (numbers && parse_integer(a, first) && parse_integer(b, second) && first != second) return first < second;
    return a < b;
  });
}

}  // namespace

std::vector<std::int64_t> Corpus::counts() const {
  std::vector<std::int64_t> counts(labels.size(), 0);
  for (const Example& example : examples) ++counts[static_cast<std::size_t>(example.label)];
  return counts;
}

Corpus parse_corpus(std::string_view contents, const std::string& source, const ReadOptions& options) {
  const auto [rows, columns] = read_rows(contents, source, options);
  check(!rows.empty(), "{}: there is no example in it", source);
  Corpus corpus{source, options.labels, {}, columns};
  if (corpus.labels.empty()) {
    std::map<std::string_view, bool> seen;
    for (const Row& row : rows) {
      if (seen.emplace(row.label, true).second) corpus.labels.push_back(row.label);
    }
    sort_labels(corpus.labels);
  }
  std::unordered_map<std::string_view, std::int64_t> number;
  for (const std::string& label : corpus.labels) number.emplace(label, static_cast<std::int64_t>(number.size()));
  for (const Row& row : rows) {
    const auto found = number.find(row.label);
    check(found != number.end(), "{}:{}: the model knows no label '{}'", source, row.line, row.label);
    corpus.examples.push_back({row.text, found->second});
  }
  return corpus;
}

Corpus read_corpus(const std::string& path, const ReadOptions& options) {
  if (path == "-") return parse_corpus(read_standard_input(), "standard input", options);
  return parse_corpus(read_file(path), path, options);
}

Corpus split_off(Corpus& corpus, double share, std::uint64_t seed) {
  constexpr std::uint64_t stream = 1ull << 60;
  Corpus taken{corpus.source, corpus.labels, {}};
  std::vector<std::vector<std::size_t>> by_label(corpus.labels.size());
  for (std::size_t i = 0; i < corpus.examples.size(); ++i)
    by_label[static_cast<std::size_t>(corpus.examples[i].label)].push_back(i);
  std::vector<bool> leaves(corpus.examples.size(), false);
  RandomStream random(seed, stream);
  for (std::vector<std::size_t>& members : by_label) {
    for (std::size_t i = members.size(); i > 1; --i)
      std::swap(members[i - 1], members[random.below(static_cast<std::uint32_t>(i))]);
    auto count = static_cast<std::size_t>(share * static_cast<double>(members.size()) + 0.5);
    if (share > 0 && members.size() >= 2) count = std::clamp<std::size_t>(count, 1, members.size() - 1);
    for (std::size_t i = 0; i < std::min(count, members.size()); ++i) leaves[members[i]] = true;
  }
  std::vector<Example> stay;
  for (std::size_t i = 0; i < corpus.examples.size(); ++i)
    (leaves[i] ? taken.examples : stay).push_back(std::move(corpus.examples[i]));
  corpus.examples = std::move(stay);
  return taken;
}

}  // namespace heed::examples::classifier
