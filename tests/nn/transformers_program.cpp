// What tests/nn/check_against_transformers compares with Hugging Face's libraries.
//
//   transformers_program tokens FOLDER        ids and offsets of each line of standard input, as JSON
//   transformers_program states FOLDER OUT    hidden states of the lines of standard input, 32 at a time, as tensors
//   transformers_program time FOLDER FILE     seconds to tokenize a file, and its tokens: one round per line of input
#include <fmt/core.h>

#include <chrono>
#include <iostream>

#include "engine/file.h"
#include "engine/ops.h"
#include "nn/bert.h"
#include "nn/checkpoint.h"
#include "nn/tokenizer.h"

namespace {

using namespace heed;

void print_tokens(const nn::Tokenizer& tokenizer) {
  for (std::string line; std::getline(std::cin, line);) {
    const nn::Encoding encoding = tokenizer.encode(line);
    std::string text;
    for (std::size_t i = 0; i < encoding.size(); ++i) {
      text += fmt::format("{}[{},{},{}]", i == 0 ? "" : ",", encoding.ids[i], encoding.offsets[i].start,
                          encoding.offsets[i].end);
    }
    fmt::print("[{}]\n", text);
  }
}

void write_states(const nn::Tokenizer& tokenizer, const std::string& folder, const std::string& path) {
  const NoGrad no_grad;
  const nn::Bert bert = nn::load_bert(folder);
  nn::NamedTensors states;
  std::vector<nn::Encoding> encodings;
  const auto flush = [&] {
    if (encodings.empty()) return;
    const nn::TokenBatch batch = nn::pad(encodings, tokenizer.pad_id());
    states.emplace_back(std::to_string(states.size()),
                        (*bert.model)(batch.ids, {.lengths = batch.lengths, .type_ids = batch.type_ids}).hidden);
    encodings.clear();
  };
  for (std::string line; std::getline(std::cin, line);) {
    encodings.push_back(tokenizer.encode(line, {.max_length = 128}));
    if (encodings.size() == 32) flush();
  }
  flush();
  nn::save_tensors(path, states);
}

void time_tokenizer(const nn::Tokenizer& tokenizer, const std::string& path) {
  const std::string text = read_file(path);
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    const std::size_t tokens = tokenizer.encode(text).size();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{} {}\n", seconds, tokens);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string what = argv[1], folder = argv[2];
  const nn::Tokenizer tokenizer = nn::Tokenizer::load(folder);
  if (what == "tokens") print_tokens(tokenizer);
  if (what == "states" && argc == 4) write_states(tokenizer, folder, argv[3]);
  if (what == "time" && argc == 4) time_tokenizer(tokenizer, argv[3]);
}
