#include "engine/tensor.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/autograd.h"
#include "engine/ops.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

Tensor counted(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(count_of(shape)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return from_vector(values, shape);
}

using Values = std::vector<float>;

}  // namespace

TEST_CASE("tensor: printing") {
  CHECK_EQ(to_string(Tensor()), "tensor(undefined)");
  CHECK_EQ(to_string(from_vector<float>({1.5}, {})), "tensor(1.5, f32)");
  CHECK_EQ(to_string(counted({2, 3})), "tensor([[0, 1, 2],\n        [3, 4, 5]], f32)");
  CHECK_EQ(to_string(counted({2, 1, 2})), "tensor([[[0, 1]],\n        [[2, 3]]], f32)");
  CHECK_EQ(to_string(counted({0})), "tensor([], f32)");
  CHECK_EQ(to_string(counted({2, 0})), "tensor([[],\n        []], f32)");
  CHECK_EQ(to_string(counted({13})), "tensor([0, 1, 2, ..., 10, 11, 12], f32)");
  CHECK_EQ(to_string(counted({12})), "tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], f32)");
  CHECK_EQ(to_string(from_vector<bool>({true, false}, {2})), "tensor([true, false], bool)");
  CHECK_EQ(to_string(from_vector<float>({NAN, -INFINITY, 0.1f}, {3})), "tensor([nan, -inf, 0.1], f32)");
  CHECK_EQ(to_string(from_vector<std::int64_t>({9007199254740993, INT64_MAX, INT64_MIN}, {3})),
           "tensor([9007199254740993, 9223372036854775807, -9223372036854775808], i64)");
  CHECK_EQ(to_string(counted({2, 3}).transpose(0, 1).slice(0, 0, 2)), "tensor([[0, 3],\n        [1, 4]], f32)");
  CHECK_EQ(fmt::format("{}", from_vector<std::uint8_t>({255}, {1})), "tensor([255], u8)");
}

TEST_CASE("tensor: values go in and come out") {
  const Tensor x = counted({2, 3});
  CHECK_EQ(x.to_vector<float>(), Values{0, 1, 2, 3, 4, 5});
  CHECK_EQ(x.transpose(0, 1).to_vector<float>(), Values{0, 3, 1, 4, 2, 5});
  CHECK_EQ(x.slice(1, 1, 2).to_vector<std::int64_t>(), std::vector<std::int64_t>{1, 4});
  CHECK_EQ(x.to_vector<bool>(), std::vector<bool>{false, true, true, true, true, true});
  CHECK_EQ(counted({0, 4}).to_vector<double>(), std::vector<double>{});
  CHECK_EQ(from_vector<double>({2.75}, {1, 1}).item<std::int32_t>(), 2);
  CHECK_EQ(from_vector<std::int64_t>({7}, {}).item<float>(), 7.0f);
  CHECK(from_vector<std::uint8_t>({7}, {}).item<bool>());
  CHECK_EQ(message_of([&] { x.item<float>(); }), "item: tensor of shape [2, 3] has 6 elements");
  CHECK_EQ(message_of([] { from_vector<float>({1, 2, 3}, {2, 2}); }), "from_vector: 3 values for shape [2, 2]");
  x.set_requires_grad();
  CHECK_EQ(x.to_vector<double>().size(), 6);  // reading leaves no graph
  CHECK_EQ(from_vector<float>({1}, {}).dtype(), Dtype::f32);
  CHECK_EQ(from_vector<double>({1}, {}).dtype(), Dtype::f64);
  CHECK_EQ(from_vector<std::int32_t>({1}, {}).dtype(), Dtype::i32);
  CHECK_EQ(from_vector<std::int64_t>({1}, {}).dtype(), Dtype::i64);
  CHECK_EQ(from_vector<std::uint8_t>({1}, {}).dtype(), Dtype::u8);
  CHECK_EQ(from_vector<bool>({true}, {}).dtype(), Dtype::boolean);
}

TEST_CASE("tensor: what it says of itself") {
  const Tensor x = counted({2, 3, 4});
  CHECK_EQ(x.rank(), 3);
  CHECK_EQ(x.count(), 24);
  CHECK_EQ(x.size(0), 2);
  CHECK_EQ(x.size(-1), 4);
  CHECK_EQ(message_of([&] { x.size(3); }), "size: axis 3 out of range for shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.size(-4); }), "size: axis -4 out of range for shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.data<double>(); }), "data: tensor is f32, not f64");
  CHECK_EQ(message_of([&] { x.transpose(0, 1).data<float>(); }),
           "data: tensor of shape [3, 2, 4] and strides [4, 12, 1] is not contiguous");
  CHECK_EQ(empty_like(x.transpose(0, 2)).shape(), Shape{4, 3, 2});
  CHECK(empty_like(x.transpose(0, 2)).is_contiguous());
}

TEST_CASE("tensor: an undefined one says so") {
  const Tensor none;
  CHECK_FALSE(none.defined());
  for (const std::function<void()>& use : std::vector<std::function<void()>>{[&] { none.shape(); },
                                                                             [&] { none.dtype(); },
                                                                             [&] { none.device(); },
                                                                             [&] { none.view(); },
                                                                             [&] { none.item<float>(); },
                                                                             [&] { none.to_vector<float>(); },
                                                                             [&] { none.reshape({1}); },
                                                                             [&] { none.flatten(); },
                                                                             [&] { none.permute({0}); },
                                                                             [&] { none.transpose(0, 1); },
                                                                             [&] { none.slice(0, 0, 1); },
                                                                             [&] { none.select(0, 0); },
                                                                             [&] { none.expand({1}); },
                                                                             [&] { none.squeeze(0); },
                                                                             [&] { none.unsqueeze(0); },
                                                                             [&] { none.contiguous(); },
                                                                             [&] { none.clone(); },
                                                                             [&] { none.to(Dtype::f64); },
                                                                             [&] { none.requires_grad(); },
                                                                             [&] { none.set_requires_grad(); },
                                                                             [&] { none.grad(); },
                                                                             [&] { none.detach(); },
                                                                             [&] { none.register_hook(nullptr); },
                                                                             [&] { none.remove_hook(0); },
                                                                             [&] { assign(none, none); },
                                                                             [&] { empty_like(none); }}) {
    CHECK_NE(message_of(use).find("undefined tensor"), std::string::npos);
  }
}

TEST_CASE("tensor: shapes that cannot be are refused") {
  CHECK_EQ(message_of([] { empty({2, -1}); }), "empty: negative length in shape [2, -1]");
  CHECK_EQ(message_of([] {
             empty({std::int64_t{1} << 40, std::int64_t{1} << 40});
           }),
           "empty: shape [1099511627776, 1099511627776] is too large");
  CHECK_EQ(message_of([] {
             empty({0, std::int64_t{1} << 40, std::int64_t{1} << 40});
           }),
           "empty: shape [0, 1099511627776, 1099511627776] is too large");
  CHECK_EQ(empty({0, 3}).count(), 0);
  CHECK_EQ(empty({}).count(), 1);
}

TEST_CASE("tensor: reshape and flatten") {
  const Tensor x = counted({2, 3, 4});
  CHECK_EQ(x.reshape({6, -1}).shape(), Shape{6, 4});
  CHECK_EQ(x.reshape({-1}).view().data, x.view().data);
  CHECK_EQ(x.transpose(0, 1).reshape({24}).to_vector<float>(), x.transpose(0, 1).to_vector<float>());
  CHECK_EQ(x.select(0, 0).select(0, 0).slice(0, 0, 1).reshape({}).item<float>(), 0);
  CHECK_EQ(counted({0, 3}).reshape({3, 0, 2}).shape(), Shape{3, 0, 2});
  CHECK_EQ(counted({0, 3}).reshape({-1, 3}).shape(), Shape{0, 3});
  CHECK_EQ(x.flatten().shape(), Shape{24});
  CHECK_EQ(x.flatten(1).shape(), Shape{2, 12});
  CHECK_EQ(x.flatten(0, -2).shape(), Shape{6, 4});
  CHECK_EQ(x.flatten(1, 1).shape(), Shape{2, 3, 4});
  CHECK_EQ(counted({}).flatten().shape(), Shape{1});
  CHECK_EQ(message_of([&] { x.reshape({5, 5}); }), "reshape: shape [5, 5] does not fit a tensor of shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.reshape({5, -1}); }), "reshape: shape [5, -1] does not fit a tensor of shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.reshape({-1, -1}); }), "reshape: more than one -1 in shape [-1, -1]");
  CHECK_EQ(message_of([&] { x.reshape({-2, 12}); }), "reshape: negative length in shape [-2, 12]");
  CHECK_EQ(message_of([&] {
             counted({0, 3}).reshape({0, -1});
           }),
           "reshape: shape [0, -1] does not fit a tensor of shape [0, 3]");
  constexpr std::int64_t half = std::int64_t{1} << 32;  // the product of two wraps around to 0
  CHECK_EQ(message_of([] {
             counted({0}).reshape({half, half});
           }),
           "reshape: shape [4294967296, 4294967296] does not fit a tensor of shape [0]");
  CHECK_EQ(message_of([&] { x.flatten(2, 1); }), "flatten: first axis 2 comes after last axis 1");
  CHECK_EQ(message_of([&] { x.flatten(3); }), "flatten: axis 3 out of range for shape [2, 3, 4]");
}

TEST_CASE("tensor: permute and transpose") {
  const Tensor x = counted({2, 3, 4});
  CHECK_EQ(x.permute({2, 0, -2}).shape(), Shape{4, 2, 3});
  CHECK_EQ(x.transpose(-1, 0).shape(), Shape{4, 3, 2});
  CHECK_EQ(x.transpose(1, 1).to_vector<float>(), x.to_vector<float>());
  CHECK_EQ(message_of([&] { x.permute({0, 1}); }), "permute: 2 axes given for shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.permute({0, 1, 3}); }), "permute: axis 3 out of range for shape [2, 3, 4]");
  CHECK_EQ(message_of([&] { x.permute({0, 1, -2}); }), "permute: axis -2 appears twice in [0, 1, -2]");
  CHECK_EQ(message_of([&] { x.transpose(0, 3); }), "transpose: axis 3 out of range for shape [2, 3, 4]");
}

TEST_CASE("tensor: slice and select follow NumPy") {
  const Tensor x = counted({10});
  constexpr std::int64_t most = INT64_MAX, least = INT64_MIN;
  CHECK_EQ(x.slice(0, 2, 5).to_vector<float>(), Values{2, 3, 4});
  CHECK_EQ(x.slice(0, -3, most).to_vector<float>(), Values{7, 8, 9});
  CHECK_EQ(x.slice(0, least, -8).to_vector<float>(), Values{0, 1});
  CHECK_EQ(x.slice(0, 1, 10, 4).to_vector<float>(), Values{1, 5, 9});
  CHECK_EQ(x.slice(0, 3, 10, most).to_vector<float>(), Values{3});
  CHECK_EQ(x.slice(0, 5, 2).shape(), Shape{0});
  CHECK_EQ(x.slice(0, 20, 30).shape(), Shape{0});
  CHECK_EQ(counted({0}).slice(0, 0, 1, most).shape(), Shape{0});
  CHECK_EQ(counted({2, 3}).select(1, -1).to_vector<float>(), Values{2, 5});
  CHECK_EQ(message_of([&] { x.slice(0, 0, 1, 0); }), "slice: step 0 is not positive");
  CHECK_EQ(message_of([&] { x.slice(0, 0, 1, -1); }), "slice: step -1 is not positive");
  CHECK_EQ(message_of([&] { x.slice(1, 0, 1); }), "slice: axis 1 out of range for shape [10]");
  CHECK_EQ(message_of([&] { x.select(0, 10); }), "select: index 10 out of range for axis 0 of shape [10]");
  CHECK_EQ(message_of([&] { x.select(0, -11); }), "select: index -11 out of range for axis 0 of shape [10]");
}

TEST_CASE("tensor: expand, squeeze and unsqueeze") {
  const Tensor x = counted({2, 1});
  CHECK_EQ(x.expand({3, 2, 2}).to_vector<float>(), Values{0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1});
  CHECK_EQ(x.expand({-1, 4}).shape(), Shape{2, 4});
  CHECK_EQ(x.expand({2, 0}).count(), 0);
  CHECK_EQ(x.squeeze(-1).shape(), Shape{2});
  CHECK_EQ(x.unsqueeze(0).shape(), Shape{1, 2, 1});
  CHECK_EQ(x.unsqueeze(-1).shape(), Shape{2, 1, 1});
  CHECK_EQ(message_of([&] { x.expand({3, 1}); }), "expand: shape [2, 1] does not expand to [3, 1]");
  CHECK_EQ(message_of([&] { x.expand({2}); }), "expand: shape [2, 1] does not expand to [2]");
  CHECK_EQ(message_of([&] { x.expand({-1, 2, 1}); }), "expand: shape [2, 1] does not expand to [-1, 2, 1]");
  CHECK_EQ(message_of([&] { x.expand({2, -2}); }), "expand: shape [2, 1] does not expand to [2, -2]");
  CHECK_EQ(message_of([] {
             counted({1, 1}).expand({std::int64_t{1} << 40, std::int64_t{1} << 40});
           }),
           "expand: shape [1099511627776, 1099511627776] is too large");
  CHECK_EQ(message_of([&] { x.squeeze(0); }), "squeeze: axis 0 of shape [2, 1] is not of length 1");
  CHECK_EQ(message_of([&] { x.squeeze(2); }), "squeeze: axis 2 out of range for shape [2, 1]");
  CHECK_EQ(message_of([&] { x.unsqueeze(3); }), "unsqueeze: axis 3 out of range for a new axis in shape [2, 1]");
  CHECK_EQ(message_of([] {
             counted({1, 1, 1, 1, 1, 1, 1, 1}).unsqueeze(0);
           }),
           "shape: 9 axes, more than the 8 that heed supports");
}

TEST_CASE("tensor: views share memory, copies do not") {
  const Tensor x = counted({2, 3});
  const Tensor row = x.select(0, 1), copy = x.clone();
  CHECK_EQ(x.contiguous().view().data, x.view().data);
  CHECK_EQ(x.to(Dtype::f32).view().data, x.view().data);
  CHECK_NE(copy.view().data, x.view().data);
  assign(row, from_vector<float>({7, 8, 9}, {3}));
  CHECK_EQ(x.to_vector<float>(), Values{0, 1, 2, 7, 8, 9});
  CHECK_EQ(copy.to_vector<float>(), Values{0, 1, 2, 3, 4, 5});
}

TEST_CASE("tensor: assign") {
  const Tensor x = counted({2, 2});
  assign(x.transpose(0, 1), from_vector<std::int64_t>({1, 2, 3, 4}, {2, 2}));
  CHECK_EQ(x.to_vector<float>(), Values{1, 3, 2, 4});
  CHECK_EQ(message_of([&] { assign(x, counted({4})); }), "assign: source of shape [4] for a target of shape [2, 2]");
  x.set_requires_grad();
  CHECK_EQ(message_of([&] {
             assign(x, counted({2, 2}));
           }),
           "assign: the target requires a gradient; write to it under NoGrad");
  const NoGrad no_grad;
  assign(x, counted({2, 2}));
  CHECK_EQ(x.to_vector<float>(), Values{0, 1, 2, 3});
}

}  // namespace heed::test
