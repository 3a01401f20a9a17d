// A program outside the tree: a kernel of its own, run by name through heed's registry.
#include <cstdio>

#include "kernels/registry.h"

inline constinit heed::kernels::Kernel<void(int& answer, heed::Stream)> outside{"outside"};
const heed::kernels::Register plain{outside, heed::DeviceType::cpu, "plain",
                                    +[](int& answer, heed::Stream) { answer = 42; }, heed::kernels::is_default};

int main() {
  int answer = 0;
  outside(answer, heed::Stream{});
  std::printf("%d\n", answer);
}
