// Running a check for every variant of some kernels and every instruction set that this processor has.
#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <string>
#include <string_view>
#include <vector>

#include "kernels/registry.h"

namespace heed::test {

// Calls body once per instruction set that the library was compiled for and this processor runs.
template <class Body>
void on_each_instruction_set(Body&& body) {
  const std::int64_t supported = hwy::SupportedTargets();
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4}) {
    if ((supported & target) == 0) continue;
    CAPTURE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
}

// Calls body with each variant name of the first slot chosen in all of them: the slots of a family share their names.
template <class Body>
void for_each_variant(const std::vector<const kernels::KernelSlot*>& slots, Body&& body) {
  for (const kernels::Variant& variant : slots.front()->variants()) {
    if (variant.device != DeviceType::cpu) continue;
    const std::string variant_name = variant.name;
    CAPTURE(variant_name);
    for (const kernels::KernelSlot* slot : slots) slot->select(DeviceType::cpu, variant.name);
    body();
    for (const kernels::KernelSlot* slot : slots) slot->select(DeviceType::cpu, "");
  }
}

}  // namespace heed::test
