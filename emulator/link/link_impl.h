// Link's insides, shared by link.cc (the data path) and link_changes.cc (the timeline and changes).
#pragma once

#include <atomic>
#include <vector>

#include "emulator/link/lane.h"
#include "emulator/link/lane_selector.h"
#include "emulator/link/link.h"

namespace farspan::link {

struct PreparedChange {
  Change change;
  std::vector<LossModel> loss;      // SetLoss: for each lane
  std::vector<JitterModel> jitter;  // SetJitter: for each lane
  std::vector<JitterSpec> jitter_specs;
  std::vector<std::unique_ptr<CalendarQueue>> calendars;  // SetJitter, SetFault: for each lane
  // A live StartEpoch: ChangesBack(), and the timeline anew.
  std::vector<PreparedChange> back;
  std::vector<PreparedChange> timeline;
};

struct Link::Impl final : LaneEvents {
  Impl(const DirectionSpec& spec, const LinkIdentity& identity, const LinkCapacity& capacity,
       TimeNs start);

  static constexpr uint32_t kSpareChanges = 16;  // kept free, of Fiber::kMaxChanges
  static constexpr uint32_t kBusyChanges = 64;   // beyond, they are forgotten as soon as can be

  // Something that happens at an instant: a change from the timeline, or a lane to look at, whose
  // flows may have to move.
  enum class EventKind : uint8_t { kTimeline, kLookAtLane };
  struct Event {
    TimeNs at;
    uint64_t order = 0;  // of scheduling, breaks ties
    EventKind kind = EventKind::kTimeline;
    uint32_t index = 0;  // into the timeline, or the lane
  };

  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };

  // --- link.cc
  size_t offer(std::span<const PacketRef> packets);
  bool offer_one(const PacketRef& packet);
  TimeNs decided_until(TimeNs now);
  size_t release(TimeNs now, TimeNs until, std::span<PacketRef> out);
  size_t release_merged(TimeNs until, std::span<PacketRef> out);
  void count(std::span<const PacketRef> released);
  void reject(size_t lane, PacketRef packet, Cause cause);
  uint64_t held() const {
    return counters.offered_packets + counters.duplicated_packets - released_packets;
  }

  // --- link_changes.cc
  // Brings everything to the instant `now`, events in their places.
  void run_to(TimeNs now);
  void advance_lanes(TimeNs until);
  void schedule(const Event& event);
  void triggered(uint32_t event, TimeNs at) override;
  void pause_asked(size_t traffic_class, TimeNs at, bool pause) override;
  bool admit_duplicate() override;
  void happen(const Event& event);
  void apply(TimeNs now, PreparedChange& prepared);
  void change_lane(TimeNs now, PreparedChange& prepared, uint32_t lane);
  void publish_room();
  void forget_changes(TimeNs now);
  void look_when_dark(TimeNs now, TimeNs duration, uint32_t lane);
  void look_at_lane(TimeNs now, uint32_t lane);
  void start_epoch(TimeNs now);
  void restart_timeline(TimeNs now, PreparedChange& prepared);
  void schedule_timeline(TimeNs from);
  PreparedChange build_change(const Change& change) const;
  PreparedChange build_epoch() const;
  Result<void> check_room(const Change& change) const;

  const DirectionSpec spec;
  const LinkIdentity identity;
  const LinkCapacity capacity;
  const StreamKey key;
  const TimeNs start;
  bool has_triggers;
  bool in_step;  // lanes keep step with each other: what they do is of one order

  BlockPool pool;
  DirectionCounters counters;
  FaultTable faults;
  uint64_t released_packets = 0;
  std::vector<Lane> lanes;
  LaneSelector selector;
  PauseSink* pauses = nullptr;
  std::vector<uint32_t> lanes_asking;  // for a pause of the class

  std::vector<PreparedChange> timeline;  // as in spec.timeline
  std::vector<bool> trigger_fired;
  std::vector<Event> events;  // heap, earliest first
  uint64_t events_scheduled = 0;
  TimeNs next_event = kNever;
  TimeNs horizon{};        // what advance_lanes is working towards
  const uint32_t densest;  // changes of the timeline that matter at once

  // For prepare(), from its own thread:
  std::atomic<uint32_t> in_flight{1};  // paths or cuts that still matter, of the worst lane
  std::atomic<bool> events_fit{true};
  std::atomic<bool> has_calendars;
  std::vector<std::atomic<int64_t>> glass_mm;  // of each lane's working path
};

// With duplicates, as many copies as originals may be under way.
uint64_t MostPackets(const DirectionSpec& spec, const LinkCapacity& capacity);

Result<void> ValidateDirection(const DirectionSpec& spec);
// `glass`: of each lane's path at the time of the change.
Result<void> ValidateChange(const Change& change, const DirectionSpec& spec,
                            std::span<const Length> glass);

// The most cuts and path changes of the timeline that matter to packets in flight at once.
struct Density {
  uint32_t changes = 0;
  TimeNs at{};
};
Density DensestChanges(const DirectionSpec& spec);

}  // namespace farspan::link
