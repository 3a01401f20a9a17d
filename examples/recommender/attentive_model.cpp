#include "examples/recommender/attentive_model.h"

namespace heed::examples::recommender {

AttentiveModel::AttentiveModel(const Settings& settings, std::int64_t user_count, std::int64_t item_count)
    : users(user_count + 1, settings.width),
      items(item_count, settings.width),
      reactions(2, settings.width),
      attention(settings.width, settings.heads),
      dropout(settings.dropout),
      hidden(3 * settings.width, settings.hidden),
      out(settings.hidden, 1),
      attends_(settings.attention) {
  register_module("users", users);
  register_module("items", items);
  register_module("reactions", reactions);
  register_module("attention", attention);
  register_module("dropout", dropout);
  register_module("hidden", hidden);
  register_module("out", out);
  for (const nn::Embedding* table : {&users, &items, &reactions}) nn::init::normal(table->weight, 0, 0.02);
}

AttentiveModel::Scored AttentiveModel::operator()(const Examples& examples, bool need_weights) const {
  const Tensor past = dropout(items(examples.history) + reactions(examples.reaction));  // [batch, length, width]
  const Tensor candidate = dropout(items(examples.candidate));                          // [batch, candidates, width]
  const Tensor user = dropout(users(examples.user)).unsqueeze(1).expand(candidate.shape());
  nn::AttendOptions options{.key_lengths = examples.lengths, .need_weights = need_weights};
  if (examples.visible.defined()) options.mask = examples.visible.unsqueeze(1).unsqueeze(1);  // [batch, 1, 1, length]
  if (!attends_) options.scale = 0;
  const nn::Attended context = attention(candidate, past, past, options);
  const Tensor joined = cat({user, context.output, candidate}, 2);  // [batch, candidates, 3 width]
  return {out(dropout(tanh(hidden(joined)))).squeeze(2), context.weights};
}

}  // namespace heed::examples::recommender
