// Fiber: one lane's glass. What happens between the bottleneck and the far end.
//
// A frame enters as its last bit leaves the bottleneck. On entering, the loss process looks at its
// time on the wire, faults and random disturbances act, ordered jitter moves its entry (never
// before an earlier frame's: such clamps are counted). It is due after the delay of the path that
// was working as it entered. A path that changes keeps the due times of what is in flight: every
// path is an epoch with a FIFO of its own, merged by due time; only what reorders (reordering
// jitter, delay faults) goes through a calendar queue.
//
// A lost frame stays in its place and comes out with its verdict when it would have arrived. A cut
// at glass position x loses a frame if and only if entry + x n / c lies in [cut, restore); that is
// decided as the frame comes out.
// With OrderPolicy::kKeep, frames of a later epoch wait for those of an earlier one.
//
// Single thread; nothing is allocated after construction.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/time.h"
#include "emulator/link/calendar_queue.h"
#include "emulator/link/counters.h"
#include "emulator/link/fault_table.h"
#include "emulator/link/jitter.h"
#include "emulator/link/loss.h"
#include "emulator/link/packet_fifo.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/spec.h"

namespace farspan::link {

// What a fiber asks of its link.
class FiberHost {
 public:
  // A kTrigger fault fired: event index and the instant.
  virtual void triggered(uint32_t event, TimeNs at) = 0;
  // Whether the link has room for a duplicate; one without is counted as our own drop.
  virtual bool admit_duplicate() = 0;

 protected:
  ~FiberHost() = default;
};

class Fiber {
 public:
  // Paths in use at once, and cuts that still matter to something in flight: at most so many of
  // either. Changes beyond are refused before they are made: Link::prepare(), Link::Create().
  static constexpr uint32_t kMaxChanges = 128;

  // No distribution of ordered jitter moves an entry by as many deviations.
  static constexpr int64_t kJitterReach = 32;

  Fiber(const DirectionSpec& spec, uint32_t lane, StreamKey key, TimeNs start, uint64_t capacity,
        BlockPool* pool, DirectionCounters* counters, FaultTable* faults, FiberHost* host);

  // A frame whose time on the wire was [start, end). In order.
  void enter(const PacketRef& packet, TimeNs start, TimeNs end) {
    const bool lost = loss_.lost(start, end, packet.wire_bytes);
    if (lost || packet.rule != 0 || disturbs_ || end < last_entry_) {
      enter_disturbed(packet, end, lost);
      return;
    }
    ++packets_;
    ++held_;
    last_entry_ = end;
    epoch(last_epoch_).fifo.push(WithDue(packet, end));
  }

  // One path, nothing cut or reordered: what leaves by `now`, in one loop.
  bool plain() const {
    return first_epoch_ == last_epoch_ && calendar_ == nullptr && cuts_.empty() &&
           order_ == OrderPolicy::kFiber;
  }
  size_t take_plain(TimeNs now, std::span<PacketRef> out) {
    Epoch& e = epoch(last_epoch_);
    size_t taken = 0;
    for (; taken < out.size() && !e.fifo.empty(); ++taken) {
      const TimeNs due = e.fifo.front().due + e.delay;
      if (due > now) break;
      out[taken] = WithDue(e.fifo.front(), due);
      e.fifo.drop_front();
    }
    held_ -= taken;
    return taken;
  }

  // In any case: the earliest frame that leaves by `now`; its due time in `due`. take() removes it.
  bool head(TimeNs now, TimeNs& due, uint32_t& sequence);
  void take(PacketRef& out);
  TimeNs next_deadline() const;
  // Handles that leave after `ahead` others, as Link::upcoming().
  size_t upcoming(size_t ahead, std::span<uint64_t> handles) const {
    return epoch(first_epoch_).fifo.peek(ahead, handles);
  }
  bool empty() const { return held_ == 0; }

  // Changes, at the instant `now`; everything before it has entered.
  // A cut in force cuts the new path too; after a protection switch it does not.
  void set_path(TimeNs now, const PathSpec& path);
  void switch_path(TimeNs now, const ProtectionSwitch& change);
  void cut(TimeNs now, Length position, TimeNs duration);
  void restore(TimeNs now);
  // Those that matter to nothing in flight any more.
  void forget_cuts(TimeNs now);
  // Whether no light has come through from `since` to `now`, by one cut or several.
  bool is_dark(TimeNs since, TimeNs now) const { return dark_from_ <= since && now < dark_until_; }
  void swap_loss(LossModel& model);
  void swap_jitter(JitterModel& model, JitterSpec& spec, std::unique_ptr<CalendarQueue>& calendar);
  // Where there is none: delay faults reorder.
  void take_calendar(std::unique_ptr<CalendarQueue>& calendar) {
    if (calendar_ == nullptr) calendar_ = std::move(calendar);
  }
  bool has_calendar() const { return calendar_ != nullptr; }
  void start_epoch(TimeNs now);

  // A lower bound on the time from entering to leaving.
  TimeNs shortest_stay() const {
    return std::max(TimeNs{}, delay() - TimeNs{kJitterReach * jitter_spec_.deviation.ns});
  }
  // Of the working path.
  TimeNs delay() const { return epoch(last_epoch_).delay; }
  Length length() const { return epoch(last_epoch_).length; }
  uint32_t changes_in_flight() const {
    return std::max(static_cast<uint32_t>(cuts_.size()), last_epoch_ - first_epoch_ + 1);
  }

  static bool Reorders(const JitterSpec& jitter) {
    return jitter.reorder && jitter.deviation.ns > 0;
  }
  // From the start; a live change that needs one brings it.
  static bool NeedsCalendar(const DirectionSpec& spec);
  static std::unique_ptr<CalendarQueue> MakeCalendar(const DirectionSpec& spec,
                                                     const JitterSpec& jitter, uint64_t capacity,
                                                     TimeNs start);
  static JitterModel MakeJitter(const JitterSpec& jitter, StreamKey key, uint32_t lane);

 private:
  struct Epoch {
    PacketFifo fifo;  // due = entry into the glass
    TimeNs delay{};
    Length length{};
    double group_index = 0;
    uint64_t in_calendar = 0;
  };
  struct CutInForce {
    uint32_t epoch;
    Length position;
    TimeNs offset;  // from entry to the position
    TimeNs from;
    TimeNs until;
  };
  struct Disturbance {
    TimeNs delay{};
    bool duplicate = false;
  };

  const Epoch& epoch(uint32_t n) const { return epochs_[n % kMaxChanges]; }
  Epoch& epoch(uint32_t n) { return epochs_[n % kMaxChanges]; }
  bool held_by_order(const Epoch& e) const;
  void enter_disturbed(const PacketRef& packet, TimeNs end, bool lost);
  Disturbance disturb(PacketRef& packet, uint64_t index);
  bool fault(PacketRef& packet, const FaultSpec& fault, Disturbance& effect);
  void put(const PacketRef& packet, TimeNs entry, TimeNs delay);
  void look_for_disturbances() {
    disturbs_ = duplicate_ > 0 || corrupt_ > 0 || jitter_spec_.deviation.ns > 0;
  }
  void judge_cut(PacketRef& packet, uint32_t epoch_number, TimeNs entry) const;
  void begin_path(const PathSpec& path);
  void retire_epochs();
  double chance(RandomPurpose purpose, uint64_t index) const {
    return ToUnit(Draw(key_, purpose, index, lane_).lo);
  }

  const uint32_t lane_;
  const StreamKey key_;
  const OrderPolicy order_;
  const double duplicate_;
  const double corrupt_;
  DirectionCounters* const counters_;
  FaultTable* const faults_;
  FiberHost* const host_;

  LossModel loss_;
  JitterSpec jitter_spec_;
  JitterModel jitter_;
  std::unique_ptr<CalendarQueue> calendar_;
  bool disturbs_ = false;  // anything but loss and rules acts on every frame
  uint64_t packets_ = 0;   // entered in this epoch of wire time
  TimeNs last_entry_{INT64_MIN};
  TimeNs wire_origin_;

  std::vector<Epoch> epochs_;
  uint32_t first_epoch_ = 0;
  uint32_t last_epoch_ = 0;  // working
  std::vector<CutInForce> cuts_;
  TimeNs dark_from_{INT64_MIN};  // the latest time without light, whatever its cuts
  TimeNs dark_until_{INT64_MIN};
  TimeNs last_due_{INT64_MIN};
  uint64_t held_ = 0;
  int64_t head_epoch_ = -1;  // where head() found it; -1: the calendar
};

}  // namespace farspan::link
