#include "kernels/registry.h"

#include <doctest/doctest.h>

#include "kernels/error.h"
#include "tests/harness/after_each.h"

using namespace heed;
using namespace heed::kernels;

namespace {

// Two kernels of the test's own, kept apart from the library's. Each function writes its number through `result`.
constinit Kernel<void(int* result, Stream)> demo{"test_demo"};
constinit Kernel<void(View x, Stream)> demo_cuda_only{"test_demo_cuda_only"};

void first(int* result, Stream) {
  *result = 1;
}
void second(int* result, Stream) {
  *result = 2;
}
void third(int* result, Stream) {
  *result = 3;
}
void nothing(View, Stream) {}

const Register register_first{demo, DeviceType::cpu, "first", &first};
const Register register_second{demo, DeviceType::cpu, "second", &second, is_default};
const Register register_third{demo, DeviceType::cpu, "third", &third};
const Register register_cuda{demo_cuda_only, DeviceType::cuda, "only", &nothing, is_default};

const test::CheckAfterEach selection_is_restored{
    [] { return demo.selected(DeviceType::cpu).empty() ? "" : "test_demo still runs a variant chosen by hand"; }};

int launch() {
  int result = 0;
  demo(&result, Stream{});
  return result;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_SUITE("kernel registry") {
  TEST_CASE("the variant marked default runs, not the first or the last one registered") {
    CHECK(launch() == 2);
  }

  TEST_CASE("a variant is selected by name, and the default again by an empty name") {
    demo.select(DeviceType::cpu, "third");
    CHECK(launch() == 3);
    CHECK(demo.selected(DeviceType::cpu) == "third");
    demo.select(DeviceType::cpu, "");
    CHECK(launch() == 2);
  }

  TEST_CASE("an unknown variant throws and leaves the selection alone") {
    CHECK(message_of([] { demo.select(DeviceType::cpu, "fourth"); }) == "test_demo: no variant 'fourth' for cpu");
    CHECK(message_of([] { demo.select(DeviceType::cuda, "first"); }) == "test_demo: no variant 'first' for cuda");
    CHECK(launch() == 2);
  }

  TEST_CASE("a launch on a device without a kernel says so") {
    CHECK(message_of([] { demo_cuda_only(View{}, Stream{}); }) ==
          "test_demo_cuda_only: no kernel for cpu in this build");
    CHECK_FALSE(demo_cuda_only.has(DeviceType::cpu));
    CHECK(demo_cuda_only.has(DeviceType::cuda));
  }

  TEST_CASE("ScopedVariant brings back what was selected before it, not the default") {
    demo.select(DeviceType::cpu, "first");
    {
      const ScopedVariant outer(demo, DeviceType::cpu, "third");
      CHECK(launch() == 3);
      {
        const ScopedVariant inner(demo, DeviceType::cpu, "");
        CHECK(launch() == 2);
      }
      CHECK(launch() == 3);
    }
    CHECK(launch() == 1);
    demo.select(DeviceType::cpu, "");
  }

  TEST_CASE("select_variants takes several kernels at once") {
    select_variants("test_demo=first,test_demo_cuda_only=only");
    CHECK(launch() == 1);
    CHECK(demo_cuda_only.selected(DeviceType::cuda) == "only");
    demo.select(DeviceType::cpu, "");
    demo_cuda_only.select(DeviceType::cuda, "");
  }

  TEST_CASE("select_variants reports what it does not know and then selects nothing") {
    CHECK(message_of([] { select_variants("test_demo=third,softmx=naive"); }) ==
          "select_variants: no kernel is called 'softmx'");
    CHECK(message_of([] { select_variants("test_demo=third,test_demo=fourth"); }) ==
          "select_variants: test_demo has no variant 'fourth', it has first (cpu), second (cpu), third (cpu)");
    CHECK(message_of([] { select_variants("test_demo"); }) ==
          "select_variants: 'test_demo' is not of the form kernel=variant");
    CHECK(launch() == 2);
  }

  TEST_CASE("every kernel with an implementation is listed once") {
    int found = 0;
    for (const KernelSlot* slot = all_kernels(); slot != nullptr; slot = slot->next()) found += slot == &demo;
    CHECK(found == 1);
    CHECK(demo.variants().size() == 3);
  }

  TEST_CASE("an observer sees the kernel, its variant and the views that hold data") {
    struct Recorder : LaunchObserver {
      std::string log;
      void begin_launch(const char* kernel, const char* variant, std::span<const View> views) override {
        log += std::string(kernel) + " " + variant + " " + std::to_string(views.size()) + " begin ";
      }
      void end_launch(Stream) override { log += "end"; }
    } recorder;
    float value = 0;
    launch_observer = &recorder;
    demo_cuda_only(View{.data = &value}, Stream{.device = {DeviceType::cuda, 0}});
    launch_observer = nullptr;
    CHECK(recorder.log == "test_demo_cuda_only only 1 begin end");
  }
}
