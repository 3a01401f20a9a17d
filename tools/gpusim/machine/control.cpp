// Paths of a warp: branches, where they meet again, calls, the end of threads.
//
// Lanes that part at a branch become two paths, which run one after the other up to the branch's post-dominator, where
// a `join` stands in the code. The list of paths is a stack: below two paths lies the one that they make up when joined.
#include <fmt/format.h>

#include "tools/gpusim/machine/warp.h"

namespace gpusim {

namespace {

// Where all blocks of the grid progress together, a warp that loops most likely waits for others.
std::int64_t backward_branches_per_turn(const Warp& warp) {
  return warp.launch().options->cooperative ? 16 : 20'000;
}

constexpr std::size_t deepest_call = 1024;

}  // namespace

void Warp::join_block(Block& of, unsigned number) {
  block = &of;
  index = number;
  const Dim3& shape = of.launch->block;
  for (unsigned lane = 0; lane < warp_size; ++lane) {
    const unsigned linear = index * warp_size + lane;
    thread_index[0][lane] = linear % shape.x;
    thread_index[1][lane] = linear / shape.x % shape.y;
    thread_index[2][lane] = linear / (shape.x * shape.y);
  }
}

const Op* Warp::fail(const Op* op, Fault fault, std::string message) {
  if (block->fault == Fault::none) {
    block->fault = fault;
    block->fault_message = std::move(message);
    block->fault_op = op;
    block->fault_code = &code();
  }
  state = State::finished;
  return nullptr;
}

bool Warp::push_frame(const Code& code, const CallSite* site) {
  const std::size_t depth = frames.size();
  const std::size_t local_base = depth == 0 ? 0 : frames.back().local_base + frames.back().code->frame_bytes;
  if (depth >= deepest_call || local_base + code.frame_bytes > launch().local_bytes) return false;
  if (register_files_.size() <= depth) register_files_.emplace_back();
  if (register_files_[depth].size() < code.register_bytes) register_files_[depth].resize(code.register_bytes);
  frames.push_back({&code, register_files_[depth].data(), local_base, paths.size(), site});
  bank[0] = frames.back().registers;
  bank[1] = const_cast<std::byte*>(code.constants.data());
  return true;
}

void Warp::pop_frame() {
  frames.pop_back();
  bank[0] = frames.back().registers;
  bank[1] = const_cast<std::byte*>(frames.back().code->constants.data());
}

void Warp::start(const Code& kernel, std::uint32_t lanes) {
  frames.clear();
  paths.clear();
  copies.clear();
  committed.fill(0);
  state = State::ready;
  released = false;
  dead = ~lanes;
  mask = active = lanes;
  lane_instructions = 0;
  budget = backward_branches_per_turn(*this);
  push_frame(kernel, nullptr);
  paths.push_back({nullptr, lanes, nullptr});
  resume = counted_from = kernel.ops.data();
}

// The path that the warp was on has no lanes left: goes on with the one below, or with the caller.
const Op* Warp::next_path() {
  for (;;) {
    if (paths.size() == frames.back().first_path) {
      if (frames.size() == 1) {
        state = State::finished;
        mask = active = 0;
        return nullptr;
      }
      // All lanes have returned (or exited): copy the results to the caller's frame.
      const Frame callee = frames.back();
      const std::uint32_t returned = paths.back().mask & ~dead;
      pop_frame();
      for (std::size_t i = 0; i < callee.site->results.size() && i < callee.code->results.size(); ++i) {
        const auto& [offset, bytes] = callee.site->results[i];
        for (unsigned lane = 0; lane < warp_size; ++lane) {
          if ((returned >> lane & 1) == 0) continue;
          std::byte* memory = local_of(lane);
          std::memcpy(memory + frames.back().local_base + offset,
                      memory + callee.local_base + callee.code->results[i].offset, bytes);
        }
      }
    }
    Path& path = paths.back();
    path.mask &= ~dead;
    if (path.mask != 0) {
      mask = active = path.mask;
      // A path that waits where it ends ends at once.
      const Op* next = path.next;
      counted_from = next;
      return next;
    }
    paths.pop_back();
  }
}

const Op* Warp::join(const Op* op) {
  if (paths.back().join != op) return op + 1;
  count(op - 1, op + 1);
  while (paths.back().join == op) {
    paths.pop_back();
    Path& path = paths.back();
    path.mask &= ~dead;
    mask = active = path.mask;
    if (path.next != op) {
      if (path.mask == 0) {
        // Cannot be the last: the path below holds at least the lanes that just arrived.
        continue;
      }
      return counted_from = path.next;
    }
  }
  return op + 1;
}

const Op* Warp::branch(const Op* op, std::uint32_t taken, const Op* target) {
  count(op, op + 1);
  const std::uint32_t others = active & ~taken;
  if (block->observer != nullptr) block->observer->branch(*this, op, taken != 0 && others != 0);
  if (taken == 0) return op + 1;
  if (others == 0) {
    counted_from = target;
    if (target <= op && --budget <= 0) {
      budget = backward_branches_per_turn(*this);
      resume = target;
      return nullptr;
    }
    return target;
  }
  const auto* meeting = static_cast<const Op*>(op->extra);
  const Op* next = nullptr;
  if (paths.back().join == meeting) {
    paths.pop_back();  // the two that follow end where this one would have
  } else {
    paths.back().next = meeting;
  }
  const auto add = [&](const Op* start, std::uint32_t lanes) {
    if (start == meeting) return;
    paths.push_back({start, lanes, meeting});
    mask = active = lanes;
    next = start;
  };
  add(target, taken);
  add(op + 1, others);
  counted_from = next;
  if (next <= op && --budget <= 0) {
    budget = backward_branches_per_turn(*this);
    resume = next;
    return nullptr;
  }
  return next;
}

const Op* Warp::call(const Op* op, const CallSite& site, const Code& callee) {
  count(op, op + 1);
  paths.back().next = op + 1;
  const std::size_t caller_base = frames.back().local_base;
  const std::uint32_t lanes = mask;
  if (!push_frame(callee, &site)) {
    return fail(op, Fault::stack_overflow, fmt::format("the stack overflows in a call of {}", callee.info.name));
  }
  paths.push_back({nullptr, lanes, nullptr});
  active = mask = lanes;
  for (std::size_t i = 0; i < site.arguments.size() && i < callee.parameters.size(); ++i) {
    const auto& [offset, bytes] = site.arguments[i];
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      if ((lanes >> lane & 1) == 0) continue;
      std::byte* memory = local_of(lane);
      std::memcpy(memory + frames.back().local_base + callee.parameters[i].offset, memory + caller_base + offset,
                  bytes);
    }
  }
  return counted_from = callee.ops.data();
}

const Op* Warp::leave(const Op* op, bool whole_thread) {
  count(op, op + 1);
  const std::uint32_t lanes = mask;
  if (whole_thread || frames.size() == 1) {
    dead |= lanes;
    block->exited += static_cast<unsigned>(std::popcount(lanes));
  }
  for (std::size_t i = frames.back().first_path; i < paths.size(); ++i) paths[i].mask &= ~lanes;
  active &= ~lanes;
  mask = active;
  if (active != 0) return op + 1;
  paths.pop_back();
  return next_path();
}

void run(Warp& warp) {
  const Op* op = warp.resume;
  Observer* observer = warp.block->observer;
  const bool observed = observer != nullptr && observer->wants_instructions();
  while (op != nullptr) {
    if (op->guard != Op::no_guard) {
      const std::uint32_t predicate = *reinterpret_cast<const std::uint32_t*>(warp.bank[0] + (op->guard & ~1u));
      warp.mask = warp.active & ((op->guard & 1) != 0 ? ~predicate : predicate);
      if (observed && !warp.released) observer->instruction(warp, op);
      if (warp.mask == 0) {
        warp.mask = warp.active;
        ++op;
        continue;
      }
      op = op->run(op, warp);
      warp.mask = warp.active;
    } else {
      if (observed && !warp.released) observer->instruction(warp, op);  // not twice, after a barrier
      op = op->run(op, warp);
    }
  }
}

}  // namespace gpusim
