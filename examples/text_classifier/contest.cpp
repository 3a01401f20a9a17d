// Training a classifier, with the baseline beside it.
#include "engine/error.h"
#include "engine/random.h"
#include "examples/common/text_table.h"
#include "examples/text_classifier/commands.h"

namespace heed::examples::classifier {
namespace {

bool is_pretrained(const Settings& settings) {
  return settings.encoder != "tiny" && settings.encoder != "bag";
}

nn::Tokenizer learned_tokenizer(const Corpus& corpus, const Settings& settings) {
  nn::TokenizerOptions options;
  options.lowercase = settings.lowercase;
  nn::WordCounts words(options);
  for (const Example& example : corpus.examples) words.add(example.text);
  return nn::Tokenizer(
      nn::learn_word_pieces(words.counts(), options,
                            {.vocabulary_size = settings.vocabulary, .min_frequency = settings.min_frequency}),
      options);
}

// A model before its training: random, or with a pretrained encoder.
TrainedClassifier untrained(const Corpus& corpus, const Settings& settings) {
  manual_seed(settings.seed);
  const auto classes = static_cast<std::int64_t>(corpus.labels.size());
  if (!is_pretrained(settings)) {
    TrainedClassifier made(settings, corpus.labels, learned_tokenizer(corpus, settings));
    if (settings.encoder != "bag")
      made.bert = tiny_bert(settings, made.tokenizer.vocabulary_size(), made.tokenizer.pad_id());
    made.model = std::make_unique<TextClassifier>(settings, made.bert, made.tokenizer.vocabulary_size(), classes);
    return made;
  }
  const nn::Bert pretrained = nn::load_bert(settings.encoder);
  TrainedClassifier made(settings, corpus.labels, nn::Tokenizer::load(settings.encoder));
  made.bert = pretrained.model->config();
  check(settings.length <= made.bert.max_position_embeddings, "settings: length is {}, but {} reads at most {} tokens",
        settings.length, settings.encoder, made.bert.max_position_embeddings);
  check(made.tokenizer.vocabulary_size() <= made.bert.vocab_size, "{}: {} tokens, but the model has vectors for {}",
        settings.encoder, made.tokenizer.vocabulary_size(), made.bert.vocab_size);
  made.bert.hidden_dropout_prob = settings.dropout;
  made.bert.attention_probs_dropout_prob = settings.attention_dropout;
  made.model = std::make_unique<TextClassifier>(settings, made.bert, made.bert.vocab_size, classes);
  made.model->bert->load_state_dict(pretrained.model->state_dict(), false);
  return made;
}

TrainedClassifier with_tokenizer_of(const TrainedClassifier& other, const Settings& settings) {
  manual_seed(settings.seed);
  TrainedClassifier made(settings, other.labels, other.tokenizer);
  made.model = std::make_unique<TextClassifier>(settings, made.bert, made.tokenizer.vocabulary_size(),
                                                static_cast<std::int64_t>(other.labels.size()));
  return made;
}

Evaluation fit(TrainedClassifier& made, const EncodedCorpus& corpus, const EncodedCorpus& dev,
               const TrainingOptions& options) {
  made.model->to(options.device);
  made.record = train(*made.model, made.settings, corpus, dev, made.tokenizer, options);
  return evaluate(*made.model, dev, made.tokenizer.pad_id(), options.device);
}

}  // namespace

Contest train_contest(const Corpus& corpus, const Corpus& dev, const Settings& settings,
                      const TrainingOptions& options) {
  check(corpus.labels.size() >= 2, "{}: every text has the label '{}'; there is nothing to learn", corpus.source,
        corpus.labels.empty() ? "" : corpus.labels.front());
  check(!corpus.examples.empty() && !dev.examples.empty(), "{}: {} texts to train on and {} to choose by",
        corpus.source, corpus.examples.size(), dev.examples.size());
  Contest contest{untrained(corpus, settings), {}, {}, {}};
  const EncodedCorpus encoded = encode(corpus, contest.trained.tokenizer, settings.length);
  const EncodedCorpus encoded_dev = encode(dev, contest.trained.tokenizer, settings.length);
  if (settings.encoder != "bag") {
    note_unless(options.quiet, "the baseline, a bag of tokens:");
    contest.bag = with_tokenizer_of(contest.trained, bag_of(settings));
    contest.bag_dev = fit(*contest.bag, encoded, encoded_dev, {.quiet = options.quiet, .device = options.device});
    contest.trained.baseline = to_json_text(*contest.bag_dev, corpus.labels);
    note_unless(options.quiet, "the classifier:");
  }
  manual_seed(settings.seed);
  contest.dev = fit(contest.trained, encoded, encoded_dev, options);
  return contest;
}

std::string contest_table(const Contest& contest) {
  std::vector<std::vector<std::string>> rows{{"", "accuracy", "macro-F1", "log loss", "parameters", "time"}};
  const auto add = [&](const std::string& name, const TrainedClassifier& trained, const Evaluation& evaluation) {
    rows.push_back({name, fmt::format("{:.4f}", evaluation.accuracy), fmt::format("{:.4f}", evaluation.macro_f1),
                    fmt::format("{:.4f}", evaluation.log_loss),
                    format_count(static_cast<double>(trained.record.parameters)),
                    format_duration(trained.record.seconds)});
  };
  const Settings& settings = contest.trained.settings;
  add(settings.encoder == "bag" ? "bag" : fmt::format("{}, {} pooling", settings.encoder, settings.pooling),
      contest.trained, contest.dev);
  if (contest.bag) add("bag of tokens", *contest.bag, *contest.bag_dev);
  return text_table(rows);
}

}  // namespace heed::examples::classifier
