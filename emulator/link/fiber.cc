#include "emulator/link/fiber.h"

#include <algorithm>

#include "emulator/link/path.h"

namespace farspan::link {
Fiber::Fiber(const DirectionSpec& spec, uint32_t lane, StreamKey key, TimeNs start,
             uint64_t capacity, BlockPool* pool, DirectionCounters* counters, FaultTable* faults,
             FiberHost* host)
    : lane_(lane),
      key_(key),
      order_(spec.order),
      duplicate_(spec.duplicate),
      corrupt_(spec.corrupt),
      counters_(counters),
      faults_(faults),
      host_(host),
      loss_(spec.lanes[lane].loss, key, lane, spec.lanes[lane].rate),
      jitter_spec_(spec.jitter),
      jitter_(MakeJitter(spec.jitter, key, lane)),
      wire_origin_(start) {
  epochs_.reserve(kMaxChanges);
  for (uint32_t i = 0; i < kMaxChanges; ++i) epochs_.push_back({.fifo = PacketFifo(pool)});
  epochs_[0].delay = OneWayDelay(spec.lanes[lane].path);
  epochs_[0].length = spec.lanes[lane].path.length;
  epochs_[0].group_index = spec.lanes[lane].path.group_index;
  cuts_.reserve(kMaxChanges);
  if (NeedsCalendar(spec)) calendar_ = MakeCalendar(spec, spec.jitter, capacity, start);
  look_for_disturbances();
  start_epoch(start);
}

bool Fiber::NeedsCalendar(const DirectionSpec& spec) {
  const bool faults = std::any_of(spec.faults.begin(), spec.faults.end(),
                                  [](const FaultSpec& f) { return f.kind == FaultKind::kDelay; });
  const bool later =
      std::any_of(spec.timeline.begin(), spec.timeline.end(), [](const TimelineEvent& e) {
        const auto* change = std::get_if<SetJitter>(&e.change);
        return change != nullptr && Reorders(change->jitter);
      });
  return faults || later || Reorders(spec.jitter);
}

JitterModel Fiber::MakeJitter(const JitterSpec& jitter, StreamKey key, uint32_t lane) {
  return JitterModel(jitter, {Draw(key, RandomPurpose::kStreamKey, lane).lo});
}

std::unique_ptr<CalendarQueue> Fiber::MakeCalendar(const DirectionSpec& spec,
                                                   const JitterSpec& jitter, uint64_t capacity,
                                                   TimeNs start) {
  TimeNs path{};
  TimeNs fault{};
  for (const LaneSpec& lane : spec.lanes) path = std::max(path, OneWayDelay(lane.path));
  for (const FaultSpec& f : spec.faults) fault = std::max(fault, f.delay);
  TimeNs deviation = jitter.deviation;
  for (const TimelineEvent& e : spec.timeline) {
    const auto* change = std::get_if<SetJitter>(&e.change);
    if (change != nullptr) deviation = std::max(deviation, change->jitter.deviation);
  }
  const TimeNs horizon = path + fault + TimeNs{kJitterReach * deviation.ns};
  return std::make_unique<CalendarQueue>(capacity, horizon, start);
}

void Fiber::start_epoch(TimeNs now) {
  wire_origin_ = now;
  packets_ = 0;
  loss_.start_epoch(now);
  jitter_.start_epoch(now);
}

// --- Entering --------------------------------------------------------------------------------

void Fiber::enter_disturbed(const PacketRef& served, TimeNs end, bool lost) {
  const uint64_t index = packets_++;
  PacketRef packet = served;
  if (lost) {
    packet.flags |= kDropped;
    packet.cause = Cause::kLoss;
  }
  packet.due = end;
  Disturbance effect;
  if (packet.rule != 0 || duplicate_ > 0 || corrupt_ > 0) effect = disturb(packet, index);

  TimeNs entry = end;
  if (jitter_spec_.deviation.ns > 0) {
    if (jitter_spec_.reorder) {
      effect.delay += jitter_.drawn(index);
    } else {
      entry += jitter_.ordered(entry);
    }
  }
  // Nothing comes out before it went in, nor before what went in earlier.
  const TimeNs earliest = std::max(last_entry_, end - delay());
  if (entry < earliest) {
    entry = earliest;
    ++counters_->jitter_clamps;
  }
  last_entry_ = entry;

  if (effect.duplicate && host_->admit_duplicate()) {
    PacketRef copy = packet;
    copy.flags |= kDuplicate;
    ++counters_->duplicated_packets;
    put(copy, entry, effect.delay);
  }
  put(packet, entry, effect.delay);
}

Fiber::Disturbance Fiber::disturb(PacketRef& packet, uint64_t index) {
  Disturbance effect;
  if (packet.rule != 0) {
    if (fault(packet, faults_->of(packet.rule), effect)) faults_->hit(packet.rule);
    faults_->settle(packet.rule);
  }
  if (duplicate_ > 0 && chance(RandomPurpose::kDuplicate, index) < duplicate_) {
    effect.duplicate = true;
  }
  if (corrupt_ > 0 && chance(RandomPurpose::kCorrupt, index) < corrupt_) {
    packet.flags |= kCorrupted;
  }
  if ((packet.flags & kDropped) != 0) effect.duplicate = false;
  return effect;
}

// Whether it did what it says.
bool Fiber::fault(PacketRef& packet, const FaultSpec& fault, Disturbance& effect) {
  const bool lost = (packet.flags & kDropped) != 0;
  switch (fault.kind) {
    case FaultKind::kPass:
      return true;
    case FaultKind::kTrigger:
      host_->triggered(fault.event, packet.due);
      return true;
    case FaultKind::kDrop:
      if (lost) return false;
      packet.flags |= kDropped;
      packet.cause = Cause::kFault;
      return true;
    case FaultKind::kDelay:
      effect.delay = fault.delay;
      return !lost;
    case FaultKind::kDuplicate:
      effect.duplicate = true;
      return !lost;
    case FaultKind::kCorrupt:
      packet.flags |= kCorrupted;
      return !lost;
    case FaultKind::kMark:
      if ((packet.flags & kEcnCapable) == 0) return false;
      packet.flags |= kMarked;
      return !lost;
  }
  return false;
}

void Fiber::put(const PacketRef& packet, TimeNs entry, TimeNs delay) {
  Epoch& e = epoch(last_epoch_);
  ++held_;
  PacketRef placed = packet;
  if (delay.ns == 0) {
    placed.due = entry;
    e.fifo.push(placed);
    return;
  }
  placed.due = std::max(entry, entry + e.delay + delay);
  ++e.in_calendar;
  calendar_->push({.packet = placed, .entry = entry, .epoch = last_epoch_});
}

// --- Leaving ---------------------------------------------------------------------------------

bool Fiber::held_by_order(const Epoch& e) const {
  return order_ == OrderPolicy::kKeep && !e.fifo.empty();
}

bool Fiber::head(TimeNs now, TimeNs& due, uint32_t& sequence) {
  bool found = false;
  for (uint32_t n = first_epoch_;; ++n) {
    const Epoch& e = epoch(n);
    if (!e.fifo.empty()) {
      const PacketRef& front = e.fifo.front();
      TimeNs leaves = front.due + e.delay;
      if (order_ == OrderPolicy::kKeep) leaves = std::max(leaves, last_due_);
      if (leaves <= now &&
          (!found || leaves < due ||
           (leaves == due && static_cast<int32_t>(front.sequence - sequence) < 0))) {
        found = true;
        due = leaves;
        sequence = front.sequence;
        head_epoch_ = n;
      }
    }
    if (n == last_epoch_ || held_by_order(e)) break;
  }
  if (calendar_ == nullptr) return found;
  calendar_->advance(now);
  const InFlight* top = calendar_->top();
  if (top == nullptr || top->packet.due > now) return found;
  if (!found || top->packet.due < due ||
      (top->packet.due == due && static_cast<int32_t>(top->packet.sequence - sequence) < 0)) {
    found = true;
    due = top->packet.due;
    sequence = top->packet.sequence;
    head_epoch_ = -1;
  }
  return found;
}

void Fiber::take(PacketRef& out) {
  --held_;
  if (head_epoch_ < 0) {
    const InFlight item = calendar_->pop();
    --epoch(item.epoch).in_calendar;
    out = item.packet;
    judge_cut(out, item.epoch, item.entry);
    retire_epochs();
    return;
  }
  const auto number = static_cast<uint32_t>(head_epoch_);
  Epoch& e = epoch(number);
  const TimeNs entry = e.fifo.front().due;
  TimeNs due = entry + e.delay;
  if (order_ == OrderPolicy::kKeep) {
    if (due < last_due_) {
      due = last_due_;
      ++counters_->order_clamps;
    }
    last_due_ = due;
  }
  out = WithDue(e.fifo.front(), due);
  e.fifo.drop_front();
  if (!cuts_.empty()) judge_cut(out, number, entry);
  if (first_epoch_ != last_epoch_) retire_epochs();
}

void Fiber::judge_cut(PacketRef& packet, uint32_t epoch_number, TimeNs entry) const {
  if ((packet.flags & kDropped) != 0) return;
  for (const CutInForce& c : cuts_) {
    if (c.epoch != epoch_number || c.from > packet.due) continue;  // out before the cut
    const TimeNs passes = entry + c.offset;
    if (passes >= c.from && passes < c.until) {
      packet.flags |= kDropped;
      packet.cause = Cause::kCut;
      return;
    }
  }
}

void Fiber::retire_epochs() {
  while (first_epoch_ != last_epoch_) {
    Epoch& e = epoch(first_epoch_);
    if (!e.fifo.empty() || e.in_calendar != 0) return;
    e.fifo.retire();
    std::erase_if(cuts_, [this](const CutInForce& c) { return c.epoch == first_epoch_; });
    ++first_epoch_;
  }
}

TimeNs Fiber::next_deadline() const {
  TimeNs earliest = calendar_ == nullptr ? kNever : calendar_->next_deadline();
  for (uint32_t n = first_epoch_;; ++n) {
    const Epoch& e = epoch(n);
    if (!e.fifo.empty()) {
      TimeNs leaves = e.fifo.front().due + e.delay;
      if (order_ == OrderPolicy::kKeep) leaves = std::max(leaves, last_due_);
      earliest = std::min(earliest, leaves);
    }
    if (n == last_epoch_ || held_by_order(e)) return earliest;
  }
}

// --- Changes ---------------------------------------------------------------------------------

void Fiber::begin_path(const PathSpec& path) {
  FARSPAN_CHECK(last_epoch_ - first_epoch_ + 1 < kMaxChanges);
  Epoch& e = epoch(++last_epoch_);
  e.delay = OneWayDelay(path);
  e.length = path.length;
  e.group_index = path.group_index;
  retire_epochs();
}

void Fiber::set_path(TimeNs now, const PathSpec& path) {
  forget_cuts(now);
  const uint32_t old = last_epoch_;
  const size_t count = cuts_.size();
  for (size_t i = 0; i < count; ++i) {
    CutInForce carried = cuts_[i];
    if (carried.epoch != old || carried.until <= now) continue;
    FARSPAN_CHECK(cuts_.size() < kMaxChanges);
    carried.epoch = old + 1;
    carried.offset = GlassDelay(carried.position, path.group_index);
    cuts_.push_back(carried);
  }
  begin_path(path);
}

void Fiber::switch_path(TimeNs now, const ProtectionSwitch& change) {
  cut(now, change.position, kNever);
  dark_until_ = now + change.outage;
  begin_path(change.path);
  FARSPAN_CHECK(cuts_.size() < kMaxChanges);
  // Until the switch is made, what enters is lost at once, jittered entries included.
  cuts_.push_back({last_epoch_, Length{}, TimeNs{}, TimeNs{INT64_MIN}, now + change.outage});
}

void Fiber::cut(TimeNs now, Length position, TimeNs duration) {
  forget_cuts(now);
  FARSPAN_CHECK(cuts_.size() < kMaxChanges);
  cuts_.push_back({last_epoch_, position, GlassDelay(position, epoch(last_epoch_).group_index), now,
                   now + duration});
  if (now > dark_until_) dark_from_ = now;
  dark_until_ = std::max(dark_until_, now + duration);
}

void Fiber::restore(TimeNs now) {
  for (CutInForce& c : cuts_) {
    if (c.epoch == last_epoch_) c.until = std::min(c.until, now);
  }
  dark_until_ = std::min(dark_until_, now);
  forget_cuts(now);
}

void Fiber::forget_cuts(TimeNs now) {
  std::erase_if(cuts_, [&](const CutInForce& c) {
    const Epoch& e = epoch(c.epoch);
    if (e.in_calendar != 0) return false;
    const TimeNs reach{kJitterReach * jitter_spec_.deviation.ns};
    const TimeNs oldest = e.fifo.empty() ? std::max(now - reach, last_entry_) : e.fifo.front().due;
    return c.until <= oldest + c.offset;
  });
}

void Fiber::swap_loss(LossModel& model) {
  std::swap(loss_, model);
  loss_.start_epoch(wire_origin_);
}

void Fiber::swap_jitter(JitterModel& model, JitterSpec& spec,
                        std::unique_ptr<CalendarQueue>& calendar) {
  std::swap(jitter_, model);
  std::swap(jitter_spec_, spec);
  look_for_disturbances();
  jitter_.start_epoch(wire_origin_);
  take_calendar(calendar);
}

}  // namespace farspan::link
