// HEED_KERNEL is read once in a process, so this is a program of its own: it launches a kernel twice and compares what
// happened (the variant that ran, or the message) with its first argument. With `cuda` as its second argument it compares
// the variant of softmax that a CUDA device would run. tests/kernels/meson.build sets the variable.
#include <iostream>
#include <string>

#include "kernels/cuda/device.h"
#include "kernels/error.h"
#include "kernels/registry.h"
#include "kernels/softmax/softmax.h"

using namespace heed;
using namespace heed::kernels;

namespace {

constinit Kernel<void(std::string& name, Stream)> demo{"demo"};

void plain(std::string& name, Stream) {
  name = "plain";
}
void fast(std::string& name, Stream) {
  name = "fast";
}

const Register register_plain{demo, DeviceType::cpu, "plain", &plain};
const Register register_fast{demo, DeviceType::cpu, "fast", &fast, is_default};

std::string launch() {
  try {
    std::string name;
    demo(name, Stream{});
    return name;
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string expected = argc > 1 ? argv[1] : "";
  if (argc > 2) {
    static_cast<void>(softmax_forward.chosen(DeviceType::cpu));  // reads the variable
    cuda::load_kernels();
    const std::string chosen = softmax_forward.chosen(DeviceType::cuda).name;
    if (chosen != expected) std::cout << "expected '" << expected << "' on CUDA, got '" << chosen << "'\n";
    return chosen == expected ? 0 : 1;
  }
  for (const char* time : {"first", "second"}) {  // a wrong name must not be forgotten after one error
    const std::string happened = launch();
    if (happened != expected) {
      std::cout << time << " launch: expected '" << expected << "', got '" << happened << "'\n";
      return 1;
    }
  }
  return 0;
}
