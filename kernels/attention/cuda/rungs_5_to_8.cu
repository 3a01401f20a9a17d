// The forward ladder on tensor cores, up to the production kernel (rung 9, forward_mma.cuh). One kernel; each rung switches on
// one idea more. What a rung's kernel leaves out (Problem::is_plain(), aligned rows) goes to the production path.
//   5  mma            fragments by ldmatrix from tiles without swizzle, filled by loads and stores
//   6  mma_async      the tiles are filled by cp.async, past the registers
//   7  mma_swizzled   chunks change places, and no two rows of a fragment share banks
//   8  mma_pipelined  V arrives during Q K^T, the next K during the rest
#include "kernels/attention/cuda/forward_mma.cuh"
#include "kernels/attention/cuda/launch.h"
#include "kernels/attention/cuda/paths.h"

namespace heed::kernels::attention {
namespace {

struct Rung {
  bool async, swizzled, pipelined;
};

template <int dim_, Rung rung_>
struct RungTiling {
  using Element = BFloat16;
  static constexpr Rung rung = rung_;
  static constexpr int dim = dim_, threads = 128, row_tiles = 1, queries = 64, keys = 64;
  static constexpr bool query_in_registers = false;
  using QueryTile = Tile<queries, dim, rung.swizzled>;
  using KeyTile = Tile<keys, dim, rung.swizzled>;
  static constexpr int shared_bytes = QueryTile::bytes + 2 * KeyTile::bytes;
};

// Fills a tile from `rows` rows, zeros below them.
template <class Tiling, class Tile>
__device__ inline void fill(std::uint32_t tile, const BFloat16* from, std::int64_t row_stride, int rows) {
  constexpr int chunks = Tile::row_bytes / 16;
#pragma unroll 4
  for (int index = threadIdx.x; index < Tile::rows * chunks; index += Tiling::threads) {
    const int row = index / chunks, chunk = index % chunks;
    const std::uint32_t to = Tile::at(tile, row, chunk % Tile::line_chunks) + chunk / Tile::line_chunks * 128;
    const BFloat16* const source = from + row * row_stride + chunk * 8;
    if constexpr (Tiling::rung.async) {
      cuda::copy_16_bytes(to, source, row < rows ? 16 : 0);
    } else {
      const uint4 v = row < rows ? *reinterpret_cast<const uint4*>(source) : uint4{};
      const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
      cuda::store_shared(to, words);
    }
  }
  cuda::commit_copies();
}

// Every score is masked by itself, every step of keys is visited, whatever causality leaves of it.
template <class Tiling>
__global__ __launch_bounds__(Tiling::threads) void rung_kernel(const Problem p, const ForwardOperands<BFloat16> x) {
  using QueryTile = typename Tiling::QueryTile;
  using KeyTile = typename Tiling::KeyTile;
  constexpr int keys = Tiling::keys;
  constexpr bool pipelined = Tiling::rung.pipelined;
  extern __shared__ __align__(1024) unsigned char shared[];
  const std::uint32_t query_tile = cuda::shared_address(shared), key_tile = query_tile + QueryTile::bytes;
  const std::uint32_t value_tile = key_tile + KeyTile::bytes;
  const int h = blockIdx.y, g = p.group == 1 ? h : p.key_head(h),
            first_row = (gridDim.x - 1 - blockIdx.x) * Tiling::queries;
  const Sequence sequence = p.sequence(p.first_sequence + blockIdx.z);
  const int rows = min(sequence.queries - first_row, Tiling::queries), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (rows <= 0) return;

  const auto fill_step = [&](std::uint32_t tile, const Operand<const BFloat16>& operand, int step) {
    const std::int64_t row = sequence.first_key + step * keys;
    fill<Tiling, KeyTile>(tile, operand.row(sequence.batch, g, row), operand.row_stride, sequence.keys - step * keys);
  };
  const int steps = (sequence.keys + keys - 1) / keys;
  fill<Tiling, QueryTile>(query_tile, x.query.row(sequence.batch, h, sequence.first_query + first_row),
                          x.query.row_stride, rows);
  if (pipelined && steps > 0) fill_step(key_tile, x.key, 0);

  ForwardState<Tiling> state;
  std::uint32_t query[1][1][4];
  const std::uint32_t query_rows = QueryTile::by_rows(query_tile, lane) + warp * 16 * QueryTile::row_bytes;
  for (int step = 0; step < steps; ++step) {
    if (!pipelined) fill_step(key_tile, x.key, step);
    if (!pipelined) fill_step(value_tile, x.value, step);
    cuda::wait_copies<0>();
    __syncthreads();
    if (pipelined) fill_step(value_tile, x.value, step);
    float scores[1][keys / 8][4] = {};
    multiply_query_key<Tiling>(scores, query, query_rows, KeyTile::by_columns(key_tile, lane));
#pragma unroll
    for (int n = 0; n < keys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = first_row + warp * 16 + lane / 4 + e / 2 * 8, j = step * keys + n * 8 + lane % 4 * 2 + e % 2;
        if (j < sequence.begin(i) || j >= sequence.end(i)) scores[0][n][e] = -INFINITY;
      }
    }
    if (pipelined) {
      cuda::wait_copies<0>();
      __syncthreads();
      if (step + 1 < steps) fill_step(key_tile, x.key, step + 1);
    }
    const float c = p.scale * log2_e;
    state.rescale(scores, c);
#pragma unroll
    for (int k = 0; k < keys / 16; ++k) {
      std::uint32_t weights[1][4];
      state.weights(weights, scores, k, c, [](int, int, int, float&, float&) {});
      multiply<KeyTile>(state.output, weights, KeyTile::by_rows(value_tile, lane), k);
    }
    if (!pipelined) __syncthreads();
  }
  if (steps == 0) {
    cuda::wait_copies<0>();
    __syncthreads();
  }
  store_output<Tiling>(p, x, state, query_tile);
}

template <Rung rung>
void forward(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
             const AttentionWorkspace& workspace, Stream stream) {
  const Problem p = problem_of(query, key, value, options);
  bool fits = query.dtype == Dtype::bf16 && p.is_plain() && p.head_dim == p.value_dim && log_sum_exp.size() > 0 &&
              (p.head_dim == 64 || p.head_dim == 128);
  for (const View& x : {query, key, value, output}) fits = fits && rows_are_aligned(x);
  if (!fits) return forward_mma(query, key, value, options, output, log_sum_exp, workspace, stream);
  const auto run = [&]<int dim>() {
    using Tiling = RungTiling<dim, rung>;
    launch_over("attention_forward", tiles_of_queries(p, options, Tiling::queries), p.heads, p, Tiling::threads,
                Tiling::shared_bytes, stream, &rung_kernel<Tiling>,
                ForwardOperands<BFloat16>{forward_operands<BFloat16>(query, key, value, output, log_sum_exp)});
  };
  if (p.head_dim == 64) return run.template operator()<64>();
  run.template operator()<128>();
}

const Register mma{attention_forward, DeviceType::cuda, "mma_plain", &forward<Rung{false, false, false}>};
const Register async{attention_forward, DeviceType::cuda, "mma_async", &forward<Rung{true, false, false}>};
const Register swizzled{attention_forward, DeviceType::cuda, "mma_swizzled", &forward<Rung{true, true, false}>};
const Register pipelined{attention_forward, DeviceType::cuda, "mma_pipelined", &forward<Rung{true, true, true}>};

}  // namespace
}  // namespace heed::kernels::attention
