// Devices: names, defaults, transfers, memory, what works across them. What needs a CUDA device skips without one.
#include "engine/device.h"

#include <doctest/doctest.h>

#include <thread>

#include "engine/ops.h"
#include "engine/safetensors.h"
#include "kernels/cuda/device.h"
#include "nn/checkpoint.h"
#include "nn/data.h"
#include "nn/linear.h"
#include "nn/optim.h"
#include "tests/harness/examine.h"
#include "tests/harness/identical.h"
#include "tests/harness/temporary_folder.h"

namespace heed::test {
namespace {

constexpr Device gpu{DeviceType::cuda, 0};

bool no_gpu() {
  if (is_available(gpu)) return false;
  MESSAGE("skipped: " << kernels::cuda::why_unavailable(0));
  return true;
}

}  // namespace

TEST_CASE("devices have names") {
  CHECK(parse_device("cpu") == Device{});
  CHECK(parse_device("cuda") == gpu);
  CHECK(parse_device("cuda:3") == Device{DeviceType::cuda, 3});
  for (const char* text : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda1", "CPU"}) {
    CHECK_EQ(message_of([&] { parse_device(text); }), fmt::format("device '{}': expected cpu, cuda or cuda:N", text));
  }
}

TEST_CASE("a device that is not there says why") {
  const int count = cuda_device_count();
  const Device missing{DeviceType::cuda, count};
  CHECK_FALSE(is_available(missing));
  CHECK(is_available({}));
  const std::string message = message_of([&] { zeros({2}, {Dtype::f32, missing}); });
  CHECK_EQ(message, kernels::cuda::why_unavailable(count));
  CHECK_EQ(message.rfind(fmt::format("cuda:{}: ", count), 0), 0);
  CHECK_EQ(message_of([&] { set_default_device(missing); }), message);
  CHECK_EQ(message_of([&] { zeros({2}, {Dtype::f32, {}}).to(missing); }), message);
  CHECK_EQ(message_of([&] { memory_stats(missing); }), message);
}

TEST_CASE("tensors travel between devices, and gradients back") {
  if (no_gpu()) return;
  for (const Dtype dtype :
       {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16, Dtype::i32, Dtype::i64, Dtype::u8, Dtype::boolean}) {
    const Tensor x = from_vector<double>({0, 1, 2, 3, 4, 5}, {2, 3}, Device{}).to(dtype);
    const Tensor there = x.to(gpu);
    CHECK(there.device() == gpu);
    CHECK(there.dtype() == dtype);
    CHECK(there.to(gpu).impl() == there.impl());
    CHECK_EQ(there.to_vector<double>(), x.to_vector<double>());
    CHECK_EQ(there.transpose(0, 1).to_vector<double>(), x.transpose(0, 1).to_vector<double>());
    CHECK_EQ(x.transpose(0, 1).to(gpu).to_vector<double>(), x.transpose(0, 1).to_vector<double>());
    CHECK_EQ(to_string(there), to_string(x));
  }
  const Tensor x = from_vector<float>({1, 2, 3}, {3}, Device{}).set_requires_grad();
  backward(sum(x.to(gpu) * from_vector<float>({4, 5, 6}, {3}, gpu)));
  CHECK(x.grad().device() == Device{});
  CHECK_EQ(x.grad().to_vector<float>(), std::vector<float>{4, 5, 6});
  CHECK_EQ(zeros({0, 3}, {Dtype::f32, gpu}).to(Device{}).count(), 0);
}

TEST_CASE("large transfers go in pieces, from several threads") {
  if (no_gpu()) return;
  const auto round_trip = [](std::int64_t count, std::int64_t start) {
    const Tensor x = arange(static_cast<double>(start), static_cast<double>(start + count), 1, {Dtype::i64, {}});
    return x.to(gpu).to_vector<std::int64_t>() == x.to_vector<std::int64_t>();
  };
  CHECK(round_trip((std::int64_t{9} << 20) / 8 + 5, 7));  // 9 MiB and a bit
  bool good[2] = {};
  std::thread other([&] {
    good[0] = true;
    for (int i = 0; i < 20; ++i) good[0] = good[0] && round_trip(1000 + i, i);
  });
  good[1] = true;
  for (int i = 0; i < 20; ++i) good[1] = good[1] && round_trip(3000 + i, -i);
  other.join();
  CHECK(good[0]);
  CHECK(good[1]);
}

TEST_CASE("operands on two devices are refused by name") {
  if (no_gpu()) return;
  const Tensor here = zeros({2, 2}, {Dtype::f32, {}}), there = zeros({2, 2}, {Dtype::f32, gpu});
  CHECK_EQ(message_of([&] { add(here, there); }), "add: tensors on cpu and cuda:0");
  CHECK_EQ(message_of([&] { matmul(there, here); }), "matmul: tensors on cuda:0 and cpu");
  CHECK_EQ(message_of([&] { here.set_grad(there); }), "set_grad: a gradient on cuda:0 for a tensor on cpu");
  CHECK_EQ(message_of([&] { there.data<float>(); }), "data: tensor is on cuda:0, not cpu");
  const Tensor leaf = zeros({2, 2}, {Dtype::f32, {}}).set_requires_grad();
  CHECK_EQ(message_of([&] { backward(leaf * 2.0, there); }), "backward: gradient on cuda:0 for an output on cpu");
  assign(here, ones({2, 2}, {Dtype::f32, gpu}));
  CHECK_EQ(here.to_vector<float>(), std::vector<float>(4, 1));
}

TEST_CASE("the default device is where tensors are made") {
  if (no_gpu()) return;
  const Device before = default_device();
  {
    const DefaultDevice scope(gpu);
    for (const Tensor& x : {zeros({2}), arange(0, 3), rand({2}), randint(0, 5, {3}), randperm(4), eye(2), scalar(1),
                            from_vector<float>({1}, {1}), one_hot(arange(0, 2), 2)}) {
      CHECK(x.device() == gpu);
    }
    CHECK(zeros({2}, {Dtype::f32, {}}).device() == Device{});
    CHECK(nn::Linear(2, 3).weight.device() == gpu);
  }
  CHECK(default_device() == before);
}

TEST_CASE("random numbers are the same on every device") {
  if (no_gpu()) return;
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16, Dtype::f16}) {
    for (const std::int64_t n : {1, 2, 3, 4, 5, 33, 1025}) {
      const auto both = [&](auto draw, double tolerance) {
        Generator a{5, 3}, b{5, 3};
        const Tensor here = draw(TensorOptions{dtype, {}}, &a), there = draw(TensorOptions{dtype, gpu}, &b);
        CHECK_EQ(difference(there, Array(here), tolerance), "");
        CHECK(a.offset == b.offset);
      };
      both([&](TensorOptions options, Generator* generator) { return rand({n}, options, generator); }, 0);
      both([&](TensorOptions options, Generator* generator) { return bernoulli({n}, 0.3, options, generator); }, 0);
      both([&](TensorOptions options, Generator* generator) { return randn({n}, options, generator); },
           dtype == Dtype::bf16  ? 1e-2
           : dtype == Dtype::f16 ? 1e-3
                                 : 1e-6);
      both(
          [&](TensorOptions options, Generator* generator) {
            return dropout(full({n}, 1.7, options).expand({2, n}).transpose(0, 1), 0.4, generator);
          },
          0);
    }
  }
}

TEST_CASE("memory of a device is pooled") {
  if (no_gpu()) return;
  if (const char* cache = std::getenv("HEED_CACHE"); cache != nullptr && std::string(cache) == "0") return;
  release_cached_memory(gpu);
  const MemoryStats before = memory_stats(gpu);
  { const Tensor x = empty({1000}, {Dtype::f32, gpu}); }
  { const Tensor y = empty({900}, {Dtype::f32, gpu}); }
  const MemoryStats after = memory_stats(gpu);
  CHECK(after.live_bytes == before.live_bytes);
  CHECK(after.cached_bytes >= 4000);
  CHECK(after.allocations == before.allocations + 2);
  CHECK(after.system_allocations == before.system_allocations + 1);
  release_cached_memory(gpu);
  CHECK(memory_stats(gpu).cached_bytes == 0);
  const std::string message = message_of([] { empty({std::int64_t{1} << 44}, {Dtype::f32, gpu}); });
  CHECK_EQ(message.rfind("out of memory on cuda:0: requested 70368744177664 bytes; live ", 0), 0);
}

TEST_CASE("a module moves to a device, trains there, and its checkpoint knows no device") {
  if (no_gpu()) return;
  const TemporaryFolder folder;
  manual_seed(4);
  const auto train = [](Device device, nn::Linear& layer, nn::AdamW& optimizer, int steps) {
    const Tensor x = uniform({8, 5}, -1, 1, {Dtype::f32, device}, 1),
                 y = uniform({8, 3}, -1, 1, {Dtype::f32, device}, 2);
    double last = 0;
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad();
      const Tensor loss = mse_loss(layer(x), y);
      backward(loss);
      optimizer.clip_grad_norm(1);
      optimizer.step();
      last = loss.item<double>();
    }
    return last;
  };
  const DefaultDevice cpu({});
  nn::Linear here(5, 3), there(5, 3), loaded(5, 3);
  there.load_state_dict(here.state_dict());
  there.to(gpu);
  CHECK(there.weight.device() == gpu);
  nn::AdamW here_optimizer(here, {.lr = 0.05}), there_optimizer(there, {.lr = 0.05}),
      loaded_optimizer(loaded, {.lr = 0.05});
  const double expected = train({}, here, here_optimizer, 5);
  CHECK(std::abs(train(gpu, there, there_optimizer, 5) - expected) <= 1e-5 * expected);

  nn::save_checkpoint(folder / "checkpoint", there, there_optimizer, {.step = 5});
  nn::load_checkpoint(folder / "checkpoint", loaded, loaded_optimizer);
  CHECK(loaded.weight.device() == Device{});
  CHECK_EQ(loaded.weight.to_vector<float>(), there.weight.to_vector<float>());
  const double next = train(gpu, there, there_optimizer, 1);
  CHECK(std::abs(train({}, loaded, loaded_optimizer, 1) - next) <= 1e-5 * next);
}

TEST_CASE("batches that a loader's thread makes on a device arrive whole") {
  if (no_gpu()) return;
  const auto make = [](const nn::BatchRequest& request) {
    const std::vector<std::int64_t> indices(request.indices.begin(), request.indices.end());
    return from_vector(indices, {static_cast<std::int64_t>(indices.size())}, gpu);
  };
  nn::DataLoader<Tensor> loader(10, make, {.batch_size = 4, .prefetch = 2});
  std::vector<std::int64_t> all;
  while (const std::optional<Tensor> batch = loader.next()) {
    CHECK(batch->device() == gpu);
    for (const std::int64_t i : (*batch + zeros_like(*batch)).to_vector<std::int64_t>()) all.push_back(i);
  }
  CHECK_EQ(all, std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

}  // namespace heed::test
