// Conditions that must hold after every test case, whatever it tested: nothing leaked, nothing left switched.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace heed::test {

// Says what is wrong, or nothing when all is well.
using AfterEach = std::function<std::string()>;

inline std::vector<AfterEach>& after_each_checks() {
  static std::vector<AfterEach> checks;
  return checks;
}

// A static object of this type adds a check:
//   const CheckAfterEach live_nodes{[] { return live_nodes() == 0 ? "" : "the graph still has nodes"; }};
struct CheckAfterEach {
  explicit CheckAfterEach(AfterEach check) { after_each_checks().push_back(std::move(check)); }
};

}  // namespace heed::test
