#include "engine/tensor.h"

#include <algorithm>
#include <cmath>

#include "engine/autograd.h"
#include "engine/row_gradient.h"
#include "kernels/copy/copy.h"

namespace heed {
namespace {

Stream stream_of(const Tensor& x) {
  return {x.device(), nullptr};
}

// The text of every element, in row-major order.
std::vector<std::string> format_elements(const Tensor& x) {
  std::vector<std::string> texts;
  if (x.dtype() == Dtype::boolean) {
    for (const bool value : x.to_vector<bool>()) texts.emplace_back(value ? "true" : "false");
  } else if (is_floating(x.dtype())) {
    for (const double value : x.to_vector<double>()) texts.push_back(fmt::format("{:.4g}", value));
  } else {
    for (const std::int64_t value : x.to_vector<std::int64_t>()) texts.push_back(fmt::format("{}", value));
  }
  return texts;
}

// One bracket of the printed form: the elements from `first` on along `axis`, `span` elements in all. Long axes show
// three at each end.
std::string format_axis(const Tensor& x, const std::vector<std::string>& values, int axis, std::size_t first,
                        std::size_t span) {
  if (axis == x.rank()) return values[first];
  constexpr std::int64_t edge = 3;
  const std::int64_t length = x.shape()[axis];
  const std::size_t step = length == 0 ? 0 : span / static_cast<std::size_t>(length);
  const std::string separator =
      axis + 1 == x.rank() ? ", " : ",\n" + std::string(static_cast<std::size_t>(axis) + 8, ' ');
  std::string text = "[";
  for (std::int64_t i = 0; i < length; ++i) {
    if (i > 0) text += separator;
    if (length > 4 * edge && i == edge) {
      text += "..." + separator;
      i = length - edge;
    }
    text += format_axis(x, values, axis + 1, first + static_cast<std::size_t>(i) * step, step);
  }
  return text + "]";
}

}  // namespace

TensorImpl& Tensor::checked() const {
  check(impl_ != nullptr, "undefined tensor");
  return *impl_;
}

const Layout& Tensor::layout() const {
  return checked().layout;
}
Dtype Tensor::dtype() const {
  return checked().dtype;
}
Device Tensor::device() const {
  return checked().storage->device();
}

std::int64_t Tensor::size(int axis) const {
  const int rank = this->rank();
  check(-rank <= axis && axis < rank, "size: axis {} out of range for shape {}", axis, shape());
  return shape()[axis < 0 ? axis + rank : axis];
}

View Tensor::view() const {
  const TensorImpl& impl = checked();
  View view;
  view.data = static_cast<std::byte*>(impl.storage->data()) +
              impl.layout.offset * static_cast<std::int64_t>(size_of(impl.dtype));
  view.rank = impl.layout.rank();
  std::copy(impl.layout.shape.begin(), impl.layout.shape.end(), view.shape);
  std::copy(impl.layout.strides.begin(), impl.layout.strides.end(), view.strides);
  view.dtype = impl.dtype;
  view.device = impl.storage->device();
  return view;
}

Tensor Tensor::from_impl(std::shared_ptr<TensorImpl> impl) {
  Tensor tensor;
  tensor.impl_ = std::move(impl);
  return tensor;
}

bool Tensor::requires_grad() const {
  return checked().node != nullptr;
}
bool Tensor::is_leaf() const {
  return checked().node == nullptr || impl_->node->is_leaf;
}

const Tensor& Tensor::set_requires_grad(bool value) const {
  TensorImpl& impl = checked();
  if (!is_leaf()) fail("set_requires_grad: a tensor made by {} is not a leaf; detach() it first", impl.node->name);
  if (!value) {
    impl.node = nullptr;
  } else if (impl.node == nullptr) {
    check(is_floating(impl.dtype), "set_requires_grad: needs a floating dtype, not {}", impl.dtype);
    impl.node = Node::create("leaf");
    impl.node->is_leaf = true;
    impl.node->leaf = impl_;
    impl.node->outputs.push_back({impl.layout.shape, options(), {}});
    impl.output_index = 0;
  }
  return *this;
}

Tensor Tensor::grad() const {
  const TensorImpl& impl = checked();
  return impl.grad_rows.defined() ? to_dense({impl.grad_rows, impl.grad}, shape()) : impl.grad;
}

std::optional<RowGradient> Tensor::row_grad() const {
  const TensorImpl& impl = checked();
  if (!impl.grad_rows.defined()) return {};
  return RowGradient{impl.grad_rows, impl.grad};
}

void Tensor::set_grad(const Tensor& grad) const {
  check(!grad.defined() || (grad.shape() == shape() && grad.dtype() == dtype()),
        "set_grad: the gradient does not match the tensor of shape {} ({})", shape(), dtype());
  if (grad.defined() && grad.device() != device())
    fail("set_grad: a gradient on {} for a tensor on {}", grad.device(), device());
  checked().grad = grad;
  checked().grad_rows = {};
}

Tensor Tensor::detach() const {
  return alias(*this, layout());
}

int Tensor::register_hook(std::function<Tensor(const Tensor&)> hook) const {
  TensorImpl& impl = checked();
  check(impl.node != nullptr, "register_hook: tensor of shape {} does not require a gradient", shape());
  std::vector<Node::Hook>& hooks = impl.node->hooks;
  const int id = impl.node->hooks_ever++;
  hooks.push_back({id, impl.output_index, std::move(hook)});
  return id;
}

void Tensor::remove_hook(int id) const {
  if (checked().node == nullptr) return;
  std::erase_if(impl_->node->hooks, [id](const Node::Hook& hook) { return hook.id == id; });
}

Tensor empty(const Shape& shape, TensorOptions options) {
  for (std::int64_t length : shape) check(length >= 0, "empty: negative length in shape {}", shape);
  const std::optional<std::int64_t> bytes = bytes_of(shape, size_of(options.dtype));
  check(bytes.has_value(), "empty: shape {} is too large", shape);
  auto impl = std::make_shared<TensorImpl>();
  impl->layout = Layout::contiguous(shape);
  impl->dtype = options.dtype;
  impl->storage = std::make_shared<Block>(options.device, static_cast<std::size_t>(*bytes));
  return Tensor::from_impl(std::move(impl));
}

Tensor empty_like(const Tensor& x) {
  return empty(x.shape(), x.options());
}

Tensor alias(const Tensor& base, const Layout& layout) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = base.impl()->storage;
  impl->layout = layout;
  impl->dtype = base.dtype();
  return Tensor::from_impl(std::move(impl));
}

void assign(const Tensor& target, const Tensor& source) {
  check(target.shape() == source.shape(), "assign: source of shape {} for a target of shape {}", source.shape(),
        target.shape());
  check(!grad_enabled() || !target.requires_grad(), "assign: the target requires a gradient; write to it under NoGrad");
  kernels::copy(source.detach().to(target.device()).view(), target.view(), stream_of(target));
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const NoGrad no_grad;
  const Tensor plain = to(Device{}).to(dtype_of<T>()).contiguous();
  const T* first = plain.data<T>();
  return std::vector<T>(first, first + plain.count());
}

template <class T>
T Tensor::item() const {
  check(count() == 1, "item: tensor of shape {} has {} elements", shape(), count());
  return to_vector<T>()[0];
}

template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, Device device) {
  check(static_cast<std::int64_t>(values.size()) == count_of(shape), "from_vector: {} values for shape {}",
        values.size(), shape);
  const Tensor result = empty(shape, {dtype_of<T>(), {}});
  std::copy(values.begin(), values.end(), result.data<T>());
  return result.to(device);
}

template std::vector<float> Tensor::to_vector<float>() const;
template std::vector<double> Tensor::to_vector<double>() const;
template std::vector<std::int32_t> Tensor::to_vector<std::int32_t>() const;
template std::vector<std::int64_t> Tensor::to_vector<std::int64_t>() const;
template std::vector<std::uint8_t> Tensor::to_vector<std::uint8_t>() const;
template std::vector<bool> Tensor::to_vector<bool>() const;
template float Tensor::item<float>() const;
template double Tensor::item<double>() const;
template std::int32_t Tensor::item<std::int32_t>() const;
template std::int64_t Tensor::item<std::int64_t>() const;
template std::uint8_t Tensor::item<std::uint8_t>() const;
template bool Tensor::item<bool>() const;
template Tensor from_vector(const std::vector<float>&, const Shape&, Device);
template Tensor from_vector(const std::vector<double>&, const Shape&, Device);
template Tensor from_vector(const std::vector<std::int32_t>&, const Shape&, Device);
template Tensor from_vector(const std::vector<std::int64_t>&, const Shape&, Device);
template Tensor from_vector(const std::vector<std::uint8_t>&, const Shape&, Device);
template Tensor from_vector(const std::vector<bool>&, const Shape&, Device);

std::string to_string(const Tensor& x) {
  if (!x.defined()) return "tensor(undefined)";
  const std::vector<std::string> values = format_elements(x);
  return fmt::format("tensor({}, {})", format_axis(x, values, 0, 0, values.size()), x.dtype());
}

}  // namespace heed

fmt::format_context::iterator fmt::formatter<heed::Tensor>::format(const heed::Tensor& x,
                                                                   fmt::format_context& context) const {
  return write(heed::to_string(x), context);
}
