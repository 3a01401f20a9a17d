#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace heed::nn {

// A set of byte strings with numbers, for finding the longest of them that a text begins with. The edges of all nodes
// share one open-addressing table.
class Trie {
 public:
  static constexpr std::int32_t none = -1;

  Trie();
  // A number >= 0. A string that is there already gets the new one.
  void insert(std::string_view text, std::int32_t number);

  struct Match {
    std::int32_t number = none;
    std::size_t length = 0;
  };
  // The longest string, not empty, that `text` begins with; number none where there is none.
  Match longest_prefix(std::string_view text) const {
    return longest_prefix(text, [] { return false; });
  }
  // The same of those strings for which skip() is false, asked of each but the shortest.
  template <class Skip>
  Match longest_prefix(std::string_view text, Skip&& skip) const {
    Match match;
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node == 0) break;
      if (numbers_[node] != none && (match.length == 0 || !skip())) match = {numbers_[node], i + 1};
    }
    return match;
  }

 private:
  struct Edge {
    std::uint64_t key = 0;  // parent * 256 + byte + 1; 0: free
    std::uint32_t node = 0;
  };
  static std::uint64_t key_of(std::uint32_t node, unsigned char byte) { return (std::uint64_t{node} << 8 | byte) + 1; }
  std::size_t place_of(std::uint64_t key) const {
    std::size_t place = static_cast<std::size_t>(key * 0x9e3779b97f4a7c15ull >> shift_);
    while (edges_[place].key != 0 && edges_[place].key != key) place = (place + 1) & (edges_.size() - 1);
    return place;
  }
  std::uint32_t child(std::uint32_t node, unsigned char byte) const {
    return edges_[place_of(key_of(node, byte))].node;
  }
  void grow();

  std::vector<Edge> edges_;
  int shift_;
  std::vector<std::int32_t> numbers_;  // of each node; the root is node 0, and no node's child
};

}  // namespace heed::nn
