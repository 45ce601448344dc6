#include "emulator/sim/link_run.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/sim/batch_plan.h"
#include "emulator/sim/trace_hash.h"

namespace farspan::sim {
namespace {

using link::Link;
using link::PacketRef;

class Driver {
 public:
  Driver(const LinkRun& run, Link& link) : run_(run), link_(link), plan_(run.batching_seed) {
    trace_.released.reserve(run.traffic.size());
  }

  Result<LinkTrace> drive() {
    TimeNs now = run_.start;
    while (!finished()) {
      TimeNs horizon = plan_.next_poll(now, next_arrival(), link_.next_deadline());
      const TimeNs change_at = next_change();
      if (change_at <= horizon) horizon = change_at - TimeNs{1};
      if (horizon >= now) poll(horizon);
      now = std::max(now, horizon);
      if (change_at == horizon + TimeNs{1} && change_at != kNever) {
        now = change_at;
        if (Result<void> applied = apply(now); !applied) return tl::unexpected(applied.error());
      }
    }
    trace_.counters = link_.counters();
    trace_.hash = HashOf(trace_.released);
    trace_.end = now;
    return std::move(trace_);
  }

 private:
  TimeNs next_arrival() const {
    return offered_ < run_.traffic.size() ? run_.traffic[offered_].due : kNever;
  }
  TimeNs next_change() const {
    return applied_ < run_.changes.size() ? run_.changes[applied_].at : kNever;
  }
  bool finished() const {
    return next_arrival() == kNever && next_change() == kNever && link_.next_deadline() == kNever;
  }

  void poll(TimeNs horizon) {
    size_t due = offered_;
    while (due < run_.traffic.size() && run_.traffic[due].due <= horizon) ++due;
    // Without new arrivals, nothing comes before the deadline that the link has given.
    const TimeNs foreseen = due == offered_ ? link_.next_deadline() : TimeNs{INT64_MIN};
    while (offered_ < due) offer(horizon, due);
    size_t room = 0;
    size_t released = 0;
    const size_t before = trace_.released.size();
    do {
      room = plan_.out_size();
      released = link_.release(horizon, std::span(out_).first(room));
      for (size_t i = 0; i < released; ++i) record(out_[i], horizon, foreseen);
    } while (released == room && plan_.go_on());
    check_progress(horizon, trace_.released.size() != before);
    if (run_.after_poll) run_.after_poll(horizon, link_);
  }

  void offer(TimeNs horizon, size_t due) {
    const size_t count = plan_.offer_size(due - offered_);
    const std::span<const PacketRef> packets(&run_.traffic[offered_], count);
    const TimeNs now = plan_.offer_at_horizon() ? horizon : packets.back().due;
    FARSPAN_CHECK(link_.offer(now, packets) == count);
    offered_ += count;
  }

  void record(const PacketRef& packet, TimeNs horizon, TimeNs foreseen) {
    trace_.early += packet.due > horizon ? 1 : 0;
    trace_.unforeseen += packet.due < foreseen ? 1 : 0;
    if (!trace_.released.empty()) {
      trace_.unordered += packet.due < trace_.released.back().due ? 1 : 0;
    }
    trace_.released.push_back(packet);
  }

  // A link that promises something now and never gives it would keep its driver busy for ever.
  void check_progress(TimeNs horizon, bool released) {
    idle_polls_ = released || horizon > last_poll_ ? 0 : idle_polls_ + 1;
    last_poll_ = horizon;
    FARSPAN_CHECK(idle_polls_ < 1'000);
  }

  Result<void> apply(TimeNs now) {
    Result<link::PreparedChangePtr> change = link_.prepare(run_.changes[applied_++].change);
    if (!change) return tl::unexpected(change.error());
    link_.apply(now, **change);
    return {};
  }

  const LinkRun& run_;
  Link& link_;
  BatchPlan plan_;
  LinkTrace trace_;
  size_t offered_ = 0;
  size_t applied_ = 0;
  TimeNs last_poll_{INT64_MIN};
  int idle_polls_ = 0;
  std::array<PacketRef, BatchPlan::kMaxOut> out_;
};

}  // namespace

Result<LinkTrace> RunLink(const LinkRun& run) {
  Result<std::unique_ptr<Link>> link =
      Link::Create(run.spec, run.identity, run.capacity, run.start);
  if (!link) return tl::unexpected(link.error());
  return Driver(run, **link).drive();
}

}  // namespace farspan::sim
