// Whether kernels may use the processor's products of pairs of bf16 (AVX512_BF16), where they know how to.
#pragma once

#include <atomic>

namespace heed::kernels {

inline bool has_bf16_pairs() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

inline std::atomic<bool> allow_bf16_pairs = true;  // false, in tests: as on a processor that has none

}  // namespace heed::kernels
