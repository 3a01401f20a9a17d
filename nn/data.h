// From a data set to batches.
//
//   nn::DataLoader<Batch> loader(ratings, make_batch, {.batch_size = 128, .shuffle = true, .prefetch = 2});
//   for (int epoch = 0; epoch < epochs; ++epoch)
//     while (std::optional<Batch> batch = loader.next()) train_on(*batch);
//
// A batch depends on the seed, the epoch and its place in the epoch alone: not on what was read before, nor on whether
// a thread reads ahead. So the state of a loader is three numbers, and a training resumes in the middle of an epoch.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"
#include "nn/prefetcher.h"

namespace heed::nn {

// Samples by number. With prefetching get() is called on another thread, one call at a time.
template <class T>
concept Dataset = requires(const T& data, std::int64_t i) {
  { data.size() } -> std::convertible_to<std::int64_t>;
  data.get(i);
};

struct LoaderOptions {
  std::int64_t batch_size = 1;
  bool shuffle = false;       // anew in every epoch
  bool drop_last = false;     // leave out the last batch of an epoch when it is not full
  std::int64_t prefetch = 0;  // how many batches a thread reads ahead; 0: none, they are made when asked for
  std::uint64_t seed = 0;
};

struct LoaderState {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  std::int64_t position = 0;  // batches of this epoch that next() has given
};

// What a batch is made of.
struct BatchRequest {
  std::span<const std::int64_t> indices;  // of the samples
  Generator generator;  // for what is random in making the batch (negatives, crops...): its own stream for every batch
};

// Which samples make up which batch.
class BatchSampler {
 public:
  BatchSampler(std::int64_t samples, const LoaderOptions& options);
  std::int64_t batches() const { return batches_; }  // per epoch
  void start_epoch(std::int64_t epoch);              // until the next call, request() tells of this one
  BatchRequest request(std::int64_t position) const;

 private:
  std::int64_t samples_;
  LoaderOptions options_;
  std::int64_t batches_;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

template <class Batch>
class DataLoader {
 public:
  using MakeBatch = std::function<Batch(const BatchRequest&)>;

  // Batches made straight from indices in [0, samples). With prefetching make_batch is called on another thread.
  DataLoader(std::int64_t samples, MakeBatch make_batch, const LoaderOptions& options = {})
      : sampler_(samples, options), make_batch_(std::move(make_batch)), prefetch_(options.prefetch) {
    state_.seed = options.seed;
  }
  // Batches collated from the samples of a data set, which must outlive the loader: collate(std::vector<Sample>).
  template <Dataset Data, class Collate>
  DataLoader(const Data& data, Collate collate, const LoaderOptions& options = {})
      : DataLoader(
            data.size(),
            [&data, collate](const BatchRequest& request) {
              std::vector<decltype(data.get(0))> samples;
              for (const std::int64_t i : request.indices) samples.push_back(data.get(i));
              return collate(std::move(samples));
            },
            options) {}
  DataLoader(const DataLoader&) = delete;  // the reading thread knows it by its address
  DataLoader& operator=(const DataLoader&) = delete;

  // The next batch of the epoch; nothing at its end, and then the first of the next epoch. What make_batch throws is
  // thrown here, in its turn.
  std::optional<Batch> next() {
    if (state_.position == sampler_.batches()) {
      rewind({state_.seed, state_.epoch + 1, 0});
      return {};
    }
    if (!started_) start();
    Batch batch = prefetcher_ ? take() : make_batch_(sampler_.request(state_.position));
    ++state_.position;
    return batch;
  }

  std::int64_t batches() const { return sampler_.batches(); }  // per epoch
  const LoaderState& state() const { return state_; }
  // Continues from a state. Throws when it is not one of this loader.
  void restore(const LoaderState& state) {
    check(state.seed == state_.seed, "DataLoader: a state of seed {} for a loader of seed {}", state.seed, state_.seed);
    check(state.epoch >= 0 && state.position >= 0 && state.position <= batches(),
          "DataLoader: no batch {} in epoch {}: an epoch has {}", state.position, state.epoch, batches());
    rewind(state);
  }

 private:
  void rewind(const LoaderState& state) {
    prefetcher_.reset();
    started_ = false;
    state_ = state;
  }
  void start() {
    sampler_.start_epoch(state_.epoch);
    started_ = true;
    if (prefetch_ == 0) return;
    const auto make = [this](std::int64_t position) { return make_batch_(sampler_.request(position)); };
    prefetcher_ = std::make_unique<Prefetcher<Batch>>(make, state_.position, batches(), prefetch_);
  }
  Batch take() {
    try {
      return prefetcher_->next();
    } catch (...) {
      rewind(state_);  // the reading thread ended with the error; another next() tries again
      throw;
    }
  }

  BatchSampler sampler_;
  MakeBatch make_batch_;
  std::int64_t prefetch_;
  LoaderState state_;
  bool started_ = false;
  std::unique_ptr<Prefetcher<Batch>> prefetcher_;  // last, so that its thread ends before what it uses
};

enum class Side { left, right };

// Sequences of different lengths as one tensor, filled up with `value` on one side.
struct Padded {
  Tensor values;   // [batch, longest]
  Tensor lengths;  // i64 [batch]
};
Padded pad(std::span<const std::vector<std::int64_t>> sequences, Side side = Side::right, std::int64_t value = 0);
Padded pad(std::span<const std::vector<float>> sequences, Side side = Side::right, float value = 0);

}  // namespace heed::nn
