#include "engine/ops.h"
#include "engine/ops/apply.h"
#include "kernels/random/random.h"

namespace heed {
namespace {

// The mask is a function of (seed, offset): the backward, which is the same operation on dy, draws it again.
Tensor dropout_at(const Tensor& x, double p, std::uint64_t seed, std::uint64_t offset) {
  Operation op("dropout");
  const Tensor y = empty_like(x);
  kernels::dropout(x.view(), y.view(), p, seed, offset, op.stream(x));
  return op.record(y, {x}, [=](const Upstream& up) -> Gradients { return {dropout_at(up.dy(), p, seed, offset)}; });
}

}  // namespace

Tensor dropout(const Tensor& x, double p, Generator* generator) {
  {
    const Operation op("dropout");
    op.floating(x);
    op.check(p >= 0 && p <= 1, "probability {} is not within [0, 1]", p);
  }
  if (p == 0) return x;
  Generator& source = generator != nullptr ? *generator : default_generator();
  const std::uint64_t offset = source.advance(kernels::philox_blocks(static_cast<std::uint64_t>(x.count())));
  return dropout_at(x, p, source.seed, offset);
}

}  // namespace heed
