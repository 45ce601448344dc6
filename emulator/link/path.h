// Propagation: what a path's glass and equipment add up to.
//
// Delay of glass = length x group index / c, c = 299,792,458 m/s exactly (SI), computed in 128-bit
// integers with the group index in steps of 1e-9 and rounded once, half up, to the nanosecond.
// Everything else in a PathSpec is whole nanoseconds, so the terms add up to the delay exactly.
//
// Amplifiers stand after every full spacing of glass: 1,328 km at 80 km has 16.
#pragma once

#include <vector>

#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/spec.h"

namespace farspan::link {

// Saturates at kNever for lengths beyond reason.
TimeNs GlassDelay(Length length, double group_index);

TimeNs OneWayDelay(const PathSpec& path);

// In the order light meets them; terms of zero are left out, but there is always at least one.
std::vector<DelayTerm> DelayTerms(const PathSpec& path);

}  // namespace farspan::link
