// A launch: blocks spread over the threads of the host, the warps of a block taking turns.
#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>

#include "tools/gpusim/machine/barriers.h"
#include "tools/gpusim/machine/decode.h"
#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/machine/observers.h"
#include "tools/gpusim/machine/thread_pool.h"

namespace gpusim {

namespace {

constexpr std::size_t unbounded_stack = 64 << 10;  // of a thread whose calls are recursive or through pointers
constexpr std::byte poison{0xFF};                  // memory nobody wrote: NaN as a float

// One block after the other, with buffers that stay.
class Worker {
 public:
  Worker(const Launch& launch, Observer* observer) : launch_(launch) {
    const auto threads = static_cast<unsigned>(launch.block.count());
    const unsigned warps = (threads + warp_size - 1) / warp_size;
    block_.launch = &launch;
    block_.observer = observer;
    shared_.resize(launch.shared_bytes + 64);
    block_.shared = shared_.data();
    local_.resize(launch.local_bytes * warp_size * warps);
    block_.warps.resize(warps);
    for (unsigned w = 0; w < warps; ++w) {
      Warp& warp = block_.warps[w];
      warp.join_block(block_, w);
      warp.local = local_.data() + w * warp_size * launch.local_bytes;
    }
  }

  void start(std::size_t number) {
    const Dim3& grid = launch_.grid;
    block_.index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                    static_cast<unsigned>(number / (std::size_t{grid.x} * grid.y))};
    block_.barriers.fill({});
    block_.exited = 0;
    std::fill_n(shared_.data(), launch_.shared_bytes, poison);
    const auto threads = static_cast<unsigned>(launch_.block.count());
    for (Warp& warp : block_.warps) {
      const unsigned lanes = std::min(warp_size, threads - warp.index * warp_size);
      warp.start(*launch_.kernel, lanes == warp_size ? all_lanes : (1u << lanes) - 1);
    }
    unfinished_ = block_.warps.size();
    if (block_.observer != nullptr) block_.observer->start_block(block_);
  }

  // Gives each warp that can go on a turn. True: nothing is left to do (all have finished, or the launch has failed).
  bool turn() {
    bool progress = false;
    for (Warp& warp : block_.warps) {
      if (warp.state != Warp::State::ready) continue;
      progress = true;
      run(warp);
      if (block_.fault != Fault::none) return true;
      if (warp.state == Warp::State::finished) {
        lane_instructions_ += warp.lane_instructions;
        --unfinished_;
        warp_finished(block_);
      }
    }
    if (unfinished_ == 0) {
      if (block_.observer != nullptr) block_.observer->end_block(block_);
      return true;
    }
    if (!progress) {
      for (Warp& warp : block_.warps) {
        if (warp.state != Warp::State::waiting) continue;
        const std::string message =
            fmt::format("block ({},{},{}): warp {} waits at barrier {} for warps that never come", block_.index.x,
                        block_.index.y, block_.index.z, warp.index, warp.barrier);
        warp.fail(warp.resume, Fault::deadlock, message);
        return true;
      }
    }
    return false;
  }

  const Block& block() const { return block_; }
  std::uint64_t lane_instructions() const { return lane_instructions_; }

 private:
  const Launch& launch_;
  Block block_;
  AlignedBytes shared_, local_;
  std::size_t unfinished_ = 0;
  std::uint64_t lane_instructions_ = 0;
};

class LaunchRun {
 public:
  LaunchRun(const Code& kernel, const LaunchShape& shape, const LaunchOptions& options) : options_(options) {
    static std::atomic<std::uint64_t> launches = 0;
    const Memory& memory = kernel.module->memory();
    launch_.kernel = &kernel;
    launch_.grid = shape.grid;
    launch_.block = shape.block;
    launch_.options = &options_;
    launch_.static_shared_bytes = kernel.info.static_shared_bytes;
    launch_.shared_bytes = kernel.info.static_shared_bytes + shape.dynamic_shared_bytes;
    const std::size_t stack = kernel.stack_bytes != 0 ? kernel.stack_bytes : unbounded_stack + kernel.frame_bytes;
    launch_.local_bytes = (stack + 15) / 16 * 16;
    launch_.memory_begin = memory.begin();
    launch_.memory_end = memory.end();
    launch_.id = ++launches;
    parameters_.resize(kernel.info.parameter_bytes + 64);
    for (std::size_t i = 0; i < kernel.info.parameters.size(); ++i) {
      std::memcpy(parameters_.data() + kernel.info.parameters[i].offset, shape.arguments[i],
                  kernel.info.parameters[i].bytes);
    }
    launch_.parameters = parameters_.data();
  }

  LaunchResult run() {
    blocks_ = launch_.grid.count();
    unsigned threads = options_.threads != 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency());
    threads = static_cast<unsigned>(std::min<std::size_t>(threads, blocks_));
    std::unique_ptr<Watch> watch = watch_launch(launch_, threads);
    ThreadPool::instance().run(threads, [&](unsigned number) {
      try {
        work(number, threads, watch != nullptr ? watch->observer(number) : nullptr);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        stop_ = true;
      }
    });
    if (error_) std::rethrow_exception(error_);
    if (watch != nullptr) watch->finish(result_);
    return std::move(result_);
  }

 private:
  void work(unsigned number, unsigned threads, Observer* observer) {
    if (options_.cooperative) return work_together(number, threads, observer);
    Worker worker(launch_, observer);
    while (!stop_) {
      const std::size_t block = next_block_++;
      if (block >= blocks_) break;
      worker.start(block);
      while (!worker.turn()) {
        if (stop_) return;
      }
      if (!note(worker)) return;
    }
    const std::lock_guard lock(mutex_);
    result_.lane_instructions += worker.lane_instructions();
  }

  // All blocks are started before any must be done; this thread has a share of them.
  void work_together(unsigned number, unsigned threads, Observer* observer) {
    std::vector<std::unique_ptr<Worker>> workers;
    for (std::size_t block = number; block < blocks_; block += threads) {
      workers.push_back(std::make_unique<Worker>(launch_, observer));
      workers.back()->start(block);
    }
    std::size_t left = workers.size();
    while (left > 0 && !stop_) {
      for (auto& worker : workers) {
        if (worker == nullptr || !worker->turn()) continue;
        if (!note(*worker)) return;
        const std::lock_guard lock(mutex_);
        result_.lane_instructions += worker->lane_instructions();
        worker.reset();
        --left;
      }
      std::this_thread::yield();  // the others may wait for blocks of a thread that has no processor
    }
  }

  // False: the block has failed, and with it the launch.
  bool note(const Worker& worker) {
    const Block& block = worker.block();
    if (block.fault == Fault::none) return true;
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (result_.fault != Fault::none) return false;
    result_.fault = block.fault;
    result_.place = place_of(*block.fault_code, block.fault_op);
    result_.message = fmt::format("{}: {}", launch_.kernel->info.name, block.fault_message);
    return false;
  }

  LaunchOptions options_;
  Launch launch_{};
  AlignedBytes parameters_;
  std::size_t blocks_ = 0;
  std::atomic<std::size_t> next_block_ = 0;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::exception_ptr error_;
  LaunchResult result_;
};

}  // namespace

LaunchResult launch(const Function& kernel, const LaunchShape& shape, const LaunchOptions& options) {
  const auto& code = static_cast<const Code&>(kernel);
  if (!kernel.info.is_kernel) throw Error(fmt::format("{} is no kernel", kernel.info.name));
  if (shape.grid.count() == 0 || shape.block.count() == 0) throw Error("an empty grid or block");
  if (shape.block.count() > 1024) throw Error("more than 1024 threads in a block");
  if (shape.arguments.size() < kernel.info.parameters.size())
    throw Error(fmt::format("{}: too few arguments", kernel.info.name));
  if (options.mode == Mode::check && !code.module->memory().tracks())
    throw Error("check mode needs a Memory that tracks");
  return LaunchRun(code, shape, options).run();
}

}  // namespace gpusim
