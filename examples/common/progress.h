// How a training run looks while it goes: a bar that redraws itself on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace heed::examples {

// Written to standard error, so that a program's results have standard output to themselves.
//
//   epoch  7/20 [=========>            ]  43%  loss 5.812  12,345 events/s  left 1:07
class Progress {
 public:
  Progress(std::string unit, std::int64_t total_steps, std::int64_t total_epochs, bool quiet = false);
  ~Progress();

  // Goes on from where an interrupted training stood.
  void resume(std::int64_t steps, std::int64_t epochs, double seconds);
  // One step done, with its loss and how many units it handled.
  void step(double loss, std::int64_t units);
  // One epoch done; `note` is shown with it: validation figures.
  void epoch(const std::string& note);
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  std::string line() const;

  std::string unit_;
  std::int64_t total_steps_, total_epochs_;
  bool quiet_, terminal_;
  std::int64_t steps_ = 0, epochs_ = 0, units_ = 0;
  double seconds_before_ = 0;  // of the training that this one continues
  double loss_ = 0;            // smoothed
  double epoch_loss_ = 0;
  std::int64_t epoch_steps_ = 0;
  Clock::time_point start_, drawn_;
  bool on_screen_ = false;
};

// "1:07", "2:03:09".
std::string format_duration(double seconds);
// "12,345"
std::string format_count(double value);

}  // namespace heed::examples
