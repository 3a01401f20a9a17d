#include "engine/random.h"

namespace heed {
namespace {
constinit Generator generator;
}

Generator& default_generator() {
  return generator;
}
void manual_seed(std::uint64_t seed) {
  generator = {seed, 0};
}

}  // namespace heed
