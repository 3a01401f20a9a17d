// A program outside the tree: y = x w, and the gradient of the sum of y * y with respect to w.
#include <fmt/format.h>

#include "engine/ops.h"

int main() {
  const heed::Tensor x = heed::from_vector<float>({1, 2, 3, 4}, {2, 2});
  const heed::Tensor w = heed::from_vector<float>({1, -1}, {2, 1}).set_requires_grad();
  const heed::Tensor y = heed::matmul(x, w);  // [2, 1]: -1, -1
  heed::backward(heed::sum(heed::mul(y, y)));
  fmt::print("{}\n", w.grad().flatten());  // 2 x^T y
}
