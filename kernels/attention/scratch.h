// A loop over tasks, each with memory of its own while it runs.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/cpu/parallel.h"

namespace heed::kernels {

// Hands out parts of a piece of memory, each at the start of a cache line.
class Arena {
 public:
  explicit Arena(float* begin) : next_(begin) {}
  float* take(std::int64_t count) {
    float* const part = next_;
    next_ += (count + 15) / 16 * 16;
    return part;
  }

 private:
  float* next_;
};

// Calls body(task, arena) for every task in [0, tasks), spread over the threads, about a million multiplications at a
// time; the arena has `floats` to hand out, and room for rounding up 32 parts.
template <class Body>
void for_each_task(std::int64_t tasks, std::int64_t multiplications, std::int64_t floats,
                   const AttentionWorkspace& workspace, const Body& body) {
  const bool is_nested = omp_in_parallel() != 0;  // runs in place, under whatever number its thread has
  const std::int64_t each = (floats + 32 * 16 + 15) / 16 * 16;
  const std::int64_t threads = is_nested || tasks <= 1 ? 1 : omp_get_max_threads();
  auto* const memory = static_cast<float*>(workspace(threads * each * static_cast<std::int64_t>(sizeof(float))));
  parallel_for(tasks, 1 + (1 << 20) / (multiplications + 1), [&](std::int64_t begin, std::int64_t end) {
    float* const mine = memory + (threads == 1 ? 0 : omp_get_thread_num() * each);
    for (std::int64_t task = begin; task < end; ++task) body(task, Arena(mine));
  });
}

}  // namespace heed::kernels
