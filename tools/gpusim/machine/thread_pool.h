// Threads of the host that share the blocks of a launch.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gpusim {

class ThreadPool {
 public:
  static ThreadPool& instance();
  ~ThreadPool();

  // Calls work(0) ... work(threads - 1) side by side, work(0) on this thread, and returns when all are done. One caller at
  // a time; others wait.
  void run(unsigned threads, const std::function<void(unsigned)>& work);

 private:
  void serve(unsigned number);

  std::mutex callers_, mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(unsigned)>* work_ = nullptr;
  unsigned wanted_ = 0, busy_ = 0;
  std::uint64_t round_ = 0;
  bool stops_ = false;
};

}  // namespace gpusim
