// ClassMap: which queueing class of the bottleneck a frame falls in.
//
// Frames with an IP header go by DSCP, tagged frames without one by PCP. What no class claims falls
// in class 0, or bypasses the link (management, ARP, LLDP) where `bypass_unmatched`; but a class 0
// that claims no code point at all takes every IP frame that no other class claims, so that from a
// link without classes only what is not IP bypasses.
// Tables of 64 and 8 entries, built once from the link's ClassSpecs; any thread may read.
// From link/ this needs the specification's header only, none of the model.
#pragma once

#include <array>
#include <cstdint>

#include "emulator/base/result.h"
#include "emulator/link/spec.h"
#include "emulator/roce/frame_view.h"

namespace farspan::roce {

class ClassMap {
 public:
  static constexpr uint8_t kBypass = 0xff;

  // An error if a code point is out of range or claimed twice, or if there are too many classes.
  static Result<ClassMap> Create(const link::BottleneckSpec& spec, bool bypass_unmatched);

  // A class's index, or kBypass.
  uint8_t classify(const FrameView& view) const {
    if (view.ip_version != 0) return by_dscp_[view.dscp];
    return view.tagged ? by_pcp_[view.pcp] : otherwise_;
  }

 private:
  ClassMap() = default;

  std::array<uint8_t, 64> by_dscp_{};
  std::array<uint8_t, 8> by_pcp_{};
  uint8_t otherwise_ = 0;
};

}  // namespace farspan::roce
