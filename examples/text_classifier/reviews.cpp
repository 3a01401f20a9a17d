#include "examples/text_classifier/reviews.h"

#include <fmt/core.h>

#include <array>

#include "examples/common/random_stream.h"

namespace heed::examples::classifier {
namespace {

using Words = std::vector<std::string_view>;

const Words good = {"wonderful", "delicious", "excellent", "lovely",    "superb",
                    "charming",  "perfect",   "brilliant", "memorable", "fresh"};
const Words bad = {"awful", "bland", "terrible", "dreadful", "stale", "greasy", "poor", "forgettable", "cold", "burnt"};
const Words things = {"soup", "bread",  "service", "dessert", "fish",  "pasta",
                      "wine", "coffee", "curry",   "salad",   "steak", "breakfast"};
const Words sayers = {"my brother", "the guide", "everybody", "a friend", "the critic", "our neighbour"};
const Words fillers = {"we came on a rainy evening", "the place was half full", "it is close to the station",
                       "the waiter wore a red tie",  "we sat by the window",    "they close at ten",
                       "a dog slept by the door",    "the menu is short",       "we paid in cash",
                       "the music was not loud"};

class Writer {
 public:
  Writer(std::uint64_t seed, std::uint64_t number) : random_(seed, number) {}

  Example review() {
    const bool praise = random_.percent(50);
    std::vector<std::string> parts{verdict(praise)};
    for (std::uint32_t i = random_.below(3); i > 0; --i)
      parts.insert(parts.begin() + random_.below(static_cast<std::uint32_t>(parts.size()) + 1),
                   std::string(one_of(fillers)));
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : " ") + part + ".";
    return {text, praise ? 1 : 0};
  }

 private:
  std::string_view one_of(const Words& words) { return words[random_.below(static_cast<std::uint32_t>(words.size()))]; }

  // `found` is what counts; `other` says the contrary.
  std::string verdict(bool praise) {
    const std::string_view found = one_of(praise ? good : bad), other = one_of(praise ? bad : good);
    const std::string_view thing = one_of(things), second = one_of(things), sayer = one_of(sayers);
    switch (random_.below(10)) {
      case 0:
        return fmt::format("the {} was {}", thing, found);
      case 1:
        return fmt::format("the {} was not {}", thing, other);
      case 2:
        return fmt::format("{} had called the {} {}, but to us it was {}", sayer, thing, other, found);
      case 3:
        return fmt::format("to us the {} was {}, although {} had called it {}", thing, found, sayer, other);
      case 4:
        return fmt::format("we expected the {} to be {} and it turned out {}", thing, other, found);
      case 5:
        return fmt::format("it is not true that the {} is {}: we found it {}", thing, other, found);
      case 6:
        return fmt::format("they promised a {} {}, and what we got was a {} {}", other, thing, found, second);
      default:
        return fmt::format("the {} was {} and the {} was {}", thing, found, second, one_of(praise ? good : bad));
    }
  }

  RandomStream random_;
};

}  // namespace

Corpus generate_reviews(std::uint64_t seed, std::int64_t count) {
  Corpus corpus{"generated reviews", {"complaint", "praise"}, {}};
  for (std::int64_t i = 0; i < count; ++i)
    corpus.examples.push_back(Writer(seed, static_cast<std::uint64_t>(i)).review());
  return corpus;
}

}  // namespace heed::examples::classifier
