#include "kernels/cpu/loops.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

namespace heed::kernels {
namespace {

// ---- Elements on their way between memory and a block.

// Calls visit(offset, run) for each stretch of the innermost axis among the next n elements.
template <class Visit>
void for_each_run(LoopCursor at, const std::int64_t* strides, std::int64_t n, Visit&& visit) {
  while (n > 0) {
    const std::int64_t run = std::min(n, at.left_in_run());
    visit(at.offset(strides), run);
    at.advance_in_run(run);
    n -= run;
  }
}

template <class T>
void load_block(const std::byte* data, const std::int64_t* strides, LoopCursor at, std::int64_t n, void* block) {
  using Value = Compute<T>;
  const std::int64_t stride = strides[at.rank - 1];
  Value* out = static_cast<Value*>(block);
  for_each_run(at, strides, n, [&](std::int64_t start, std::int64_t run) {
    const T* in = reinterpret_cast<const T*>(data) + start;
    if (stride == 1) {
      for (std::int64_t i = 0; i < run; ++i) out[i] = static_cast<Value>(in[i]);
    } else if (stride == 0) {
      std::fill(out, out + run, static_cast<Value>(in[0]));
    } else {
      for (std::int64_t i = 0; i < run; ++i) out[i] = static_cast<Value>(in[i * stride]);
    }
    out += run;
  });
}

template <class T>
void store_block(const void* block, std::int64_t n, LoopCursor at, const std::int64_t* strides, std::byte* data) {
  using Value = Compute<T>;
  const std::int64_t stride = strides[at.rank - 1];
  const Value* in = static_cast<const Value*>(block);
  for_each_run(at, strides, n, [&](std::int64_t start, std::int64_t run) {
    T* out = reinterpret_cast<T*>(data) + start;
    for (std::int64_t i = 0; i < run; ++i) out[i * stride] = static_cast<T>(in[i]);
    in += run;
  });
}

template <class T>
constexpr ElementFormat format_of{sizeof(T), is_half_type<T>, &load_block<T>, &store_block<T>};

}  // namespace

const ElementFormat& element_format(Dtype dtype, std::size_t value_size) {
  if (size_of(dtype) != value_size) return dtype == Dtype::bf16 ? format_of<BFloat16> : format_of<Float16>;
  switch (value_size) {
    case 1:
      return format_of<std::uint8_t>;
    case 2:
      return format_of<std::uint16_t>;
    case 4:
      return format_of<std::uint32_t>;
    default:
      return format_of<std::uint64_t>;
  }
}

// ---- Operands.

void LoopOperand::place(void* data, const ElementFormat& format, const std::int64_t* strides, const std::int64_t* shape,
                        int rank) {
  data_ = static_cast<std::byte*>(data);
  format_ = &format;
  strides_ = strides;
  inner_stride_ = strides[rank - 1];
  is_linear_ = !format.is_widened;
  repeats_ = true;
  std::int64_t expected = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    is_linear_ &= strides[axis] == expected;
    repeats_ &= axis == rank - 1 || strides[axis] == 0;
    expected *= shape[axis];
  }
  loaded_offset_ = loaded_ = 0;
}

std::byte* LoopOperand::place_in_memory(const LoopCursor& at, std::int64_t n) const {
  const auto size = static_cast<std::int64_t>(format_->size);
  if (is_linear_) return data_ + at.position * size;
  const bool is_contiguous = inner_stride_ == 1 && n <= at.left_in_run() && !format_->is_widened;
  return is_contiguous ? data_ + at.offset(strides_) * size : nullptr;
}

const void* LoopOperand::load(const LoopCursor& at, std::int64_t n) {
  if (const void* const block = place_in_memory(at, n)) return block;
  // A row that repeats, or one value, may be in the buffer already.
  const std::int64_t offset = at.offset(strides_);
  const bool may_be_loaded = repeats_ || (inner_stride_ == 0 && n <= at.left_in_run());
  if (may_be_loaded && offset == loaded_offset_ && n <= loaded_) return buffer_;
  format_->load(data_, strides_, at, n, buffer_);
  loaded_offset_ = offset;
  loaded_ = may_be_loaded ? n : 0;
  return buffer_;
}

void* LoopOperand::target(const LoopCursor& at, std::int64_t n) {
  void* const block = place_in_memory(at, n);
  return block != nullptr ? block : buffer_;
}

void LoopOperand::store(const LoopCursor& at, std::int64_t n, const void* block) {
  if (block == buffer_) format_->store(buffer_, n, at, strides_, data_);
}

// ---- The loop.

void map_erased_blocks(LoopOrder order, std::size_t inputs, const View& y, const View* x,
                       const std::size_t* value_sizes, ErasedBlock block) {
  const std::int64_t size = y.size();
  if (size == 0) return;
  std::array<const View*, max_operands> views;
  for (std::size_t v = 0; v < inputs; ++v) views[v] = &x[v];
  views[inputs] = &y;
  const auto nest = loop_nest_of(
      views, order, inputs, [](int) { return true; }, inputs + 1);
  // Blocks end where runs of the inner axis do, as long as a run is worth a block; short runs share one, whole runs
  // each.
  const std::int64_t inner = nest.shape[nest.rank - 1];
  const bool share_block = inner < block_elements / 8;
  const std::int64_t unit = share_block ? inner : 1;
  const std::int64_t limit = block_elements / unit * unit;

  const ElementFormat* formats[max_operands];
  bool are_linear = nest.rank == 1;  // nothing to gather, and no place to keep track of
  for (std::size_t v = 0; v <= inputs; ++v) {
    formats[v] = &element_format(views[v]->dtype, value_sizes[v]);
    are_linear &= nest.strides[v][0] == 1 && !formats[v]->is_widened;
  }

  const auto map_linear = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n; begin < end; begin += n) {
      n = std::min(end - begin, block_elements);
      void* blocks[max_operands];
      for (std::size_t v = 0; v <= inputs; ++v) blocks[v] = views[v]->as<std::byte>() + begin * formats[v]->size;
      block.call(block.block, begin, n, blocks[inputs], blocks);
    }
  };
  const auto map_any = [&](std::int64_t begin, std::int64_t end) {
    LoopOperand operands[max_operands];
    for (std::size_t v = 0; v <= inputs; ++v)
      operands[v].place(views[v]->data, *formats[v], nest.strides[v], nest.shape, nest.rank);
    LoopCursor at(nest.shape, nest.rank, begin);
    for (std::int64_t n; begin < end; begin += n) {
      n = std::min({end - begin, limit, share_block ? limit : at.left_in_run()});
      const void* blocks[max_operands];
      for (std::size_t v = 0; v < inputs; ++v) blocks[v] = operands[v].load(at, n);
      void* const target = operands[inputs].target(at, n);
      block.call(block.block, begin, n, target, blocks);
      operands[inputs].store(at, n, target);
      at.advance(n);
    }
  };
  parallel_for(size, chunk_elements / unit * unit, [&](std::int64_t begin, std::int64_t end) {
    are_linear ? map_linear(begin, end) : map_any(begin, end);
  });
}

}  // namespace heed::kernels
