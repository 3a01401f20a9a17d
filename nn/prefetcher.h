#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

namespace heed::nn {

// Calls make(first), make(first + 1), ... up to make(last - 1) on a thread of its own, at most `depth` results ahead of
// who takes them, and hands them over in that order. The destructor waits for a call that is under way and drops the
// rest.
template <class T>
class Prefetcher {
 public:
  Prefetcher(std::function<T(std::int64_t)> make, std::int64_t first, std::int64_t last, std::int64_t depth)
      : make_(std::move(make)),
        depth_(static_cast<std::size_t>(depth)),
        thread_([this, first, last](std::stop_token stop) { run(first, last, stop); }) {}

  // Waits for the next result; rethrows what make() threw in its place, after which there is no further one.
  T next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty(); });
    Result result = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    if (std::holds_alternative<std::exception_ptr>(result))
      std::rethrow_exception(std::get<std::exception_ptr>(result));
    return std::move(std::get<T>(result));
  }

 private:
  using Result = std::variant<T, std::exception_ptr>;

  void run(std::int64_t first, std::int64_t last, const std::stop_token& stop) {
    for (std::int64_t i = first; i < last; ++i) {
      {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [this] { return ready_.size() < depth_; })) return;
      }
      Result result = attempt(i);
      const bool failed = std::holds_alternative<std::exception_ptr>(result);
      {
        const std::lock_guard lock(mutex_);
        ready_.push_back(std::move(result));
      }
      changed_.notify_all();
      if (failed) return;
    }
  }
  Result attempt(std::int64_t i) {
    try {
      return make_(i);
    } catch (...) {
      return std::current_exception();
    }
  }

  std::function<T(std::int64_t)> make_;
  std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Result> ready_;
  std::jthread thread_;  // last: it starts when everything it uses is there, and is joined before any of it goes
};

}  // namespace heed::nn
