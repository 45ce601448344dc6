// Survey: what ping, a UDP stream and a probe would measure over a link, in virtual time.
//
// Each measurement starts the link anew at time 0 (timeline included) and has it for itself:
//   ping    98-octet frames there and back, far enough apart to meet independent jitter
//   probe   full-size frames at half the rate: delay, jitter, loss, order
//   flood   full-size frames at 1.2 times the rate: what the bottleneck lets through
// The hosts take no time and have no ports of their own. Frames are one flow of the default class
// that no rule matches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/spec.h"

namespace farspan::survey {

inline constexpr uint32_t kPingFrameBytes = 98;    // without FCS, as ping sends by default
inline constexpr uint32_t kFullFrameBytes = 1514;  // 1,538 octets on the wire

struct SurveySpec {
  link::DirectionSpec ab;
  link::DirectionSpec ba;
  std::string link = "link";
  uint64_t seed = 1;
  double seconds = 10;             // of the probe; the flood takes half
  uint64_t max_packets = 500'000;  // of each, however fast the link
};

struct PingReport {
  TimeNs lasted{};  // until nothing was under way, here and below
  uint64_t sent = 0;
  std::vector<double> rtt_ns;
};

struct ProbeReport {
  TimeNs lasted{};
  uint64_t sent = 0;
  std::vector<double> lost;      // by packet: 1 or 0
  std::vector<double> delay_ns;  // of those received, in order of sending
  uint64_t duplicated = 0;
  uint64_t corrupted = 0;
  uint64_t reordered = 0;  // after one that was sent later (RFC 4737)
  uint64_t own_drops = 0;
  uint64_t unaccounted = 0;  // sent + duplicated - received - dropped
};

struct FloodReport {
  uint64_t received = 0;
  double bits_per_s = 0;  // between the first and the last to arrive, as the bottleneck counts them
  TimeNs received_for{};
  TimeNs lasted{};
};

struct DirectionReport {
  ProbeReport probe;
  FloodReport flood;  // empty without a bottleneck
};

struct SurveyReport {
  PingReport ping;
  DirectionReport ab;
  DirectionReport ba;
};

// Octets that the bottleneck counts for a frame.
uint64_t AccountedBytes(const link::BottleneckSpec& spec, uint32_t wire_bytes);
// Time on the wire, rounded up; 0 without a bottleneck.
TimeNs ServiceTime(const link::BottleneckSpec& spec, Rate rate, uint32_t frame_bytes);

Result<SurveyReport> RunSurvey(const SurveySpec& spec);

}  // namespace farspan::survey
