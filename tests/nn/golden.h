// What PyTorch computes, from the files that tests/golden/make_nn_golden.py writes.
#pragma once

#include <filesystem>
#include <string>

#include "nn/module.h"

namespace heed::test {

// tests/golden/, where the golden files lie.
std::filesystem::path golden_folder();

class Golden {
 public:
  explicit Golden(const std::string& name);
  const Tensor& operator[](const std::string& name) const;
  // All entries "PREFIX.NAME", under NAME.
  nn::NamedTensors below(const std::string& prefix) const;

 private:
  nn::NamedTensors tensors_;
};

}  // namespace heed::test
