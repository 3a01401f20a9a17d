#include "nn/data.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <numeric>

#include "tests/harness/examine.h"

namespace heed::test {
namespace {

using Indices = std::vector<std::int64_t>;

// A batch that tells how it was made: its samples, and a number of its own stream.
struct Batch {
  Indices indices;
  std::uint64_t stream;
  friend bool operator==(const Batch&, const Batch&) = default;
};
Batch make_batch(const nn::BatchRequest& request) {
  return {Indices(request.indices.begin(), request.indices.end()), request.generator.offset};
}
using Loader = nn::DataLoader<Batch>;

// The rest of the epoch.
std::vector<Batch> read(Loader& loader) {
  std::vector<Batch> batches;
  while (std::optional<Batch> batch = loader.next()) batches.push_back(*batch);
  return batches;
}

Indices joined(const std::vector<Batch>& batches) {
  Indices all;
  for (const Batch& batch : batches) all.insert(all.end(), batch.indices.begin(), batch.indices.end());
  return all;
}

Indices range(std::int64_t count) {
  Indices all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

struct Squares {
  std::int64_t size() const { return 5; }
  std::int64_t get(std::int64_t i) const { return i * i; }
};

}  // namespace

TEST_CASE("data loader: batches in order") {
  Loader loader(7, make_batch, {.batch_size = 3});
  CHECK_EQ(loader.batches(), 3);
  const std::vector<Batch> batches = read(loader);
  CHECK_EQ(batches.size(), 3);
  CHECK_EQ(batches[2].indices, Indices{6});
  CHECK_EQ(joined(batches), range(7));
  CHECK_EQ(joined(read(loader)), range(7));  // the next epoch

  Loader full(7, make_batch, {.batch_size = 3, .drop_last = true});
  CHECK_EQ(joined(read(full)), range(6));
  Loader empty(0, make_batch, {.batch_size = 3, .shuffle = true});
  CHECK(read(empty).empty());
}

TEST_CASE("data loader: a data set and a collate function") {
  const Squares squares;
  const auto collate = [](const std::vector<std::int64_t>& samples) {
    return from_vector(samples, {std::ssize(samples)});
  };
  nn::DataLoader<Tensor> loader(squares, collate, {.batch_size = 3});
  CHECK_EQ(loader.next()->to_vector<std::int64_t>(), Indices{0, 1, 4});
  CHECK_EQ(loader.next()->to_vector<std::int64_t>(), Indices{9, 16});
  CHECK(!loader.next());
}

TEST_CASE("data loader: shuffling is a new permutation every epoch, the same for the same seed") {
  Loader loader(100, make_batch, {.batch_size = 8, .shuffle = true, .seed = 3});
  const std::vector<Batch> first = read(loader), second = read(loader);
  for (const std::vector<Batch>* epoch : {&first, &second}) {
    Indices all = joined(*epoch);
    CHECK_NE(all, range(100));
    std::sort(all.begin(), all.end());
    CHECK_EQ(all, range(100));
  }
  CHECK_NE(joined(first), joined(second));
  Loader again(100, make_batch, {.batch_size = 8, .shuffle = true, .seed = 3});
  CHECK_EQ(read(again), first);
  Loader other(100, make_batch, {.batch_size = 8, .shuffle = true, .seed = 4});
  CHECK_NE(joined(read(other)), joined(first));
}

TEST_CASE("data loader: every batch has a stream of its own") {
  Loader loader(10, make_batch, {.batch_size = 2});
  std::vector<std::uint64_t> streams;
  for (int epoch = 0; epoch < 3; ++epoch)
    for (const Batch& batch : read(loader)) streams.push_back(batch.stream);
  std::sort(streams.begin(), streams.end());
  for (std::size_t i = 1; i < streams.size(); ++i) CHECK(streams[i] - streams[i - 1] >= std::uint64_t{1} << 32);
}

TEST_CASE("data loader: reading ahead changes nothing") {
  const nn::LoaderOptions options = {.batch_size = 4, .shuffle = true, .seed = 9};
  for (const std::int64_t prefetch : {1, 3, 100}) {
    nn::LoaderOptions ahead = options;
    ahead.prefetch = prefetch;
    Loader plain(50, make_batch, options), threaded(50, make_batch, ahead);
    for (int epoch = 0; epoch < 3; ++epoch) CHECK_EQ(read(threaded), read(plain));
  }
}

TEST_CASE("data loader: continues from a state in the middle of an epoch") {
  for (const std::int64_t prefetch : {0, 2}) {
    const nn::LoaderOptions options = {.batch_size = 4, .shuffle = true, .prefetch = prefetch, .seed = 9};
    Loader loader(50, make_batch, options);
    read(loader);
    for (int i = 0; i < 5; ++i) loader.next();
    const nn::LoaderState state = loader.state();
    CHECK_EQ(state.epoch, 1);
    CHECK_EQ(state.position, 5);
    const std::vector<Batch> rest = read(loader), next = read(loader);

    Loader resumed(50, make_batch, options);
    resumed.next();
    resumed.restore(state);
    CHECK_EQ(read(resumed), rest);
    CHECK_EQ(read(resumed), next);
    loader.restore({9, 1, 13});  // the end of an epoch, not yet told
    CHECK(!loader.next());
    CHECK_EQ(loader.state().epoch, 2);
  }
  Loader loader(50, make_batch, {.batch_size = 4});
  CHECK_EQ(message_of([&] { loader.restore({1, 0, 0}); }), "DataLoader: a state of seed 1 for a loader of seed 0");
  CHECK_EQ(message_of([&] { loader.restore({0, 0, 14}); }), "DataLoader: no batch 14 in epoch 0: an epoch has 13");
}

TEST_CASE("data loader: an error comes in its turn, and can be tried again") {
  for (const std::int64_t prefetch : {0, 3}) {
    std::atomic<bool> broken = true;
    const auto make = [&](const nn::BatchRequest& request) {
      if (broken && request.indices[0] == 4) fail("sample 4: unreadable");
      return make_batch(request);
    };
    Loader loader(10, make, {.batch_size = 2, .prefetch = prefetch});
    CHECK_EQ(loader.next()->indices, Indices{0, 1});
    CHECK_EQ(loader.next()->indices, Indices{2, 3});
    CHECK_EQ(message_of([&] { loader.next(); }), "sample 4: unreadable");
    CHECK_EQ(message_of([&] { loader.next(); }), "sample 4: unreadable");
    broken = false;
    CHECK_EQ(joined(read(loader)), Indices{4, 5, 6, 7, 8, 9});
  }
}

TEST_CASE("data loader: stops in the middle of an epoch, reads no further ahead than asked") {
  std::atomic<int> made = 0;
  {
    const auto make = [&](const nn::BatchRequest& request) {
      ++made;
      return make_batch(request);
    };
    Loader loader(1000, make, {.batch_size = 1, .prefetch = 4});
    for (int i = 0; i < 10; ++i) loader.next();
  }
  CHECK(made >= 10);
  CHECK(made <= 15);  // 10 taken, 4 ready, 1 under way
}

TEST_CASE("data loader: settings that cannot be") {
  CHECK_EQ(message_of([] { Loader(5, make_batch, {.batch_size = 0}); }), "DataLoader: batch_size 0 must be positive");
  CHECK_EQ(message_of([] { Loader(5, make_batch, {.prefetch = -1}); }), "DataLoader: prefetch -1 must not be negative");
  CHECK_EQ(message_of([] { Loader(-5, make_batch); }), "DataLoader: -5 samples");
}

TEST_CASE("pad: on the right or on the left") {
  const std::vector<Indices> sequences = {{1, 2, 3}, {}, {4}};
  const nn::Padded right = nn::pad(sequences);
  CHECK_EQ(right.values.shape(), Shape{3, 3});
  CHECK_EQ(right.values.to_vector<std::int64_t>(), Indices{1, 2, 3, 0, 0, 0, 4, 0, 0});
  CHECK_EQ(right.lengths.to_vector<std::int64_t>(), Indices{3, 0, 1});
  CHECK_EQ(nn::pad(sequences, nn::Side::left, -1).values.to_vector<std::int64_t>(),
           Indices{1, 2, 3, -1, -1, -1, -1, -1, 4});
  const std::vector<std::vector<float>> numbers = {{0.5f}, {1, 2}};
  CHECK_EQ(nn::pad(numbers).values.to_vector<float>(), std::vector<float>{0.5f, 0, 1, 2});
  CHECK_EQ(nn::pad(std::vector<Indices>{}).values.shape(), Shape{0, 0});
}

}  // namespace heed::test
