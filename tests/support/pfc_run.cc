#include "tests/support/pfc_run.h"

#include <algorithm>
#include <deque>
#include <memory>

#include "emulator/base/check.h"
#include "emulator/link/path.h"
#include "emulator/link/serializer.h"
#include "emulator/roce/pause_frame.h"
#include "emulator/sim/scheduler.h"
#include "tests/support/random_case.h"

namespace farspan::test {
namespace {

using link::PacketRef;

class World final : link::PauseSink {
 public:
  explicit World(const PfcRun& run)
      : run_(run),
        dice_(run.seed),
        cable_(link::OneWayDelay({.length = run.worst.cable})),
        line_(run.worst.line_rate),
        back_(run.worst.line_rate),
        pacer_(Quanta(run.spec), run.worst.line_rate) {
    uint64_t frames = 0;
    for (const PfcFlow& flow : run.flows) frames += flow.frames.size();
    auto link = link::Link::Create(run.spec, {}, {.packets = frames + 16}, {});
    FARSPAN_CHECK(link.has_value());
    link_ = std::move(*link);
    link_->tell_pauses_to(this);
    next_.resize(run.flows.size());
    ready_.resize(run.flows.size());
  }

  PfcOutcome run() {
    while (step()) {
    }
    out_.counters = link_->counters();
    out_.end = now_;
    return std::move(out_);
  }

 private:
  static std::array<uint16_t, 8> Quanta(const link::DirectionSpec& spec) {
    std::array<uint16_t, 8> quanta{};
    for (const link::ClassSpec& c : spec.bottleneck.classes) {
      if (c.pfc) quanta[c.pfc->priority] = c.pfc->quanta;
    }
    return quanta;
  }

  TimeNs up_to(TimeNs most) {
    if (run_.seed == 0) return most;
    return {static_cast<int64_t>(dice_.below(static_cast<uint64_t>(most.ns) + 1))};
  }
  static TimeNs WireTime(uint32_t bytes, Rate rate) {
    link::Serializer wire(rate);
    wire.send({}, bytes);
    return wire.busy_until();
  }

  // One event: the earliest; what the sender starts at an instant comes after what it learns then.
  bool step() {
    const TimeNs arrival = on_cable_.empty() ? kNever : on_cable_.front().due;
    const TimeNs heard = notes_.empty() ? kNever : notes_.front().at;
    const TimeNs told = tell_at_;
    const TimeNs start = next_start();
    const TimeNs link = link_->next_deadline();
    const TimeNs at = std::min({arrival, heard, told, start, link});
    if (at == kNever) return false;
    now_ = at;
    if (arrival == at) {
      arrive();
    } else if (link == at) {
      release();
    } else if (told == at) {
      tell();
    } else if (start == at) {  // a frame may still begin at the very end of the reaction
      send();
    } else {
      hear();
    }
    return true;
  }

  void arrive() {
    const PacketRef packet = on_cable_.front();
    on_cable_.pop_front();
    FARSPAN_CHECK(link_->offer(now_, {&packet, 1}) == 1);
    out_.queue_max = std::max(out_.queue_max, link_->counters().queue_bytes);
  }

  void release() {
    PacketRef packets[64];
    while (const size_t n = link_->release(now_, packets)) {
      out_.released.insert(out_.released.end(), packets, packets + n);
    }
  }

  void on_pause(const link::PauseEvent& event) override {
    out_.events.push_back(event);
    pacer_.want(event.at, event.priority, event.pause);
    plan_to_tell();
  }

  // The engine sees at its next poll that a frame is due.
  void plan_to_tell() {
    const TimeNs due = pacer_.next_deadline();
    if (due == kNever) return;
    tell_at_ = std::min(tell_at_, std::max(now_, due) + up_to(run_.worst.poll_gap));
  }

  void tell() {
    tell_at_ = kNever;
    const link::PfcFrame frame = pacer_.take(now_);
    if (frame.enabled != 0 && (run_.refresh || is_news(frame))) {
      // It waits for the frame that its port has begun, and its last bit comes a cable later.
      const TimeNs ready = now_ + up_to(WireTime(run_.worst.max_frame_bytes, run_.worst.line_rate));
      back_.send(ready, link::kPauseWireBytes);
      const TimeNs heard = back_.busy_until() + cable_ + up_to(run_.worst.reaction);
      notes_.push_back({std::max(heard, notes_.empty() ? heard : notes_.back().at),
                        roce::EncodePfc(frame, {2, 0, 0, 0, 0, 1})});
    }
    plan_to_tell();
  }

  bool is_news(const link::PfcFrame& frame) {
    bool news = false;
    for (unsigned p = 0; p < 8; ++p) {
      if ((frame.enabled >> p & 1) == 0) continue;
      news |= frame.quanta[p] == 0 || !told_[p];
      told_[p] = frame.quanta[p] != 0;
    }
    return news;
  }

  void hear() {
    const auto frame = roce::ParsePause(notes_.front().bytes);
    notes_.pop_front();
    FARSPAN_CHECK(frame.has_value());
    out_.frames.push_back(*frame);
    for (unsigned p = 0; p < 8; ++p) {
      if ((frame->enabled >> p & 1) == 0) continue;
      note_expiry(p);
      paused_until_[p] = frame->quanta[p] == 0
                             ? now_
                             : now_ + link::QuantaTime(frame->quanta[p], run_.worst.line_rate);
      pause_ends_by_itself_[p] = frame->quanta[p] != 0;
    }
  }

  // A pause that ended by itself, although the queue had never ceased to ask.
  void note_expiry(unsigned priority) {
    if (!pause_ends_by_itself_[priority] || paused_until_[priority] >= now_) return;
    out_.expired[priority] += pacer_.wants(priority) ? 1 : 0;
  }

  TimeNs flow_start(size_t f) const {
    const PfcFlow& flow = run_.flows[f];
    if (next_[f] == flow.frames.size()) return kNever;
    return std::max({now_, line_.busy_until(), ready_[f], paused_until_[flow.priority]});
  }

  TimeNs next_start() const {
    TimeNs earliest = kNever;
    for (size_t f = 0; f < run_.flows.size(); ++f) earliest = std::min(earliest, flow_start(f));
    return earliest;
  }

  void send() {
    for (size_t tried = 0; tried < run_.flows.size(); ++tried) {
      turn_ = (turn_ + 1) % run_.flows.size();
      if (flow_start(turn_) == now_) break;
    }
    const PfcFlow& flow = run_.flows[turn_];
    const uint32_t bytes = flow.frames[next_[turn_]++];
    line_.send(now_, bytes);
    if (flow.rate.bits_per_s != 0) ready_[turn_] = now_ + WireTime(bytes, flow.rate);
    on_cable_.push_back({.handle = sequence_,
                         .due = line_.busy_until() + cable_,
                         .wire_bytes = bytes,
                         .sequence = static_cast<uint32_t>(sequence_),
                         .traffic_class = flow.traffic_class});
    ++sequence_;
  }

  struct Note {
    TimeNs at;  // takes effect
    std::array<uint8_t, roce::kPauseFrameBytes> bytes;
  };

  const PfcRun& run_;
  Dice dice_;
  const TimeNs cable_;
  link::Serializer line_;
  link::Serializer back_;
  link::PfcPacer pacer_;
  std::unique_ptr<link::Link> link_;
  TimeNs now_{};
  TimeNs tell_at_ = kNever;
  std::deque<PacketRef> on_cable_;
  std::deque<Note> notes_;
  std::array<TimeNs, 8> paused_until_{};
  std::array<bool, 8> pause_ends_by_itself_{};
  std::array<bool, 8> told_{};
  std::vector<size_t> next_;  // frame of each flow
  std::vector<TimeNs> ready_;
  size_t turn_ = 0;
  uint64_t sequence_ = 0;
  PfcOutcome out_;
};

}  // namespace

PfcOutcome RunPfc(const PfcRun& run) { return World(run).run(); }

}  // namespace farspan::test
