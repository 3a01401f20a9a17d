#include "examples/common/training_run.h"

#include <cmath>
#include <limits>

#include "engine/json.h"
#include "engine/ops.h"

namespace heed::examples {
namespace {

const std::string average_prefix = "moving average ";

std::string note_of(const EpochRecord& record) {
  std::string note;
  for (const auto& [name, value] : record.validation)
    note += fmt::format("{}{} {:.4f}", note.empty() ? "validation " : ", ", name, value);
  return note;
}

// The settings in which two trainings differ: "width 64 there, 32 here".
std::string differences(const nlohmann::json& there, const nlohmann::json& here) {
  std::string text;
  for (const auto& [name, value] : here.items()) {
    if (there.value(name, nlohmann::json()) == value) continue;
    text += fmt::format("{}{} {} there, {} here", text.empty() ? "" : "; ", name,
                        json_text(there.value(name, SortedJson())), json_text(value));
  }
  return text;
}

}  // namespace

Json to_json(const TrainingRecord& record) {
  Json json{{"parameters", record.parameters}, {"seconds", record.seconds}, {"epochs", Json::array()}};
  for (const EpochRecord& epoch : record.epochs) {
    Json entry{{"epoch", epoch.epoch}, {"loss", epoch.loss}, {"seconds", epoch.seconds}};
    for (const auto& [name, value] : epoch.validation) entry["validation"][name] = value;
    json["epochs"].push_back(std::move(entry));
  }
  json["losses"] = record.losses;
  return json;
}

TrainingRecord record_from_json(const Json& json) {
  TrainingRecord record;
  record.parameters = json.at("parameters");
  record.seconds = json.at("seconds");
  record.losses = json.at("losses").get<std::vector<double>>();
  for (const Json& entry : json.at("epochs")) {
    EpochRecord epoch{entry.at("epoch"), entry.at("loss"), entry.at("seconds"), {}};
    if (entry.contains("validation")) {
      for (const auto& [name, value] : entry.at("validation").items())
        epoch.validation.emplace_back(name, value.get<double>());
    }
    record.epochs.push_back(std::move(epoch));
  }
  return record;
}

TrainingRun::TrainingRun(nn::Module& module, const std::vector<nn::ParameterGroup>& groups, TrainingPlan plan)
    : module_(module),
      plan_(std::move(plan)),
      optimizer_(groups, {.lr = plan_.learning_rate, .weight_decay = plan_.weight_decay}),
      progress_(plan_.unit, plan_.steps_per_epoch * plan_.epochs, plan_.epochs, plan_.quiet) {
  const std::int64_t steps = plan_.steps_per_epoch * plan_.epochs;
  const auto rise = std::max<std::int64_t>(1, std::llround(plan_.warm_up * static_cast<double>(steps)));
  schedule_ = nn::warmup(rise, nn::cosine(std::max<std::int64_t>(1, steps - rise)));
  record_.parameters = module.parameter_count();
  if (plan_.average > 0) {
    for (const Tensor& parameter : module.parameters()) averages_.emplace_back(parameter, parameter.detach().clone());
  }
  if (plan_.resume) resume();
}

void TrainingRun::step(const Tensor& loss, std::int64_t units) {
  const double value = loss.item<double>();
  const auto step = static_cast<std::int64_t>(record_.losses.size());
  check(std::isfinite(value), "training: the loss is {} in step {}; a smaller learning rate may help", value, step);
  optimizer_.zero_grad();
  backward(loss);
  if (plan_.clip_norm > 0) optimizer_.clip_grad_norm(plan_.clip_norm);
  optimizer_.step(schedule_(step));
  update_average();
  record_.losses.push_back(value);
  epoch_loss_ += value;
  ++epoch_steps_;
  progress_.step(value, units);
  const bool due = plan_.save_every > 0 && progress_.seconds() - saved_ >= plan_.save_every;
  if (due && !plan_.checkpoint.empty()) save();
}

// Early on the average forgets faster: the weights it began with are random.
void TrainingRun::update_average() {
  const NoGrad no_grad;
  const auto steps = static_cast<double>(record_.losses.size());
  const double decay = std::min(plan_.average, (1 + steps) / (10 + steps));
  for (const auto& [parameter, average] : averages_) assign(average, average * decay + parameter * (1 - decay));
}

void TrainingRun::swap_average() {
  const NoGrad no_grad;
  for (const auto& [parameter, average] : averages_) {
    const Tensor weights = parameter.detach().clone();
    assign(parameter, average);
    assign(average, weights);
  }
}

void TrainingRun::end_epoch(Figures validation) {
  EpochRecord entry{first_epoch(), epoch_loss_ / static_cast<double>(epoch_steps_), progress_.seconds(),
                    std::move(validation)};
  epoch_loss_ = 0;
  epoch_steps_ = 0;
  progress_.epoch(note_of(entry));
  record_.epochs.push_back(std::move(entry));
  if (!plan_.checkpoint.empty()) save();
}

double TrainingRun::best(const std::string& figure) const {
  double best = -std::numeric_limits<double>::infinity();
  for (const EpochRecord& epoch : record_.epochs) {
    for (const auto& [name, value] : epoch.validation)
      if (name == figure) best = std::max(best, value);
  }
  return best;
}

void TrainingRun::keep_weights() {
  kept.clear();
  for (const auto& [name, tensor] : module_.state_dict()) kept.emplace_back(name, tensor.detach().clone());
}

TrainingRecord TrainingRun::record() const {
  TrainingRecord record = record_;
  record.seconds = progress_.seconds();
  return record;
}

nn::NamedTensors TrainingRun::named_averages() const {
  nn::NamedTensors named;
  for (std::size_t i = 0; i < averages_.size(); ++i)
    named.emplace_back(average_prefix + std::to_string(i), averages_[i].second);
  return named;
}

void TrainingRun::save() {
  nn::TrainingState state{.step = static_cast<std::int64_t>(record_.losses.size()), .tensors = kept};
  state.metadata = {{"settings", plan_.settings}, {"data", plan_.data}, {"record", json_text(to_json(record()))}};
  for (const auto& average : named_averages()) state.tensors.push_back(average);
  state.metadata["epoch"] = json_text(Json{{"loss", epoch_loss_}, {"steps", epoch_steps_}});
  nn::save_checkpoint(plan_.checkpoint, module_, optimizer_, state);
  saved_ = progress_.seconds();
}

void TrainingRun::resume() {
  const std::string name = plan_.checkpoint.string();
  check(nn::has_checkpoint(plan_.checkpoint), "--resume: there is no interrupted training in {}", name);
  try {
    const std::map<std::string, std::string> known = nn::read_training_state(plan_.checkpoint).metadata;
    const std::string other = differences(parse_sorted_json(known.at("settings")), parse_sorted_json(plan_.settings));
    check(other.empty(), "other settings: {}", other);
    check(known.at("data") == plan_.data, "other data: {} there, {} here", known.at("data"), plan_.data);
    record_ = record_from_json(parse_json(known.at("record")));
    const Json epoch = parse_json(known.at("epoch"));
    epoch_loss_ = epoch.at("loss");
    epoch_steps_ = epoch.at("steps");
  } catch (const std::exception& error) {
    fail("--resume: the training in {} can't be continued: {}", name, error.what());
  }
  const nn::TrainingState state = nn::load_checkpoint(plan_.checkpoint, module_, optimizer_);
  nn::NamedTensors saved_averages;
  for (const auto& [entry, tensor] : state.tensors)
    (entry.starts_with(average_prefix) ? saved_averages : kept).emplace_back(entry, tensor);
  const std::string context = fmt::format("--resume: {}/tensors.safetensors", name);
  nn::compare(named_averages(), saved_averages).require_exact(context);
  if (!kept.empty()) nn::compare(module_.state_dict(), kept).require_exact(context);
  const NoGrad no_grad;
  for (const auto& [entry, tensor] : saved_averages)
    assign(averages_.at(std::stoul(entry.substr(average_prefix.size()))).second, tensor);
  saved_ = record_.seconds;
  progress_.resume(state.step, static_cast<std::int64_t>(record_.epochs.size()), record_.seconds);
}

}  // namespace heed::examples
