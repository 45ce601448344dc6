// What one direction of a link is asked to be: plain data with documented defaults.
//
// The configuration loader fills these, the model is built from them, `check` prints them. All
// probabilities are fractions; all times one way. Everything here is per direction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/base/units.h"

namespace farspan::link {

// --- Path: glass and equipment ---------------------------------------------------------------

// Delay = length x group_index / c + delay + equipment. `length` is glass, exact: no slack is
// added. Group index at 1550 nm: SMF-28e 1.4682 (4.897 us/km), SMF-28 ULL 1.4620, hollow core
// about 1.003.
struct PathSpec {
  Length length{};
  double group_index = 1.4682;
  TimeNs delay{};               // a fixed part, or all of it where no length is given
  Length amplifier_spacing{};   // 0: no amplifiers; otherwise one after every such span
  TimeNs amplifier_delay{125};  // each; EDFAs are 0.1-0.15 us
  uint32_t regenerators = 0;    // O-E-O sites
  TimeNs regenerator_delay{100'000};
  TimeNs fec_delay{};  // both transponders together; 15-150 us by scheme
};

struct DelayTerm {
  std::string name;
  TimeNs value;
};

// --- Bottleneck: the port in front of the fiber ----------------------------------------------

struct QueueLimit {
  // Whichever is reached first; 0 means that limit is not set. Time is waiting time at arrival at
  // the current rate. Waiting packets count, the one on the wire does not.
  uint64_t bytes = 16u << 20;
  TimeNs time{};
};

enum class AqmKind { kTailDrop, kRed, kStep, kCodel };

// Decided at dequeue, on the packet's own virtual time. A packet that is not ECN-capable is never
// marked: it is dropped where drop_not_ect (RFC 3168, RFC 7567), else it passes.
struct AqmSpec {
  AqmKind kind = AqmKind::kTailDrop;
  // RED / DCQCN (Zhu et al., SIGCOMM'15): 0 below k_min, linear to p_max at k_max, 1 above.
  uint64_t k_min_bytes = 0;
  uint64_t k_max_bytes = 0;
  double p_max = 0;
  uint64_t step_bytes = 0;         // step marking (DCTCP): mark all above
  TimeNs codel_target{5'000'000};  // RFC 8289
  TimeNs codel_interval{100'000'000};
  bool ecn = true;
  bool drop_not_ect = true;
};

// Priority-based flow control of a class towards its sender; see pfc.h.
struct PfcSpec {
  uint8_t priority = 0;      // 802.1Q priority that the sender is asked to pause
  uint64_t xoff_bytes = 0;   // pause when so many wait
  uint64_t xon_bytes = 0;    // go on when no more than so many do
  uint16_t quanta = 65'535;  // of each pause frame
  // What the headroom above xoff is made for.
  Rate line_rate{};                  // the sender's
  uint32_t max_frame_bytes = 1'542;  // of wire
  Length cable{100'000};
  TimeNs reaction{};  // the sender's
  TimeNs poll_gap{};  // from xoff until the pause frame is ready to leave
};

struct ClassSpec {
  std::string name = "default";
  std::vector<uint8_t>
      dscp;                  // which code points (0-63) fall in it; none: only as the default class
  std::vector<uint8_t> pcp;  // which 802.1Q priorities (0-7), for frames without an IP header
  uint32_t priority = 0;     // a higher number is served first, strictly
  uint32_t weight = 1;       // DWRR share among classes of equal priority
  QueueLimit limit;
  AqmSpec aqm;
  std::optional<PfcSpec> pfc;
};

struct BottleneckSpec {
  int32_t overhead_bytes = 0;                   // tc's: added to every packet's wire size
  uint32_t mpu_bytes = 0;                       // tc's: no packet counts for less
  std::vector<ClassSpec> classes{ClassSpec{}};  // the first one takes what no other claims
};

// --- Loss ------------------------------------------------------------------------------------

enum class LossKind {
  kNone,
  kBernoulli,
  kGilbertElliott,
  kBurst,
  kBitError,
  kMask,
  kTrace,
  kPeriodic,
};

// By packet: the n-th packet's fate. By wire time: bad instants of the fiber, which all contenders
// meet alike; a packet is lost if one falls into [start, end) of its time on the wire.
enum class Keying { kPacket, kWireTime };

struct Interval {
  uint64_t begin = 0;  // packet index, or ns since the start of the epoch
  uint64_t end = 0;    // exclusive
};

struct LossSpec {
  LossKind kind = LossKind::kNone;
  Keying keying = Keying::kPacket;
  double probability = 0;  // Bernoulli: per packet, or per reference frame of wire time
  // Gilbert-Elliott, tc's gemodel: p good->bad, r bad->good, per packet or reference frame.
  double ge_p = 0;
  double ge_r = 0;
  double ge_loss_bad = 1;       // tc's 1-h
  double ge_loss_good = 0;      // tc's 1-k
  double burst_rate = 0;        // bursts begun, per packet outside a burst or reference frame
  uint32_t burst_frames = 0;    // exact length of each
  double bit_error_rate = 0;    // on the frame's own bits, destination address to FCS
  std::vector<bool> mask;       // by packet only: true loses; repeated for ever
  std::vector<Interval> trace;  // sorted, disjoint; lost inside
  uint64_t period = 0;          // every n-th packet, or one bad instant every n ns of wire time
  uint64_t period_offset = 0;
  uint32_t reference_wire_bytes = 1538;  // a 1518 B frame; turns rates per frame into rates in time
};

// --- Jitter and other disturbances -----------------------------------------------------------

enum class JitterDistribution { kUniform, kNormal, kPareto, kParetoNormal, kTable };

// Deviation around the path's delay; the mean is 0. In order (the default) it is a process in wire
// time with nodes every `correlation`; with `reorder` each packet draws for itself.
struct JitterSpec {
  TimeNs deviation{};  // standard deviation; 0: none
  JitterDistribution distribution = JitterDistribution::kNormal;
  TimeNs correlation{};  // distance of nodes; at least, and by default, 10 deviations
  bool reorder = false;
  std::vector<int16_t> table;  // tc's .dist: quantiles in 1/8192 standard deviations
};

enum class FaultKind { kPass, kDrop, kDelay, kDuplicate, kCorrupt, kMark, kTrigger };

// What happens, on entering the fiber, to a packet that the driver matched (PacketRef::rule).
struct FaultSpec {
  FaultKind kind = FaultKind::kPass;  // counted, and left alone
  TimeNs delay{};                     // kDelay
  uint32_t event = 0;                 // kTrigger: index into DirectionSpec::timeline
};

// --- Lanes -----------------------------------------------------------------------------------

struct LaneSpec {
  PathSpec path;
  Rate rate{};  // 0: no bottleneck
  LossSpec loss;
  uint32_t weight = 1;  // share of the flows
};

// --- Changes in time -------------------------------------------------------------------------

inline constexpr int kAllLanes = -1;

// A packet is lost if and only if its time at the position lies in [now, now + duration).
struct Cut {
  int lane = kAllLanes;
  Length position{};         // from the sending site of this direction
  TimeNs duration = kNever;  // kNever: until Restore
};
struct Restore {
  int lane = kAllLanes;
};
struct SetPath {
  int lane = kAllLanes;
  PathSpec path;
};
// The working path is lost at `position` for good; after `outage` traffic takes `path`.
struct ProtectionSwitch {
  int lane = kAllLanes;
  Length position{};
  TimeNs outage{};
  PathSpec path;
};
struct SetRate {
  int lane = kAllLanes;
  Rate rate;
};
struct SetLoss {
  int lane = kAllLanes;
  LossSpec loss;
};
struct SetJitter {
  JitterSpec jitter;
};
// What happens to the packets whose PacketRef::rule is `rule`; see FaultTable.
struct SetFault {
  uint8_t rule = 1;
  FaultSpec fault;
};
// Wire time and packet counts of all random processes start again at 0, with the same keys. Asked
// live, the timeline starts again too: cuts, paths, rates, loss or jitter, whichever of these it
// changes, are first set back to the specification. In the timeline it does not restart that.
struct StartEpoch {};

using Change = std::variant<Cut, Restore, SetPath, ProtectionSwitch, SetRate, SetLoss, SetJitter,
                            SetFault, StartEpoch>;

struct TimelineEvent {
  TimeNs at{};             // since the epoch's start; since the trigger where `triggered`
  bool triggered = false;  // waits for a kTrigger rule
  Change change;
};

// --- One direction ---------------------------------------------------------------------------

enum class OrderPolicy {
  kFiber,  // a path that becomes shorter lets later packets overtake, as fiber does
  kKeep,   // they are held back instead, and counted
};
enum class RehashPolicy { kResilient, kModulo };

struct DirectionSpec {
  BottleneckSpec bottleneck;  // of every lane
  std::vector<LaneSpec> lanes{LaneSpec{}};
  JitterSpec jitter;
  double duplicate = 0;  // probability
  double corrupt = 0;    // probability
  OrderPolicy order = OrderPolicy::kFiber;
  RehashPolicy rehash = RehashPolicy::kResilient;
  TimeNs detection{50'000'000};         // from a lane's failure until its flows move
  std::vector<FaultSpec> faults;        // [i]: of packets whose rule is i + 1
  std::vector<TimelineEvent> timeline;  // any order
};

// What keys the randomness of a direction.
struct LinkIdentity {
  uint64_t seed = 1;
  std::string link = "link";
  uint32_t direction = 0;  // 0: a to b, 1: b to a
};

}  // namespace farspan::link
