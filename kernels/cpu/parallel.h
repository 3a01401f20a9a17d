// Loops over the processor's cores, in a way that never changes a result.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace heed::kernels {

// Calls body(begin, end) on consecutive chunks of [0, count), each of `grain` elements (the last may be shorter),
// spread over the OpenMP threads. The chunks do not depend on the number of threads: a kernel whose chunks do not share
// results gives the same bits on one core and on sixty-four. Called from inside another parallel loop it runs in place.
// body must not throw. Choose the grain so that a chunk is worth some 20 microseconds: an OpenMP start costs a few.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = (count + grain - 1) / grain;
  if (chunks <= 1 || omp_in_parallel() || omp_get_max_threads() == 1) {
    for (std::int64_t begin = 0; begin < count; begin += grain) body(begin, std::min(begin + grain, count));
    return;
  }
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    body(chunk * grain, std::min((chunk + 1) * grain, count));
  }
}

}  // namespace heed::kernels
