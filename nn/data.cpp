#include "nn/data.h"

#include <algorithm>
#include <numeric>

#include "engine/ops.h"

namespace heed::nn {
namespace {

// The stream of a seed is cut into pieces of 2^32 blocks: the upper half for the orders of epochs, the lower for the
// batches.
Generator shuffling(std::uint64_t seed, std::int64_t epoch) {
  return {seed, (std::uint64_t{1} << 63) + (static_cast<std::uint64_t>(epoch) << 32)};
}
Generator making(std::uint64_t seed, std::int64_t batch) {
  return {seed, static_cast<std::uint64_t>(batch) << 32};
}

template <class T>
Padded pad_sequences(std::span<const std::vector<T>> sequences, Side side, T value) {
  std::size_t longest = 0;
  std::vector<std::int64_t> lengths;
  for (const std::vector<T>& sequence : sequences) {
    longest = std::max(longest, sequence.size());
    lengths.push_back(static_cast<std::int64_t>(sequence.size()));
  }
  std::vector<T> values(sequences.size() * longest, value);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::size_t gap = side == Side::left ? longest - sequences[i].size() : 0;
    std::copy(sequences[i].begin(), sequences[i].end(),
              values.begin() + static_cast<std::ptrdiff_t>(i * longest + gap));
  }
  const auto batch = static_cast<std::int64_t>(sequences.size());
  return {from_vector(values, {batch, static_cast<std::int64_t>(longest)}), from_vector(lengths, {batch})};
}

}  // namespace

BatchSampler::BatchSampler(std::int64_t samples, const LoaderOptions& options) : samples_(samples), options_(options) {
  check(samples >= 0, "DataLoader: {} samples", samples);
  check(options.batch_size > 0, "DataLoader: batch_size {} must be positive", options.batch_size);
  check(options.prefetch >= 0, "DataLoader: prefetch {} must not be negative", options.prefetch);
  const std::int64_t last = options.drop_last ? 0 : options.batch_size - 1;
  batches_ = (samples + last) / options.batch_size;
}

void BatchSampler::start_epoch(std::int64_t epoch) {
  epoch_ = epoch;
  if (options_.shuffle) {
    Generator generator = shuffling(options_.seed, epoch);
    order_ = randperm(samples_, &generator).to_vector<std::int64_t>();
  } else if (order_.empty()) {
    order_.resize(static_cast<std::size_t>(samples_));
    std::iota(order_.begin(), order_.end(), 0);
  }
}

BatchRequest BatchSampler::request(std::int64_t position) const {
  const std::int64_t begin = position * options_.batch_size;
  const std::int64_t end = std::min(begin + options_.batch_size, samples_);
  return {std::span(order_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
          making(options_.seed, epoch_ * batches_ + position)};
}

Padded pad(std::span<const std::vector<std::int64_t>> sequences, Side side, std::int64_t value) {
  return pad_sequences(sequences, side, value);
}
Padded pad(std::span<const std::vector<float>> sequences, Side side, float value) {
  return pad_sequences(sequences, side, value);
}

}  // namespace heed::nn
