#include "tools/gpusim/machine/registers.h"

#include <algorithm>
#include <array>
#include <bit>

namespace gpusim {

namespace {

using Bits = std::vector<std::uint64_t>;

bool get(const Bits& bits, int i) {
  return (bits[static_cast<std::size_t>(i) / 64] >> (i % 64) & 1) != 0;
}
void set(Bits& bits, int i) {
  bits[static_cast<std::size_t>(i) / 64] |= std::uint64_t{1} << (i % 64);
}

struct BlockLife {
  Bits read_first, written, live_in, live_out;
};

template <class F>
void each(const Bits& bits, F f) {
  for (std::size_t word = 0; word < bits.size(); ++word) {
    for (std::uint64_t rest = bits[word]; rest != 0; rest &= rest - 1)
      f(static_cast<int>(word * 64) + std::countr_zero(rest));
  }
}

std::vector<BlockLife> find_lives(std::size_t registers, const std::vector<RegisterUse>& uses,
                                  const std::vector<OpRange>& blocks) {
  const std::size_t words = (registers + 63) / 64;
  std::vector<BlockLife> lives(blocks.size(), {Bits(words), Bits(words), Bits(words), Bits(words)});
  std::size_t use = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    while (use < uses.size() && uses[use].op < blocks[b].last) {
      // The reads of one Op come before its writes.
      std::size_t end = use;
      while (end < uses.size() && uses[end].op == uses[use].op) ++end;
      for (std::size_t i = use; i < end; ++i) {
        const bool reads = uses[i].is_read || uses[i].is_conditional;
        if (reads && !get(lives[b].written, uses[i].virtual_register))
          set(lives[b].read_first, uses[i].virtual_register);
      }
      for (std::size_t i = use; i < end; ++i) {
        if (uses[i].is_written && !uses[i].is_conditional) set(lives[b].written, uses[i].virtual_register);
      }
      use = end;
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = blocks.size(); b-- > 0;) {
      BlockLife& life = lives[b];
      for (std::size_t word = 0; word < words; ++word) {
        std::uint64_t out = 0;
        for (const int s : blocks[b].successors) out |= lives[static_cast<std::size_t>(s)].live_in[word];
        const std::uint64_t in = life.read_first[word] | (out & ~life.written[word]);
        changed = changed || in != life.live_in[word];
        life.live_out[word] = out;
        life.live_in[word] = in;
      }
    }
  }
  return lives;
}

// Positions are doubled: an Op reads at 2 op and writes at 2 op + 1.
struct Interval {
  int first = -1, last = -1;
  void extend(int position) {
    first = first < 0 ? position : std::min(first, position);
    last = std::max(last, position);
  }
};

std::vector<Interval> find_intervals(std::size_t registers, const std::vector<RegisterUse>& uses,
                                     const std::vector<OpRange>& blocks) {
  std::vector<Interval> intervals(registers);
  const std::vector<BlockLife> lives = find_lives(registers, uses, blocks);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    each(lives[b].live_in, [&](int r) { intervals[r].extend(2 * blocks[b].first); });
    each(lives[b].live_out, [&](int r) { intervals[r].extend(2 * blocks[b].last); });
  }
  for (const RegisterUse& use : uses) {
    if (use.is_read || use.is_conditional || use.is_early) intervals[use.virtual_register].extend(2 * use.op);
    if (use.is_written) intervals[use.virtual_register].extend(2 * use.op + 1);
  }
  return intervals;
}

}  // namespace

RegisterPlaces allocate_registers(const std::vector<unsigned>& bytes, const std::vector<RegisterUse>& uses,
                                  const std::vector<OpRange>& blocks) {
  const std::vector<Interval> intervals = find_intervals(bytes.size(), uses, blocks);
  RegisterPlaces places;
  places.offset.resize(bytes.size());
  static constexpr std::array<unsigned, 5> widths = {16, 8, 4, 2, 1};  // the widest first keeps all aligned
  for (const unsigned width : widths) {
    std::vector<int> order;
    for (std::size_t r = 0; r < bytes.size(); ++r) {
      if (bytes[r] == width && intervals[r].first >= 0) order.push_back(static_cast<int>(r));
    }
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return intervals[a].first < intervals[b].first; });
    std::vector<std::pair<int, int>> busy;  // (last position, place), a heap: the earliest to end on top
    std::vector<int> free;
    int count = 0;
    const auto later = [](const auto& a, const auto& b) { return a.first > b.first; };
    const std::size_t step = width == 1 ? 4 : 32 * width;
    for (const int r : order) {
      while (!busy.empty() && busy.front().first < intervals[r].first) {
        free.push_back(busy.front().second);
        std::pop_heap(busy.begin(), busy.end(), later);
        busy.pop_back();
      }
      int place = count;
      if (free.empty()) {
        ++count;
      } else {
        place = free.back();
        free.pop_back();
      }
      busy.emplace_back(intervals[r].last, place);
      std::push_heap(busy.begin(), busy.end(), later);
      places.offset[r] = static_cast<std::uint32_t>(places.file_bytes + static_cast<std::size_t>(place) * step);
    }
    places.file_bytes += static_cast<std::size_t>(count) * step;
    if (width > 1) places.words += static_cast<unsigned>(count) * (width + 3) / 4;
  }
  places.file_bytes = (places.file_bytes + 63) / 64 * 64 + 64;
  return places;
}

}  // namespace gpusim
