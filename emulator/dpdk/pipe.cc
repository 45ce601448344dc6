#include "emulator/dpdk/pipe.h"

#include <array>
#include <bit>
#include <new>
#include <ranges>
#include <utility>

#include "emulator/base/random.h"
#include "emulator/roce/frame_view.h"
#include "emulator/roce/rewrite.h"

namespace farspan::dpdk {
namespace {

constexpr size_t kHandoverPackets = 4096;
constexpr uint64_t kSpareFollowed = 8192;  // drops on their way to the driver

void Bump(std::atomic<uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

std::span<uint8_t> FirstSegment(rte_mbuf* packet) {
  return {rte_pktmbuf_mtod(packet, uint8_t*), packet->data_len};
}

}  // namespace

Result<std::unique_ptr<Pipe>> Pipe::Create(const PipeSetup& setup) {
  const bool ab = setup.direction == 0;
  const link::DirectionSpec& spec = ab ? setup.link->ab : setup.link->ba;
  auto link = link::Link::Create(spec, {setup.seed, setup.link->name, setup.direction},
                                 setup.capacity, setup.start);
  if (!link) return tl::unexpected(link.error());
  auto store = PacketStore::Create(setup.pool, setup.ring_bytes, setup.node);
  if (!store) return tl::unexpected(store.error());
  auto classes =
      roce::ClassMap::Create(spec.bottleneck, setup.link->unmatched == config::Unmatched::kBypass);
  if (!classes) return tl::unexpected(classes.error());
  std::vector<roce::RuleMatch> matches;
  for (const config::Rule& rule : ab ? setup.link->ab_rules : setup.link->ba_rules) {
    matches.push_back(rule.conditions);
  }
  auto rules = roce::RuleTable::Create(
      matches, setup.start, MakeStreamKey(setup.seed, setup.link->name, setup.direction));
  if (!rules) return tl::unexpected(rules.error());
  return std::unique_ptr<Pipe>(
      new Pipe(setup, std::move(*link), std::move(*store), std::move(*classes), std::move(*rules)));
}

Pipe::Pipe(const PipeSetup& setup, std::unique_ptr<link::Link> link,
           std::unique_ptr<PacketStore> store, roce::ClassMap classes, roce::RuleTable rules)
    : setup_(setup),
      needs_flow_((setup.direction == 0 ? setup.link->ab : setup.link->ba).lanes.size() > 1),
      link_(std::move(link)),
      store_(std::move(store)),
      classes_(std::move(classes)),
      rules_(std::move(rules)),
      corrupt_key_(MakeStreamKey(setup.seed, setup.link->name, setup.direction)),
      followed_mask_(std::bit_ceil(setup.capacity.packets + kSpareFollowed) - 1),
      followed_(setup.observer == nullptr ? nullptr : new Followed[followed_mask_ + 1]),
      handover_(kHandoverPackets) {}

size_t Pipe::accept(std::span<const Arrival> arrivals, std::span<rte_mbuf*, kBurst> bypass) {
  size_t count = 0;
  size_t bypassing = 0;
  const auto admit = [&](const Arrival& arrival, const roce::FrameView& view, const Look* look)
      __attribute__((always_inline)) {
    rte_mbuf* packet = arrival.packet;
    if (view.malformed || view.truncated || view.super_frame) [[unlikely]]
      note_oddities(view);
    const uint8_t traffic_class = classes_.classify(view);
    if (traffic_class == roce::ClassMap::kBypass) [[unlikely]] {
      bypass[bypassing++] = packet;
      return;
    }
    uint8_t flags = view.ecn != 0 ? link::kEcnCapable : 0;
    const std::span<const uint8_t> bytes = FirstSegment(packet);
    roce::QpNote note;
    if (look != nullptr) {
      Followed& followed = followed_[sequence_ & followed_mask_];
      note = setup_.observer->observer().ingress(setup_.direction, arrival.at, bytes, view,
                                                 look->roce, look->hash, followed.passage);
      if (note.entry != roce::kNoQueuePair) {
        flags |= link::kFollowed;
        followed.sequence = sequence_;
      }
    }
    const uint8_t rule = rules_.match(view, arrival.at, bytes, note);
    if (capture_ != nullptr) capture_ingress(arrival, sequence_);
    const uint32_t wire_bytes = link::WireBytes(packet->pkt_len);
    offered_[count++] = {.handle = store_->put(packet, arrival.at),
                         .due = arrival.at,
                         .wire_bytes = wire_bytes,
                         .flow = needs_flow_ ? roce::FlowHash(view) : 0,
                         .sequence = sequence_++,
                         .traffic_class = traffic_class,
                         .flags = flags,
                         .cause = link::Cause::kNone,
                         .rule = rule};
  };
  if (setup_.observer == nullptr) {
    for (const Arrival& arrival : arrivals) {
      rte_mbuf* packet = arrival.packet;
      admit(arrival, roce::ParseFrame(FirstSegment(packet), packet->pkt_len, setup_.mtu), nullptr);
    }
  } else {
    look_at(arrivals);
    for (size_t i = 0; i < arrivals.size(); ++i) {
      admit(arrivals[i], looks_[i].frame, &looks_[i]);
    }
  }
  const std::span<const link::PacketRef> offered(offered_.data(), count);
  const size_t taken = link_->offer(TimeNs{}, offered);
  for (const link::PacketRef& refused : offered.subspan(taken)) {
    if ((refused.flags & link::kFollowed) != 0) {
      link::PacketRef lost = refused;
      lost.flags |= link::kDropped;
      observe(lost);
    }
    store_->drop(refused.handle);
    if (refused.rule != 0) rules_.give_back(refused.rule);
    Bump(setup_.ingress->no_buffer);
  }
  return bypassing;
}

// In rounds, so that what one of them waits for is there for the next.
void Pipe::look_at(std::span<const Arrival> arrivals) {
  const roce::QpObserver& observer = setup_.observer->observer();
  const std::span<Look> looks(looks_.data(), arrivals.size());
  for (size_t i = 0; i < looks.size(); ++i) {
    const rte_mbuf* packet = arrivals[i].packet;
    const std::span<const uint8_t> bytes = FirstSegment(arrivals[i].packet);
    // In place: a copy would wait for the stores before it.
    new (&looks[i].frame) roce::FrameView(roce::ParseFrame(bytes, packet->pkt_len, setup_.mtu));
    new (&looks[i].roce) roce::RoceView(roce::ParseRoce(bytes, looks[i].frame));
  }
  const auto is_roce = [](const Look& look) { return look.roce.fault == roce::RoceFault::kNone; };
  for (Look& look : looks | std::views::filter(is_roce)) {
    look.hash = roce::QpObserver::Hash(setup_.direction, look.frame, look.roce);
    observer.prefetch_index(look.hash);
  }
  for (const Look& look : looks | std::views::filter(is_roce)) {
    observer.prefetch_ingress(look.hash);
  }
}

void Pipe::apply(TimeNs now, PipeChange& change) {
  for (const link::PreparedChangePtr& prepared : change.link) link_->apply(now, *prepared);
  if (change.rules) rules_.exchange(*change.rules, now);
  if (change.start_epoch) rules_.start_epoch();
}

RuleTally Pipe::rule_tally(uint8_t number) const {
  const link::FaultCounts faults = link_->fault_counts(number);
  const roce::RuleCounts counts = rules_.counts(number);
  return {counts.matched, counts.picked, faults.hits, faults.settled};
}

size_t Pipe::take_over(std::span<Arrival, kBurst> out) {
  size_t count = 0;
  while (count < out.size() && handover_.pop(out[count])) ++count;
  return count;
}

rte_mbuf* Pipe::open_altered(const link::PacketRef& ref) {
  if ((ref.flags & link::kDropped) != 0) {
    store_->drop(ref.handle);
    return nullptr;
  }
  const bool duplicate = (ref.flags & link::kDuplicate) != 0;
  rte_mbuf* packet = duplicate ? store_->copy(ref.handle) : store_->take(ref.handle);
  if (packet == nullptr) return nullptr;
  if ((ref.flags & link::kMarked) != 0) roce::SetCe(FirstSegment(packet));
  if ((ref.flags & link::kCorrupted) != 0) {
    const RandomWords random = Draw(corrupt_key_, RandomPurpose::kCorrupt, ref.sequence);
    roce::CorruptPayload(FirstSegment(packet), random.hi);
  }
  return packet;
}

void Pipe::observe(const link::PacketRef& ref) {
  const Followed& seen = followed(ref);
  if (seen.sequence != ref.sequence) return;  // held longer than the plan says
  setup_.observer->observer().egress(setup_.direction, seen.passage,
                                     {.entered = arrival(ref),
                                      .dropped = (ref.flags & link::kDropped) != 0,
                                      .corrupted = (ref.flags & link::kCorrupted) != 0,
                                      .marked = (ref.flags & link::kMarked) != 0});
}

void Pipe::note_oddities(const roce::FrameView& view) {
  if (view.malformed) Bump(setup_.ingress->malformed);
  if (view.truncated) Bump(setup_.ingress->truncated);
  if (view.super_frame) Bump(setup_.ingress->super_frames);
}

void Pipe::capture_ingress(const Arrival& arrival, uint32_t sequence) {
  const CaptureRecord record{.at = arrival.at,
                             .packet_id = packet_id(sequence),
                             .frame_bytes = arrival.packet->pkt_len,
                             .interface = static_cast<uint16_t>(setup_.from)};
  capture_->offer(record, FirstSegment(arrival.packet));
}

}  // namespace farspan::dpdk
