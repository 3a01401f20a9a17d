#include "examples/common/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace heed::examples {

Progress::Progress(std::string unit, std::int64_t total_steps, std::int64_t total_epochs, bool quiet)
    : unit_(std::move(unit)),
      total_steps_(std::max<std::int64_t>(total_steps, 1)),
      total_epochs_(total_epochs),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      drawn_(start_) {}

Progress::~Progress() {
  if (on_screen_) std::fputs("\n", stderr);
}

double Progress::seconds() const {
  return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::resume(std::int64_t steps, std::int64_t epochs, double seconds) {
  steps_ = steps;
  epochs_ = epochs;
  seconds_before_ = seconds;
}

void Progress::step(double loss, std::int64_t units) {
  ++steps_;
  units_ += units;
  loss_ = loss_ == 0 ? loss : loss_ + 0.05 * (loss - loss_);
  epoch_loss_ += loss;
  ++epoch_steps_;
  if (quiet_ || !terminal_) return;
  if (Clock::now() - drawn_ > std::chrono::milliseconds(100)) {
    drawn_ = Clock::now();
    std::fprintf(stderr, "\r%s\x1b[K", line().c_str());
    std::fflush(stderr);
    on_screen_ = true;
  }
}

void Progress::epoch(const std::string& note) {
  ++epochs_;
  if (!quiet_) {
    const double mean_loss = epoch_loss_ / static_cast<double>(std::max<std::int64_t>(epoch_steps_, 1));
    const std::string text =
        fmt::format("epoch {:>3}/{}  loss {:.4f}  {} {}/s  {} so far{}{}", epochs_, total_epochs_, mean_loss,
                    format_count(static_cast<double>(units_) / std::max(seconds() - seconds_before_, 1e-9)), unit_,
                    format_duration(seconds()), note.empty() ? "" : "  ", note);
    std::fprintf(stderr, on_screen_ ? "\r%s\x1b[K\n" : "%s\n", text.c_str());
    on_screen_ = false;
  }
  epoch_loss_ = 0;
  epoch_steps_ = 0;
}

std::string Progress::line() const {
  constexpr int width = 24;
  const double share = std::min(1.0, static_cast<double>(steps_) / static_cast<double>(total_steps_));
  const int filled = static_cast<int>(share * width);
  const std::string bar = std::string(static_cast<std::size_t>(filled), '=') + (filled < width ? ">" : "") +
                          std::string(static_cast<std::size_t>(std::max(width - filled - 1, 0)), ' ');
  const double left = seconds() * (1 - share) / std::max(share, 1e-9);
  return fmt::format("epoch {:>3}/{} [{}] {:>3.0f}%  loss {:.4f}  {} {}/s  left {}",
                     std::min(epochs_ + 1, total_epochs_), total_epochs_, bar, 100 * share, loss_,
                     format_count(static_cast<double>(units_) / std::max(seconds() - seconds_before_, 1e-9)), unit_,
                     format_duration(left));
}

std::string format_duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::lround(std::max(seconds, 0.0)));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

std::string format_count(double value) {
  std::string digits = fmt::format("{}", std::llround(value));
  for (int i = static_cast<int>(digits.size()) - 3; i > (digits[0] == '-' ? 1 : 0); i -= 3)
    digits.insert(static_cast<std::size_t>(i), ",");
  return digits;
}

}  // namespace heed::examples
