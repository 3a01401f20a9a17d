// HEED_TEST_DEVICE=cuda in the environment: tensors are made on that device where a test names none, so the same cases run
// there. A machine without it skips: exit status 77.
#include <cstdlib>
#include <iostream>

#include "engine/device.h"
#include "engine/error.h"

namespace heed::test {
namespace {

const bool chosen = [] {
  const char* device = std::getenv("HEED_TEST_DEVICE");
  if (device == nullptr || *device == '\0') return false;
  try {
    set_default_device(parse_device(device));
  } catch (const Error& error) {
    std::cout << "skipped: " << error.what() << std::endl;
    std::exit(77);
  }
  return true;
}();

}  // namespace
}  // namespace heed::test
