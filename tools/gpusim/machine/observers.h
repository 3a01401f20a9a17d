// How check and profile mode attach to a launch.
#pragma once

#include <memory>

#include "tools/gpusim/machine/warp.h"

namespace gpusim {

// Of a whole launch: an observer for each thread, and at the end what they have seen together.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual Observer* observer(unsigned thread) = 0;
  virtual void finish(LaunchResult& result) = 0;
};

// nullptr in fast mode.
std::unique_ptr<Watch> watch_launch(const Launch& launch, unsigned threads);
std::unique_ptr<Watch> make_checker(const Launch& launch, unsigned threads);
std::unique_ptr<Watch> make_profiler(const Launch& launch, unsigned threads);

}  // namespace gpusim
