#include "tools/gpusim/machine/observers.h"

namespace gpusim {

std::unique_ptr<Watch> watch_launch(const Launch& launch, unsigned threads) {
  switch (launch.options->mode) {
    case Mode::check:
      return make_checker(launch, threads);
    case Mode::profile:
      return make_profiler(launch, threads);
    default:
      return nullptr;
  }
}

}  // namespace gpusim
