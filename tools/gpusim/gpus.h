// The GPUs that can be simulated. Device properties, limits, occupancy and rooflines are all computed from these rows;
// a new GPU is a new row. Figures are the makers' published ones (data sheets, and "Technical Specifications per Compute
// Capability" in the CUDA C++ Programming Guide).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gpusim {

struct Gpu {
  const char* name;         // as --gpu takes it
  const char* description;  // as cudaDeviceProp::name reports it
  int major, minor;         // compute capability

  int multiprocessors;
  int threads_per_multiprocessor;
  int blocks_per_multiprocessor;
  int registers_per_multiprocessor;  // 32-bit registers; a block may use as many
  int register_allocation_unit;      // registers are handed to each warp in multiples of this

  std::size_t shared_per_multiprocessor;  // bytes
  std::size_t shared_per_block;           // without asking
  std::size_t shared_per_block_optin;     // after cudaFuncAttributeMaxDynamicSharedMemorySize
  std::size_t shared_reserved_per_block;  // by the system, out of the multiprocessor's
  std::size_t shared_allocation_unit;

  std::size_t memory;  // bytes
  std::size_t l2_cache;
  int clock_khz;  // boost clock
  int memory_clock_khz;
  int memory_bus_bits;

  // Rates at the boost clock: bytes/s and floating-point operations/s, a multiply-add counting as two.
  double bandwidth;
  double f32, f64, f16;
  double tensor_f16, tensor_bf16, tensor_tf32, tensor_f64, tensor_i8;  // dense; 0 where the GPU has no such unit

  constexpr int capability() const { return 10 * major + minor; }
  constexpr int warps_per_multiprocessor() const { return threads_per_multiprocessor / 32; }
};

inline constexpr Gpu gpus[] = {
    {.name = "a100",
     .description = "NVIDIA A100-SXM4-80GB (gpusim)",
     .major = 8,
     .minor = 0,
     .multiprocessors = 108,
     .threads_per_multiprocessor = 2048,
     .blocks_per_multiprocessor = 32,
     .registers_per_multiprocessor = 65536,
     .register_allocation_unit = 256,
     .shared_per_multiprocessor = 164 << 10,
     .shared_per_block = 48 << 10,
     .shared_per_block_optin = 163 << 10,
     .shared_reserved_per_block = 1 << 10,
     .shared_allocation_unit = 128,
     .memory = 80ull << 30,
     .l2_cache = 40 << 20,
     .clock_khz = 1410000,
     .memory_clock_khz = 1593000,
     .memory_bus_bits = 5120,
     .bandwidth = 2039e9,
     .f32 = 19.5e12,
     .f64 = 9.7e12,
     .f16 = 78e12,
     .tensor_f16 = 312e12,
     .tensor_bf16 = 312e12,
     .tensor_tf32 = 156e12,
     .tensor_f64 = 19.5e12,
     .tensor_i8 = 624e12},
    {.name = "h100",
     .description = "NVIDIA H100 80GB HBM3 (gpusim)",
     .major = 9,
     .minor = 0,
     .multiprocessors = 132,
     .threads_per_multiprocessor = 2048,
     .blocks_per_multiprocessor = 32,
     .registers_per_multiprocessor = 65536,
     .register_allocation_unit = 256,
     .shared_per_multiprocessor = 228 << 10,
     .shared_per_block = 48 << 10,
     .shared_per_block_optin = 227 << 10,
     .shared_reserved_per_block = 1 << 10,
     .shared_allocation_unit = 128,
     .memory = 80ull << 30,
     .l2_cache = 50 << 20,
     .clock_khz = 1980000,
     .memory_clock_khz = 2619000,
     .memory_bus_bits = 5120,
     .bandwidth = 3352e9,
     .f32 = 66.9e12,
     .f64 = 33.5e12,
     .f16 = 133.8e12,
     .tensor_f16 = 989.4e12,
     .tensor_bf16 = 989.4e12,
     .tensor_tf32 = 494.7e12,
     .tensor_f64 = 66.9e12,
     .tensor_i8 = 1978.9e12},
    {.name = "t4",
     .description = "Tesla T4 (gpusim)",
     .major = 7,
     .minor = 5,
     .multiprocessors = 40,
     .threads_per_multiprocessor = 1024,
     .blocks_per_multiprocessor = 16,
     .registers_per_multiprocessor = 65536,
     .register_allocation_unit = 256,
     .shared_per_multiprocessor = 64 << 10,
     .shared_per_block = 48 << 10,
     .shared_per_block_optin = 64 << 10,
     .shared_reserved_per_block = 0,
     .shared_allocation_unit = 256,
     .memory = 16ull << 30,
     .l2_cache = 4 << 20,
     .clock_khz = 1590000,
     .memory_clock_khz = 5001000,
     .memory_bus_bits = 256,
     .bandwidth = 320e9,
     .f32 = 8.1e12,
     .f64 = 0.254e12,
     .f16 = 16.3e12,
     .tensor_f16 = 65e12,
     .tensor_bf16 = 0,
     .tensor_tf32 = 0,
     .tensor_f64 = 0,
     .tensor_i8 = 130e12},
};

// Null when there is none of that name.
constexpr const Gpu* find_gpu(std::string_view name) {
  for (const Gpu& gpu : gpus) {
    if (gpu.name == name) return &gpu;
  }
  return nullptr;
}

}  // namespace gpusim
