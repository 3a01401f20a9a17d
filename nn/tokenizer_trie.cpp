#include "nn/tokenizer_trie.h"

#include "engine/error.h"

namespace heed::nn {

Trie::Trie() : edges_(16), shift_(60), numbers_{none} {}

void Trie::insert(std::string_view text, std::int32_t number) {
  check(number >= 0, "Trie: number {}", number);
  std::uint32_t node = 0;
  for (const char c : text) {
    const std::uint64_t key = key_of(node, static_cast<unsigned char>(c));
    std::size_t place = place_of(key);
    if (edges_[place].key == 0) {
      if (2 * numbers_.size() >= edges_.size()) {
        grow();
        place = place_of(key);
      }
      edges_[place] = {key, static_cast<std::uint32_t>(numbers_.size())};
      numbers_.push_back(none);
    }
    node = edges_[place].node;
  }
  numbers_[node] = number;
}

void Trie::grow() {
  std::vector<Edge> old(2 * edges_.size());
  old.swap(edges_);
  --shift_;
  for (const Edge& edge : old) {
    if (edge.key != 0) edges_[place_of(edge.key)] = edge;
  }
}

}  // namespace heed::nn
