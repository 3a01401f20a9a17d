#include "examples/recommender/training.h"

#include <cmath>
#include <unordered_set>

#include "examples/common/random_stream.h"
#include "examples/common/training_run.h"
#include "examples/recommender/attentive_model.h"
#include "examples/recommender/batches.h"
#include "examples/recommender/sequential_model.h"

namespace heed::examples::recommender {
namespace {

constexpr double unknown_user_share = 0.1;  // of the training examples, told without the user's name
constexpr std::uint64_t examples_stream = 5ull << 60;

TrainingPlan plan_of(const Settings& settings, const TrainingOptions& options, const Interactions& data,
                     std::int64_t steps_per_epoch, const std::string& unit) {
  return {.settings = to_json_text(settings),
          .data = fmt::format("{} users, {} items, {} events", data.users(), data.items(), data.events.size()),
          .epochs = settings.epochs,
          .steps_per_epoch = steps_per_epoch,
          .learning_rate = settings.learning_rate,
          .weight_decay = settings.weight_decay,
          .warm_up = settings.warm_up,
          .clip_norm = settings.clip_norm,
          .unit = unit,
          .quiet = options.quiet,
          .checkpoint = options.checkpoint,
          .resume = options.resume};
}

bool is_due(std::int64_t epoch, std::int64_t epochs, std::int64_t every) {
  if (every <= 0) every = std::max<std::int64_t>(1, epochs / 5);
  return epoch % every == 0 || epoch == epochs;
}

}  // namespace

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
  TrainingRun run(model, nn::decay_matrices_only(model),
                  plan_of(settings, options, split.data(), steps_per_epoch, "events"));
  for (std::int64_t epoch = run.first_epoch(); epoch <= settings.epochs; ++epoch) {
    model.train();
    for (const SequenceBatch& batch : sampler.epoch(epoch - 1)) {
      const Tensor hidden = model.encode(batch.history).hidden.flatten(0, 1);  // [batch * length, width]
      const Tensor events = index_select(hidden, 0, batch.positions);          // [events, width]
      run.step(sequential_loss(model, settings, events, batch.target, batch.negatives, batch.seen),
               batch.target.count());
    }
    model.eval();
    Figures validation;
    if (!settings.fit_validation && is_due(epoch, settings.epochs, options.validate_every)) {
      EvaluationSettings how = options.validation;
      how.part = Part::validation;
      const RankingMetrics metrics = ranking_metrics(ranks(split, scorer_of(ranker), how), how.k);
      validation = {{fmt::format("hr@{}", how.k), metrics.hit_rate.value},
                    {fmt::format("ndcg@{}", how.k), metrics.ndcg.value}};
    }
    run.end_epoch(std::move(validation));
  }
  return run.record();
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
  std::vector<std::uint8_t> validation_labels;
  for (const Labelled& row : split.validation) validation_labels.push_back(row.positive ? 1 : 0);
  const auto per_batch = static_cast<std::size_t>(settings.batch_events);
  const auto steps_per_epoch = static_cast<std::int64_t>((split.train.size() + per_batch - 1) / per_batch);
  TrainingRun run(model, nn::decay_matrices_only(model), plan_of(settings, options, data, steps_per_epoch, "examples"));
  for (std::int64_t epoch = run.first_epoch(); epoch <= settings.epochs; ++epoch) {
    model.train();
    RandomStream random(settings.seed, examples_stream + static_cast<std::uint64_t>(epoch));
    std::vector<Labelled> rows = split.train;
    for (std::size_t i = rows.size(); i > 1; --i)
      std::swap(rows[i - 1], rows[random.below(static_cast<std::uint32_t>(i))]);
    for (std::size_t begin = 0; begin < rows.size(); begin += per_batch) {
      const std::span part = std::span<const Labelled>(rows).subspan(begin, std::min(per_batch, rows.size() - begin));
      std::vector<float> labels;
      for (const Labelled& row : part) labels.push_back(row.positive ? 1.0f : 0.0f);
      const Tensor logit = model(examples_of(model, data, part, settings, &random)).logit;  // [batch, 1]
      run.step(bce_with_logits(logit, from_vector(labels, logit.shape())), static_cast<std::int64_t>(part.size()));
    }
    model.eval();
    forget_untrained_users(model, split.train);
    const std::vector<float> logits = pointwise_logits(ranker, data, split.validation, settings);
    const double quality = auc(logits, validation_labels).value;
    if (quality > run.best("auc")) run.keep_weights();
    run.end_epoch({{"auc", quality}, {"log_loss", log_loss(logits, validation_labels).value}});
  }
  model.load_state_dict(run.kept);
  return run.record();
}

}  // namespace heed::examples::recommender
