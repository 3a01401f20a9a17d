#include "examples/text_classifier/training.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/autograd.h"
#include "engine/ops.h"

namespace heed::examples::classifier {
namespace {

// How many layers stand above a parameter: 0 for the head.
std::int64_t layers_above(const std::string& name, std::int64_t layers) {
  constexpr std::string_view layer_prefix = "bert.encoder.layer.";
  if (name.starts_with("bert.embeddings.")) return layers + 1;
  if (!name.starts_with(layer_prefix)) return 0;
  std::int64_t layer = 0;
  std::from_chars(name.data() + layer_prefix.size(), name.data() + name.size(), layer);
  return layers - layer;
}

// The head, and each layer below it with a learning rate of its own; in each the matrices decay, vectors do not.
std::vector<nn::ParameterGroup> groups_of(const TextClassifier& model, const Settings& settings) {
  const std::int64_t layers = model.bert ? model.bert->config().num_hidden_layers : 0;
  const double head = settings.head_learning_rate > 0 ? settings.head_learning_rate : settings.learning_rate;
  std::vector<nn::ParameterGroup> groups(2 * static_cast<std::size_t>(layers + 2));
  for (const auto& [name, parameter] : model.named_parameters()) {
    const std::int64_t above = layers_above(name, layers);
    const bool decays = parameter.rank() >= 2;
    nn::ParameterGroup& group = groups[2 * static_cast<std::size_t>(above) + (decays ? 1 : 0)];
    group.parameters.emplace_back(name, parameter);
    group.lr = above == 0 ? head : settings.learning_rate * std::pow(settings.layer_decay, static_cast<double>(above));
    group.weight_decay = decays ? settings.weight_decay : 0.0;
  }
  std::erase_if(groups, [](const nn::ParameterGroup& group) { return group.parameters.empty(); });
  return groups;
}

// What makes every class count alike: examples / (classes * examples of the class).
Tensor class_weights(const EncodedCorpus& corpus, std::int64_t classes, Device device) {
  std::vector<float> counts(static_cast<std::size_t>(classes), 0);
  for (const std::int64_t label : corpus.labels) ++counts[static_cast<std::size_t>(label)];
  for (float& count : counts) {
    count = count == 0 ? 0 : static_cast<float>(corpus.size()) / (static_cast<float>(classes) * count);
  }
  return from_vector(counts, {classes}, device);
}

std::string fingerprint(const EncodedCorpus& corpus) {
  std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  const auto mix = [&hash](std::int64_t value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001b3ull;
  };
  for (std::size_t i = 0; i < corpus.labels.size(); ++i) {
    mix(corpus.labels[i]);
    for (const std::int64_t id : corpus.texts[i].ids) mix(id);
  }
  return fmt::format("{} texts ({:016x})", corpus.size(), hash);
}

// Some texts as a training step reads them.
EncodedCorpus part_to_learn(const EncodedCorpus& corpus, std::span<const std::int64_t> members,
                            const Settings& settings, const nn::Tokenizer& tokenizer, std::int64_t step) {
  EncodedCorpus part = select(corpus, members);
  if (settings.piece_dropout > 0)
    drop_pieces(part.texts, settings.piece_dropout, settings.length, tokenizer, settings.seed, step);
  if (settings.word_dropout > 0) drop_words(part.texts, settings.word_dropout, tokenizer.unk_id(), settings.seed, step);
  return part;
}

std::int64_t epochs_without_gain(const TrainingRecord& record) {
  double best = -1;
  std::int64_t waited = 0;
  for (const EpochRecord& epoch : record.epochs) {
    const double accuracy = epoch.validation.front().second;
    waited = accuracy > best ? 0 : waited + 1;
    best = std::max(best, accuracy);
  }
  return waited;
}

TrainingPlan plan_of(const Settings& settings, const TrainingOptions& options, const EncodedCorpus& corpus,
                     const EncodedCorpus& dev) {
  return {.settings = to_json_text(settings),
          .data = fingerprint(corpus) + ", dev " + fingerprint(dev),
          .epochs = settings.epochs,
          .steps_per_epoch = (corpus.size() + settings.batch - 1) / settings.batch,
          .learning_rate = settings.learning_rate,
          .weight_decay = settings.weight_decay,
          .warm_up = settings.warm_up,
          .clip_norm = settings.clip_norm,
          .average = settings.average,
          .unit = "texts",
          .quiet = options.quiet,
          .checkpoint = options.checkpoint,
          .resume = options.resume,
          .save_every = options.save_every};
}

}  // namespace

TrainingRecord train(TextClassifier& model, const Settings& settings, const EncodedCorpus& corpus,
                     const EncodedCorpus& dev, const nn::Tokenizer& tokenizer, const TrainingOptions& options) {
  const std::int64_t classes = model.classifier.weight.size(0);
  if (settings.frozen) model.bert->freeze();
  const Tensor weight = settings.balanced ? class_weights(corpus, classes, options.device) : Tensor();
  TrainingRun run(model, groups_of(model, settings), plan_of(settings, options, corpus, dev));
  for (std::int64_t epoch = run.first_epoch(); epoch <= settings.epochs; ++epoch) {
    if (settings.patience > 0 && epochs_without_gain(run.record()) >= settings.patience) break;
    model.train();
    if (settings.frozen) model.bert->eval();
    const auto batches = training_batches(corpus, settings.batch, settings.seed, epoch);
    for (auto b = static_cast<std::size_t>(run.steps_taken()); b < batches.size(); ++b) {
      const EncodedCorpus part =
          part_to_learn(corpus, batches[b], settings, tokenizer, (epoch << 32) + static_cast<std::int64_t>(b));
      const Batch batch = batch_of(part, tokenizer.pad_id(), options.device);
      run.step(cross_entropy(model(batch.tokens).logits, batch.labels,
                             {.weight = weight, .label_smoothing = settings.label_smoothing}),
               part.size());
    }
    model.eval();
    run.swap_average();
    const Evaluation evaluation = evaluate(model, dev, tokenizer.pad_id(), options.device);
    if (evaluation.accuracy > run.best("accuracy")) run.keep_weights();
    run.swap_average();
    run.end_epoch(
        {{"accuracy", evaluation.accuracy}, {"macro_f1", evaluation.macro_f1}, {"loss", evaluation.log_loss}});
  }
  model.load_state_dict(run.kept);
  model.eval();
  return run.record();
}

std::vector<std::vector<float>> probabilities(const TextClassifier& model, std::span<const nn::Encoding> texts,
                                              std::int64_t pad_id, Device device) {
  constexpr std::int64_t batch_texts = 32;
  const NoGrad no_grad;
  std::vector<std::vector<float>> result(texts.size());
  for (const std::vector<std::int64_t>& members : sorted_batches(texts, batch_texts)) {
    std::vector<nn::Encoding> part;
    for (const std::int64_t member : members) part.push_back(texts[static_cast<std::size_t>(member)]);
    const Tensor scores = softmax(model(nn::pad(part, pad_id, device)).logits, -1);  // [batch, classes]
    const std::vector<float> values = scores.to_vector<float>();
    const auto classes = static_cast<std::size_t>(scores.size(1));
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(i * classes);
      result[static_cast<std::size_t>(members[i])].assign(row, row + static_cast<std::ptrdiff_t>(classes));
    }
  }
  return result;
}

std::int64_t most_probable(std::span<const float> probabilities) {
  return std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
}

Evaluation evaluate(const TextClassifier& model, const EncodedCorpus& corpus, std::int64_t pad_id, Device device) {
  const std::vector<std::vector<float>> scores = probabilities(model, corpus.texts, pad_id, device);
  std::vector<std::int64_t> predicted;
  double loss = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    predicted.push_back(most_probable(scores[i]));
    loss -= std::log(std::max(scores[i][static_cast<std::size_t>(corpus.labels[i])], 1e-30f));
  }
  Evaluation evaluation = evaluate(corpus.labels, predicted, static_cast<std::int64_t>(scores.front().size()));
  evaluation.log_loss = loss / static_cast<double>(scores.size());
  return evaluation;
}

}  // namespace heed::examples::classifier
