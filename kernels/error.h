// The one exception type. It lives down here because the kernel registry, the lowest layer, can fail too.
#pragma once

#include <stdexcept>

namespace heed {

// Wording: `operation: what is wrong, with the offending values`, e.g.
// `softmax: axis 3 out of range for shape [2, 4]`. The library never aborts, prints or asserts on a user's input.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace heed
