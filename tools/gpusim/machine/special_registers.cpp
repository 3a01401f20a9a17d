#include "tools/gpusim/machine/special_registers.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "tools/gpusim/machine/instruction_set.h"

namespace gpusim {

namespace {

using Lanes = std::uint64_t*;
using Read = void (*)(const Warp& warp, Lanes lane);

void fill(Lanes lane, std::uint64_t value) {
  std::fill_n(lane, warp_size, value);
}

template <std::size_t axis>
void thread_index(const Warp& warp, Lanes lane) {
  std::copy_n(warp.thread_index[axis].begin(), warp_size, lane);
}
template <unsigned Dim3::*axis>
void block_shape(const Warp& warp, Lanes lane) {
  fill(lane, warp.launch().block.*axis);
}
template <unsigned Dim3::*axis>
void block_index(const Warp& warp, Lanes lane) {
  fill(lane, warp.block->index.*axis);
}
template <unsigned Dim3::*axis>
void grid_shape(const Warp& warp, Lanes lane) {
  fill(lane, warp.launch().grid.*axis);
}
template <std::uint64_t value>
void always(const Warp&, Lanes lane) {
  fill(lane, value);
}

std::size_t linear_block(const Warp& warp) {
  const Dim3& index = warp.block->index;
  const Dim3& grid = warp.launch().grid;
  return index.x + std::size_t{grid.x} * (index.y + std::size_t{grid.y} * index.z);
}

template <class Predicate>
void lane_mask(Lanes lane, Predicate holds) {  // of the lanes i for which holds(i, l)
  for (unsigned l = 0; l < warp_size; ++l) {
    lane[l] = 0;
    for (unsigned i = 0; i < warp_size; ++i) lane[l] |= std::uint64_t{holds(i, l)} << i;
  }
}

// Nanoseconds of the host: clocks only ever grow, but measure the simulator.
void clock_value(const Warp& warp, Lanes lane) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  fill(lane, static_cast<std::uint64_t>(now));
  (void)warp;
}
void clock_high(const Warp& warp, Lanes lane) {
  clock_value(warp, lane);
  for (unsigned l = 0; l < warp_size; ++l) lane[l] >>= 32;
}

struct Register {
  std::string_view name;
  Read read;
};

const std::array registers = {
    Register{"%tid.x", thread_index<0>},
    Register{"%tid.y", thread_index<1>},
    Register{"%tid.z", thread_index<2>},
    Register{"%ntid.x", block_shape<&Dim3::x>},
    Register{"%ntid.y", block_shape<&Dim3::y>},
    Register{"%ntid.z", block_shape<&Dim3::z>},
    Register{"%ctaid.x", block_index<&Dim3::x>},
    Register{"%ctaid.y", block_index<&Dim3::y>},
    Register{"%ctaid.z", block_index<&Dim3::z>},
    Register{"%nctaid.x", grid_shape<&Dim3::x>},
    Register{"%nctaid.y", grid_shape<&Dim3::y>},
    Register{"%nctaid.z", grid_shape<&Dim3::z>},
    Register{"%laneid",
             [](const Warp&, Lanes lane) {
               for (unsigned l = 0; l < warp_size; ++l) lane[l] = l;
             }},
    Register{"%warpid", [](const Warp& warp, Lanes lane) { fill(lane, warp.index); }},
    Register{"%nwarpid", [](const Warp& warp, Lanes lane) { fill(lane, warp.block->warps.size()); }},
    Register{"%smid",
             [](const Warp& warp, Lanes lane) { fill(lane, linear_block(warp) % warp.launch().options->sms); }},
    Register{"%nsmid", [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().options->sms); }},
    // Where cooperative groups keep their grid's barrier, in halves. Their headers read it; no manual has it.
    Register{"%envreg1", [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().options->grid_workspace >> 32); }},
    Register{"%envreg2",
             [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().options->grid_workspace & 0xffffffff); }},
    Register{"%gridid", [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().id); }},
    Register{"%lanemask_eq",
             [](const Warp&, Lanes lane) { lane_mask(lane, [](unsigned i, unsigned l) { return i == l; }); }},
    Register{"%lanemask_lt",
             [](const Warp&, Lanes lane) { lane_mask(lane, [](unsigned i, unsigned l) { return i < l; }); }},
    Register{"%lanemask_le",
             [](const Warp&, Lanes lane) { lane_mask(lane, [](unsigned i, unsigned l) { return i <= l; }); }},
    Register{"%lanemask_gt",
             [](const Warp&, Lanes lane) { lane_mask(lane, [](unsigned i, unsigned l) { return i > l; }); }},
    Register{"%lanemask_ge",
             [](const Warp&, Lanes lane) { lane_mask(lane, [](unsigned i, unsigned l) { return i >= l; }); }},
    Register{"%clock", clock_value},
    Register{"%clock_hi", clock_high},
    Register{"%clock64", clock_value},
    Register{"%globaltimer", clock_value},
    Register{"%globaltimer_lo", clock_value},
    Register{"%globaltimer_hi", clock_high},
    Register{"%dynamic_smem_size",
             [](const Warp& warp, Lanes lane) {
               fill(lane, warp.launch().shared_bytes - warp.launch().static_shared_bytes);
             }},
    Register{"%total_smem_size", [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().shared_bytes); }},
    Register{"%aggr_smem_size", [](const Warp& warp, Lanes lane) { fill(lane, warp.launch().shared_bytes); }},
    Register{"%clusterid.x", block_index<&Dim3::x>},  // each block is a cluster of its own
    Register{"%clusterid.y", block_index<&Dim3::y>},
    Register{"%clusterid.z", block_index<&Dim3::z>},
    Register{"%nclusterid.x", grid_shape<&Dim3::x>},
    Register{"%nclusterid.y", grid_shape<&Dim3::y>},
    Register{"%nclusterid.z", grid_shape<&Dim3::z>},
    Register{"%cluster_ctaid.x", always<0>},
    Register{"%cluster_ctaid.y", always<0>},
    Register{"%cluster_ctaid.z", always<0>},
    Register{"%cluster_nctaid.x", always<1>},
    Register{"%cluster_nctaid.y", always<1>},
    Register{"%cluster_nctaid.z", always<1>},
    Register{"%cluster_ctarank", always<0>},
    Register{"%cluster_nctarank", always<1>},
};

}  // namespace

int special_register_named(std::string_view name) {
  for (std::size_t i = 0; i < registers.size(); ++i) {
    if (registers[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

void read_special_register(int which, const Warp& warp, std::uint64_t* lane) {
  registers[static_cast<std::size_t>(which)].read(warp, lane);
}

}  // namespace gpusim
