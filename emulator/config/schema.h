// The whole configuration of an emulator, resolved: plain data with documented defaults.
//
// loader.h fills it from TOML, wire_options.h from the command line; the engine and the plan are
// built from it. After loading, everything here has been validated: names are unique, links join
// sites that exist, models are within their ranges. docs/configuration.md lists the keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/base/time.h"
#include "emulator/base/units.h"
#include "emulator/link/spec.h"
#include "emulator/roce/observer_spec.h"
#include "emulator/roce/rule_match.h"

namespace farspan::config {

// --- Sites -----------------------------------------------------------------------------------

enum class PortKind { kPci, kAfPacket, kAfXdp, kVhost, kVdev };

// How a site's port was written:
//   "0000:3b:00.1"                      a device bound to DPDK
//   "eth1", "af_packet:eth1"            a kernel interface, through an af_packet vdev
//   "af_xdp:eth1"                       the same through af_xdp
//   "vhost:/run/vm.sock"                a vhost-user socket that the engine serves
//   "net_null0,size=64"                 any other DPDK vdev, as it is
struct PortSpec {
  PortKind kind = PortKind::kAfPacket;
  std::string text;    // as written
  std::string target;  // PCI address, interface, socket path, or the vdev string
};

// The far site's port, which traffic of several links may overfill.
struct EgressSpec {
  Rate rate{};  // 0: as fast as it comes
  link::BottleneckSpec queue;
};

// What becomes of pause frames (PFC and PAUSE) that a site's host sends.
enum class PausePolicy {
  kPass,     // they cross like any frame, as through a transponder
  kConsume,  // the site's egress heeds them
  kDrop,     // as a bridge does that has flow control off
};

struct SiteSpec {
  std::string name;
  PortSpec port;
  Rate port_rate{};                      // what the port can bring, for planning; 0: not declared
  std::vector<roce::IpPrefix> prefixes;  // mesh: addresses at this site
  std::string city;                      // a name of the route library; may be empty
  std::optional<EgressSpec> egress;
  PausePolicy pause = PausePolicy::kPass;
  // A port that sends on timestamps is given frames so long before they are due; 0: never.
  TimeNs send_ahead{50'000};
};

// --- Links -----------------------------------------------------------------------------------

// Which packets, and what happens to them.
struct Rule {
  std::string name{};    // no other of its direction has it
  std::string match{};   // as written, in one line: "dst_port=4791 dscp=26"
  std::string limits{};  // the same: "count=1 probability=1 %"
  std::string action{};  // "drop", "delay 2 ms"
  roce::RuleMatch conditions{};
  link::FaultSpec fault{};
};

// An event of the timeline that waits for a trigger.
struct NamedEvent {
  std::string name;
  uint32_t index = 0;  // into the timeline
};

enum class Unmatched {
  kDefault,  // what no class claims falls in the first class
  kBypass,   // ... goes round the link at once (management, ARP, LLDP)
};

struct LinkSpec {
  std::string name;
  std::string a;  // site names
  std::string b;
  link::DirectionSpec ab;
  link::DirectionSpec ba;
  std::vector<Rule> ab_rules;  // [i] is number i + 1 and does ab.faults[i]
  std::vector<Rule> ba_rules;
  std::vector<NamedEvent> ab_events;
  std::vector<NamedEvent> ba_events;
  std::string ab_source;  // where a routed length or delay comes from; empty if it was given
  std::string ba_source;
  Unmatched unmatched = Unmatched::kDefault;
};

// --- Engine ----------------------------------------------------------------------------------

enum class IdlePolicy {
  kAuto,   // spin where there is a spare core, else sleep
  kSpin,   // never sleep: least lateness, one whole core
  kSleep,  // sleep towards the next deadline
};

// What a port's certificate allows; beyond it the run is INVALID.
struct PortBudget {
  TimeNs lateness_p50;
  TimeNs lateness_p99;
  TimeNs lateness_max;
  TimeNs arrival_p99;  // uncertainty of arrival stamps
};

struct Budgets {
  PortBudget pci{TimeNs{2'000}, TimeNs{20'000}, TimeNs{2'000'000}, TimeNs{20'000}};
  // Ports of the kernel and of virtual machines, on machines that others share.
  PortBudget software{TimeNs{100'000}, TimeNs{5'000'000}, TimeNs{50'000'000}, TimeNs{5'000'000}};
  double clock_ppm = 5;  // against CLOCK_MONOTONIC_RAW

  const PortBudget& of(PortKind kind) const { return kind == PortKind::kPci ? pci : software; }
};

struct CaptureSpec {
  std::string file;                        // pcapng; empty: none
  uint64_t max_bytes = uint64_t{1} << 30;  // then it stops, and counts what it left out
  uint32_t snap_bytes = 128;               // of each frame
};

struct EngineSpec {
  std::string http = "127.0.0.1:9464";  // or "unix:/path", or "off"
  std::string token_file;               // needed beyond loopback
  IdlePolicy idle = IdlePolicy::kAuto;
  std::vector<uint32_t> lcores;    // CPU numbers; empty: as many as the plan asks, from CPU 1 on
  uint32_t mtu = 1500;             // the largest IP packet that ports and buffers hold
  uint32_t plan_frame_bytes = 64;  // memory is planned for frames (with FCS) of this mean size
  uint64_t max_packet_rate = 0;    // packets/s per direction that are promised not to be exceeded
  TimeNs headroom_delay{};  // the largest one-way delay that live changes may reach; 0: as planned
  Rate headroom_rate{};     // the highest rate that they may reach; 0: as planned
  uint64_t memory_bytes = 0;  // limit; 0: what the machine has free
  TimeNs duration = kNever;
  Budgets budgets;
  CaptureSpec capture;
  roce::ObserverSpec observer;
};

// --- All of it -------------------------------------------------------------------------------

enum class Mode {
  kWire,  // two sites, one link, every frame crosses
  kMesh,  // sites and links between them, frames are forwarded
};
enum class Forwarding {
  kPrefix,  // by destination address (ARP and ND: by target); every site has prefixes
  kMac,     // by learned MAC address
};

struct EmulatorConfig {
  Mode mode = Mode::kWire;
  Forwarding forwarding = Forwarding::kPrefix;  // mesh only
  uint64_t seed = 1;
  std::vector<SiteSpec> sites;
  std::vector<LinkSpec> links;
  EngineSpec engine;
};

}  // namespace farspan::config
