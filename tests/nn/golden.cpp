#include "tests/nn/golden.h"

#include "nn/checkpoint.h"

namespace heed::test {

std::filesystem::path golden_folder() {
  return HEED_GOLDEN_FOLDER;
}

Golden::Golden(const std::string& name) : tensors_(nn::load_tensors(golden_folder() / (name + ".safetensors"))) {}

const Tensor& Golden::operator[](const std::string& name) const {
  for (const auto& [key, tensor] : tensors_) {
    if (key == name) return tensor;
  }
  fail("golden file: no entry {}", name);
}

nn::NamedTensors Golden::below(const std::string& prefix) const {
  nn::NamedTensors found;
  for (const auto& [key, tensor] : tensors_) {
    if (key.starts_with(prefix + ".")) found.emplace_back(key.substr(prefix.size() + 1), tensor);
  }
  return found;
}

}  // namespace heed::test
