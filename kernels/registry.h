// The kernel registry: named slots, each holding the implementations ("variants") of one operation on each device.
//
//   kernels/softmax/softmax.h        inline constinit Kernel<void(View x, View y, int axis, Stream)> softmax_forward{"softmax_forward"};
//   kernels/softmax/softmax_cpu.cpp  const Register naive{softmax_forward, DeviceType::cpu, "naive", &softmax_naive};
//                                    const Register simd{softmax_forward, DeviceType::cpu, "simd", &softmax_simd, is_default};
//   a caller                         kernels::softmax_forward(x, y, axis, stream);
//
// A signature's last parameter is the Stream: its device picks the implementation. The contract of a slot (shapes, dtypes,
// what is undefined) stands at its declaration. A slot without an implementation for a device throws
// `softmax_forward: no kernel for cuda in this build`. Which variant is the default is explicit, never link order.
// For experiments HEED_KERNEL=softmax_forward=naive,matmul=naive chooses variants by hand. It is read at the first launch;
// a name in it that does not exist makes every launch throw, so that no experiment measures the wrong kernel unnoticed.
#pragma once

#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "kernels/view.h"

namespace heed::kernels {

struct Variant {
  DeviceType device;
  const char* name;
  void (*function)();  // cast back to the slot's own signature by Kernel
};

// What a profiler sees of one launch: called around it, also when it throws.
class LaunchObserver {
 public:
  virtual ~LaunchObserver() = default;
  virtual void begin_launch(const char* kernel, const char* variant, std::span<const View> views) = 0;
  virtual void end_launch(Stream stream) = 0;
};
// Of the launches that this thread makes. Each thread has its own: a profiler comes and goes while others work.
inline constinit thread_local LaunchObserver* launch_observer = nullptr;

// The part of a slot that does not depend on its signature.
class KernelSlot {
 public:
  constexpr explicit KernelSlot(const char* name) : name_(name) {}
  KernelSlot(const KernelSlot&) = delete;
  KernelSlot& operator=(const KernelSlot&) = delete;

  const char* name() const { return name_; }
  std::span<const Variant> variants() const { return {variants_, static_cast<std::size_t>(count_)}; }
  const KernelSlot* next() const { return next_; }  // the next slot of all that have an implementation

  // What a launch on `device` runs. Throws heed::Error when there is nothing to run.
  const Variant& chosen(DeviceType device) const;
  bool has(DeviceType device) const { return default_[index(device)] >= 0; }

  // Makes launches on `device` run `variant`, or the default again when it is empty. Throws when the name is unknown.
  void select(DeviceType device, std::string_view variant) const;

  // The variant chosen by hand (by select or HEED_KERNEL), or empty when the default runs.
  std::string_view selected(DeviceType device) const;

  void add(Variant variant, bool is_default);  // used by Register

 private:
  static constexpr int max_variants = 24;
  static constexpr int index(DeviceType device) { return static_cast<int>(device); }
  static void read_environment();  // applies HEED_KERNEL once, before the first use of any slot
  int find(DeviceType device, std::string_view variant) const;  // -1 when there is none
  void select_everywhere(std::string_view variant) const;       // on each device that has it
  friend void select_variants(std::string_view setting, std::string_view source);

  const char* name_;
  Variant variants_[max_variants] = {};
  int count_ = 0;
  int default_[2] = {-1, -1};
  mutable int selected_[2] = {-1, -1};
  KernelSlot* next_ = nullptr;
};

// The first slot of all; follow next(). In no particular order.
const KernelSlot* all_kernels();

// Selects variants by name, as HEED_KERNEL does: `kernel=variant[,kernel=variant...]`, each on every device that has
// it. Throws when an entry is malformed or a name unknown, and then selects nothing. The message starts with `source`.
void select_variants(std::string_view setting, std::string_view source = "select_variants");

template <class Signature>
class Kernel;

template <class... Args>
class Kernel<void(Args...)> : public KernelSlot {
 public:
  using Function = void (*)(Args...);
  constexpr explicit Kernel(const char* name) : KernelSlot(name) {}

  void operator()(Args... args) const {
    const Stream& stream = std::get<sizeof...(Args) - 1>(std::tie(args...));
    const Variant& variant = chosen(stream.device.type);
    const auto function = reinterpret_cast<Function>(variant.function);
    if (launch_observer == nullptr) [[likely]] {
      function(args...);
      return;
    }
    observe(variant, args...);
    const struct Launch {
      Stream stream;
      ~Launch() { launch_observer->end_launch(stream); }
    } launch{stream};
    function(args...);
  }

 private:
  void observe(const Variant& variant, const Args&... args) const {
    View views[sizeof...(Args)];
    std::size_t count = 0;
    const auto collect = [&](const auto& arg) {
      if constexpr (std::is_same_v<std::decay_t<decltype(arg)>, View>) {
        if (arg.data != nullptr) views[count++] = arg;
      }
    };
    (collect(args), ...);
    launch_observer->begin_launch(name(), variant.name, {views, count});
  }
};

struct IsDefault {};
inline constexpr IsDefault is_default;

// A static object of this type in an implementation file puts a function into a slot before main().
struct Register {
  template <class Signature>
  Register(Kernel<Signature>& kernel, DeviceType device, const char* name, Signature* function) {
    kernel.add({device, name, reinterpret_cast<void (*)()>(function)}, false);
  }
  template <class Signature>
  Register(Kernel<Signature>& kernel, DeviceType device, const char* name, Signature* function, IsDefault) {
    kernel.add({device, name, reinterpret_cast<void (*)()>(function)}, true);
  }
};

// Runs one variant of a slot for a scope, then what ran before: tests and benchmarks sweep all of them with it.
// Not for use from two threads.
class ScopedVariant {
 public:
  ScopedVariant(const KernelSlot& slot, DeviceType device, std::string_view variant)
      : slot_(slot), device_(device), previous_(slot.selected(device)) {
    slot_.select(device_, variant);
  }
  ~ScopedVariant() { slot_.select(device_, previous_); }
  ScopedVariant(const ScopedVariant&) = delete;
  ScopedVariant& operator=(const ScopedVariant&) = delete;

 private:
  const KernelSlot& slot_;
  DeviceType device_;
  std::string_view previous_;
};

}  // namespace heed::kernels
