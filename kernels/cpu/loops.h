// The loop under every elementwise kernel: views of any strides in, contiguous blocks out.
//
//   map_blocks<float, float, float>(LoopOrder::any, y, {a, b},
//       [](std::int64_t, std::int64_t n, float* y, const float* a, const float* b) {
//         for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
//       });
//
// A kernel writes one simple loop over contiguous memory, which the compiler or Highway turns into vector code, and
// gets every layout, broadcasting, halves and all cores. How it works: axes are sorted and merged until as few as
// possible are left (all of a contiguous tensor is one axis); each operand hands out the next block of at most 1,024
// elements, where it lies if it lies contiguously, otherwise gathered (or splatted, or widened from halves) into a buffer
// on the stack that stays in the first-level cache. The arithmetic never sees a stride, so results cannot depend on the
// layout.
//
// The loop is compiled once, in loops.cpp, and knows no types: it calls an operation through a pointer, once a block,
// and moves elements by their width. So an operation costs the compiler its own lines and no more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cpu/loop_cursor.h"
#include "kernels/dtypes.h"
#include "kernels/loop_nest.h"
#include "kernels/view.h"

namespace heed::kernels {

inline constexpr std::int64_t block_elements = 1024;
inline constexpr std::int64_t chunk_elements = 16 * block_elements;  // what one thread takes at a time
inline constexpr std::size_t max_operands = 6;                       // of a loop, its output included

// How elements lie in memory and what a block takes for them: the same, or f32 where they are halves.
struct ElementFormat {
  std::size_t size;
  bool is_widened;
  void (*load)(const std::byte* data, const std::int64_t* strides, LoopCursor at, std::int64_t n, void* block);
  void (*store)(const void* block, std::int64_t n, LoopCursor at, const std::int64_t* strides, std::byte* data);
};

// For a block whose elements have `value_size` bytes: elements of another size are halves, to be widened.
const ElementFormat& element_format(Dtype dtype, std::size_t value_size);

// One view of a loop, handed out block by block as contiguous memory of what is computed with.
class LoopOperand {
 public:
  // strides, shape [rank]: of the axes of the loop; they must outlive the operand.
  void place(void* data, const ElementFormat& format, const std::int64_t* strides, const std::int64_t* shape, int rank);

  // The block to read.
  const void* load(const LoopCursor& at, std::int64_t n);

  // Where to write the block; then store() puts it where it belongs.
  void* target(const LoopCursor& at, std::int64_t n);
  void store(const LoopCursor& at, std::int64_t n, const void* block);

 private:
  std::byte* place_in_memory(const LoopCursor& at, std::int64_t n) const;  // null where the block lies scattered

  std::byte* data_;
  const ElementFormat* format_;
  const std::int64_t* strides_;
  std::int64_t inner_stride_;
  bool is_linear_;              // one stretch of memory, in the order of the loop, not to be widened
  bool repeats_;                // the outer axes have stride 0
  std::int64_t loaded_offset_;  // of the first element in the buffer
  std::int64_t loaded_;         // elements in the buffer that a later block may find useful
  alignas(64) std::byte buffer_[block_elements * sizeof(double)];
};

// An operation without its types: `call` knows them and passes on to `block`.
struct ErasedBlock {
  const void* block;
  void (*call)(const void* block, std::int64_t position, std::int64_t n, void* y, const void* const* x);
};

// map_blocks without its types: `inputs` and then y, of elements that the block takes for value_sizes bytes each.
void map_erased_blocks(LoopOrder order, std::size_t inputs, const View& y, const View* x,
                       const std::size_t* value_sizes, ErasedBlock block);

// Calls block(position, n, Y* y, const X*... inputs) until all elements are done, in chunks over all cores. Y and X are
// what the block computes with: a view's own type, or float where the view holds halves; bytes of any kind where it only
// moves them. `position` counts elements in the order of the loop. An input's pointer may equal the output's, so element
// i of the output may depend on element i alone.
template <class Y, class... X, class Block>
void map_blocks(LoopOrder order, const View& y, const std::array<View, sizeof...(X)>& inputs, const Block& block) {
  static_assert(sizeof...(X) < max_operands);
  constexpr std::size_t value_sizes[] = {sizeof(X)..., sizeof(Y)};
  const auto call = [](const void* block, std::int64_t position, std::int64_t n, void* y,
                       [[maybe_unused]] const void* const* x) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (*static_cast<const Block*>(block))(position, n, static_cast<Y*>(y), static_cast<const X*>(x[i])...);
    }
    (std::index_sequence_for<X...>());
  };
  map_erased_blocks(order, sizeof...(X), y, inputs.data(), value_sizes, {&block, call});
}

// Calls body(C()) with the type among T... that elements of `dtype` are computed with: f32 for halves.
template <class... T, class Body>
void with_compute_type(Types<T...> types, Dtype dtype, Body&& body) {
  with_type(types, is_half(dtype) ? Dtype::f32 : dtype, body);
}

using FloatingComputeTypes = Types<float, double>;
using SignedComputeTypes = Types<float, double, std::int32_t, std::int64_t>;
using NumericComputeTypes = Types<float, double, std::int32_t, std::int64_t, std::uint8_t>;
using AllComputeTypes = Types<float, double, std::int32_t, std::int64_t, std::uint8_t, bool>;

}  // namespace heed::kernels
