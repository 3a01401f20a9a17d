#include "nn/tokenizer.h"
#include "engine/json.h"

#include <doctest/doctest.h>

#include "engine/file.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"
#include "tests/nn/golden.h"

namespace heed::nn {
namespace {

using test::message_of;
using Json = nlohmann::json;

const Json& golden() {
  static const Json json = parse_json(read_file(test::golden_folder() / "tokenizer.json"));
  return json;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1)
    lines.push_back(text.substr(begin, text.find('\n', begin) - begin));
  return lines;
}

Tokenizer golden_tokenizer(const TokenizerOptions& options = {}) {
  return Tokenizer(lines_of(read_file(test::golden_folder() / "tokenizer_vocabulary.txt")), options);
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::vector<std::pair<std::int64_t, std::int64_t>> pairs_of(const std::vector<Span>& offsets) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  for (const Span& span : offsets) pairs.emplace_back(span.start, span.end);
  return pairs;
}
using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;
using Ids = std::vector<std::int64_t>;

Tokenizer small_tokenizer(TokenizerOptions options = {}) {
  return Tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able", "##a", "##ff", "a", "!"}, options);
}

}  // namespace

TEST_CASE("tokenizer: ids and offsets are Hugging Face's, whatever the text and the options") {
  std::int64_t compared = 0;
  for (const Json& configuration : golden()["configurations"]) {
    TokenizerOptions options;
    options.lowercase = configuration["lowercase"];
    if (!configuration["strip_accents"].is_null()) options.strip_accents = configuration["strip_accents"].get<bool>();
    options.clean_text = configuration["clean_text"];
    options.handle_chinese_chars = configuration["handle_chinese_chars"];
    const Tokenizer tokenizer = golden_tokenizer(options);
    for (std::size_t i = 0; i < golden()["texts"].size(); ++i) {
      const std::string hex = golden()["texts"][i];
      CAPTURE(hex);
      const Encoding encoding = tokenizer.encode(from_hex(hex));
      const Json& wanted = configuration["encodings"][i];
      CHECK_EQ(encoding.ids, wanted["ids"].get<Ids>());
      CHECK_EQ(pairs_of(encoding.offsets), wanted["offsets"].get<Pairs>());
      compared += static_cast<std::int64_t>(encoding.size());
    }
  }
  CHECK_GT(golden()["texts"].size(), 300);
  CHECK_GT(compared, 10'000);
}

TEST_CASE("tokenizer: pairs are cut as Hugging Face cuts them, the longer text first") {
  const Tokenizer tokenizer = golden_tokenizer();
  for (const Json& wanted : golden()["pairs"]) {
    const std::string first = wanted["first"], second = wanted["second"];
    CAPTURE(first);
    CAPTURE(second);
    CAPTURE(wanted["limit"].get<int>());
    const Encoding encoding = tokenizer.encode(first, second, {.max_length = wanted["limit"]});
    CHECK_EQ(encoding.ids, wanted["ids"].get<Ids>());
    CHECK_EQ(encoding.type_ids, wanted["type_ids"].get<Ids>());
    CHECK_EQ(pairs_of(encoding.offsets), wanted["offsets"].get<Pairs>());
  }
  CHECK_GE(golden()["pairs"].size(), 30);
}

TEST_CASE("tokenizer: decoding gives Hugging Face's text") {
  const Tokenizer tokenizer = golden_tokenizer();
  for (const Json& wanted : golden()["decoded"]) {
    const auto ids = wanted["ids"].get<Ids>();
    CHECK_EQ(tokenizer.decode(ids), wanted["skipped"].get<std::string>());
    CHECK_EQ(tokenizer.decode(ids, false), wanted["all"].get<std::string>());
  }
  CHECK_EQ(message_of([&] { tokenizer.decode(Ids{100000}); }),
           fmt::format("Tokenizer: id 100000 of a vocabulary of {}", tokenizer.vocabulary_size()));
}

TEST_CASE("tokenizer: special tokens, truncation and words that are not covered") {
  const Tokenizer tokenizer = small_tokenizer();
  CHECK_EQ(tokenizer.encode("Unaffable!").ids, Ids{2, 5, 7, 8, 6, 10, 3});
  CHECK_EQ(tokenizer.encode("unaffed !").ids, Ids{2, 1, 10, 3});  // one unknown token for the whole word
  CHECK_EQ(tokenizer.encode("a", {.add_special_tokens = false}).ids, Ids{9});
  CHECK_EQ(tokenizer.encode("a a a a a", {.max_length = 4}).ids, Ids{2, 9, 9, 3});
  CHECK_EQ(tokenizer.encode("a[MASK]!").ids, Ids{2, 9, 4, 10, 3});
  const Encoding encoding = tokenizer.encode("a !");
  CHECK_EQ(pairs_of(encoding.offsets), Pairs{{0, 0}, {0, 1}, {2, 3}, {0, 0}});
  CHECK_EQ(encoding.added, std::vector<std::uint8_t>{1, 0, 0, 1});
  CHECK_EQ(message_of([&] { tokenizer.encode("a", {.max_length = 1}); }),
           "encode: max_length 1 leaves no room for 2 added tokens");
  CHECK_EQ(message_of([] {
             Tokenizer({"a", "[UNK]"});
           }),
           "Tokenizer: the cls_token '[CLS]' is not in the vocabulary of 2 tokens");
}

TEST_CASE("tokenizer: bytes that are not UTF-8 count as U+FFFD, one per maximal part of a character") {
  const auto count = [](std::string_view text) { return count_code_points(text); };
  CHECK_EQ(count("\xff\xfe"), 2);
  CHECK_EQ(count("\xe2\x82"), 1);
  CHECK_EQ(count("\xe2\x82\xac"), 1);
  CHECK_EQ(count("\xed\xa0\x80"), 3);      // a surrogate
  CHECK_EQ(count("\xc0\xaf"), 2);          // overlong
  CHECK_EQ(count("\xf0\x9f\x98x"), 2);     // cut off
  CHECK_EQ(count("\xf4\x90\x80\x80"), 4);  // beyond U+10FFFF
  const Encoding encoding = small_tokenizer().encode(
      "\xff\xe2\x82"
      "a");
  CHECK_EQ(encoding.ids, Ids{2, 9, 3});
  CHECK_EQ(pairs_of(encoding.offsets)[1], std::pair<std::int64_t, std::int64_t>(2, 3));
}

TEST_CASE("tokenizer: marks that are no accents come in canonical order, their positions in the text's") {
  const Tokenizer tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##\U0001D165", "##\U0001D16D"});
  const Encoding encoding = tokenizer.encode("a\U0001D16D\U0001D165");  // combining classes 226 and 216
  CHECK_EQ(encoding.ids, Ids{2, 4, 5, 6, 3});
  CHECK_EQ(pairs_of(encoding.offsets), Pairs{{0, 0}, {0, 1}, {1, 2}, {2, 3}, {0, 0}});
}

TEST_CASE("tokenizer: a token falls into the pieces that are not passed over") {
  const Tokenizer tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "##c", "ab", "abc", "##bc", "ax"});
  const auto split = [&](const char* token, std::vector<bool> answers) {
    std::size_t next = 0;
    const Ids ids = tokenizer.split(*tokenizer.find(token), [&] { return answers.at(next++); });
    CHECK_EQ(next, answers.size());
    std::string text;
    for (const std::int64_t id : ids) text += " " + tokenizer.token(id);
    return text;
  };
  CHECK_EQ(split("abc", {false, false}), " abc");
  CHECK_EQ(split("abc", {false, true}), " ab ##c");
  CHECK_EQ(split("abc", {true, true, false}), " a ##bc");
  CHECK_EQ(split("abc", {true, true, true}), " a ##b ##c");
  CHECK_EQ(split("##bc", {true}), " ##b ##c");
  CHECK_EQ(split("a", {}), " a");
  CHECK_EQ(split("ax", {true}), " ax");  // there is no ##x
  CHECK_EQ(split("[SEP]", {}), " [SEP]");
}

TEST_CASE("tokenizer: batches are filled up to their longest") {
  const Tokenizer tokenizer = small_tokenizer();
  const std::vector<Encoding> encodings = {tokenizer.encode("a"), tokenizer.encode("unable !", "a")};
  const TokenBatch batch = pad(encodings, tokenizer.pad_id());
  CHECK_EQ(batch.ids.to_vector<std::int64_t>(), Ids{2, 9, 3, 0, 0, 0, 0, 2, 5, 6, 10, 3, 9, 3});
  CHECK_EQ(batch.type_ids.to_vector<std::int64_t>(), Ids{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
  CHECK_EQ(batch.lengths.to_vector<std::int64_t>(), Ids{3, 7});
  CHECK_EQ(batch.padding.to_vector<std::int64_t>(), Ids{0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0});
  CHECK_FALSE(pad(std::span(encodings).first(1), 0).padding.defined());
}

TEST_CASE("tokenizer: what is saved loads again, from either kind of file") {
  const test::TemporaryFolder folder;
  TokenizerOptions options;
  options.lowercase = false;
  options.strip_accents = true;
  options.handle_chinese_chars = false;
  const Tokenizer tokenizer = golden_tokenizer(options);
  write_file(folder / "tokenizer.json", tokenizer.to_json());
  const Tokenizer loaded = Tokenizer::load(folder.path());
  for (const char* text : {"Café [MASK] 中文", "Hello, World!"})
    CHECK_EQ(loaded.encode(text).ids, tokenizer.encode(text).ids);
  CHECK_EQ(loaded.to_json(), tokenizer.to_json());

  std::filesystem::remove(folder / "tokenizer.json");
  write_file(folder / "vocab.txt", tokenizer.to_vocabulary_text());
  CHECK(Tokenizer::load(folder.path()).options().lowercase);
  write_file(
      folder / "tokenizer_config.json",
      R"({"do_lower_case": false, "strip_accents": true, "tokenize_chinese_chars": false, "cls_token": {"content": "[CLS]"}})");
  CHECK_EQ(Tokenizer::load(folder.path()).to_json(), tokenizer.to_json());
}

TEST_CASE("tokenizer: files that are no BERT tokenizer are refused, naming file and key") {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& path, const std::string& contents) {
    write_file(folder / path, contents);
    return message_of([&] { Tokenizer::load(folder / path); });
  };
  const auto says = [](const std::string& message, const std::string& words) {
    CAPTURE(message);
    CHECK_NE(message.find(words), std::string::npos);
  };
  says(refusal("tokenizer.json", "{"), "tokenizer.json: ");
  says(refusal("tokenizer.json", "[]"), "it has no 'model'");
  says(refusal("tokenizer.json", R"({"model": {"type": "BPE"}})"),
       "model: type BPE, where a BERT tokenizer has WordPiece");
  Json json = parse_json(small_tokenizer().to_json());
  json["normalizer"] = {{"type", "NFC"}};
  says(refusal("tokenizer.json", json_text(json)), "normalizer: type NFC");
  json = parse_json(small_tokenizer().to_json());
  json["added_tokens"][0]["lstrip"] = true;
  says(refusal("tokenizer.json", json_text(json)), "'[PAD]' has lstrip set");
  json = parse_json(small_tokenizer().to_json());
  json["model"]["vocab"]["a"] = 999999;
  says(refusal("tokenizer.json", json_text(json)), "'a' cannot have the id 999999");
  says(refusal("vocab.txt", "a\nb\n"),
       "vocab.txt: Tokenizer: the unk_token '[UNK]' is not in the vocabulary of 2 tokens");
  const std::string missing = folder / "nowhere";
  says(message_of([&] { Tokenizer::load(missing); }), "nowhere");
}

TEST_CASE("tokenizer: a learned vocabulary joins the most frequent pairs, and covers what it was learned from") {
  const std::map<std::string, std::int64_t> counts = {{"low", 5}, {"lower", 2}, {"newest", 6}, {"widest", 3}};
  const std::vector<std::string> learned = learn_word_pieces(counts, {}, {.vocabulary_size = 33});
  // Sennrich, Haddow and Birch 2016, figure 1, with the prefix of continuing pieces
  const std::vector<std::string> head = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "d", "e", "i"};
  CHECK_EQ(std::vector<std::string>(learned.begin(), learned.begin() + 8), head);
  const std::vector<std::string> joined = {"##es", "##est", "##ow"};
  CHECK_EQ(std::vector<std::string>(learned.begin() + 25, learned.begin() + 28), joined);
  CHECK_EQ(learned.size(), 33);
  const Tokenizer tokenizer(learned);
  for (const auto& [word, count] : counts) {
    for (const std::int64_t id : tokenizer.encode(word).ids) CHECK_NE(id, tokenizer.unk_id());
  }
  CHECK_EQ(learn_word_pieces(counts, {}, {.vocabulary_size = 33}), learned);
  // A limit on the alphabet leaves whole words out.
  const std::vector<std::string> few = learn_word_pieces(counts, {}, {.vocabulary_size = 100, .alphabet_size = 3});
  CHECK_EQ(few.size(), 5 + 2 * 3);

  WordCounts words;
  words.add("The Naïve café, the\tCAFE");
  const std::map<std::string, std::int64_t> wanted = {{",", 1}, {"cafe", 2}, {"naive", 1}, {"the", 2}};
  CHECK_EQ(words.counts(), wanted);
}

}  // namespace heed::nn
