// Profile mode: what each instruction costs in the units of the hardware, as far as addresses tell.
#include <algorithm>
#include <array>
#include <map>

#include "tools/gpusim/machine/decode.h"
#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/machine/observers.h"

namespace gpusim {

namespace {

template <class F>
void each_bit(std::uint32_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(static_cast<unsigned>(std::countr_zero(mask)));
}

constexpr std::uint64_t sector_bytes = 32;
constexpr unsigned banks = 32, bank_bytes = 4;

struct Traffic {
  std::uint64_t moved = 0, ideal = 0;
};

// Sectors that the lanes touch, and how many would hold the bytes that they ask for, each counted once.
Traffic sectors_of(const MemoryAccess& access) {
  std::array<std::uint64_t, 2 * warp_size> sectors;
  std::array<std::uint64_t, warp_size> addresses;
  std::size_t touched = 0, lanes = 0;
  each_bit(access.mask, [&](unsigned l) {
    const std::uint64_t first = access.address[l] / sector_bytes,
                        last = (access.address[l] + access.bytes - 1) / sector_bytes;
    addresses[lanes++] = access.address[l];
    if (touched == 0 || sectors[touched - 1] != first) sectors[touched++] = first;
    if (last != first) sectors[touched++] = last;
  });
  const auto distinct = [](auto begin, auto end) {
    if (!std::is_sorted(begin, end)) std::sort(begin, end);
    return static_cast<std::uint64_t>(std::unique(begin, end) - begin);
  };
  const std::uint64_t moved = distinct(sectors.begin(), sectors.begin() + static_cast<std::ptrdiff_t>(touched));
  const std::uint64_t asked =
      distinct(addresses.begin(), addresses.begin() + static_cast<std::ptrdiff_t>(lanes)) * access.bytes;
  return {moved, std::min(moved, (asked + sector_bytes - 1) / sector_bytes)};
}

// Passes over the banks. A pass serves lanes of 128 bytes at most: 32 lanes of 4 bytes, 16 of 8, 8 of 16. Within it a bank
// gives one word; lanes that want the same word share it, but for atomics, which take turns.
Traffic wavefronts_of(const MemoryAccess& access) {
  const unsigned words = std::max(1u, access.bytes / bank_bytes), lanes = warp_size / words;
  Traffic traffic;
  for (unsigned first = 0; first < warp_size; first += lanes) {
    const std::uint32_t group =
        access.mask & (lanes == warp_size ? all_lanes : ((std::uint32_t{1} << lanes) - 1) << first);
    if (group == 0) continue;
    std::array<std::array<std::uint32_t, warp_size>, banks> wanted;
    std::array<unsigned, banks> count{};
    unsigned most = 1;
    each_bit(group, [&](unsigned l) {
      for (unsigned w = 0; w < words; ++w) {
        const auto word = static_cast<std::uint32_t>(access.address[l] / bank_bytes + w);
        auto& here = wanted[word % banks];
        unsigned& n = count[word % banks];
        const bool shared =
            access.access != Access::atomic && std::find(here.begin(), here.begin() + n, word) != here.begin() + n;
        if (!shared && n < warp_size) here[n++] = word;
        most = std::max(most, n);
      }
    });
    traffic.moved += most;
    traffic.ideal += 1;
  }
  return traffic;
}

class Profiler final : public Observer {
 public:
  explicit Profiler(const Launch& launch) : per_instruction_(launch.options->per_instruction) {}

  const Counters& total() const { return total_; }
  const std::map<const Code*, std::vector<Counters>>& by_code() const { return by_code_; }

  bool wants_instructions() const override { return true; }

  void instruction(Warp& warp, const Op* op) override {
    const Origin& origin = warp.code().origin(op);
    if (origin.what == InstructionClass::count_) return;
    const auto lanes = static_cast<std::uint64_t>(std::popcount(warp.mask));
    count(warp, op, [&](Counters& c) {
      ++c.warp_instructions[static_cast<std::size_t>(origin.what)];
      c.lane_instructions[static_cast<std::size_t>(origin.what)] += lanes;
      c.floating_operations += lanes * origin.operations;
      if (lanes != 0) c.tensor_operations += origin.tensor_operations;
    });
  }

  std::uint32_t access(Warp& warp, const MemoryAccess& access) override {
    if (access.mask == 0) return 0;
    switch (access.space) {
      case Space::shared:
        shared(warp, access);
        break;
      case Space::local: {
        const auto bytes = static_cast<std::uint64_t>(std::popcount(access.mask)) * access.bytes;
        count(warp, access.op, [&](Counters& c) {
          (access.access == Access::load ? c.local_load_bytes : c.local_store_bytes) += bytes;
        });
        break;
      }
      case Space::param:
      case Space::constant:
        break;
      default:
        global(warp, access);
    }
    return access.mask;
  }

  void branch(Warp& warp, const Op* op, bool divergent) override {
    count(warp, op, [&](Counters& c) {
      ++c.branches;
      c.divergent_branches += divergent ? 1 : 0;
    });
  }

  void barrier(Warp& warp, const Op* op, unsigned) override {
    count(warp, op, [](Counters& c) { ++c.barriers; });
  }

 private:
  template <class F>
  void count(Warp& warp, const Op* op, F f) {
    f(total_);
    if (!per_instruction_) return;
    const Code& code = warp.code();
    auto& counters = by_code_[&code];
    counters.resize(code.ops.size());
    f(counters[static_cast<std::size_t>(op - code.ops.data())]);
  }

  void global(Warp& warp, const MemoryAccess& access) {
    const Traffic sectors = sectors_of(access);
    const auto bytes = static_cast<std::uint64_t>(std::popcount(access.mask)) * access.bytes;
    count(warp, access.op, [&](Counters& c) {
      if (access.access == Access::atomic) {
        c.global_atomics += static_cast<std::uint64_t>(std::popcount(access.mask));
      } else if (access.access == Access::store) {
        ++c.global_store_requests;
        c.global_store_sectors += sectors.moved;
        c.global_store_ideal += sectors.ideal;
        c.global_store_bytes += bytes;
      } else {
        ++c.global_load_requests;
        c.global_load_sectors += sectors.moved;
        c.global_load_ideal += sectors.ideal;
        c.global_load_bytes += bytes;
      }
    });
  }

  void shared(Warp& warp, const MemoryAccess& access) {
    const Traffic wavefronts = wavefronts_of(access);
    count(warp, access.op, [&](Counters& c) {
      if (access.access == Access::atomic) c.shared_atomics += static_cast<std::uint64_t>(std::popcount(access.mask));
      if (access.access == Access::load) {
        ++c.shared_load_requests;
        c.shared_load_wavefronts += wavefronts.moved;
        c.shared_load_ideal += wavefronts.ideal;
      } else {
        ++c.shared_store_requests;
        c.shared_store_wavefronts += wavefronts.moved;
        c.shared_store_ideal += wavefronts.ideal;
      }
    });
  }

  bool per_instruction_;
  Counters total_;
  std::map<const Code*, std::vector<Counters>> by_code_;
};

class ProfileWatch final : public Watch {
 public:
  ProfileWatch(const Launch& launch, unsigned threads) {
    for (unsigned i = 0; i < threads; ++i) profilers_.push_back(std::make_unique<Profiler>(launch));
  }

  Observer* observer(unsigned thread) override { return profilers_[thread].get(); }

  void finish(LaunchResult& result) override {
    std::map<const Code*, std::vector<Counters>> by_code;
    for (const auto& profiler : profilers_) {
      result.profile.total += profiler->total();
      for (const auto& [code, counters] : profiler->by_code()) {
        auto& sums = by_code[code];
        sums.resize(code->ops.size());
        for (std::size_t i = 0; i < counters.size(); ++i) sums[i] += counters[i];
      }
    }
    for (const auto& [code, counters] : by_code) {
      for (std::size_t i = 0; i < counters.size(); ++i) {
        if (counters[i].total_warp_instructions() == 0) continue;
        result.profile.instructions.push_back({place_of(*code, &code->ops[i]), counters[i]});
      }
    }
    std::stable_sort(result.profile.instructions.begin(), result.profile.instructions.end(),
                     [](const auto& a, const auto& b) { return a.place.ptx_line < b.place.ptx_line; });
  }

 private:
  std::vector<std::unique_ptr<Profiler>> profilers_;
};

}  // namespace

std::unique_ptr<Watch> make_profiler(const Launch& launch, unsigned threads) {
  return std::make_unique<ProfileWatch>(launch, threads);
}

}  // namespace gpusim
