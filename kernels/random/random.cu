// The random kernels. A thread draws a whole Philox block and makes all elements from it: four, or two where an element
// takes two words.
#include "kernels/random/random.h"

#include "kernels/cuda/map.cuh"

namespace heed::kernels {
namespace {

constexpr auto on_cuda = DeviceType::cuda;
constexpr int threads = 256;

__device__ float unit_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}
__device__ double unit_double(std::uint32_t low, std::uint32_t high) {
  return static_cast<double>((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
}

// ---- What becomes of a block of words: element i of it from the words and, for dropout, from x.

template <class T>
struct Uniform {
  static constexpr int elements = 4 / words_per_element(dtype_of<T>());
  __device__ void operator()(const PhiloxBlock& words, Compute<T> (&y)[elements]) const {
    if constexpr (std::is_same_v<T, double>) {
      for (int i = 0; i < 2; ++i) y[i] = unit_double(words[2 * i], words[2 * i + 1]);
    } else if constexpr (is_half_type<T>) {
      for (int i = 0; i < 4; ++i) y[i] = unit_half<T>(words[i]);
    } else {
      for (int i = 0; i < 4; ++i) y[i] = unit_float(words[i]);
    }
  }
};

// Box and Muller: a pair of numbers from a pair of uniform ones.
template <class T>
struct Normal {
  static constexpr int elements = 4 / words_per_element(dtype_of<T>());
  __device__ void operator()(const PhiloxBlock& words, Compute<T> (&y)[elements]) const {
    if constexpr (std::is_same_v<T, double>) {
      pair(1 - unit_double(words[0], words[1]), unit_double(words[2], words[3]), y[0], y[1]);
    } else {
      for (int i = 0; i < 4; i += 2) {
        const float u = static_cast<float>(std::uint64_t{words[i]} + 1) * 0x1p-32f;
        pair(u, unit_float(words[i + 1]), y[i], y[i + 1]);
      }
    }
  }

 private:
  template <class C>
  static __device__ void pair(C u, C v, C& cosine, C& sine) {
    const C radius = ::sqrt(-2 * ::log(u));
    if constexpr (sizeof(C) == 8)
      sincospi(2 * v, &sine, &cosine);
    else
      sincospif(2 * v, &sine, &cosine);
    cosine *= radius;
    sine *= radius;
  }
};

template <class T>
struct Coin {
  static constexpr int elements = 4;
  std::uint32_t threshold;
  __device__ void operator()(const PhiloxBlock& words, Compute<T> (&y)[elements]) const {
    for (int i = 0; i < 4; ++i) y[i] = static_cast<Compute<T>>((words[i] >> 8) < threshold);
  }
};

template <class T>
struct Dropout {
  static constexpr int elements = 4;
  std::uint32_t threshold;
  Compute<T> scale;
  __device__ void operator()(const PhiloxBlock& words, Compute<T> (&y)[elements]) const {  // y: x on entry
    for (int i = 0; i < 4; ++i) y[i] = (words[i] >> 8) < threshold ? Compute<T>(0) : y[i] * scale;
  }
};

// ---- The launch

// Elements [0, n) of a part of the loop, whose first has the number `skip` within its block of words.
struct Draw {
  std::uint64_t seed, block;
  std::uint32_t n, skip;
};

template <class T, bool dense, class Function>
__global__ void draw_blocks(Function function, Draw draw, cuda::Indexer<2> at, T* y, const T* x) {
  constexpr int elements = Function::elements;
  const std::uint32_t thread = blockIdx.x * threads + threadIdx.x;
  const std::int64_t first = std::int64_t{thread} * elements - draw.skip;
  if (first >= draw.n) return;
  const PhiloxBlock words = philox(draw.block + thread, draw.seed);
  Compute<T> values[elements] = {};
  if (dense && first >= 0 && first + elements <= draw.n) {
    cuda::Vector<T, elements> vector;
    if (x != nullptr) vector = cuda::load_vector<elements>(x + first);
#pragma unroll
    for (int i = 0; i < elements; ++i)
      if (x != nullptr) values[i] = cuda::widened(vector[i]);
    function(words, values);
#pragma unroll
    for (int i = 0; i < elements; ++i) vector[i] = static_cast<T>(values[i]);
    cuda::store_vector<elements>(y + first, vector);
    return;
  }
  std::int64_t place[elements];
#pragma unroll
  for (int i = 0; i < elements; ++i) {
    if (first + i < 0 || first + i >= draw.n) continue;
    const auto offsets = at(static_cast<std::uint32_t>(first + i));
    place[i] = offsets.of[0];
    if (x != nullptr) values[i] = cuda::widened(x[offsets.of[1]]);
  }
  function(words, values);
#pragma unroll
  for (int i = 0; i < elements; ++i)
    if (first + i >= 0 && first + i < draw.n) y[place[i]] = static_cast<T>(values[i]);
}

// x: the view that dropout reads; otherwise y's own, and `reads` is false.
template <class T, class Function>
void draw(const char* kernel, const View& x, const View& y, bool reads, std::uint64_t seed, std::uint64_t offset,
          const Function& function, Stream stream) {
  constexpr std::int64_t elements = Function::elements;
  if (y.size() == 0) return;
  std::int64_t number = 0;  // of the part's first element
  cuda::for_each_part(loop_nest<2>({y, x}, LoopOrder::logical, 0), [&](const LoopNest<2>& part, const auto& offsets) {
    const std::int64_t n = cuda::size_of(part);
    const auto skip = static_cast<std::uint32_t>(number % elements);
    T* to = y.as<T>() + offsets[0];
    const T* from = reads ? x.as<const T>() + offsets[1] : nullptr;
    const std::size_t bytes = elements * sizeof(T);
    const bool dense = part.rank == 1 && part.strides[0][0] == 1 && (!reads || part.strides[1][0] == 1) && skip == 0 &&
                       cuda::is_aligned(to, bytes) && cuda::is_aligned(from, bytes);
    const auto kernel_function = dense ? &draw_blocks<T, true, Function> : &draw_blocks<T, false, Function>;
    cuda::launch(
        {kernel, cuda::blocks_for(cuda::divide_up(n + skip, elements), threads), threads, 0, stream}, kernel_function,
        function,
        Draw{seed, offset + static_cast<std::uint64_t>(number / elements), static_cast<std::uint32_t>(n), skip},
        cuda::Indexer<2>(part), to, from);
    number += n;
  });
}

void uniform_cuda(View y, std::uint64_t seed, std::uint64_t offset, Stream stream) {
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    draw<T>("uniform", y, y, false, seed, offset, Uniform<T>{}, stream);
  });
}

void normal_cuda(View y, std::uint64_t seed, std::uint64_t offset, Stream stream) {
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    draw<T>("normal", y, y, false, seed, offset, Normal<T>{}, stream);
  });
}

void bernoulli_cuda(View y, double p, std::uint64_t seed, std::uint64_t offset, Stream stream) {
  with_type(y.dtype, [&](auto element) {
    using T = decltype(element);
    draw<T>("bernoulli", y, y, false, seed, offset, Coin<T>{bernoulli_threshold(p)}, stream);
  });
}

void dropout_cuda(View x, View y, double p, std::uint64_t seed, std::uint64_t offset, Stream stream) {
  with_type(FloatingTypes{}, y.dtype, [&](auto element) {
    using T = decltype(element);
    const auto scale = static_cast<Compute<T>>(1 / (1 - p));
    draw<T>("dropout", x, y, true, seed, offset, Dropout<T>{bernoulli_threshold(p), scale}, stream);
  });
}

const Register register_uniform{uniform, on_cuda, "blocks", &uniform_cuda, is_default};
const Register register_normal{normal, on_cuda, "blocks", &normal_cuda, is_default};
const Register register_bernoulli{bernoulli, on_cuda, "blocks", &bernoulli_cuda, is_default};
const Register register_dropout{dropout, on_cuda, "blocks", &dropout_cuda, is_default};

}  // namespace
}  // namespace heed::kernels
