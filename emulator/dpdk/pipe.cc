#include "emulator/dpdk/pipe.h"

#include <array>
#include <bit>
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
  for (const Arrival& arrival : arrivals) {
    rte_mbuf* packet = arrival.packet;
    const roce::FrameView view =
        roce::ParseFrame(FirstSegment(packet), packet->pkt_len, setup_.mtu);
    if (view.malformed || view.truncated || view.super_frame) [[unlikely]]
      note_oddities(view);
    const uint8_t traffic_class = classes_.classify(view);
    if (traffic_class == roce::ClassMap::kBypass) [[unlikely]] {
      bypass[bypassing++] = packet;
      continue;
    }
    uint8_t flags = view.ecn != 0 ? link::kEcnCapable : 0;
    const std::span<const uint8_t> bytes = FirstSegment(packet);
    roce::QpNote note;
    if (setup_.observer != nullptr) {
      note = setup_.observer->observer().ingress(setup_.direction, arrival.at, bytes, view,
                                                 roce::ParseRoce(bytes, view));
      if (note.entry != roce::kNoQueuePair) {
        flags |= link::kFollowed;
        followed_[sequence_ & followed_mask_] = {setup_.observer->observer().passage(), sequence_};
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
  if ((ref.flags & link::kFollowed) != 0) observe(ref);
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
  const Followed& followed = followed_[ref.sequence & followed_mask_];
  if (followed.sequence != ref.sequence) return;  // held longer than the plan says
  setup_.observer->observer().egress(setup_.direction, followed.passage,
                                     {.entered = store_->arrival(ref.handle),
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
