// Pipe: one direction of one link on its lcore: frames in, refs through the model, frames out.
//
//   accept: parse -> class, rule, flow -> store -> Link::offer
//   release: Link::release -> (site egress, SitePort) -> open: store, verdict -> mbuf
//
// Threads: everything on the lcore of the port where the direction ends, but hand_over(), which is
// for the lcore of the port where it begins, and published() and rule_tally(), for any.
#pragma once

#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "emulator/base/random.h"
#include "emulator/base/result.h"
#include "emulator/base/ring.h"
#include "emulator/base/seqlock.h"
#include "emulator/config/schema.h"
#include "emulator/dpdk/link_observer.h"
#include "emulator/dpdk/packet_store.h"
#include "emulator/dpdk/pcapng_writer.h"
#include "emulator/dpdk/rule_book.h"
#include "emulator/dpdk/run_record.h"
#include "emulator/link/link.h"
#include "emulator/roce/class_map.h"
#include "emulator/roce/rule_table.h"

namespace farspan::dpdk {

inline constexpr size_t kBurst = 32;

// Changes to one direction, in order, at one instant; see LcoreCommand.
struct PipeChange {
  std::vector<link::PreparedChangePtr> link;
  std::optional<std::vector<roce::PlacedRule>> rules;  // the list from then on
  bool start_epoch = false;                            // of the rules' counts
};

// A frame with the time at which it came.
struct Arrival {
  rte_mbuf* packet = nullptr;
  TimeNs at{};
};

struct PipeSetup {
  const config::LinkSpec* link = nullptr;
  uint32_t direction = 0;  // 0: a to b
  uint32_t number = 0;     // among all directions
  size_t from = 0;         // sites
  size_t to = 0;
  uint64_t seed = 1;
  uint32_t mtu = 1500;
  link::LinkCapacity capacity;
  uint64_t ring_bytes = 0;
  rte_mempool* pool = nullptr;
  int node = -1;
  TimeNs start{};
  PortObservations* ingress = nullptr;  // of the port where packets come from
  LinkObserver* observer = nullptr;     // nullptr: RDMA is not looked at
};

class Pipe {
 public:
  static Result<std::unique_ptr<Pipe>> Create(const PipeSetup& setup);

  const PipeSetup& setup() const { return setup_; }
  std::string_view direction_text() const { return setup_.direction == 0 ? "ab" : "ba"; }
  link::Link& link() { return *link_; }
  const link::Link& link() const { return *link_; }

  // Packets in order of arrival, at most kBurst. Those that bypass the link are put behind the
  // others' back into `bypass` and stay the caller's; returns their number.
  size_t accept(std::span<const Arrival> arrivals, std::span<rte_mbuf*, kBurst> bypass);

  // From another lcore. False when its ring is full: the packet stays the caller's.
  bool hand_over(const Arrival& arrival) { return handover_.push(arrival); }
  size_t take_over(std::span<Arrival, kBurst> out);

  // Up to when release() may give out what is due: `now` while a change waits, see may_change().
  TimeNs decided_until(TimeNs now) { return changing_ ? now : link_->decided_until(now); }
  size_t release(TimeNs now, TimeNs until, std::span<link::PacketRef> out) {
    const size_t count = link_->release_ahead(now, until, out);
    given_until_ = std::max(given_until_, until);
    for (size_t i = 0; i < count; ++i) out[i].flow = setup_.number;  // the hash has been used
    if (setup_.observer != nullptr) prefetch_followed(out.first(count));
    prefetch_after(count);
    return count;
  }
  // Carries out a ref's verdict: the packet to send, or nullptr where it was dropped or no mbuf is
  // free (`no_buffer` is set then).
  rte_mbuf* open(const link::PacketRef& ref, bool& no_buffer) {
    constexpr uint8_t kPlain = link::kEcnCapable | link::kFollowed;
    if ((ref.flags & link::kFollowed) != 0) observe(ref);
    rte_mbuf* packet = (ref.flags & ~kPlain) == 0 ? store_->take(ref.handle) : open_altered(ref);
    no_buffer = packet == nullptr && (ref.flags & link::kDropped) == 0;
    if (no_buffer && (ref.flags & link::kDuplicate) == 0) store_->drop(ref.handle);
    return packet;
  }

  // Whether a change may take effect at `now`: what is due then has not been given out. If not,
  // nothing more is given out ahead, so that soon it may.
  bool may_change(TimeNs now) {
    changing_ = now <= given_until_;
    return !changing_;
  }
  // What was replaced is in `change` afterwards, for its owner to free.
  void apply(TimeNs now, PipeChange& change);
  // Any thread.
  RuleTally rule_tally(uint8_t number) const;

  // Between bursts; true while there is more to do.
  bool serve() { return setup_.observer != nullptr && setup_.observer->serve(); }
  void publish() {
    published_.store(link_->counters());
    if (setup_.observer != nullptr) setup_.observer->publish(setup_.direction);
  }
  link::DirectionCounters published() const { return published_.load(); }
  std::optional<roce::ObserverTotals> published_rdma() const {
    if (setup_.observer == nullptr) return std::nullopt;
    return setup_.observer->totals(setup_.direction);
  }
  TimeNs arrival(const link::PacketRef& ref) const { return store_->arrival(ref.handle); }
  std::span<const uint8_t> bytes(const link::PacketRef& ref) const {
    return store_->bytes(ref.handle);
  }
  uint32_t frame_bytes(const link::PacketRef& ref) const { return store_->frame_bytes(ref.handle); }
  uint64_t packet_id(uint32_t sequence) const { return uint64_t{setup_.number} << 32 | sequence; }

  void capture_with(CaptureProducer* producer) { capture_ = producer; }

 private:
  Pipe(const PipeSetup& setup, std::unique_ptr<link::Link> link, std::unique_ptr<PacketStore> store,
       roce::ClassMap classes, roce::RuleTable rules);
  // Keeps the next burst's packets in cache: brings in as many as have just left. (Much farther
  // ahead, and the first level of the cache would not hold them.)
  void prefetch_after(size_t left) {
    std::array<uint64_t, kBurst> handles;
    left = std::min(left, kBurst);
    const size_t known = link_->upcoming(kBurst - left, {handles.data(), left});
    for (size_t i = 0; i < known; ++i) store_->prefetch(handles[i]);
  }
  void prefetch_followed(std::span<const link::PacketRef> leaving) const {
    for (const link::PacketRef& ref : leaving) {
      if ((ref.flags & link::kFollowed) == 0) continue;
      setup_.observer->observer().prefetch_egress(followed(ref).passage);
    }
  }
  // Reads the headers of a burst into `looks_`, for the observer.
  void look_at(std::span<const Arrival> arrivals);
  rte_mbuf* open_altered(const link::PacketRef& ref);
  void note_oddities(const roce::FrameView& view);
  // Tells the observer, which follows it, what became of a packet that is still in the store.
  void observe(const link::PacketRef& ref);
  void capture_ingress(const Arrival& arrival, uint32_t sequence);

  const PipeSetup setup_;
  const bool needs_flow_;
  std::unique_ptr<link::Link> link_;
  std::unique_ptr<PacketStore> store_;
  roce::ClassMap classes_;
  roce::RuleTable rules_;
  const StreamKey corrupt_key_;
  // What the observer wants back of the packets that it follows, by sequence.
  struct Followed {
    roce::Passage passage;
    uint32_t sequence = 0;
  };
  const Followed& followed(const link::PacketRef& ref) const {
    return followed_[ref.sequence & followed_mask_];
  }
  const uint64_t followed_mask_;
  const std::unique_ptr<Followed[]> followed_;
  uint32_t sequence_ = 0;
  TimeNs given_until_{-1};
  bool changing_ = false;
  std::array<link::PacketRef, kBurst> offered_;  // scratch of accept(), as `looks_`
  struct Look {
    roce::FrameView frame;
    roce::RoceView roce;
    uint64_t hash = 0;
  };
  std::array<Look, kBurst> looks_;
  CaptureProducer* capture_ = nullptr;
  SpscRing<Arrival> handover_;
  Seqlock<link::DirectionCounters> published_;
};

}  // namespace farspan::dpdk
