#include "tools/gpusim/machine/thread_pool.h"

namespace gpusim {

ThreadPool& ThreadPool::instance() {
  static ThreadPool pool;
  return pool;
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(unsigned threads, const std::function<void(unsigned)>& work) {
  if (threads <= 1) return work(0);
  const std::lock_guard one_caller(callers_);
  {
    const std::lock_guard lock(mutex_);
    while (threads_.size() + 1 < threads) {
      threads_.emplace_back([this, number = static_cast<unsigned>(threads_.size()) + 1] { serve(number); });
    }
    work_ = &work;
    wanted_ = threads;
    busy_ = threads - 1;
    ++round_;
  }
  start_.notify_all();
  work(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
}

void ThreadPool::serve(unsigned number) {
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    start_.wait(lock, [&] { return stops_ || (round_ != seen && number < wanted_); });
    if (stops_) return;
    seen = round_;
    const auto* work = work_;
    lock.unlock();
    (*work)(number);
    lock.lock();
    if (--busy_ == 0) done_.notify_all();
  }
}

}  // namespace gpusim
