// Loops over the 32 lanes of a warp, which the compiler turns into vector code.
//
// The files of this folder are compiled once for each instruction set of the host (see meson.build), every time within a
// namespace of that name: GPUSIM_TARGET. They may not use library templates that are too large to be inlined, because of
// several copies of such a function the linker keeps one, and that might be the one that this machine cannot run.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>  // not immintrin.h, which takes longer to read than most files here take to compile
#endif

#include "tools/gpusim/machine/instruction_set.h"
#include "tools/gpusim/machine/warp.h"

#ifndef GPUSIM_TARGET
#define GPUSIM_TARGET baseline
#endif

#define GPUSIM_INLINE [[gnu::always_inline]] inline

namespace gpusim::GPUSIM_TARGET {

// One bit of each lane's byte (0 or 255).
GPUSIM_INLINE std::uint32_t pack(const std::uint8_t* lane) {
#if defined(__AVX2__)
  using Bytes [[gnu::vector_size(warp_size)]] = char;
  Bytes bytes;
  std::memcpy(&bytes, lane, sizeof bytes);
  return static_cast<std::uint32_t>(__builtin_ia32_pmovmskb256(bytes));
#elif defined(__SSE2__)
  const auto half = [&](int i) {
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lane + i))));
  };
  return half(0) | half(16) << 16;
#else
  std::uint32_t bits = 0;
  for (unsigned l = 0; l < warp_size; ++l) bits |= std::uint32_t{lane[l] != 0} << l;
  return bits;
#endif
}

GPUSIM_INLINE bool bit(std::uint32_t mask, unsigned lane) {
  return (mask >> lane & 1) != 0;
}

// d[l] = t[l] for the lanes of the mask.
template <class T>
GPUSIM_INLINE void blend(T* d, const T* t, std::uint32_t mask) {
#pragma GCC ivdep
  for (unsigned l = 0; l < warp_size; ++l) d[l] = bit(mask, l) ? t[l] : d[l];
}

// f(l) for each lane of the mask, one after the other.
template <class F>
GPUSIM_INLINE void each_lane(std::uint32_t mask, F f) {
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) f(static_cast<unsigned>(std::countr_zero(rest)));
}

// d = f(a, b...), lane by lane: slot 0 takes the results of type D, the slots behind it hold the inputs.
template <class D, class F, class... S>
GPUSIM_INLINE void map_lanes(Warp& warp, Slot result, F f, const S*... in) {
  D* d = warp.out<D>(result);
  if (warp.whole()) [[likely]] {
#pragma GCC ivdep
    for (unsigned l = 0; l < warp_size; ++l) d[l] = f(in[l]...);
  } else {
    alignas(64) D t[warp_size];
#pragma GCC ivdep
    for (unsigned l = 0; l < warp_size; ++l) t[l] = f(in[l]...);
    blend(d, t, warp.mask);
  }
}

// The handlers of instructions that do the same in each lane. F has `static D apply(S...)`.
template <class F, class D, class A>
const Op* unary(const Op* op, Warp& warp) {
  map_lanes<D>(
      warp, op->slot[0], [](A a) { return static_cast<D>(F::apply(a)); }, warp.in<A>(op->slot[1]));
  return op + 1;
}

template <class F, class D, class A, class B = A>
const Op* binary(const Op* op, Warp& warp) {
  map_lanes<D>(
      warp, op->slot[0], [](A a, B b) { return static_cast<D>(F::apply(a, b)); }, warp.in<A>(op->slot[1]),
      warp.in<B>(op->slot[2]));
  return op + 1;
}

template <class F, class D, class A, class B = A, class C = A>
const Op* ternary(const Op* op, Warp& warp) {
  map_lanes<D>(
      warp, op->slot[0], [](A a, B b, C c) { return static_cast<D>(F::apply(a, b, c)); }, warp.in<A>(op->slot[1]),
      warp.in<B>(op->slot[2]), warp.in<C>(op->slot[3]));
  return op + 1;
}

// The lanes for which f(a, b) holds.
template <class F, class A, class B>
GPUSIM_INLINE std::uint32_t lanes_where(F f, const A* a, const B* b) {
  alignas(64) std::uint8_t yes[warp_size];
#pragma GCC ivdep
  for (unsigned l = 0; l < warp_size; ++l) yes[l] = f(a[l], b[l]) ? 255 : 0;
  return pack(yes);
}

// A handler for the type: pick is called with a value of the C++ type that holds it.
template <class Pick>
Handler for_integer(Type type, Pick pick) {
  switch (type) {
    case Type::u16:
    case Type::b16:
      return pick(std::uint16_t{});
    case Type::s16:
      return pick(std::int16_t{});
    case Type::u32:
    case Type::b32:
      return pick(std::uint32_t{});
    case Type::s32:
      return pick(std::int32_t{});
    case Type::u64:
    case Type::b64:
      return pick(std::uint64_t{});
    case Type::s64:
      return pick(std::int64_t{});
    default:
      return nullptr;
  }
}

template <class Pick>
Handler for_bits(Type type, Pick pick) {  // by width alone
  switch (ptx::bytes_of(type)) {
    case 2:
      return pick(std::uint16_t{});
    case 4:
      return pick(std::uint32_t{});
    case 8:
      return pick(std::uint64_t{});
    default:
      return nullptr;
  }
}

// Each family adds its instructions.
void add_integer(InstructionSet& set);
void add_bits(InstructionSet& set);
void add_floating(InstructionSet& set);
void add_special(InstructionSet& set);
void add_compare(InstructionSet& set);
void add_convert(InstructionSet& set);
void add_move(InstructionSet& set);
void add_memory(InstructionSet& set);
void add_atomic(InstructionSet& set);
void add_warp(InstructionSet& set);
void add_control(InstructionSet& set);
void add_barrier(InstructionSet& set);
void add_async_copy(InstructionSet& set);
void add_matrix(InstructionSet& set);
void add_wmma(InstructionSet& set);

}  // namespace gpusim::GPUSIM_TARGET
