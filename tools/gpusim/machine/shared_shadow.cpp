#include "tools/gpusim/machine/shared_shadow.h"

#include <algorithm>

namespace gpusim {

namespace {

template <class F>
void each_bit(std::uint32_t mask, F f) {
  for (; mask != 0; mask &= mask - 1) f(static_cast<unsigned>(std::countr_zero(mask)));
}

}  // namespace

void SharedShadow::start_block(std::size_t bytes, unsigned warps) {
  // Time goes on from block to block, so that entries of the last one are simply old.
  block_start_ = ++now_;
  warps_ = warps;
  const std::size_t count = (bytes >> shift_) + 1;
  if (entries_.size() < count) entries_.resize(count);
  for (unsigned w = 0; w < warps; ++w) {
    known_[w].fill(now_);
    floor_[w] = now_;
  }
  participants_.fill(0);
}

void SharedShadow::release(unsigned barrier) {
  const std::uint32_t mask = participants_[barrier];
  participants_[barrier] = 0;
  std::array<std::uint32_t, 32> joined{};
  each_bit(mask, [&](unsigned w) {
    for (unsigned v = 0; v < warps_; ++v) joined[v] = std::max(joined[v], known_[w][v]);
  });
  ++now_;
  each_bit(mask, [&](unsigned w) { joined[w] = now_; });
  each_bit(mask, [&](unsigned w) {
    known_[w] = joined;
    floor_[w] = *std::min_element(joined.begin(), joined.begin() + warps_);
  });
}

void SharedShadow::refine(unsigned bytes) {
  while ((1u << shift_) > bytes) {
    std::vector<Entry> finer(2 * entries_.size());
    for (std::size_t i = 0; i < finer.size(); ++i) finer[i] = entries_[i / 2];
    entries_ = std::move(finer);
    --shift_;
  }
}

bool SharedShadow::readers_are_over(unsigned warp, const Entry& entry) const {
  if (entry.read_time < block_start_ || entry.read_time < floor_[warp]) return true;
  bool over = true;
  each_bit(entry.readers, [&](unsigned other) { over = over && is_over(warp, other, entry.read_time); });
  return over;
}

void SharedShadow::read(unsigned warp, Entry& entry) const {
  const std::uint32_t bit = std::uint32_t{1} << warp;
  entry.readers = readers_are_over(warp, entry) ? bit : entry.readers | bit;
  entry.read_time = now_;
}

// The lane wants this granule: what is wrong with that?
void SharedShadow::judge(unsigned warp, const MemoryAccess& access, unsigned l, unsigned granule, Entry& entry,
                         Verdict& verdict) const {
  const std::uint32_t lane = std::uint32_t{1} << l;
  const bool reads = access.access == Access::load || access.access == Access::atomic,
             writes = access.access != Access::load;
  const bool is_written = entry.write_time >= block_start_;
  if (is_written && entry.in_flight) verdict.in_flight |= lane;
  if (reads && !is_written) verdict.uninitialised |= lane;
  const bool both_atomic = access.access == Access::atomic && entry.was_atomic;
  if (is_written && !both_atomic && !entry.in_flight && !is_over(warp, entry.writer, entry.write_time)) {
    // Warps that store the same value do not disturb each other.
    const std::size_t size = std::size_t{1} << shift_, offset = std::size_t{granule} << shift_;
    const bool same = access.access == Access::store && access.value != nullptr &&
                      std::memcmp(access.value + l * access.bytes + offset, access.pointer[l] + offset, size) == 0;
    if (!same) {
      verdict.race |= lane;
      verdict.other_warp = entry.writer;
      verdict.other_wrote = true;
    }
  }
  if (writes && !readers_are_over(warp, entry)) {
    verdict.race |= lane;
    verdict.other_wrote = false;
    each_bit(entry.readers, [&](unsigned other) {
      if (!is_over(warp, other, entry.read_time)) verdict.other_warp = other;
    });
  }
}

void SharedShadow::load(unsigned warp, const MemoryAccess& access, Verdict& verdict) {
  const unsigned granules = access.bytes >> shift_;
  const std::uint32_t bit = std::uint32_t{1} << warp, now = now_, start = block_start_, known = floor_[warp] - start;
  std::uint64_t before = ~std::uint64_t{0};
  unsigned lane_before = 0;
  each_bit(access.mask, [&](unsigned l) {
    const std::uint64_t address = access.address[l];
    if (address == before) return verdict.repeat(lane_before, l);  // lanes that share a word: once is enough
    before = address;
    lane_before = l;
    Entry* entry = &entries_[address >> shift_];
    for (unsigned i = 0; i < granules; ++i, ++entry) {
      // Written in this block, and over for all warps.
      const bool is_old = entry->write_time - start < known || (entry->write_time >= start && entry->writer == warp);
      if (!is_old || entry->in_flight) judge(warp, access, l, i, *entry, verdict);
      if (entry->read_time == now) {
        entry->readers |= bit;  // who reads at this time cannot be over for anybody
      } else {
        read(warp, *entry);
      }
    }
  });
}

void SharedShadow::change(unsigned warp, const MemoryAccess& access, Verdict& verdict) {
  const unsigned granules = access.bytes >> shift_;
  const std::uint32_t now = now_, known = floor_[warp];
  const bool is_atomic = access.access == Access::atomic, is_async = access.access == Access::async_target;
  each_bit(access.mask, [&](unsigned l) {
    Entry* entry = &entries_[access.address[l] >> shift_];
    for (unsigned i = 0; i < granules; ++i, ++entry) {
      const bool is_old = entry->write_time < known && entry->read_time < known && !entry->in_flight;
      if (!is_old || is_atomic) judge(warp, access, l, i, *entry, verdict);
      entry->write_time = now;
      entry->writer = static_cast<std::uint8_t>(warp);
      entry->was_atomic = is_atomic;
      entry->in_flight = is_async;
    }
  });
}

SharedShadow::Verdict SharedShadow::access(unsigned warp, const MemoryAccess& access) {
  Verdict verdict;
  if ((1u << shift_) > access.bytes) refine(access.bytes);
  if (access.access == Access::load) {
    load(warp, access, verdict);
  } else {
    change(warp, access, verdict);
  }
  return verdict;
}

void SharedShadow::landed(unsigned warp, const AsyncCopy& copy, std::uint32_t lanes, const std::byte* shared) {
  each_bit(lanes, [&](unsigned l) {
    Entry* entry = &entries_[static_cast<std::size_t>(copy.to[l] - shared) >> shift_];
    for (unsigned i = 0; i < copy.bytes >> shift_; ++i, ++entry) {
      entry->write_time = now_;
      entry->writer = static_cast<std::uint8_t>(warp);
      entry->in_flight = false;
    }
  });
}

}  // namespace gpusim
