// Check mode: every access is looked at before it happens.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "tools/gpusim/machine/decode.h"
#include "tools/gpusim/machine/faults.h"
#include "tools/gpusim/machine/observers.h"
#include "tools/gpusim/machine/shared_shadow.h"

namespace gpusim {

namespace {

template <class F>
void each_bit(std::uint32_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(static_cast<unsigned>(std::countr_zero(mask)));
}

const char* verb_of(Access access) {
  switch (access) {
    case Access::store:
      return "writes";
    case Access::atomic:
      return "updates";
    case Access::async_source:
      return "copies from";
    case Access::async_target:
      return "copies to";
    default:
      return "reads";
  }
}

// The findings of one thread of the host; all are put together at the end.
class Findings {
 public:
  explicit Findings(const Launch& launch) : launch_(launch) {}

  // `lanes` of the warp did the same; message() is asked for the first time only.
  template <class Message>
  void add(FindingKind kind, const Warp& warp, const Op* op, std::uint32_t lanes, Message message) {
    const auto count = static_cast<std::size_t>(std::popcount(lanes));
    const auto known = places_.find({op, kind});
    if (known != places_.end()) {
      known->second.count += count;
      return;
    }
    if (places_.size() >= launch_.options->max_findings) {
      not_recorded_ += count;
      return;
    }
    Finding& finding = places_[{op, kind}];
    finding.kind = kind;
    finding.kernel = launch_.kernel->info.name;
    finding.block = warp.block->index;
    finding.thread = warp.thread_of(static_cast<unsigned>(std::countr_zero(lanes)));
    finding.place = place_of(warp.code(), op);
    finding.count = count;
    message(finding);
  }

  void merge_into(std::map<std::pair<const Op*, FindingKind>, Finding>& all, std::size_t& not_recorded) const {
    for (const auto& [key, finding] : places_) {
      const auto [entry, is_new] = all.try_emplace(key, finding);
      if (!is_new) entry->second.count += finding.count;
    }
    not_recorded += not_recorded_;
  }

 private:
  const Launch& launch_;
  std::map<std::pair<const Op*, FindingKind>, Finding> places_;
  std::size_t not_recorded_ = 0;
};

class Checker final : public Observer {
 public:
  Checker(const Launch& launch, const std::vector<Allocation>& allocations)
      : launch_(launch), memory_(launch.kernel->module->memory()), allocations_(allocations), findings_(launch) {}

  const Findings& findings() const { return findings_; }

  void start_block(Block& block) override {
    shadow_.start_block(launch_.shared_bytes, static_cast<unsigned>(block.warps.size()));
  }

  std::uint32_t access(Warp& warp, const MemoryAccess& access) override {
    switch (access.space) {
      case Space::shared:
        return shared(warp, access);
      case Space::local:
        return bounded(warp, access, launch_.local_bytes);
      case Space::param:
        return bounded(warp, access, launch_.kernel->info.parameter_bytes);
      default:
        return global(warp, access);
    }
  }

  void barrier(Warp& warp, const Op* op, unsigned number) override {
    shadow_.arrive(warp.index, number);
    meet_others(warp, op, number);
    const std::uint32_t missing = ~(warp.mask | warp.dead);
    if (missing == 0) return;
    findings_.add(FindingKind::divergent_barrier, warp, op, warp.mask, [&](Finding& finding) {
      finding.message =
          fmt::format("barrier {}: only lanes 0x{:08x} of warp {} are here; lanes 0x{:08x} are on another path", number,
                      warp.mask, warp.index, missing);
    });
  }

  void barrier_released(Block&, unsigned number) override { shadow_.release(number); }

  void shuffle(Warp& warp, const Op* op, std::uint32_t named_lanes, std::uint32_t read_absent) override {
    if (read_absent != 0) {
      findings_.add(FindingKind::divergent_shuffle, warp, op, read_absent,
                    [](Finding& finding) { finding.message = "reads a lane that does not take part"; });
      return;
    }
    if (named_lanes == 0) return;  // an instruction without a member mask
    const std::uint32_t absent = named_lanes & ~(warp.mask | warp.dead), unnamed = warp.mask & ~named_lanes;
    if ((absent | unnamed) == 0) return;
    findings_.add(FindingKind::divergent_shuffle, warp, op, warp.mask, [&](Finding& finding) {
      finding.message =
          absent != 0
              ? fmt::format("the mask 0x{:08x} names lanes 0x{:08x}, which are on another path", named_lanes, absent)
              : fmt::format("lanes 0x{:08x} are here, but the mask 0x{:08x} does not name them", unnamed, named_lanes);
    });
  }

  void async_landed(Warp& warp, const AsyncCopy& copy, std::uint32_t lanes) override {
    shadow_.landed(warp.index, copy, lanes, warp.block->shared);
  }

 private:
  // __syncthreads() is one place for all warps; a named barrier that counts threads may have several.
  void meet_others(Warp& warp, const Op* op, unsigned number) {
    const Barrier& barrier = warp.block->barriers[number];
    if (barrier.expected != 0) return;
    const Op*& first = met_at_[number];
    if (barrier.arrived == 1) first = op;
    if (first == op) return;
    const Op* later = std::max(first, op);
    findings_.add(FindingKind::divergent_barrier, warp, later, warp.mask, [&](Finding& finding) {
      const Place other = place_of(warp.code(), std::min(first, op));
      finding.message =
          fmt::format("warps of one block meet here and at another barrier, PTX line {}{}", other.ptx_line,
                      other.file.empty() ? "" : fmt::format(" ({}:{})", other.file, other.line));
    });
  }

  void report_outside(Warp& warp, const MemoryAccess& access, std::uint32_t lanes, std::size_t size) {
    const auto lane = static_cast<unsigned>(std::countr_zero(lanes));
    findings_.add(FindingKind::out_of_bounds, warp, access.op, lanes, [&](Finding& finding) {
      const auto offset = static_cast<std::int64_t>(access.address[lane]);
      finding.message = fmt::format("{} {} bytes at offset {} of {} memory, which has {} bytes", verb_of(access.access),
                                    access.bytes, offset, name_of(access.space), size);
    });
  }

  std::uint32_t aligned(Warp& warp, const MemoryAccess& access) {
    std::uint32_t misaligned = 0;
    each_bit(access.mask,
             [&](unsigned l) { misaligned |= std::uint32_t{(access.address[l] & (access.bytes - 1)) != 0} << l; });
    if (misaligned != 0) {
      findings_.add(FindingKind::misaligned, warp, access.op, misaligned, [&](Finding& finding) {
        const std::uint64_t address = access.address[std::countr_zero(misaligned)];
        finding.message =
            fmt::format("{} {} bytes at {} address 0x{:x}, which is not a multiple of {}", verb_of(access.access),
                        access.bytes, name_of(access.space), address, access.bytes);
      });
    }
    return access.mask & ~misaligned;
  }

  std::uint32_t bounded(Warp& warp, const MemoryAccess& access, std::size_t size) {
    // Nearly always all is well.
    if (access.highest < size && size - access.highest >= access.bytes && (access.bits & (access.bytes - 1)) == 0)
      return access.mask;
    std::uint32_t outside = 0;
    each_bit(access.mask, [&](unsigned l) {
      outside |= std::uint32_t{access.address[l] > size || size - access.address[l] < access.bytes} << l;
    });
    if (outside != 0) report_outside(warp, access, outside, size);
    return aligned(warp, access) & ~outside;
  }

  std::uint32_t shared(Warp& warp, const MemoryAccess& access) {
    MemoryAccess inside = access;
    inside.mask = bounded(warp, access, launch_.shared_bytes);
    const SharedShadow::Verdict verdict = shadow_.access(warp.index, inside);
    if (!verdict.is_fine()) report_shared(warp, inside, verdict);
    return inside.mask;
  }

  void report_shared(Warp& warp, const MemoryAccess& access, const SharedShadow::Verdict& verdict) {
    const auto where = [&](std::uint32_t lanes) {
      return fmt::format("{} {} bytes at offset {} of shared memory", verb_of(access.access), access.bytes,
                         access.address[std::countr_zero(lanes)]);
    };
    if (verdict.in_flight != 0) {
      findings_.add(FindingKind::missing_async_wait, warp, access.op, verdict.in_flight, [&](Finding& finding) {
        finding.message = where(verdict.in_flight) + ", where a cp.async is still under way";
      });
    }
    const std::uint32_t uninitialised = verdict.uninitialised & ~verdict.in_flight;
    if (uninitialised != 0) {
      findings_.add(FindingKind::uninitialised_read, warp, access.op, uninitialised,
                    [&](Finding& finding) { finding.message = where(uninitialised) + ", which nobody has written"; });
    }
    if (verdict.race != 0) {
      findings_.add(FindingKind::shared_race, warp, access.op, verdict.race, [&](Finding& finding) {
        finding.message =
            fmt::format("{} while warp {} {} it, with no barrier between them (this is warp {})", where(verdict.race),
                        verdict.other_warp, verdict.other_wrote ? "writes" : "reads", warp.index);
      });
    }
  }

  // The allocation that holds the whole access; nullptr if there is none. Mostly it is the one of the access before.
  const Allocation* allocation_of(std::uint64_t address, std::uint64_t bytes) {
    const auto holds = [&](const Allocation& a) {
      return address - a.begin < a.bytes && a.bytes - (address - a.begin) >= bytes;
    };
    if (latest_ != nullptr && holds(*latest_)) return latest_;
    auto after = std::upper_bound(allocations_.begin(), allocations_.end(), address,
                                  [](std::uint64_t x, const Allocation& a) { return x < a.begin; });
    if (after == allocations_.begin() || !holds(*std::prev(after))) return nullptr;
    return latest_ = &*std::prev(after);
  }

  std::uint32_t global(Warp& warp, const MemoryAccess& access) {
    if (access.mask == 0) return 0;
    const bool writes = access.access == Access::store || access.access == Access::atomic;
    // Mostly all lanes are within one allocation, which then needs to be found once.
    const Allocation* one = allocation_of(access.lowest, access.highest - access.lowest + access.bytes);
    if (one != nullptr && (access.bits & (access.bytes - 1)) == 0 && !(writes && one->is_constant)) {
      follow_initialisation(warp, access, access.mask, writes, access.lowest, access.highest + access.bytes);
      return access.mask;
    }
    std::uint32_t outside = 0, constant = 0;
    each_bit(access.mask, [&](unsigned l) {
      const Allocation* allocation = allocation_of(access.address[l], access.bytes);
      outside |= std::uint32_t{allocation == nullptr} << l;
      constant |= std::uint32_t{writes && allocation != nullptr && allocation->is_constant} << l;
    });
    if (outside != 0) report_global(warp, access, outside);
    if (constant != 0) report_constant(warp, access, constant);
    const std::uint32_t good = aligned(warp, access) & ~(outside | constant);
    follow_initialisation(warp, access, good, writes, 0, ~std::uint64_t{0});
    return good;
  }

  void mark_written(const MemoryAccess& access, std::uint32_t lanes) {
    if (lanes == all_lanes && access.is_consecutive) {
      std::memset(memory_.shadow(access.lowest), 1, warp_size * access.bytes);
      return;
    }
    each_bit(lanes, [&](unsigned l) { std::memset(memory_.shadow(access.address[l]), 1, access.bytes); });
  }

  // All addresses lie in [begin, end).
  void follow_initialisation(Warp& warp, const MemoryAccess& access, std::uint32_t lanes, bool writes,
                             std::uint64_t begin, std::uint64_t end) {
    const bool is_dense = end - begin <= 4096, reads = access.access != Access::store;
    std::uint32_t uninitialised = 0;
    if (reads && (!is_dense || std::memchr(memory_.shadow(begin), 0, end - begin) != nullptr)) {
      each_bit(lanes, [&](unsigned l) {
        const bool hole = std::memchr(memory_.shadow(access.address[l]), 0, access.bytes) != nullptr;
        uninitialised |= std::uint32_t{hole} << l;
      });
    }
    if (writes) mark_written(access, lanes);
    if (uninitialised == 0) return;
    findings_.add(FindingKind::uninitialised_read, warp, access.op, uninitialised, [&](Finding& finding) {
      const std::uint64_t address = access.address[std::countr_zero(uninitialised)];
      finding.message = fmt::format("{} {} bytes of global memory that nobody has written: {}", verb_of(access.access),
                                    access.bytes, describe_global(memory_, address, access.bytes));
      if (const Allocation* allocation = allocation_of(address, access.bytes))
        finding.allocation = describe(*allocation);
    });
  }

  void report_global(Warp& warp, const MemoryAccess& access, std::uint32_t lanes) {
    std::uint32_t null = 0;
    each_bit(lanes, [&](unsigned l) { null |= std::uint32_t{access.address[l] < 4096} << l; });
    const auto report = [&](FindingKind kind, std::uint32_t which) {
      if (which == 0) return;
      findings_.add(kind, warp, access.op, which, [&](Finding& finding) {
        const std::uint64_t address = access.address[std::countr_zero(which)];
        finding.message = fmt::format("{} {} bytes at 0x{:x}: {}", verb_of(access.access), access.bytes, address,
                                      describe_global(memory_, address, access.bytes));
        const auto* pointer = reinterpret_cast<const void*>(address);
        auto allocation = memory_.find(pointer);
        if (!allocation) allocation = memory_.nearest(pointer);
        if (allocation && kind != FindingKind::null_pointer) finding.allocation = describe(*allocation);
      });
    };
    report(FindingKind::null_pointer, null);
    report(FindingKind::out_of_bounds, lanes & ~null);
  }

  void report_constant(Warp& warp, const MemoryAccess& access, std::uint32_t lanes) {
    findings_.add(FindingKind::constant_write, warp, access.op, lanes, [&](Finding& finding) {
      const std::uint64_t address = access.address[std::countr_zero(lanes)];
      finding.message = fmt::format("{} {} bytes of constant memory: {}", verb_of(access.access), access.bytes,
                                    describe_global(memory_, address, access.bytes));
      if (const Allocation* allocation = allocation_of(address, access.bytes))
        finding.allocation = describe(*allocation);
    });
  }

  const Launch& launch_;
  const Memory& memory_;
  const std::vector<Allocation>& allocations_;  // by address
  const Allocation* latest_ = nullptr;
  std::array<const Op*, 16> met_at_{};  // where the first warp of a barrier's present round is
  SharedShadow shadow_;
  Findings findings_;
};

class CheckWatch final : public Watch {
 public:
  CheckWatch(const Launch& launch, unsigned threads)
      : launch_(launch), allocations_(launch.kernel->module->memory().allocations()) {
    std::sort(allocations_.begin(), allocations_.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    for (unsigned i = 0; i < threads; ++i) checkers_.push_back(std::make_unique<Checker>(launch, allocations_));
  }

  Observer* observer(unsigned thread) override { return checkers_[thread].get(); }

  void finish(LaunchResult& result) override {
    std::map<std::pair<const Op*, FindingKind>, Finding> all;
    for (const auto& checker : checkers_) checker->findings().merge_into(all, result.findings_not_recorded);
    for (auto& [key, finding] : all) result.findings.push_back(std::move(finding));
    if (result.fault != Fault::none) {
      Finding& finding = result.findings.emplace_back();
      finding.kind = FindingKind::trap;
      finding.kernel = launch_.kernel->info.name;
      finding.place = result.place;
      finding.message = result.message;
    }
    std::stable_sort(result.findings.begin(), result.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.place.ptx_line < b.place.ptx_line; });
    while (result.findings.size() > launch_.options->max_findings) {
      result.findings_not_recorded += result.findings.back().count;
      result.findings.pop_back();
    }
  }

 private:
  const Launch& launch_;
  std::vector<Allocation> allocations_;
  std::vector<std::unique_ptr<Checker>> checkers_;
};

}  // namespace

std::unique_ptr<Watch> make_checker(const Launch& launch, unsigned threads) {
  return std::make_unique<CheckWatch>(launch, threads);
}

}  // namespace gpusim
