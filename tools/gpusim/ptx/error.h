// The one error type of the simulator.
#pragma once

#include <stdexcept>
#include <string>

namespace gpusim {

class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int line = 0) : std::runtime_error(message), line(line) {}
  int line;  // of the PTX text, from 1; 0 when the error has no place in it
};

}  // namespace gpusim
