// Link: one direction of a long-haul link, sans-IO.
//
//   offer -> lane by flow hash -> bottleneck (classes, AQM, serialisation) -> fiber (loss, faults,
//   jitter, propagation, cuts) -> release
//
// Contract of every stage: offer() takes packets whose `due` is their arrival, in order of arrival;
// release(now) gives what has left by `now`, ordered by due, ties by sequence (frames that leave
// one lane in the same nanosecond, in the order they left it); next_deadline() is when release()
// will next have something, O(1). `now` is only a horizon: every decision is taken at the packet's
// own virtual time, so polling late or in other batches changes nothing, provided that all arrivals
// up to `now` were offered before release(now). An event at time t comes before packets at t.
//
// offer() takes everything: a full store is an own drop (Cause::kStoreFull). (Only when thousands
// of drops wait for release() does it take a prefix.) A dropped packet comes back through release()
// with its verdict, so that only the driver frees. A duplicate shares its original's handle and is
// released before it.
//
// Threading: one thread. Nothing is allocated after construction; changes are prepared elsewhere
// (PreparedChange) and hand back what they replaced.
// Not modelled: optical power, dispersion, the reverse direction (two Links make a wire).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "emulator/base/result.h"
#include "emulator/base/time.h"
#include "emulator/link/counters.h"
#include "emulator/link/fault_table.h"
#include "emulator/link/packet_ref.h"
#include "emulator/link/pfc.h"
#include "emulator/link/spec.h"

namespace farspan::link {

struct LinkCapacity {
  uint64_t packets = 1u << 16;  // held at once: queues and fiber
};

struct PreparedChange;  // a Change with its models built, off the data path
struct PreparedChangeDeleter {
  void operator()(PreparedChange* change) const;
};
using PreparedChangePtr = std::unique_ptr<PreparedChange, PreparedChangeDeleter>;

// What a live StartEpoch sets back: all that the timeline of `spec` may change, as `spec` has it.
std::vector<Change> ChangesBack(const DirectionSpec& spec);

class Link {
 public:
  // `start` is the link's time 0 for the timeline and for wire time, until a live StartEpoch.
  static Result<std::unique_ptr<Link>> Create(const DirectionSpec& spec,
                                              const LinkIdentity& identity,
                                              const LinkCapacity& capacity, TimeNs start);
  // Bytes that Create allocates for such a link.
  static uint64_t MemoryBytes(const DirectionSpec& spec, const LinkCapacity& capacity);

  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Before the first packet: who is told when a class with PFC asks its sender to pause, in any of
  // the lanes. It must outlive the link.
  void tell_pauses_to(PauseSink* sink);

  size_t offer(TimeNs now, std::span<const PacketRef> packets);
  size_t release(TimeNs now, std::span<PacketRef> out);
  TimeNs next_deadline() const;

  // For a driver that hands packets over before they are due, with their times:
  // The latest instant, `now` or after it, up to which departures are decided, everything that came
  // by `now` having been offered: before the next event of the timeline and what a rule may still
  // trigger, and sooner than the shortest stay in the fiber. Only live changes are not foreseen.
  TimeNs decided_until(TimeNs now);
  // release(now), and what of the fiber is due by `until`, which decided_until(now) must allow. A
  // live change takes effect after `until` at the earliest: what was given out has had its fate.
  // Drops of the queues come when they are due, so that among them the order is not kept.
  size_t release_ahead(TimeNs now, TimeNs until, std::span<PacketRef> out);

  // Handles of packets that will be released when `ahead` others have been, in order: a hint for
  // prefetching what they stand for, exact only on a link with a constant path. May give fewer.
  size_t upcoming(size_t ahead, std::span<uint64_t> handles) const;

  // Any thread: checks the change against this link and builds what it needs.
  Result<PreparedChangePtr> prepare(const Change& change) const;
  // The link's thread: takes effect at `now` exactly; nothing in flight is lost or re-timed. What
  // was replaced is in `change` afterwards, for its owner to free.
  void apply(TimeNs now, PreparedChange& change);

  DirectionCounters counters() const;
  // Any thread: of the fault rule with that number.
  FaultCounts fault_counts(uint8_t rule) const;

 private:
  struct Impl;
  explicit Link(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace farspan::link
