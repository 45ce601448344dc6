// A LatencyHistogram as the control plane shows it.
#pragma once

#include "emulator/control/engine_control.h"
#include "emulator/dpdk/latency_histogram.h"

namespace farspan::dpdk {

// Two bounds per octave from 63 ns to 17 s, each the exact bound of a bucket (so steps of 4/3 and
// 3/2, and counts that are exact). Negative times count as below every bound.
control::HistogramSnapshot SnapshotOf(const LatencyHistogram& histogram);

}  // namespace farspan::dpdk
