#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>
#include <cstdio>
#include <thread>

#include "examples/text_classifier/batches.h"
#include "examples/text_classifier/lines.h"
#include "examples/text_classifier/metrics.h"
#include "examples/text_classifier/reviews.h"
#include "tests/harness/examine.h"
#include "tests/harness/temporary_folder.h"

namespace heed::examples::classifier {
namespace {

using heed::test::message_of;
using Texts = std::vector<std::pair<std::string, std::string>>;  // label and text

Texts parsed(std::string_view contents, const std::string& source = "data.txt", const ReadOptions& options = {}) {
  const Corpus corpus = parse_corpus(contents, source, options);
  Texts texts;
  for (const Example& example : corpus.examples)
    texts.emplace_back(corpus.labels[static_cast<std::size_t>(example.label)], example.text);
  return texts;
}
std::string refusal(std::string_view contents, const std::string& source = "data.txt",
                    const ReadOptions& options = {}) {
  return message_of([&] { parse_corpus(contents, source, options); });
}
void check_says(const std::string& message, const std::string& words) {
  CAPTURE(message);
  CHECK_NE(message.find(words), std::string::npos);
}

}  // namespace

TEST_CASE("classifier: every layout of the data is read, and recognised") {
  const Texts two = {{"1", "good, really"}, {"0", "bad"}};
  CHECK_EQ(parsed("1 good, really\n0 bad\n"), two);
  CHECK_EQ(parsed("\xef\xbb\xbf"
                  "1 good, really\r\n\r\n0 bad"),
           two);
  CHECK_EQ(parsed("__label__1 good, really\n__label__0 bad\n"), two);
  CHECK_EQ(parsed("1\tgood, really\n0\tbad\n"), two);
  CHECK_EQ(parsed("sentence\tlabel\ngood, really\t1\nbad\t0\n"), two);
  CHECK_EQ(parsed("text,label\n\"good, really\",1\nbad,0\n", "data.csv"), two);
  CHECK_EQ(parsed("0,bad\n1,\"good, really\"\n0,bad\n", "data.csv"),
           Texts{{"0", "bad"}, {"1", "good, really"}, {"0", "bad"}});
  CHECK_EQ(parsed("id\tlabel\tsentence\n7\t1\tgood, really\n8\t0\tbad\n", "x.tsv"), two);
  CHECK_EQ(parsed("{\"text\": \"good, really\", \"label\": 1}\n{\"label\": \"0\", \"text\": \"bad\", \"id\": 3}\n"),
           two);
  CHECK_EQ(parsed("{\"a\": \"x\", \"b\": true}\n", "-", {.text_column = "a", .label_column = "b"}),
           Texts{{"true", "x"}});
  CHECK_EQ(parsed("bad,0\nbad,1\n", "data.csv", {.text_column = "1", .label_column = "2"}),
           Texts{{"0", "bad"}, {"1", "bad"}});
  CHECK_EQ(parsed("said,kind\nx,a\n", "data.csv", {.text_column = "said", .label_column = "kind"}), Texts{{"a", "x"}});
}

TEST_CASE("classifier: a header of other words is recognised, and the columns taken are told") {
  const auto corpus = [](const std::string& first, int rows) {
    std::string contents = first;
    for (int i = 0; i < rows; ++i) contents += fmt::format("{},{},what was said {}\n", i, i % 2 ? "yes" : "no", i);
    return parse_corpus(contents, "data.csv");
  };
  const Corpus recognised = corpus("id,stars,comment\n", 12);
  CHECK_EQ(recognised.labels, std::vector<std::string>{"no", "yes"});
  CHECK_EQ(recognised.examples.size(), 12);
  CHECK_EQ(recognised.columns, "labels from column 2 (stars), texts from column 3 (comment)");
  CHECK_EQ(corpus("", 12).columns, "labels from column 2, texts from column 3, no header");
  CHECK_EQ(corpus("", 12).examples.size(), 12);
  CHECK_EQ(corpus("77,maybe,rare\n", 3).labels.size(), 3);   // too few rows to judge by
  const Corpus rare = corpus("0,yes,x\n1,perhaps,y\n", 12);  // not the first row's
  CHECK_EQ(rare.labels.size(), 3);
  CHECK_EQ(rare.examples.size(), 14);
  const Corpus two_rare = corpus("0,maybe,x\n1,perhaps,y\n", 12);
  CHECK_EQ(two_rare.labels.size(), 4);
  CHECK_EQ(parsed("7,1,x\n", "data.csv").size(), 1);
}

TEST_CASE("classifier: quoted fields hold commas, quotes and line ends") {
  CHECK_EQ(parsed("text,label\n\"a \"\"b\"\"\nc, d\",x\n\"\",y\n", "data.csv"),
           Texts{{"x", "a \"b\"\nc, d"}, {"y", ""}});
  CHECK_EQ(parsed("text,label\r\nplain \"quotes\",x\r\n", "data.csv"), Texts{{"x", "plain \"quotes\""}});
  check_says(refusal("text,label\n\"open,x\n", "data.csv"), "data.csv:2: a quoted field does not end");
  check_says(refusal("text,label\n\"a\"b,x\n", "data.csv"),
             "data.csv:2: a quoted field goes on after its closing quote");
  check_says(refusal("text,label\n\"a\nb\",x\ny\n", "data.csv"), "data.csv:4: 1 fields, where the first line has 2");
}

TEST_CASE("classifier: bytes that are not UTF-8 stay in texts, and are replaced in labels") {
  CHECK_EQ(parsed("4 a sister\xcd"
                  "city\n")
               .front(),
           std::pair<std::string, std::string>("4",
                                               "a sister\xcd"
                                               "city"));
  CHECK_EQ(parsed("a\xff b\nc d\n").front().first, "a\xef\xbf\xbd");
  CHECK_EQ(parsed("{\"text\": \"a\xff\", \"label\": 1}\n").front().second, "a\xef\xbf\xbd");
}

TEST_CASE("classifier: data that make no sense are refused, naming file, line and reason") {
  check_says(refusal(""), "data.txt: there is no example in it");
  check_says(refusal("\n \n"), "data.txt: there is no example in it");
  check_says(refusal("a\tb\nc\n", "x.tsv"), "x.tsv:2: 1 fields, where the first line has 2");
  check_says(refusal("one\ntwo\n", "x.tsv"), "x.tsv:1: one column");
  check_says(refusal("text,label\na,\n", "data.csv"), "data.csv:2: the label is empty");
  check_says(refusal("__label__a x\nplain\n"), "data.txt:2: no __label__ at its beginning: 'plain'");
  check_says(refusal("__label__a __label__b x\n"), "data.txt:1: it has several labels");
  check_says(refusal("{\"text\": \"a\"}\n"), "data.txt:1: no label under any of the keys label,");
  check_says(refusal("{\"text\": \"a\", \"label\": 1}\n{\n"), "data.txt:2: not JSON");
  check_says(refusal("{\"text\": 1, \"label\": [1]}\n"), "data.txt:1: no label");
  check_says(refusal("a,b\n", "data.csv", {.text_column = "9"}), "data.csv: no column 9, there are 2");
  check_says(refusal("a,b\n", "data.csv", {.text_column = "q"}), "data.csv: no column 'q' in the header: a, b");
  check_says(refusal("a,b\n", "data.csv", {.text_column = "1", .label_column = "1"}), "cannot be both");
  check_says(refusal("a b\n", "x", {.format = "xml"}), "format 'xml' is none of auto, tsv");
  check_says(refusal("a x\nb y\n", "x", {.labels = {"a"}}), "x:2: the model knows no label 'b'");
  check_says(refusal("a\x01 x\n"), "holds control characters");
}

TEST_CASE("classifier: labels are in order, numbers by value") {
  CHECK_EQ(parse_corpus("10 a\n9 b\n-1 c\n", "x").labels, std::vector<std::string>{"-1", "9", "10"});
  CHECK_EQ(parse_corpus("b x\na y\n10 z\n", "x").labels, std::vector<std::string>{"10", "a", "b"});
  CHECK_EQ(parse_corpus("b x\na y\nb z\n", "x").counts(), std::vector<std::int64_t>{1, 2});
}

TEST_CASE("classifier: a share of every class is split off, the same for the same seed") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += (i < 90 ? "a " : i < 98 ? "b " : "c ") + std::to_string(i) + "\n";
  text += "d alone\n";
  Corpus corpus = parse_corpus(text, "x"), again = corpus, other = corpus;
  const Corpus taken = split_off(corpus, 0.1, 1);
  CHECK_EQ(taken.counts(), std::vector<std::int64_t>{9, 1, 1, 0});
  CHECK_EQ(corpus.counts(), std::vector<std::int64_t>{81, 7, 1, 1});
  const auto texts = [](const Corpus& c) {
    std::vector<std::string> all;
    for (const Example& example : c.examples) all.push_back(example.text);
    return all;
  };
  CHECK_EQ(texts(split_off(again, 0.1, 1)), texts(taken));
  CHECK_NE(texts(split_off(other, 0.1, 2)), texts(taken));
}

TEST_CASE("classifier: batches hold every text once, and texts of about one length") {
  EncodedCorpus corpus;
  for (std::int64_t i = 0; i < 1000; ++i) {
    nn::Encoding text;
    text.ids.resize(static_cast<std::size_t>(2 + i * 7919 % 60));
    corpus.texts.push_back(text);
    corpus.labels.push_back(i);
  }
  const auto batches = training_batches(corpus, 32, 1, 1);
  CHECK_EQ(batches.size(), 32);
  std::vector<int> seen(1000, 0);
  std::int64_t tokens = 0, padded = 0;
  for (const auto& batch : batches) {
    std::size_t longest = 0;
    for (const std::int64_t member : batch) {
      const std::size_t length = corpus.texts[static_cast<std::size_t>(member)].ids.size();
      ++seen[static_cast<std::size_t>(member)];
      longest = std::max(longest, length);
      tokens += static_cast<std::int64_t>(length);
    }
    padded += static_cast<std::int64_t>(longest * batch.size());
  }
  CHECK_EQ(std::count(seen.begin(), seen.end(), 1), 1000);
  CHECK_LT(static_cast<double>(padded), 1.05 * static_cast<double>(tokens));
  CHECK_EQ(training_batches(corpus, 32, 1, 1), batches);
  CHECK_NE(training_batches(corpus, 32, 1, 2), batches);
  CHECK_NE(training_batches(corpus, 32, 2, 1), batches);
}

TEST_CASE("classifier: hidden words are as many as asked for, and never [CLS] or [SEP]") {
  nn::Encoding text;
  text.ids.assign(10'000, 7);
  text.added.assign(10'000, 0);
  text.added.front() = text.added.back() = 1;
  std::vector<nn::Encoding> texts = {text}, again = {text}, other = {text};
  drop_words(texts, 0.3, 1, 5, 6);
  drop_words(again, 0.3, 1, 5, 6);
  drop_words(other, 0.3, 1, 5, 7);
  const auto hidden = static_cast<double>(std::count(texts[0].ids.begin(), texts[0].ids.end(), 1));
  CHECK_EQ(hidden / 10'000, doctest::Approx(0.3).epsilon(0.05));
  CHECK_EQ(texts[0].ids.front(), 7);
  CHECK_EQ(texts[0].ids.back(), 7);
  CHECK_EQ(texts[0].ids, again[0].ids);
  CHECK_NE(texts[0].ids, other[0].ids);
}

TEST_CASE("classifier: words in pieces spell what they spelt, as often as asked for, and no longer than allowed") {
  const nn::Tokenizer tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b", "##c", "ab", "abc"});
  std::string line;
  for (int i = 0; i < 5000; ++i) line += i % 2 == 0 ? "abc " : "a ";
  const std::vector<nn::Encoding> before = {tokenizer.encode(line), tokenizer.encode("")};
  const auto dropped = [&](std::int64_t length, std::int64_t step) {
    std::vector<nn::Encoding> texts = before;
    drop_pieces(texts, 0.2, length, tokenizer, 5, step);
    return texts;
  };
  const std::vector<nn::Encoding> texts = dropped(100'000, 6);
  CHECK_EQ(tokenizer.decode(texts[0].ids), tokenizer.decode(before[0].ids));
  CHECK_EQ(texts[1].ids, before[1].ids);
  const auto share = [&](const char* token) {
    return static_cast<double>(std::count(texts[0].ids.begin(), texts[0].ids.end(), *tokenizer.find(token))) / 2500;
  };
  CHECK_EQ(share("abc"), doctest::Approx(0.8).epsilon(0.05));
  CHECK_EQ(share("ab"), doctest::Approx(0.2 * 0.8).epsilon(0.1));
  CHECK_EQ(share("a"), doctest::Approx(1 + 0.2 * 0.2).epsilon(0.1));
  CHECK_EQ(texts[0].added.size(), texts[0].size());
  CHECK_EQ(texts[0].offsets.size(), texts[0].size());
  CHECK_EQ(dropped(100'000, 6)[0].ids, texts[0].ids);
  CHECK_NE(dropped(100'000, 7)[0].ids, texts[0].ids);
  const nn::Encoding cut = dropped(1000, 6)[0];
  CHECK_EQ(cut.size(), 1000);
  CHECK_EQ(cut.ids.front(), tokenizer.cls_id());
  CHECK_EQ(cut.ids.back(), tokenizer.sep_id());
}

TEST_CASE("classifier: figures are scikit-learn's") {
  // sklearn.metrics.precision_recall_fscore_support([0,0,0,1,1,2], [0,0,1,1,0,0], labels=[0,1,2,3])
  const std::vector<std::int64_t> truth = {0, 0, 0, 1, 1, 2}, predicted = {0, 0, 1, 1, 0, 0};
  const Evaluation e = evaluate(truth, predicted, 4);
  CHECK_EQ(e.accuracy, doctest::Approx(0.5));
  CHECK_EQ(e.macro_f1, doctest::Approx((4.0 / 7 + 0.5 + 0) / 3));  // class 3 occurs nowhere
  CHECK_EQ(e.per_class[0].precision, doctest::Approx(0.5));
  CHECK_EQ(e.per_class[0].recall, doctest::Approx(2.0 / 3));
  CHECK_EQ(e.per_class[2].f1, 0);
  CHECK_EQ(e.per_class[1].support, 2);
  CHECK_EQ(e.confusion[1], std::vector<std::int64_t>{1, 1, 0, 0});
  CHECK_EQ(message_of([&] { evaluate(truth, std::vector<std::int64_t>{1}, 4); }),
           "evaluate: 6 labels and 1 predictions");
  CHECK_EQ(message_of([&] { evaluate(truth, predicted, 2); }), "evaluate: class 2 taken for 0, of 2 classes");
}

TEST_CASE("classifier: lines are handed on as they arrive, whatever they hold") {
  const test::TemporaryFolder folder;
  const std::string bytes("a\n\n \xff\x00z\r\nlast", 13);
  std::vector<std::string> all;
  LineStream lines(folder.write("file", bytes));
  for (auto some = lines.next(); !some.empty(); some = lines.next()) all.insert(all.end(), some.begin(), some.end());
  CHECK_EQ(all, std::vector<std::string>{"a", "", std::string(" \xff\x00z\r", 5), "last"});

  int ends[2];
  REQUIRE_EQ(pipe(ends), 0);
  LineStream slow("/dev/fd/" + std::to_string(ends[0]));
  REQUIRE_EQ(write(ends[1], "one\ntw", 6), 6);
  CHECK_EQ(slow.next(), std::vector<std::string>{"one"});  // without waiting for the rest
  REQUIRE_EQ(write(ends[1], "o\n", 2), 2);
  CHECK_EQ(slow.next(), std::vector<std::string>{"two"});
  close(ends[1]);
  CHECK(slow.next().empty());
  close(ends[0]);
  check_says(message_of([&] { LineStream missing(folder / "nowhere"); }), "nowhere: cannot open");
}

TEST_CASE("classifier: the generated reviews repeat, and counting words does not tell them apart") {
  const Corpus corpus = generate_reviews(1, 2000);
  CHECK_EQ(corpus.examples[5].text, generate_reviews(1, 10).examples[5].text);
  CHECK_NE(corpus.examples[5].text, generate_reviews(2, 10).examples[5].text);
  const std::vector<std::int64_t> counts = corpus.counts();
  CHECK_GT(counts[0], 900);
  CHECK_GT(counts[1], 900);
}

}  // namespace heed::examples::classifier
