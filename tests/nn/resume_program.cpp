// Trains a small transformer with all that has a state: shuffled batches read ahead, dropout, clipping, AdamW under a
// schedule. Writes a checkpoint after every step, continues from the one it finds, and ends with the weights in a file.
// usage: resume_program FOLDER STEPS
#include <cstdio>
#include <cstdlib>

#include "engine/ops.h"
#include "nn/checkpoint.h"
#include "nn/embedding.h"
#include "nn/schedule.h"
#include "nn/transformer.h"

using namespace heed;

namespace {

struct Model : nn::Module {
  Model() {
    register_module("embedding", embedding);
    register_module("encoder", encoder);
    register_module("head", head);
  }
  Tensor loss(const Tensor& tokens) const {  // i64 [batch, length]: predict the next one
    const std::int64_t length = tokens.size(1) - 1;
    const Tensor x = embedding(tokens.slice(1, 0, length));              // [batch, length, 32]
    const Tensor y = encoder(x, {.causal = Causal::top_left}).output;    // [batch, length, 32]
    const Tensor target = tokens.slice(1, 1, length + 1).reshape({-1});  // [batch length]
    return cross_entropy(head(y).reshape({-1, 20}), target);
  }
  nn::Embedding embedding{20, 32};
  nn::TransformerEncoder encoder{32, 2, 1, {.dim_feedforward = 64, .dropout = 0.2}};
  nn::Linear head{32, 20};
};

Tensor make_batch(const nn::BatchRequest& request) {
  std::vector<std::int64_t> tokens;
  for (const std::int64_t sample : request.indices)
    for (std::int64_t i = 0; i < 9; ++i) tokens.push_back((sample * sample + 3 * sample * i) % 20);
  return from_vector(tokens, {std::ssize(request.indices), 9});
}

void train(const std::string& folder, std::int64_t steps) {
  manual_seed(1);
  Model model;
  nn::AdamW optimizer(nn::decay_matrices_only(model), {.lr = 1e-2});
  nn::DataLoader<Tensor> loader(50, make_batch, {.batch_size = 16, .shuffle = true, .prefetch = 2, .seed = 5});
  const nn::Schedule schedule = nn::warmup(5, nn::cosine(steps));

  const std::string checkpoint = folder + "/checkpoint";
  nn::TrainingState state = {.loader = loader.state()};
  if (nn::has_checkpoint(checkpoint)) state = nn::load_checkpoint(checkpoint, model, optimizer);
  loader.restore(state.loader);
  while (state.step < steps) {
    const std::optional<Tensor> tokens = loader.next();
    if (!tokens) continue;
    optimizer.zero_grad();
    backward(model.loss(*tokens));
    optimizer.clip_grad_norm(1);
    optimizer.step(schedule(state.step));
    ++state.step;
    state.loader = loader.state();
    nn::save_checkpoint(checkpoint, model, optimizer, state);
  }
  nn::save_tensors(folder + "/final.safetensors", model.state_dict());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) fail("usage: resume_program FOLDER STEPS");
    train(argv[1], std::atoll(argv[2]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "resume_program: %s\n", error.what());
    return 1;
  }
}
