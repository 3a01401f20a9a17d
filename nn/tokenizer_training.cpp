// Learning a vocabulary of word pieces.
#include <algorithm>
#include <queue>
#include <set>
#include <tuple>

#include "engine/error.h"
#include "nn/tokenizer.h"

namespace heed::nn {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;  // neighbouring pieces, by number

struct TrainingWord {
  std::vector<std::int32_t> pieces;
  std::int64_t count;
};

// The pieces so far and the words cut into them.
class Joiner {
 public:
  Joiner(const std::map<std::string, std::int64_t>& counts, const std::set<char32_t>& alphabet, std::string prefix)
      : prefix_(std::move(prefix)) {
    for (const auto& [text, count] : counts) add_word(text, count, alphabet);
    for (const auto& [pair, count] : pair_counts_) queue_.push(candidate(pair, count));
  }

  // Joins the most frequent pair. The new piece; nothing where no pair occurs min_frequency times.
  std::optional<std::string> join(std::int64_t min_frequency) {
    while (!queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const std::int64_t count = pair_counts_[best.pair];
      if (count != best.count) continue;  // out of date; the present count was queued when it changed
      if (count < std::max<std::int64_t>(min_frequency, 1)) return std::nullopt;
      return join(best.pair);
    }
    return std::nullopt;
  }

 private:
  struct Candidate {
    std::int64_t count;
    std::string left, right;
    Pair pair;
    // The queue gives its largest: the most frequent, then the first in byte order.
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      return std::tie(left, right) > std::tie(other.left, other.right);
    }
  };
  Candidate candidate(const Pair& pair, std::int64_t count) const {
    return {count, texts_[static_cast<std::size_t>(pair.first)], texts_[static_cast<std::size_t>(pair.second)], pair};
  }

  std::int32_t number_of(const std::string& text) {
    const auto [found, is_new] = numbers_.emplace(text, static_cast<std::int32_t>(texts_.size()));
    if (is_new) texts_.push_back(text);
    return found->second;
  }

  void add_word(const std::string& text, std::int64_t count, const std::set<char32_t>& alphabet) {
    TrainingWord word{{}, count};
    for (std::size_t at = 0; at < text.size();) {
      const char32_t c = next_code_point(text, at);
      if (!alphabet.contains(c)) return;
      std::string piece = word.pieces.empty() ? "" : prefix_;
      append_utf8(piece, c);
      word.pieces.push_back(number_of(piece));
    }
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i)
      count_pair({word.pieces[i], word.pieces[i + 1]}, count, words_.size());
    words_.push_back(std::move(word));
  }

  void count_pair(const Pair& pair, std::int64_t count, std::size_t word) {
    pair_counts_[pair] += count;
    if (count > 0) words_with_[pair].insert(word);
  }

  std::string join(const Pair& pair) {
    std::string_view right = texts_[static_cast<std::size_t>(pair.second)];
    right.remove_prefix(prefix_.size());  // what comes second always continues a word
    const std::string text = texts_[static_cast<std::size_t>(pair.first)] + std::string(right);
    const std::int32_t joined = number_of(text);
    std::set<Pair> changed;
    for (const std::size_t w : std::exchange(words_with_[pair], {})) {
      TrainingWord& word = words_[w];
      std::vector<std::int32_t> pieces;
      for (std::size_t i = 0; i < word.pieces.size(); ++i) {
        const bool here = i + 1 < word.pieces.size() && Pair(word.pieces[i], word.pieces[i + 1]) == pair;
        pieces.push_back(here ? joined : word.pieces[i]);
        if (here) ++i;
      }
      recount(word.pieces, -word.count, w, changed);
      recount(pieces, word.count, w, changed);
      word.pieces = std::move(pieces);
    }
    for (const Pair& other : changed) {
      if (const std::int64_t count = pair_counts_[other]; count > 0) queue_.push(candidate(other, count));
    }
    return text;
  }

  void recount(const std::vector<std::int32_t>& pieces, std::int64_t count, std::size_t word, std::set<Pair>& changed) {
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      count_pair({pieces[i], pieces[i + 1]}, count, word);
      changed.insert({pieces[i], pieces[i + 1]});
    }
  }

  std::string prefix_;
  std::vector<std::string> texts_;
  std::map<std::string, std::int32_t> numbers_;
  std::vector<TrainingWord> words_;
  std::map<Pair, std::int64_t> pair_counts_;
  std::map<Pair, std::set<std::size_t>> words_with_;
  std::priority_queue<Candidate> queue_;
};

std::set<char32_t> most_frequent_characters(const std::map<std::string, std::int64_t>& counts, std::int64_t limit) {
  std::map<char32_t, std::int64_t> frequency;
  for (const auto& [word, count] : counts) {
    for (std::size_t at = 0; at < word.size();) frequency[next_code_point(word, at)] += count;
  }
  std::vector<std::pair<std::int64_t, char32_t>> order;
  for (const auto& [c, count] : frequency) order.emplace_back(-count, c);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), static_cast<std::size_t>(limit)));
  std::set<char32_t> characters;
  for (const auto& [count, c] : order) characters.insert(c);
  return characters;
}

}  // namespace

WordCounts::WordCounts(const TokenizerOptions& options)
    : options_{options.clean_text, options.handle_chinese_chars, options.strip_accents.value_or(options.lowercase),
               options.lowercase} {}

void WordCounts::add(std::string_view text) {
  for (WordSplitter words(text, 0, options_); words.next();) ++counts_[words.word().text];
}

std::vector<std::string> learn_word_pieces(const std::map<std::string, std::int64_t>& counts,
                                           const TokenizerOptions& options, const WordPieceTrainingOptions& training) {
  check(training.vocabulary_size > 0 && training.alphabet_size > 0,
        "learn_word_pieces: a vocabulary of {} with {} characters", training.vocabulary_size, training.alphabet_size);
  std::vector<std::string> vocabulary = {options.pad_token, options.unk_token, options.cls_token, options.sep_token,
                                         options.mask_token};
  vocabulary.insert(vocabulary.end(), options.more_special_tokens.begin(), options.more_special_tokens.end());
  std::set<std::string> known(vocabulary.begin(), vocabulary.end());
  const auto add = [&](const std::string& piece) {
    if (known.insert(piece).second) vocabulary.push_back(piece);
  };
  const std::set<char32_t> alphabet = most_frequent_characters(counts, training.alphabet_size);
  for (const char* prefix : {"", options.continuing_subword_prefix.c_str()}) {
    for (const char32_t c : alphabet) {
      std::string piece = prefix;
      append_utf8(piece, c);
      add(piece);
    }
  }
  Joiner joiner(counts, alphabet, options.continuing_subword_prefix);
  while (static_cast<std::int64_t>(vocabulary.size()) < training.vocabulary_size) {
    const std::optional<std::string> piece = joiner.join(training.min_frequency);
    if (!piece) break;
    add(*piece);
  }
  return vocabulary;
}

}  // namespace heed::nn
