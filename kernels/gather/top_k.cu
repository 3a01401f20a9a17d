// The k best elements of every line, a block per line. "repeated" finds one after another; "radix_select" finds all of them
// by their bits and sorts them.
#include <bit>

#include "kernels/cuda/rows.cuh"
#include "kernels/gather/gather.h"

namespace heed::kernels::cuda {
namespace {

constexpr int block = 256;

// An unsigned number for each element, in the order of the elements: the better, the greater. A NaN is the greatest of all
// floats, and 0 and -0 are equal.
template <class T>
using Key = std::conditional_t<sizeof(Compute<T>) == 8, unsigned long long, unsigned>;

template <class T>
__device__ Key<T> key_of(T x, bool largest) {
  using K = Key<T>;
  constexpr K top = K(1) << (8 * sizeof(K) - 1);
  const Compute<T> value = widened(x);
  K key;
  if constexpr (std::is_integral_v<T>) {
    key = static_cast<K>(value) ^ top;
  } else {
    const K bits = std::bit_cast<K>(value == 0 ? Compute<T>(0) : value);
    key = value != value ? ~K(0) : bits & top ? ~bits : bits | top;
  }
  return largest ? key : ~key;
}

// An element of a line. Of equal ones the first is better.
template <class K>
struct Candidate {
  K key;
  long long index;
  __device__ bool precedes(Candidate other) const {
    return key > other.key || (key == other.key && index < other.index);
  }
};
struct Better {
  template <class K>
  __device__ Candidate<K> operator()(Candidate<K> a, Candidate<K> b) const {
    return a.precedes(b) ? a : b;
  }
};

// One line: x [n], values [k], indices [k].
template <class T>
struct Line {
  StridedRow<T> x, values;
  StridedRow<std::int64_t> indices;
  std::int64_t n, k;
  bool largest;

  __device__ Line(const Rows<3>& lines, std::int64_t k, bool largest) : n(lines.length), k(k), largest(largest) {
    const auto at = lines.offsets(blockIdx.x);
    x = lines.row<T>(0, at[0]), values = lines.row<T>(1, at[1]), indices = lines.row<std::int64_t>(2, at[2]);
  }
  __device__ Key<T> key(std::int64_t i) const { return key_of(x.data[i * x.step], largest); }
  __device__ void put(std::int64_t place, std::int64_t index) const {
    values.data[place * values.step] = x.data[index * x.step];
    indices.data[place * indices.step] = index;
  }
};

// ---- repeated: the best of those that come after the last one found

template <class T>
__global__ void __launch_bounds__(block)
    repeated_kernel(const __grid_constant__ Rows<3> lines, std::int64_t k, bool largest) {
  using K = Key<T>;
  constexpr Candidate<K> none = {0, std::numeric_limits<long long>::max()};
  const Line<T> line(lines, k, largest);
  Candidate<K> last = {static_cast<K>(~K(0)), -1};  // precedes all
  for (std::int64_t place = 0; place < k; ++place) {
    Candidate<K> best = none;
    for (std::int64_t i = threadIdx.x; i < line.n; i += block) {
      const Candidate<K> candidate = {line.key(i), i};
      if (last.precedes(candidate)) best = Better()(best, candidate);
    }
    last = team_reduce(best, block, Better(), none);
    if (threadIdx.x == 0) line.put(place, last.index);
  }
}

// ---- radix_select

// Finds the key of the k-th best, eight bits at a time from the top: of the elements that agree with the bits found so far,
// a histogram of the next eight tells which of them the k-th has. Returns it, and in `remaining` how many of the elements
// that have just this key belong to the best.
template <class T>
__device__ Key<T> key_of_last(const Line<T>& line, std::int64_t& remaining) {
  using K = Key<T>;
  constexpr int bits = 8 * sizeof(K);
  __shared__ unsigned at_least[256];  // how many elements have this digit, and then this one or a greater one
  __shared__ unsigned chosen, above;
  const unsigned digit = threadIdx.x;
  K found = 0;
  for (int shift = bits - 8; shift >= 0; shift -= 8) {
    at_least[digit] = 0;
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < line.n; i += block) {
      const K key = line.key(i);
      const bool agrees = shift == bits - 8 || (key ^ found) >> (shift + 8) == 0;
      if (agrees) atomicAdd(&at_least[key >> shift & 255], 1u);
    }
    __syncthreads();
    for (unsigned distance = 1; distance < 256; distance *= 2) {
      const unsigned more = digit + distance < 256 ? at_least[digit + distance] : 0;
      __syncthreads();
      at_least[digit] += more;
      __syncthreads();
    }
    const unsigned greater = digit == 255 ? 0 : at_least[digit + 1];
    if (greater < remaining && remaining <= at_least[digit]) chosen = digit, above = greater;
    __syncthreads();
    found |= static_cast<K>(chosen) << shift;
    remaining -= above;
    __syncthreads();  // before the next digit's counts
  }
  return found;
}

// Puts all elements with a better key, and the first `equals` with just this one, into the first k places.
template <class T>
__device__ void collect(const Line<T>& line, Key<T> last, std::int64_t equals) {
  __shared__ unsigned better_found, equals_of_warps[block / warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  if (threadIdx.x == 0) better_found = 0;
  std::int64_t equals_found = 0;
  for (std::int64_t start = 0; start < line.n; start += block) {
    const std::int64_t i = start + threadIdx.x;
    const Key<T> key = i < line.n ? line.key(i) : Key<T>(0);
    const bool equal = i < line.n && key == last;
    const unsigned lanes = __ballot_sync(whole_warp, equal);
    __syncthreads();
    if (lane == 0) equals_of_warps[warp] = __popc(lanes);
    __syncthreads();
    std::int64_t place = equals_found + __popc(lanes & ((1u << lane) - 1));
    for (int other = 0; other < block / warp_size; ++other) {
      if (other < warp) place += equals_of_warps[other];
      equals_found += equals_of_warps[other];
    }
    if (equal && place < equals) line.put(line.k - equals + place, i);
    if (i < line.n && key > last) line.put(atomicAdd(&better_found, 1u), i);  // in any order: they are sorted below
  }
}

// Sorts the k places by a bitonic network whose comparisons all point one way, so that places beyond k need not exist.
template <class T>
__device__ void sort_places(const Line<T>& line) {
  const auto exchange = [&](std::int64_t a, std::int64_t b) {
    if (b >= line.k) return;
    T &left = line.values.data[a * line.values.step], &right = line.values.data[b * line.values.step];
    std::int64_t &i = line.indices.data[a * line.indices.step], &j = line.indices.data[b * line.indices.step];
    const Candidate<Key<T>> of_a = {key_of(left, line.largest), i}, of_b = {key_of(right, line.largest), j};
    if (!of_b.precedes(of_a)) return;
    const T value = left;
    left = right, right = value;
    i = of_b.index, j = of_a.index;
  };
  for (std::int64_t size = 2; size / 2 < line.k; size *= 2) {
    for (std::int64_t stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      for (std::int64_t pair = threadIdx.x; 2 * (pair / stride) * stride < line.k; pair += block) {
        const std::int64_t a = 2 * (pair / stride) * stride + pair % stride;
        exchange(a, stride == size / 2 ? a / size * size + size - 1 - a % size : a + stride);
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(block)
    radix_select_kernel(const __grid_constant__ Rows<3> lines, std::int64_t k, bool largest) {
  const Line<T> line(lines, k, largest);
  std::int64_t equals = k;
  const Key<T> last = key_of_last(line, equals);
  collect(line, last, equals);
  sort_places(line);
}

// ---- launches

enum class Method { repeated, radix_select, by_shape };

template <Method method>
void top_k_cuda(View x, View values, View indices, bool largest, Stream stream) {
  if (values.size() == 0) return;
  const int axis = x.rank - 1;
  const Rows<3> lines({x, values, indices}, axis);
  const std::int64_t k = values.shape[axis];
  const bool repeated = method == Method::repeated || (method == Method::by_shape && k <= 4);
  with_type(SignedTypes(), x.dtype, [&]<class T>(T) {
    launch({top_k.name(), blocks_for(lines.count, 1), block, 0, stream},
           repeated ? &repeated_kernel<T> : &radix_select_kernel<T>, lines, k, largest);
  });
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register variants[] = {
    {top_k, gpu, "repeated", &top_k_cuda<Method::repeated>},
    {top_k, gpu, "radix_select", &top_k_cuda<Method::radix_select>},
    {top_k, gpu, "by_shape", &top_k_cuda<Method::by_shape>, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
