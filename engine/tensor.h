// Tensor: a cheap handle to a strided window onto shared memory, and optionally a place in the graph of gradients.
//
// Copying a Tensor copies the handle. Views (reshape, transpose, slice...) share memory with what they came from.
// There is no public in-place arithmetic: only optimisers and initialisers write, through assign() under NoGrad.
// Operations are free functions in engine/ops.h; what rearranges a tensor is a method, so that it reads left to right:
//
//   x.reshape({batch, length, heads, head_dim}).transpose(1, 2)
//
// Negative axes count from the end, as in NumPy. Errors are heed::Error, e.g. `transpose: axis 3 out of range for shape
// [2, 4]`.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/allocator.h"
#include "engine/device.h"
#include "engine/layout.h"
#include "kernels/dtypes.h"

namespace heed {

struct TensorOptions {
  Dtype dtype = Dtype::f32;
  Device device = default_device();
};

class Node;
struct RowGradient;
struct TensorImpl;

class Tensor {
 public:
  Tensor() = default;  // undefined: holds nothing; only defined() and assignment are allowed

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const { return layout().shape; }
  const Strides& strides() const { return layout().strides; }
  const Layout& layout() const;
  int rank() const { return layout().rank(); }
  std::int64_t size(int axis) const;  // the length of an axis
  std::int64_t count() const { return layout().count(); }
  Dtype dtype() const;
  Device device() const;
  TensorOptions options() const { return {dtype(), device()}; }
  bool is_contiguous() const { return layout().is_contiguous(); }

  // The window as kernels see it. Valid while this tensor lives.
  View view() const;
  // The first element of a contiguous CPU tensor of exactly this element type.
  template <class T>
  T* data() const;
  // The only element, converted to T. Throws unless count() == 1.
  template <class T>
  T item() const;
  // All elements in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector() const;

  // -- Views: no copy, differentiable -------------------------------------------------------------------------------
  Tensor reshape(const Shape& shape) const;  // one length may be -1; copies if strides leave no other way
  Tensor flatten(int first = 0, int last = -1) const;
  Tensor permute(const Axes& axes) const;
  Tensor transpose(int a, int b) const;
  Tensor slice(int axis, std::int64_t start, std::int64_t stop,
               std::int64_t step = 1) const;          // NumPy's x[start:stop:step]
  Tensor select(int axis, std::int64_t index) const;  // NumPy's x[index] along an axis, which disappears
  Tensor expand(const Shape& shape) const;            // to a broadcast shape; -1 keeps a length
  Tensor squeeze(int axis) const;                     // axis of length 1 disappears
  Tensor unsqueeze(int axis) const;                   // new axis of length 1, in front of `axis`

  // -- Copies, differentiable ---------------------------------------------------------------------------------------
  Tensor contiguous() const;       // itself where it already is
  Tensor clone() const;            // always a copy
  Tensor to(Dtype dtype) const;    // itself where nothing changes
  Tensor to(Device device) const;  // itself where it already is; reading from a CUDA device waits for it

  // -- Gradients (engine/autograd.h has the rest) -------------------------------------------------------------------
  bool requires_grad() const;
  // Makes a leaf whose gradient backward() accumulates into grad(). Floating dtypes only.
  const Tensor& set_requires_grad(bool value = true) const;
  bool is_leaf() const;
  Tensor grad() const;                      // undefined before the first backward()
  void set_grad(const Tensor& grad) const;  // undefined clears it
  // What grad() is made of where the gradient was kept sparse (see embedding); grad() then writes it out anew.
  std::optional<RowGradient> row_grad() const;
  Tensor detach() const;  // the same memory, outside the graph
  // Called with this tensor's gradient during backward; may return another one, or an undefined tensor to keep it.
  // Returns an id for remove_hook.
  int register_hook(std::function<Tensor(const Tensor&)> hook) const;
  void remove_hook(int id) const;

  // For the engine and whoever writes operations.
  static Tensor from_impl(std::shared_ptr<TensorImpl> impl);
  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }

 private:
  TensorImpl& checked() const;
  std::shared_ptr<TensorImpl> impl_;
};

struct TensorImpl {
  std::shared_ptr<Block> storage;
  Layout layout;
  Dtype dtype = Dtype::f32;
  // The node that made this tensor, or the leaf node where its gradient ends. Null: no gradient is wanted.
  std::shared_ptr<Node> node;
  int output_index = 0;
  Tensor grad;
  Tensor grad_rows;  // defined: `grad` holds only these rows of the gradient
};

// New memory, not initialised.
Tensor empty(const Shape& shape, TensorOptions options = {});
Tensor empty_like(const Tensor& x);
// A window onto the memory of `base`, outside the graph.
Tensor alias(const Tensor& base, const Layout& layout);

// Copies `source` into the memory of `target` (same shape; dtype and device are converted). Initialisers and optimisers write
// through this and through kernels, nobody else: gradients computed from the old values would be silently wrong.
// Throws when target takes part in a graph and NoGrad is not in force.
void assign(const Tensor& target, const Tensor& source);

// A tensor of `shape` from row-major values; its dtype follows T: float, double, std::int32_t, std::int64_t,
// std::uint8_t or bool.
template <class T>
Tensor from_vector(const std::vector<T>& values, const Shape& shape, Device device = default_device());

// What to print: NumPy's layout, long axes shortened. "tensor([[1, 2], [3, 4]], f32)"
std::string to_string(const Tensor& x);

template <class T>
T* Tensor::data() const {
  check(dtype() == dtype_of<T>(), "data: tensor is {}, not {}", dtype(), dtype_of<T>());
  check(device().type == DeviceType::cpu, "data: tensor is on {}, not cpu", device());
  check(is_contiguous(), "data: tensor of shape {} and strides {} is not contiguous", shape(), strides());
  return view().as<T>();
}

}  // namespace heed

// Printed as to_string does. Defined in tensor.cpp.
template <>
struct fmt::formatter<heed::Tensor> : heed::TextFormatter {
  fmt::format_context::iterator format(const heed::Tensor& x, fmt::format_context& context) const;
};
