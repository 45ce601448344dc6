// Controller: how fast one path may be used. One file each, registered by name.
//
// One controller per path and direction, shared by the connections on it. It is told what was sent,
// acknowledged, marked and lost, and answers with a window and a pacing rate; the endpoint keeps
// RTTs, delivery rates and what is in flight, so that a controller is arithmetic only.
//
// Losses that parity repaired are told like any other (`repaired` says so): the path dropped them,
// and parity counts as in flight like data (RFC 9265). Bytes are wire bytes: payload, headers and
// the framing that the path was declared to add. Loss is told once per packet, when it is declared.
//
// Units: bytes, TimeNs, bits per second. Threading: one thread. Sans-IO: `now` is passed in, never
// read; nothing allocates after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/base/units.h"

namespace farspan::transport {

struct ControllerConfig {
  Rate rate{};                     // `fixed`: the provisioned wire rate. Others: a ceiling, 0 none
  uint32_t packet_bytes = 4194;    // a full datagram on the wire
  TimeNs initial_rtt{};            // of the handshake; 0: not known
  uint64_t max_window = 1u << 30;  // bytes that the endpoint can hold in flight on this path
  uint64_t seed = 1;               // for controllers that randomise
  TimeNs granularity{};            // how late an endpoint's driver may be; 0 in virtual time
};

struct SentInfo {
  TimeNs now{};  // departure
  uint32_t bytes = 0;
  uint64_t inflight = 0;     // with this packet
  bool app_limited = false;  // neither window nor rate held the sender back
};

// How fast the path delivered, over the time since the newest acknowledged packet was sent
// (draft-ietf-ccwg-bbr, delivery rate estimation). bits_per_s is 0 where there is no sample.
struct RateSample {
  uint64_t bits_per_s = 0;
  bool app_limited = false;
  TimeNs interval{};
  uint64_t delivered = 0;        // bytes in that interval
  uint64_t prior_delivered = 0;  // AckInfo::delivered when that packet was sent: counts rounds
};

struct AckInfo {
  TimeNs now{};
  uint64_t bytes = 0;       // newly acknowledged
  uint32_t packets = 0;     // newly acknowledged
  uint32_t ecn_marked = 0;  // packets newly reported with CE
  uint64_t inflight = 0;    // after this acknowledgement
  uint64_t delivered = 0;   // total on this path so far, this acknowledgement included
  TimeNs rtt = kNever;      // sample without the receiver's delay; kNever: none this time
  TimeNs smoothed_rtt{};    // as in RFC 6298, gains 1/8 and 1/4
  TimeNs min_rtt{};         // of the last 10 s
  RateSample rate;
};

struct LossInfo {
  TimeNs now{};
  uint32_t bytes = 0;
  TimeNs sent{};           // when the lost packet left: one reaction per round trip
  uint64_t inflight = 0;   // without it
  uint64_t delivered = 0;  // total on this path so far
  bool repaired = false;   // parity makes up for it: nothing is sent again
  bool first = false;      // of an episode, see on_spurious()
};

class Controller {
 public:
  virtual ~Controller() = default;

  virtual void on_sent(const SentInfo& sent) = 0;
  virtual void on_ack(const AckInfo& ack) = 0;
  virtual void on_loss(const LossInfo& loss) = 0;
  // Nothing has been heard for so long that all in flight must be thought lost: a retransmission
  // time-out of TCP's, persistent congestion of QUIC's.
  virtual void on_timeout(TimeNs now) = 0;
  // Every packet told lost since the `first` of this episode has come after all: hosts stood still,
  // or the path reordered. What was done about them is to be taken back (RFC 9438, 4.9; RFC 4015),
  // without giving up what has been gained since. An episode is the losses among what left before
  // its first one was told, as ReactionGuard has it, and until something is heard again also of
  // what left later. One loss that was real, and nothing is taken back.
  // A peer that acknowledges what it never had gains no more than by doing so at once.
  virtual void on_spurious(TimeNs /*now*/) {}

  // Packets leave while what is in flight, with them, does not exceed the window (one packet may
  // always be in flight), spaced by the rate; Rate{0}: not paced.
  virtual uint64_t window_bytes() const = 0;
  virtual Rate pacing_rate() const = 0;
  // For logs: "slow_start"; empty where the algorithm has no such thing. A literal.
  virtual std::string_view state() const { return {}; }
};

using ControllerPtr = std::unique_ptr<Controller>;
using ControllerFactory = ControllerPtr (*)(const ControllerConfig& config);

// Before the first endpoint is made; a name registered again is replaced. `fixed` is there from the
// start; RegisterControllers() of transports/congestion adds the others.
void RegisterController(std::string_view name, ControllerFactory factory);
// An unknown name is an error that lists the known ones.
Result<ControllerFactory> FindController(std::string_view name);
std::vector<std::string_view> ControllerNames();

}  // namespace farspan::transport
