#include "transports/drivers/sim/sim_network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "emulator/base/check.h"
#include "emulator/base/random.h"

namespace farspan::transport {

using link::PacketRef;

struct SimNetwork::Datagram {
  static constexpr size_t kInline = 64;
  uint32_t from = 0;
  uint32_t from_port = 0;
  uint32_t to = 0;
  uint32_t to_port = 0;
  uint32_t size = 0;           // bytes stored
  uint32_t payload_bytes = 0;  // that are not
  bool lengths_only = false;
  bool ecn_capable = false;
  std::array<uint8_t, kInline> small;
  std::vector<uint8_t> large;

  std::span<uint8_t> bytes() { return {size <= kInline ? small.data() : large.data(), size}; }
};

namespace {

Address MakeAddress(uint32_t host, uint32_t port) {
  Address address;
  std::memcpy(address.bytes.data(), &host, 4);
  std::memcpy(address.bytes.data() + 4, &port, 4);
  address.size = 8;
  return address;
}

uint32_t Word(const Address& address, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, address.bytes.data() + at, 4);
  return word;
}

// A hash of the addresses, as a switch would take for its choice of lane.
uint32_t FlowOf(uint32_t from, uint32_t from_port, uint32_t to, uint32_t to_port) {
  const uint64_t words =
      (uint64_t{from} << 48) ^ (uint64_t{from_port} << 32) ^ (uint64_t{to} << 16) ^ to_port;
  return static_cast<uint32_t>(((words + 1) * 0x9e3779b97f4a7c15u) >> 32);
}

}  // namespace

// One direction of a link: departures wait here for their time, arrivals for the link's.
class SimNetwork::Wire final : public sim::Task {
 public:
  Wire(SimNetwork& network, std::unique_ptr<link::Link> link)
      : network_(network), link_(std::move(link)) {}
  ~Wire() override { network_.scheduler_.cancel(*this); }

  const link::Link& link() const { return *link_; }

  void send(PacketRef packet) {
    packet.due = std::max(packet.due, last_due_);
    last_due_ = packet.due;
    packet.sequence = sequence_++;
    departures_.push_back(packet);
    schedule();
  }

  Result<void> start_epoch() {
    const TimeNs now = network_.now();
    run(now);
    auto change = link_->prepare(link::StartEpoch{});
    if (!change) return tl::unexpected(change.error());
    link_->apply(now, **change);
    schedule();
    return {};
  }

 private:
  void schedule() {
    const TimeNs g = network_.options_.granularity;
    const TimeNs departure = offered_ < departures_.size() ? departures_[offered_].due : kNever;
    const TimeNs next = std::min(departure, link_->next_deadline());
    network_.scheduler_.set(*this, std::max(network_.now(), next + g));
  }

  void run(TimeNs now) override {
    size_t due = offered_;
    while (due < departures_.size() && departures_[due].due <= now) ++due;
    while (offered_ < due) {
      const size_t taken =
          link_->offer(now, std::span(departures_).subspan(offered_, due - offered_));
      offered_ += taken;
      if (taken == 0) release(now);
    }
    if (offered_ == departures_.size()) {
      departures_.clear();
      offered_ = 0;
    }
    release(now);
    schedule();
  }

  void release(TimeNs now) {
    while (const size_t n = link_->release(now, out_)) {
      network_.deliver(now, std::span(out_).first(n));
    }
  }

  SimNetwork& network_;
  const std::unique_ptr<link::Link> link_;
  std::vector<PacketRef> departures_;
  size_t offered_ = 0;
  TimeNs last_due_{};
  uint32_t sequence_ = 0;
  std::array<PacketRef, 256> out_;
};

SimNetwork::SimNetwork(const SimOptions& options)
    : options_(options), scheduler_(options.max_tasks) {}

SimNetwork::~SimNetwork() = default;

uint64_t SimNetwork::pick(uint64_t choices) {
  return Draw({options_.batching_seed}, RandomPurpose::kTest, draws_++).lo % choices;
}

Result<WireId> SimNetwork::add_wire(const link::DirectionSpec& spec,
                                    const link::LinkIdentity& identity,
                                    const link::LinkCapacity& capacity,
                                    std::optional<TimeNs> start) {
  auto link = link::Link::Create(spec, identity, capacity, start.value_or(now()));
  if (!link) return tl::unexpected(link.error());
  wires_.push_back(std::make_unique<Wire>(*this, std::move(*link)));
  return WireId{static_cast<uint32_t>(wires_.size() - 1)};
}

SimTransport& SimNetwork::add_host(std::unique_ptr<Endpoint> endpoint, const Properties& properties,
                                   uint32_t paths) {
  const auto index = static_cast<uint32_t>(hosts_.size());
  hosts_.push_back(std::unique_ptr<SimTransport>(
      new SimTransport(*this, index, std::move(endpoint), properties, paths)));
  for (auto& row : routes_) row.resize(hosts_.size());
  routes_.emplace_back(hosts_.size());
  return *hosts_.back();
}

void SimNetwork::route(const SimTransport& from, const SimTransport& to, WireId wire) {
  routes_[from.index_][to.index_] = wires_.at(wire.value).get();
}

bool SimNetwork::run_while(const std::function<bool()>& condition, TimeNs limit) {
  while (condition()) {
    if (scheduler_.next() > limit || !scheduler_.step()) return false;
  }
  return true;
}

Result<void> SimNetwork::start_epoch(WireId wire) { return wires_.at(wire.value)->start_epoch(); }

link::DirectionCounters SimNetwork::counters(WireId wire) const {
  return wires_.at(wire.value)->link().counters();
}

void SimNetwork::send(uint32_t from, const TxSlot& slot) {
  const uint32_t to = Word(slot.route.peer, 0);
  const auto header = std::span(slot.header).first(slot.header_bytes);
  if (on_departure) on_departure(slot.tx_time, header);
  Wire* wire = to < hosts_.size() ? routes_[from][to] : nullptr;
  if (wire == nullptr) return;
  uint32_t place = static_cast<uint32_t>(datagrams_.size());
  if (free_datagrams_.empty()) {
    datagrams_.emplace_back();
  } else {
    place = free_datagrams_.back();
    free_datagrams_.pop_back();
  }
  Datagram& d = datagrams_[place];
  d.from = from;
  d.from_port = slot.route.local;
  d.to = to;
  d.to_port = Word(slot.route.peer, 4);
  d.lengths_only = slot.payload.bytes != 0 && slot.payload.data == nullptr;
  d.payload_bytes = d.lengths_only ? slot.payload.bytes : 0;
  d.ecn_capable = slot.ecn_capable;
  const uint32_t carried = d.lengths_only ? 0 : slot.payload.bytes;
  d.size = slot.header_bytes + carried + slot.trailer_bytes;
  if (d.size > Datagram::kInline) d.large.resize(std::max<size_t>(d.size, d.large.size()));
  uint8_t* out = d.bytes().data();
  std::memcpy(out, slot.header.data(), slot.header_bytes);
  if (carried != 0) std::memcpy(out + slot.header_bytes, slot.payload.data, carried);
  std::memcpy(out + slot.header_bytes + carried, slot.trailer.data(), slot.trailer_bytes);
  constexpr uint32_t kFrame = 14 + 20 + 8;  // Ethernet, IPv4, UDP
  PacketRef packet;
  packet.handle = place;
  packet.due = slot.tx_time;
  packet.wire_bytes = link::WireBytes(slot.bytes() + kFrame);
  packet.flow = FlowOf(d.from, d.from_port, d.to, d.to_port);
  packet.flags = d.ecn_capable ? link::kEcnCapable : 0;
  wire->send(packet);
}

void SimNetwork::deliver(TimeNs now, std::span<const PacketRef> packets) {
  views_.clear();
  delivered_.clear();
  const auto flip = [&](const PacketRef& packet) {
    const std::span<uint8_t> bytes = datagrams_[packet.handle].bytes();
    const uint64_t word = Draw({packet.sequence}, RandomPurpose::kCorrupt, bytes.size()).lo;
    bytes[word / 8 % bytes.size()] ^= static_cast<uint8_t>(1u << word % 8);
  };
  for (const PacketRef& packet : packets) {
    Datagram& d = datagrams_[packet.handle];
    PacketRef traced = packet;
    std::memcpy(&traced.handle, d.bytes().data() + std::max(d.size, 8u) - 8, 8);
    hash_.add(traced);
    const bool drop = (packet.flags & link::kDropped) != 0;
    const bool duplicate = (packet.flags & link::kDuplicate) != 0;
    if (!drop) {
      RxView view;
      view.at = packet.due;
      view.route = {MakeAddress(d.from, d.from_port), d.to_port};
      view.bytes = d.bytes();
      view.payload_bytes = d.payload_bytes;
      view.lengths_only = d.lengths_only;
      view.ecn_marked = (packet.flags & link::kMarked) != 0;
      views_.push_back(view);
    }
    const bool corrupt = !drop && (packet.flags & link::kCorrupted) != 0;
    if (corrupt) flip(packet);
    // One host at a time, and a corrupted copy by itself, for its bits are flipped back after it.
    const bool last = &packet == &packets.back();
    const bool flush = last || corrupt || datagrams_[(&packet)[1].handle].to != d.to ||
                       ((&packet)[1].flags & link::kCorrupted) != 0;
    if (!duplicate) delivered_.push_back(static_cast<uint32_t>(packet.handle));
    if (!flush) continue;
    if (!views_.empty()) hosts_[d.to]->receive(now, views_);
    if (corrupt && duplicate) flip(packet);
    views_.clear();
    free_datagrams_.insert(free_datagrams_.end(), delivered_.begin(), delivered_.end());
    delivered_.clear();
  }
}

// --- A host ---------------------------------------------------------------------------------

SimTransport::SimTransport(SimNetwork& network, uint32_t index, std::unique_ptr<Endpoint> endpoint,
                           const Properties& properties, uint32_t paths)
    : network_(network),
      index_(index),
      endpoint_(std::move(endpoint)),
      properties_(properties),
      paths_(paths),
      slots_(64) {}

Properties SimTransport::properties() const { return properties_; }

TimeNs SimTransport::now() const { return network_.now(); }

void SimTransport::vanish() {
  gone_ = true;
  network_.scheduler_.cancel(*this);
}

void SimTransport::wake(TimeNs at) {
  if (!gone_) network_.scheduler_.set(*this, std::max(at, network_.now()));
}

void SimTransport::run(TimeNs now) {
  if (endpoint_->next_deadline() <= now) endpoint_->on_timeout(now);
  transmit(now);
  bool any = false;
  while (endpoint_->poll_event()) any = true;
  if (any && listener_ != nullptr) listener_->on_progress();
  TimeNs next = endpoint_->next_deadline();
  if (next <= now && network_.options_.batching_seed != 0) {
    next = now + TimeNs{static_cast<int64_t>(network_.pick(2'000))};
  }
  wake(next);
}

void SimTransport::transmit(TimeNs now) {
  const SimOptions& options = network_.options_;
  const bool adversary = options.batching_seed != 0;
  TimeNs horizon = now + options.granularity;
  size_t room = slots_.size();
  if (adversary && network_.pick(2) == 0) {
    horizon += TimeNs{static_cast<int64_t>(network_.pick(20'000))};
  }
  std::array<Sent, 64> sent;
  for (;;) {
    if (adversary) room = 1 + network_.pick(slots_.size());
    const size_t n = endpoint_->poll_transmit(now, horizon, std::span(slots_).first(room));
    for (size_t i = 0; i < n; ++i) {
      network_.send(index_, slots_[i]);
      sent[i] = {slots_[i].id, slots_[i].tx_time};
    }
    endpoint_->on_sent(now, std::span(sent).first(n));
    if (n < room || (adversary && network_.pick(4) == 0)) return;
  }
}

void SimTransport::receive(TimeNs now, std::span<const RxView> views) {
  if (gone_) return;
  const bool adversary = network_.options_.batching_seed != 0;
  while (!views.empty()) {
    size_t n = network_.options_.cut_batches ? 1 : views.size();
    if (adversary) n = 1 + network_.pick(views.size());
    endpoint_->on_datagrams(now, views.first(n));
    views = views.subspan(n);
    if (adversary && network_.pick(8) == 0) endpoint_->on_timeout(now);
  }
  wake(now);
}

Result<ListenId> SimTransport::listen(Handle& handle) {
  uint64_t token = 0;
  const Result<ListenId> listener = endpoint_->listen(token);
  if (!listener) return listener;
  handle.fill(0);
  std::memcpy(handle.data(), &token, 8);
  std::memcpy(handle.data() + 8, &index_, 4);
  return listener;
}

void SimTransport::stop_listening(ListenId listener) {
  endpoint_->stop_listening(now(), listener);
  wake(now());
}

std::optional<CommId> SimTransport::accept(ListenId listener) {
  return endpoint_->accept(listener);
}

Result<CommId> SimTransport::connect(const Handle& handle) {
  uint64_t token = 0;
  uint32_t host = 0;
  std::memcpy(&token, handle.data(), 8);
  std::memcpy(&host, handle.data() + 8, 4);
  if (host >= network_.hosts_.size()) {
    return Fail(ErrorCode::kInvalid, "this handle was not made by a listener of this network");
  }
  std::vector<Route> routes;
  for (uint32_t p = 0; p < paths_; ++p) routes.push_back({MakeAddress(host, p), p});
  const Result<CommId> comm = endpoint_->connect(now(), token, routes);
  wake(now());
  return comm;
}

void SimTransport::close(CommId comm) {
  endpoint_->close(now(), comm);
  wake(now());
}

std::optional<RequestId> SimTransport::post_send(CommId comm, const Buffer& buffer, uint32_t tag) {
  const auto request = endpoint_->post_send(now(), comm, buffer, tag);
  wake(now());
  return request;
}

std::optional<RequestId> SimTransport::post_recv(CommId comm, const Buffer& buffer, uint32_t tag) {
  const auto request = endpoint_->post_recv(now(), comm, buffer, tag);
  wake(now());
  return request;
}

}  // namespace farspan::transport
