#include "engine/autograd.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/operation.h"
#include "engine/ops.h"
#include "tests/harness/examine.h"

namespace heed::test {
namespace {

using Values = std::vector<double>;

Tensor leaf(const Values& values, const Shape& shape) {
  const Tensor x = from_vector(values, shape);
  x.set_requires_grad();
  return x;
}
Tensor leaf(const Values& values) {
  return leaf(values, {static_cast<std::int64_t>(values.size())});
}
Tensor of(const Values& values) {
  return from_vector(values, {static_cast<std::int64_t>(values.size())});
}
Values values_of(const Tensor& x) {
  return x.to_vector<double>();
}

// y = x, whose backward does what a test asks of it.
Tensor with_backward(const char* name, const Tensor& x, BackwardFunction backward) {
  Operation op(name);
  return op.record(x.clone().detach(), {x}, std::move(backward));
}

// A view that costs no memory, so that long chains are cheap.
Tensor pass(const Tensor& x) {
  Operation op("pass");
  return op.record(alias(x, x.layout()), {x}, [](const Upstream& up) -> Gradients { return {up.dy()}; });
}

Tensor cube(const Tensor& x) {
  return x * x * x;
}

}  // namespace

TEST_CASE("backward: gradients accumulate in leaves") {
  const Tensor a = leaf({1, 2, 3}), b = leaf({4, 5, 6});
  backward(a * b, of({1, 10, 100}));
  CHECK_EQ(values_of(a.grad()), Values{4, 50, 600});
  CHECK_EQ(values_of(b.grad()), Values{1, 20, 300});
  backward(a * b, of({1, 1, 1}));
  CHECK_EQ(values_of(a.grad()), Values{8, 55, 606});
  a.set_grad({});
  CHECK_FALSE(a.grad().defined());
  backward(a + a, of({1, 2, 3}));
  CHECK_EQ(values_of(a.grad()), Values{2, 4, 6});
}

TEST_CASE("backward: what nobody asks for gets no gradient") {
  const Tensor a = leaf({2}), b = of({3});
  bool asked = true;
  const Tensor y = [&] {
    Operation op("watch");
    return op.record(a * b, {a, b}, [&asked](const Upstream& up) -> Gradients {
      asked = up.needs(1);
      return {up.dy(), Tensor()};
    });
  }();
  backward(y);
  CHECK_FALSE(asked);
  CHECK_FALSE(b.grad().defined());
  CHECK_FALSE(y.is_leaf());
  CHECK_FALSE(y.grad().defined());
}

TEST_CASE("backward: a value used along many paths") {
  const Tensor x = leaf({3});
  Tensor y = x;
  for (int i = 0; i < 40; ++i) y = y + y;  // 2^40 paths, 40 nodes
  backward(y);
  CHECK_EQ(x.grad().item<double>(), std::pow(2, 40));
}

TEST_CASE("backward: what cannot be differentiated is refused") {
  const Tensor x = leaf({1, 2});
  CHECK_EQ(message_of([&] { backward(x * x); }),
           "backward: an output of shape [2] needs a gradient; only a scalar has an implied one");
  CHECK_EQ(message_of([&] {
             backward(x * x, of({1, 2, 3}));
           }),
           "backward: gradient of shape [3] (f64) for an output of shape [2] (f64)");
  CHECK_EQ(message_of([&] {
             backward(x * x, of({1, 2}).to(Dtype::f32));
           }),
           "backward: gradient of shape [2] (f32) for an output of shape [2] (f64)");
  CHECK_EQ(message_of([&] { backward(of({1})); }), "backward: the output of shape [1] does not require a gradient");
  CHECK_EQ(message_of([&] { backward(Tensor()); }), "backward: the output is undefined");
  CHECK_EQ(message_of([&] {
             backward(x.detach() * 2, of({1, 1}));
           }),
           "backward: the output of shape [2] does not require a gradient");
  Operation op("step");
  const Tensor y = op.non_differentiable(of({1, 2}), {x});
  CHECK_EQ(message_of([&] { backward(y * x, of({1, 1})); }), "step: has no gradient");
}

TEST_CASE("backward: a backward function that answers wrongly is caught") {
  const Tensor x = leaf({1, 2});
  const auto message = [&](BackwardFunction function) {
    return message_of([&] { backward(with_backward("wrong", x, std::move(function)), of({1, 1})); });
  };
  CHECK_EQ(message([](const Upstream&) { return Gradients(); }), "wrong: backward returned 0 gradients for 1 inputs");
  CHECK_EQ(message([](const Upstream&) -> Gradients { return {of({1})}; }),
           "wrong: backward returned a gradient of shape [1] (f64) for input 0 of shape [2] (f64)");
  CHECK_EQ(message([](const Upstream& up) -> Gradients { return {up.dy().to(Dtype::f32)}; }),
           "wrong: backward returned a gradient of shape [2] (f32) for input 0 of shape [2] (f64)");
  CHECK_EQ(message([](const Upstream& up) -> Gradients { return {up.y()}; }),
           "wrong: output 0 was not saved for the backward");
  CHECK_EQ(message([](const Upstream&) -> Gradients { return {Tensor()}; }), "(nothing thrown)");
}

TEST_CASE("graph: freed after backward unless retained") {
  const Tensor x = leaf({2});
  const Tensor y = cube(x);
  backward(y, {}, {.retain_graph = true});
  backward(y);
  CHECK_EQ(x.grad().item<double>(), 24);
  CHECK_EQ(message_of([&] { backward(y); }),
           "mul: this graph was freed by an earlier backward; pass retain_graph to keep it");
  const Tensor z = exp(x);  // saves its output
  backward(z);
  CHECK_EQ(message_of([&] { backward(z); }),
           "exp: this graph was freed by an earlier backward; pass retain_graph to keep it");
}

TEST_CASE("graph: a chain of a million nodes is made, walked and destroyed without recursion") {
  const std::int64_t before = live_nodes();
  {
    const Tensor x = leaf({3});
    Tensor y = x;
    for (int i = 0; i < 1'000'000; ++i) y = pass(y);
    CHECK_EQ(live_nodes(), before + 1'000'001);
    backward(y);
    CHECK_EQ(x.grad().item<double>(), 1);
    Tensor z = x;
    for (int i = 0; i < 1'000'000; ++i) z = pass(z);
    CHECK_EQ(grad({z}, {x})[0].item<double>(), 1);
    for (int i = 0; i < 1'000'000; ++i) z = pass(z);  // destroyed without having been walked
  }
  CHECK_EQ(live_nodes(), before);
}

TEST_CASE("graph: dropping results frees it; saved outputs make no cycle") {
  const Tensor x = leaf({1, 2});
  const std::int64_t before = live_nodes();
  {
    const Tensor y = exp(x) * exp(x);
    CHECK_GT(live_nodes(), before);
  }
  CHECK_EQ(live_nodes(), before);
  {
    const NoGrad no_grad;
    const Tensor y = x * x;
    CHECK_FALSE(y.requires_grad());
    CHECK_EQ(live_nodes(), before);
  }
  CHECK(grad_enabled());
  const Tensor y = x * x.detach();
  backward(y, of({1, 1}));
  CHECK_EQ(values_of(x.grad()), Values{1, 2});
}

TEST_CASE("grad: of several outputs, with respect to leaves and results, touching no grad()") {
  const Tensor x = leaf({2}), y = leaf({5});
  const Tensor a = x * y, b = a * x;
  const std::vector<Tensor> result = grad({a, b}, {x, a, y, x}, {of({1}), of({10})});
  CHECK_EQ(result[0].item<double>(), 5 + 10 * 2 * 2 * 5);
  CHECK_EQ(result[1].item<double>(), 1 + 10 * 2);
  CHECK_EQ(result[2].item<double>(), 2 + 10 * 4);
  CHECK_EQ(result[3].item<double>(), result[0].item<double>());
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(y.grad().defined());
}

TEST_CASE("grad: inputs that the outputs do not depend on") {
  const Tensor x = leaf({2}), unused = leaf({3, 4});
  CHECK_EQ(message_of([&] {
             grad({x * x}, {x, unused});
           }),
           "grad: the outputs do not depend on input 1 of shape [2]; pass allow_unused if that is meant");
  const std::vector<Tensor> result = grad({x * x}, {unused, x}, {}, {}, true);
  CHECK_FALSE(result[0].defined());
  CHECK_EQ(result[1].item<double>(), 4);
  CHECK_EQ(message_of([&] { grad({x * x}, {of({1})}); }), "grad: input 0 of shape [1] does not require a gradient");
  CHECK_EQ(message_of([&] { grad({x * x}, {x}, {of({1}), of({1})}); }), "grad: 2 gradients for 1 outputs");
}

TEST_CASE("grad: branches that lead to no input asked for are not walked") {
  const Tensor x = leaf({2}), y = leaf({3});
  const Tensor trap = with_backward("trap", y, [](const Upstream&) -> Gradients { fail("walked a branch of no use"); });
  CHECK_EQ(grad({x * trap}, {x})[0].item<double>(), 3);
}

TEST_CASE("grad: to any order") {
  const Tensor x = leaf({1.5});
  Tensor y = x * x * x * x;
  for (const double expected : {4 * std::pow(1.5, 3), 12 * std::pow(1.5, 2), 24 * 1.5, 24.0}) {
    y = grad({y}, {x}, {}, {.create_graph = true})[0];
    CHECK_LE(std::abs(y.item<double>() - expected), 1e-12);
  }
  // Through a saved output: the third derivative of exp(2x).
  Tensor z = exp(x * 2);
  for (int i = 0; i < 3; ++i) z = grad({z}, {x}, {}, {.create_graph = true})[0];
  CHECK_LE(std::abs(z.item<double>() - 8 * std::exp(3.0)), 1e-12 * std::exp(3.0) * 8);
}

TEST_CASE("hooks: see the complete gradient, replace it, and go") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3;
  int calls = 0;
  Values seen;
  const int watching = y.register_hook([&](const Tensor& dy) {
    ++calls;
    seen = values_of(dy);
    return Tensor();
  });
  const int doubling = y.register_hook([](const Tensor& dy) { return dy * 2; });
  const Tensor z = y + y;  // the hook runs once, on the sum of both paths
  backward(z, of({1, 10}), {.retain_graph = true});
  CHECK_EQ(calls, 1);
  CHECK_EQ(seen, Values{2, 20});
  CHECK_EQ(values_of(x.grad()), Values{12, 120});
  y.remove_hook(doubling);
  y.remove_hook(watching);
  x.set_grad({});
  backward(z, of({1, 10}), {.retain_graph = true});
  CHECK_EQ(calls, 1);
  CHECK_EQ(values_of(x.grad()), Values{6, 60});
  const int later = y.register_hook([](const Tensor&) { return of({1}); });
  CHECK_NE(later, doubling);  // an old id removes nothing new
  CHECK_NE(later, watching);
  CHECK_EQ(message_of([&] {
             backward(z, of({1, 1}), {.retain_graph = true});
           }),
           "hook on mul: returned shape [1] (f64) for a gradient of shape [2] (f64)");
  y.remove_hook(later);
  y.register_hook([](const Tensor& dy) { return dy.to(Dtype::f32); });
  CHECK_EQ(message_of([&] {
             backward(z, of({1, 1}));
           }),
           "hook on mul: returned shape [2] (f32) for a gradient of shape [2] (f64)");
  CHECK_EQ(message_of([] { of({1}).register_hook([](const Tensor&) { return Tensor(); }); }),
           "register_hook: tensor of shape [1] does not require a gradient");
}

TEST_CASE("hooks: on leaves, and removing themselves") {
  const Tensor x = leaf({1});
  int id = -1, calls = 0;
  id = x.register_hook([&](const Tensor& dy) {
    ++calls;
    x.remove_hook(id);
    return dy * 5;
  });
  backward(x * 2);
  CHECK_EQ(x.grad().item<double>(), 10);
  backward(x * 2);
  CHECK_EQ(x.grad().item<double>(), 12);
  CHECK_EQ(calls, 1);
}

TEST_CASE("aliasing: gradients that share memory never corrupt one another") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor dy = of({1, 10});
  backward(a + b, dy);
  CHECK_NE(a.grad().view().data, b.grad().view().data);
  CHECK_NE(a.grad().view().data, dy.view().data);
  backward(a * 1, of({5, 5}));  // accumulates in place, into a's gradient alone
  CHECK_EQ(values_of(a.grad()), Values{6, 15});
  CHECK_EQ(values_of(b.grad()), Values{1, 10});
  CHECK_EQ(values_of(dy), Values{1, 10});

  const Tensor held = a.grad();  // whoever holds a gradient keeps its values
  backward(a * 1, of({1, 1}));
  CHECK_EQ(values_of(held), Values{6, 15});
  CHECK_EQ(values_of(a.grad()), Values{7, 16});

  Tensor kept;  // also from a hook
  const Tensor y = a * 1;
  y.register_hook([&](const Tensor& dy) {
    kept = dy;
    return Tensor();
  });
  a.set_grad({});
  backward(y + a + a, of({1, 2}));
  CHECK_EQ(values_of(kept), Values{1, 2});
  CHECK_EQ(values_of(a.grad()), Values{3, 6});
}

TEST_CASE("aliasing: a gradient is added to in place by its sole owner only") {
  Tensor sum = of({1, 2});
  const void* const data = sum.view().data;
  CHECK(solely_owned(sum));
  sum = accumulate(std::move(sum), of({10, 20}));
  CHECK_EQ(sum.view().data, data);
  CHECK_EQ(values_of(sum), Values{11, 22});
  const Tensor window = sum.slice(0, 0, 1);
  CHECK_FALSE(solely_owned(sum));
  const Tensor other = accumulate(sum, of({1, 1}));
  CHECK_NE(other.view().data, data);
  CHECK_EQ(values_of(sum), Values{11, 22});
  CHECK_EQ(values_of(other), Values{12, 23});
  const Tensor expanded = of({5}).expand({2});  // the only handle, but one element stands for two
  CHECK_EQ(values_of(accumulate(expanded, of({1, 2}))), Values{6, 7});
}

TEST_CASE("views: gradients flow back to where the elements lie") {
  const Tensor x = leaf({0, 1, 2, 3, 4, 5}, {2, 3});
  const auto gradient = [&](const Tensor& y, const Values& dy) {
    return values_of(grad({y}, {x}, {from_vector(dy, y.shape())})[0]);
  };
  CHECK_EQ(gradient(x.reshape({3, 2}), {1, 2, 3, 4, 5, 6}), Values{1, 2, 3, 4, 5, 6});
  CHECK_EQ(gradient(x.flatten(), {1, 2, 3, 4, 5, 6}), Values{1, 2, 3, 4, 5, 6});
  CHECK_EQ(gradient(x.permute({1, 0}), {1, 2, 3, 4, 5, 6}), Values{1, 3, 5, 2, 4, 6});
  CHECK_EQ(gradient(x.transpose(0, 1).reshape({6}), {1, 2, 3, 4, 5, 6}), Values{1, 3, 5, 2, 4, 6});
  CHECK_EQ(gradient(x.slice(1, 0, 3, 2), {1, 2, 3, 4}), Values{1, 0, 2, 3, 0, 4});
  CHECK_EQ(gradient(x.slice(1, 2, 2), {}), Values{0, 0, 0, 0, 0, 0});
  CHECK_EQ(gradient(x.select(0, -1), {1, 2, 3}), Values{0, 0, 0, 1, 2, 3});
  CHECK_EQ(gradient(x.select(1, 1), {1, 2}), Values{0, 1, 0, 0, 2, 0});
  CHECK_EQ(gradient(x.expand({2, 2, 3}), {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60}), Values{11, 22, 33, 44, 55, 66});
  CHECK_EQ(gradient(x.select(0, 0).unsqueeze(0).expand({2, -1}), {1, 2, 3, 4, 5, 6}), Values{5, 7, 9, 0, 0, 0});
  CHECK_EQ(gradient(x.unsqueeze(1).squeeze(1), {1, 2, 3, 4, 5, 6}), Values{1, 2, 3, 4, 5, 6});
  CHECK_EQ(gradient(x.clone(), {1, 2, 3, 4, 5, 6}), Values{1, 2, 3, 4, 5, 6});
  CHECK_EQ(gradient(x.to(Dtype::f32).to(Dtype::f64), {1, 2, 3, 4, 5, 6}), Values{1, 2, 3, 4, 5, 6});
}

TEST_CASE("views: gradients of gradients") {
  const Tensor x = leaf({1, 2, 3, 4, 5, 6}, {2, 3});
  for (const auto& view : std::vector<std::function<Tensor(const Tensor&)>>{
           [](const Tensor& t) { return t.reshape({6}); },
           [](const Tensor& t) { return t.transpose(0, 1); },
           [](const Tensor& t) { return t.slice(1, 0, 3, 2); },
           [](const Tensor& t) { return t.select(0, 1); },
           [](const Tensor& t) {
             return t.expand({2, 2, 3});
           },
           [](const Tensor& t) { return t.unsqueeze(0); },
       }) {
    // sum(view(x)^3): the first gradient is 3 n x^2, the second 6 n x, n counting how often the view shows an element.
    const Tensor first = grad({sum(cube(view(x)))}, {x}, {}, {.create_graph = true})[0];
    const Tensor second = grad({sum(first)}, {x})[0];
    const Values shown = values_of(grad({sum(view(x))}, {x})[0]), xs = values_of(x);
    for (std::size_t i = 0; i < xs.size(); ++i) {
      CHECK_LE(std::abs(values_of(first)[i] - 3 * shown[i] * xs[i] * xs[i]), 1e-12);
      CHECK_LE(std::abs(values_of(second)[i] - 6 * shown[i] * xs[i]), 1e-12);
    }
  }
}

TEST_CASE("several outputs: those without a gradient count as zeros") {
  const Tensor x = leaf({2});
  const auto two = [&] {
    Operation op("two");
    return op.record_all({of({1}), of({2})}, {x}, [](const Upstream& up) -> Gradients {
      CHECK_FALSE(up.has_dy(0));
      return {up.dy(0) + up.dy(1) * 10};
    });
  }();
  backward(two[1]);
  CHECK_EQ(x.grad().item<double>(), 10);
}

TEST_CASE("leaves: who may become one") {
  const Tensor x = leaf({1, 2});
  CHECK(x.is_leaf());
  CHECK(x.requires_grad());
  const Tensor y = x * 2;
  CHECK_EQ(message_of([&] { y.set_requires_grad(false); }),
           "set_requires_grad: a tensor made by mul is not a leaf; detach() it first");
  CHECK_EQ(message_of([] { from_vector<std::int64_t>({1}, {1}).set_requires_grad(); }),
           "set_requires_grad: needs a floating dtype, not i64");
  x.set_requires_grad(false);
  CHECK_FALSE((x * 2).requires_grad());
  CHECK_EQ(message_of([&] { x.set_grad(of({1})); }),
           "set_grad: the gradient does not match the tensor of shape [2] (f64)");
  const Tensor detached = y.detach();
  CHECK(detached.is_leaf());
  CHECK_FALSE(detached.requires_grad());
  CHECK_EQ(detached.view().data, y.view().data);
  Tensor gone = leaf({1});
  const Tensor z = gone * 2;
  gone = {};
  backward(z);  // the leaf is no more: nothing to feed
}

TEST_CASE("anomaly mode names the operation, the shapes and the place, forward and backward") {
  const AnomalyMode anomaly_mode;
  const Tensor x = from_vector<float>({1, 2, 3, 0}, {2, 2});
  CHECK_EQ(message_of([&] { x.transpose(0, 1) / x.select(1, 1); }),
           "anomaly: div made inf at [0, 1] of result 0 of shape [2, 2]; shapes of its inputs: [2, 2], [2]");
  CHECK_EQ(message_of([&] { exp(x * 100); }),
           "anomaly: exp made inf at [0, 0] of result 0 of shape [2, 2]; shapes of its inputs: [2, 2]");
  CHECK_EQ(message_of([&] { x.slice(1, 1, 2) / x.slice(1, 1, 2); }),
           "anomaly: div made nan at [1, 0] of result 0 of shape [2, 1]; shapes of its inputs: [2, 1], [2, 1]");
  const Tensor bad = from_vector<float>({1, NAN}, {2});
  CHECK_EQ(message_of([&] { bad + bad; }), "(nothing thrown)");  // made elsewhere
  const Tensor leaf = from_vector<float>({1, 0}, {2}).set_requires_grad();
  const Tensor y = with_backward("odd", leaf, [](const Upstream&) -> Gradients {
    return {from_vector<float>({1, INFINITY}, {2})};
  });
  CHECK_EQ(message_of([&] {
             backward(y, from_vector<float>({1, 1}, {2}));
           }),
           "anomaly: the backward of odd made inf at [1] of result 0 of shape [2]; shapes of its inputs: [2]");
  Operation op("mask");
  op.may_be_infinite();
  CHECK_EQ(message_of([&] {
             op.record(from_vector<float>({-INFINITY}, {1}), {x}, [](const Upstream&) { return Gradients(); });
           }),
           "(nothing thrown)");
}

TEST_CASE("anomaly mode ends with its scope") {
  { const AnomalyMode anomaly_mode; }
  CHECK(std::isnan((of({0}) / of({0})).item<double>()));
}

}  // namespace heed::test
