// recommend and explain: one person, a trained model, a list and its reasons.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_set>

#include "examples/common/progress.h"
#include "examples/common/text.h"
#include "examples/common/text_table.h"
#include "examples/recommender/presentation.h"

namespace heed::examples::recommender {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::int32_t> items_named(const Interactions& data, const std::string& list, const char* option) {
  std::vector<std::int32_t> items;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view id = trim(std::string_view(list).substr(begin, end - begin));
    begin = end + 1;
    if (id.empty()) continue;
    const std::optional<std::int32_t> item = data.find_item(id);
    check(item.has_value(), "{}: the model knows no item {}", option, excerpt(id));
    items.push_back(*item);
  }
  return items;
}

Person person_of(const Interactions& data, const PersonOptions& options, float like) {
  check(options.user.has_value() != !options.history.empty(), "whom for? Give one of --user and --history");
  Person person;
  if (options.user) {
    const std::optional<std::int32_t> user = data.find_user(*options.user);
    check(user.has_value(), "--user: the data know no user {}", excerpt(*options.user));
    const auto events = data.events_of(*user);
    person = {*user, {events.begin(), events.end()}};
  } else {
    // Who lists what they met says that they care for it.
    for (const std::int32_t item : items_named(data, options.history, "--history"))
      person.history.push_back({item, like, 0});
    check(!person.history.empty(), "--history: no item in '{}'", options.history);
  }
  const std::vector<std::int32_t> ignored = items_named(data, options.ignored, "--ignore");
  if (ignored.empty()) return person;
  person.ignored.resize(person.history.size(), false);
  for (const std::int32_t item : ignored) {
    bool found = false;
    for (std::size_t i = 0; i < person.history.size(); ++i) {
      if (person.history[i].item != item) continue;
      person.ignored[i] = true;
      found = true;
    }
    check(found, "--ignore: {} is not in the history", excerpt(data.item_ids[static_cast<std::size_t>(item)]));
  }
  return person;
}

struct Named {
  const Interactions& data;
  const std::string& id(std::int32_t item) const { return data.item_ids[static_cast<std::size_t>(item)]; }
  const std::string& title(std::int32_t item) const { return data.item_info[static_cast<std::size_t>(item)].title; }
  Json json(std::int32_t item) const { return {{"id", id(item)}, {"title", title(item)}}; }
};

// How a place in the list changed because of --ignore: "new", "was 4th", "" when it stayed.
std::string change_of(std::int32_t item, std::size_t place, const std::vector<Recommended>& before) {
  const auto found =
      std::find_if(before.begin(), before.end(), [item](const Recommended& r) { return r.item == item; });
  if (found == before.end()) return "new";
  const auto old_place = static_cast<std::size_t>(found - before.begin());
  if (old_place == place) return "";
  return fmt::format("was {}", old_place + 1);
}

void print_reasons(const Output& output, const Named& named, const Person& person, const Explanation& why) {
  std::vector<std::size_t> order(person.history.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(why.effect[a]) > std::abs(why.effect[b]); });
  std::vector<std::vector<std::string>> table{{"   because of", "attention", "effect"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(5, order.size()); ++i) {
    const std::size_t event = order[i];
    if (why.effect[event] == 0 && why.attention[event] == 0) break;
    table.push_back({"   " + shortened(named.title(person.history[event].item), 50),
                     fmt::format("{:.0f}%", 100 * why.attention[event]), fmt::format("{:+.2f}", why.effect[event])});
  }
  say(output, "{}", text_table(table));
}

}  // namespace

void run(const RecommendCommand& command) {
  const TrainedModel model = load_model(command.model);
  Interactions data = model.data;
  if (!command.data.path.empty()) {
    std::int64_t unknown = 0;
    data = adopt(read_interactions(command.data.path, command.data.read), model.data, unknown);
    if (unknown > 0)
      note("left out {} events with items that the model does not know", format_count(static_cast<double>(unknown)));
  }
  Person person = person_of(data, command.person, static_cast<float>(model.settings.like_from));
  // Numbers of users are those of the training data; other data count theirs anew.
  if (!command.data.path.empty() && person.user >= 0) {
    person.user = model.data.find_user(*command.person.user).value_or(-1);
  }
  const Named named{data};
  const std::vector<Recommended> list = recommend(*model.ranker, person, command.k, command.include_seen);
  const bool ignores = !person.ignored.empty();
  std::vector<Recommended> before;
  if (ignores) before = recommend(*model.ranker, {person.user, person.history}, command.k, command.include_seen);
  std::vector<Explanation> reasons;
  if (command.explain) {
    std::vector<std::int32_t> items;
    for (const Recommended& recommended : list) items.push_back(recommended.item);
    reasons = explain(*model.ranker, person, items);
  }

  Json json{{"history", Json::array()}, {"recommendations", Json::array()}};
  std::string recent;
  for (std::size_t i = 0; i < person.history.size(); ++i) {
    Json entry = named.json(person.history[i].item);
    if (ignores) entry["ignored"] = static_cast<bool>(person.ignored[i]);
    json["history"].push_back(std::move(entry));
    if (i + 5 < person.history.size()) continue;
    recent += (recent.empty() ? "" : ", ") + shortened(named.title(person.history[i].item), 40) +
              (ignores && person.ignored[i] ? " (ignored)" : "");
  }
  say(command.output, "{} events known, the latest: {}\n", person.history.size(), recent);

  std::vector<std::vector<std::string>> table{{"", "id", "title", "score"}};
  if (ignores) table[0].push_back("without --ignore");
  for (std::size_t i = 0; i < list.size(); ++i) {
    Json entry = named.json(list[i].item);
    entry["score"] = list[i].score;
    table.push_back({std::to_string(i + 1), named.id(list[i].item), shortened(named.title(list[i].item), 50),
                     fmt::format("{:.3f}", list[i].score)});
    if (ignores) {
      table.back().push_back(change_of(list[i].item, i, before));
      entry["change"] = table.back().back();
    }
    if (command.explain) {
      for (std::size_t e = 0; e < person.history.size(); ++e) {
        Json reason = named.json(person.history[e].item);
        reason["attention"] = reasons[i].attention[e];
        reason["effect"] = reasons[i].effect[e];
        entry["reasons"].push_back(std::move(reason));
      }
    }
    json["recommendations"].push_back(std::move(entry));
  }
  if (!command.explain) {
    say(command.output, "{}", text_table(table, {1, 2, 4}));
  } else {
    for (std::size_t i = 0; i < list.size(); ++i) {
      say(command.output, "{}. {} ({})", i + 1, named.title(list[i].item), named.id(list[i].item));
      print_reasons(command.output, named, person, reasons[i]);
    }
    say(command.output,
        "attention: where the model looked. effect: how much less likely the item gets, in {}, when the event is "
        "hidden.",
        model.settings.model == "attentive" ? "logits" : "log probability");
  }
  if (ignores) {
    std::string gone;
    for (const Recommended& old : before) {
      const bool stays =
          std::any_of(list.begin(), list.end(), [&](const Recommended& r) { return r.item == old.item; });
      if (!stays) {
        gone += (gone.empty() ? "" : ", ") + named.title(old.item);
        json["gone"].push_back(named.json(old.item));
      }
    }
    if (!gone.empty()) say(command.output, "no longer in the list: {}", gone);
  }
  write_json(command.output, json);
}

}  // namespace heed::examples::recommender
