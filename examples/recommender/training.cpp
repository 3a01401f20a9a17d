#include "examples/recommender/training.h"

#include <cmath>
#include <unordered_set>

#include "examples/recommender/attentive_model.h"
#include "examples/recommender/batches.h"
#include "examples/recommender/progress.h"
#include "examples/recommender/random_stream.h"
#include "examples/recommender/sequential_model.h"
#include "nn/optim.h"
#include "nn/schedule.h"

namespace heed::recommender {
namespace {

constexpr double unknown_user_share = 0.1;  // of the training examples, told without the user's name
constexpr std::uint64_t examples_stream = 5ull << 60;

// One optimiser step: gradients of `loss`, clipped, applied.
class Trainer {
 public:
  Trainer(nn::Module& module, const Settings& settings, std::int64_t steps)
      : optimizer_(nn::decay_matrices_only(module),
                   {.lr = settings.learning_rate, .weight_decay = settings.weight_decay}),
        clip_norm_(settings.clip_norm) {
    const auto rise = std::max<std::int64_t>(1, std::llround(settings.warm_up * static_cast<double>(steps)));
    schedule_ = nn::warmup(rise, nn::cosine(std::max<std::int64_t>(1, steps - rise)));
  }

  double step(const Tensor& loss) {
    const double value = loss.item<double>();
    check(std::isfinite(value), "training: the loss is {} in step {}; a smaller learning rate may help", value, step_);
    optimizer_.zero_grad();
    backward(loss);
    if (clip_norm_ > 0) optimizer_.clip_grad_norm(clip_norm_);
    optimizer_.step(schedule_(step_++));
    return value;
  }

 private:
  nn::AdamW optimizer_;
  nn::Schedule schedule_;
  double clip_norm_;
  std::int64_t step_ = 0;
};

bool is_due(std::int64_t epoch, std::int64_t epochs, std::int64_t every) {
  if (every <= 0) every = std::max<std::int64_t>(1, epochs / 5);
  return epoch % every == 0 || epoch == epochs;
}

std::string note_of(const EpochRecord& record) {
  std::string note;
  for (const auto& [name, value] : record.validation)
    note += fmt::format("{}{} {:.4f}", note.empty() ? "validation " : ", ", name, value);
  return note;
}

}  // namespace

nlohmann::ordered_json to_json(const TrainingRecord& record) {
  nlohmann::ordered_json json{
      {"parameters", record.parameters}, {"seconds", record.seconds}, {"epochs", nlohmann::ordered_json::array()}};
  for (const EpochRecord& epoch : record.epochs) {
    nlohmann::ordered_json entry{{"epoch", epoch.epoch}, {"loss", epoch.loss}, {"seconds", epoch.seconds}};
    for (const auto& [name, value] : epoch.validation) entry["validation"][name] = value;
    json["epochs"].push_back(std::move(entry));
  }
  json["losses"] = record.losses;
  return json;
}

Scorer scorer_of(const Ranker& ranker) {
  return [&ranker](std::span<const Query> batch, std::span<float> scores) {
    std::vector<Person> people;
    for (const Query& query : batch) people.push_back({query.user, {query.history.begin(), query.history.end()}});
    const std::vector<float> values = ranker.scores(people).to_vector<float>();
    std::copy(values.begin(), values.end(), scores.begin());
  };
}

TrainingRecord train_sequential(Ranker& ranker, const LeaveOneOut& split, const Settings& settings,
                                const TrainingOptions& options) {
  auto& model = dynamic_cast<SequentialModel&>(ranker.module());
  Histories histories;
  for (std::int64_t user = 0; user < split.data().users(); ++user) histories.push_back(split.train(user));
  if (settings.fit_validation) histories = split.histories(Part::test);
  const SequenceSampler sampler(histories, split.data().items(), settings);

  const auto steps_per_epoch = static_cast<std::int64_t>(sampler.epoch(0).size());
  Trainer trainer(model, settings, steps_per_epoch * settings.epochs);
  Progress progress("events", steps_per_epoch * settings.epochs, settings.epochs, options.quiet);
  TrainingRecord record;
  record.parameters = model.parameter_count();
  for (std::int64_t epoch = 1; epoch <= settings.epochs; ++epoch) {
    model.train();
    double total = 0;
    const std::vector<SequenceBatch> batches = sampler.epoch(epoch - 1);
    for (const SequenceBatch& batch : batches) {
      const Tensor hidden = model.encode(batch.history).hidden.flatten(0, 1);  // [batch * length, width]
      const Tensor events = index_select(hidden, 0, batch.positions);          // [events, width]
      const double loss =
          trainer.step(sequential_loss(model, settings, events, batch.target, batch.negatives, batch.seen));
      record.losses.push_back(loss);
      total += loss;
      progress.step(loss, batch.target.count());
    }
    model.eval();
    EpochRecord entry{epoch, total / static_cast<double>(batches.size()), progress.seconds(), {}};
    if (!settings.fit_validation && is_due(epoch, settings.epochs, options.validate_every)) {
      EvaluationSettings how = options.validation;
      how.part = Part::validation;
      const RankingMetrics metrics = ranking_metrics(ranks(split, scorer_of(ranker), how), how.k);
      entry.validation = {{fmt::format("hr@{}", how.k), metrics.hit_rate.value},
                          {fmt::format("ndcg@{}", how.k), metrics.ndcg.value}};
    }
    progress.epoch(note_of(entry));
    record.epochs.push_back(std::move(entry));
  }
  record.seconds = progress.seconds();
  return record;
}

namespace {

// What the attentive model is asked about `rows`: each with the events before it, and one candidate.
AttentiveModel::Examples examples_of(const AttentiveModel& model, const Interactions& data,
                                     std::span<const Labelled> rows, const Settings& settings,
                                     RandomStream* hide_users) {
  std::vector<Person> people;
  std::vector<std::int64_t> users, candidates;
  for (const Labelled& row : rows) {
    const auto first = data.events.begin() + data.offsets[static_cast<std::size_t>(row.user)];
    const auto end = data.events.begin() + row.event;
    people.push_back({row.user, {std::max(first, end - std::min<std::ptrdiff_t>(settings.length, end - first)), end}});
    const bool hidden =
        hide_users != nullptr && hide_users->percent(static_cast<std::uint32_t>(100 * unknown_user_share));
    users.push_back(hidden ? model.unknown_user() : row.user);
    candidates.push_back(end->item);
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  const Windows windows = windows_of(people, settings.length, settings.like_from);
  return {from_vector(users, {count}), windows.items, windows.reactions, windows.lengths,
          from_vector(candidates, {count, 1})};
}

// Nobody learned anything about users without training rows: they count as unknown.
void forget_untrained_users(AttentiveModel& model, std::span<const Labelled> trained) {
  const NoGrad no_grad;
  std::unordered_set<std::int64_t> known;
  for (const Labelled& row : trained) known.insert(row.user);
  const Tensor unknown = model.users.weight.select(0, model.unknown_user());
  for (std::int64_t user = 0; user < model.unknown_user(); ++user) {
    if (!known.contains(user)) assign(model.users.weight.select(0, user), unknown);
  }
}

}  // namespace

std::vector<float> pointwise_logits(const Ranker& ranker, const Interactions& data, std::span<const Labelled> rows,
                                    const Settings& settings) {
  const NoGrad no_grad;
  const auto& model = dynamic_cast<const AttentiveModel&>(ranker.module());
  std::vector<float> logits;
  constexpr std::size_t batch = 1024;
  for (std::size_t begin = 0; begin < rows.size(); begin += batch) {
    const auto part = rows.subspan(begin, std::min(batch, rows.size() - begin));
    const std::vector<float> values = model(examples_of(model, data, part, settings, nullptr)).logit.to_vector<float>();
    logits.insert(logits.end(), values.begin(), values.end());
  }
  return logits;
}

TrainingRecord train_attentive(Ranker& ranker, const Interactions& data, const GlobalTimeSplit& split,
                               const Settings& settings, const TrainingOptions& options) {
  auto& model = dynamic_cast<AttentiveModel&>(ranker.module());
  std::vector<Labelled> rows = split.train;
  std::vector<std::uint8_t> validation_labels;
  for (const Labelled& row : split.validation) validation_labels.push_back(row.positive ? 1 : 0);
  const auto per_batch = static_cast<std::size_t>(settings.batch_events);
  const auto steps_per_epoch = static_cast<std::int64_t>((rows.size() + per_batch - 1) / per_batch);
  Trainer trainer(model, settings, steps_per_epoch * settings.epochs);
  Progress progress("examples", steps_per_epoch * settings.epochs, settings.epochs, options.quiet);
  TrainingRecord record;
  record.parameters = model.parameter_count();
  double best = -1;
  nn::NamedTensors best_state;
  for (std::int64_t epoch = 1; epoch <= settings.epochs; ++epoch) {
    model.train();
    RandomStream random(settings.seed, examples_stream + static_cast<std::uint64_t>(epoch));
    for (std::size_t i = rows.size(); i > 1; --i)
      std::swap(rows[i - 1], rows[random.below(static_cast<std::uint32_t>(i))]);
    double total = 0;
    for (std::size_t begin = 0; begin < rows.size(); begin += per_batch) {
      const std::span part = std::span<const Labelled>(rows).subspan(begin, std::min(per_batch, rows.size() - begin));
      std::vector<float> labels;
      for (const Labelled& row : part) labels.push_back(row.positive ? 1.0f : 0.0f);
      const Tensor logit = model(examples_of(model, data, part, settings, &random)).logit;  // [batch, 1]
      const double loss = trainer.step(bce_with_logits(logit, from_vector(labels, logit.shape())));
      record.losses.push_back(loss);
      total += loss;
      progress.step(loss, static_cast<std::int64_t>(part.size()));
    }
    model.eval();
    forget_untrained_users(model, split.train);
    const std::vector<float> logits = pointwise_logits(ranker, data, split.validation, settings);
    EpochRecord entry{
        epoch,
        total / static_cast<double>(steps_per_epoch),
        progress.seconds(),
        {{"auc", auc(logits, validation_labels).value}, {"log_loss", log_loss(logits, validation_labels).value}}};
    if (entry.validation[0].second > best) {
      best = entry.validation[0].second;
      best_state.clear();
      for (const auto& [name, tensor] : model.state_dict()) best_state.emplace_back(name, tensor.detach().clone());
    }
    progress.epoch(note_of(entry));
    record.epochs.push_back(std::move(entry));
  }
  model.load_state_dict(best_state);
  record.seconds = progress.seconds();
  return record;
}

}  // namespace heed::recommender
