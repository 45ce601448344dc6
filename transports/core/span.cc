#include "transports/core/span.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "emulator/base/check.h"
#include "emulator/base/random.h"
#include "transports/core/receiver.h"
#include "transports/core/sender.h"

namespace farspan::transport {
namespace {

constexpr uint32_t kSlotBits = 12;

Result<void> Validate(const SpanConfig& c) {
  const auto bad = [](const std::string& what) { return Fail(ErrorCode::kInvalid, what); };
  if (c.payload_bytes < 64 || c.payload_bytes > 32'768) {
    return bad("payload_bytes is " + std::to_string(c.payload_bytes) +
               "; 64 to 32768 are possible");
  }
  if (!std::has_single_bit(c.window_packets) || c.window_packets < 64 ||
      c.window_packets > 1u << 22) {
    return bad("window_packets is " + std::to_string(c.window_packets) +
               "; it must be a power of two from 64 to 4194304");
  }
  if (!std::has_single_bit(c.max_requests) || c.max_requests > 1024) {
    return bad("max_requests is " + std::to_string(c.max_requests) +
               "; it must be a power of two up to 1024");
  }
  if (c.max_connections == 0 || c.max_connections >= (1u << kSlotBits) - 1) {
    return bad("max_connections is " + std::to_string(c.max_connections) +
               "; 1 to 4094 are possible");
  }
  if (c.first_number == 0) return bad("first_number is 0; packets are counted from 1");
  return {};
}

}  // namespace

Result<std::unique_ptr<Span>> Span::Create(const SpanConfig& config) {
  if (Result<void> valid = Validate(config); !valid) return tl::unexpected(valid.error());
  const Result<RecoveryFactory> recovery = FindRecovery(config.recovery);
  if (!recovery) return tl::unexpected(recovery.error());
  const Result<ControllerFactory> controller = FindController(config.congestion);
  if (!controller) return tl::unexpected(controller.error());
  return std::unique_ptr<Span>(new Span(config, *recovery, *controller));
}

Span::Span(const SpanConfig& config, RecoveryFactory recovery, ControllerFactory controller)
    : config_(config),
      make_recovery_(recovery),
      make_controller_(controller),
      events_(size_t{config.max_connections} * 4),
      slots_(config.max_connections) {
  const uint64_t words[2] = {random(), random()};
  std::memcpy(secret_.bytes.data(), words, sizeof words);
}

Span::~Span() = default;

uint64_t Span::random() {
  uint64_t word = 0;
  while (word == 0) word = Draw({config_.seed}, RandomPurpose::kTransport, draws_++).lo;
  return word;
}

CommId Span::comm_of(const Slot& slot) const {
  return {slot.generation << kSlotBits | static_cast<uint32_t>(&slot - slots_.data())};
}

const Span::Slot* Span::find(CommId comm) const {
  const uint32_t index = comm.value & ((1u << kSlotBits) - 1);
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  return slot.used && comm_of(slot) == comm ? &slot : nullptr;
}

Span::Slot* Span::find(CommId comm) {
  return const_cast<Slot*>(static_cast<const Span*>(this)->find(comm));
}

Span::Slot* Span::take_slot() {
  for (Slot& slot : slots_) {
    if (slot.used) continue;
    const uint32_t generation = slot.generation;
    slot = {};
    slot.generation = generation;
    slot.used = true;
    slot.own_id = random();
    const auto index = static_cast<uint32_t>(&slot - slots_.data());
    by_id_[slot.own_id] = index;
    slots_end_ = std::max(slots_end_, index + 1);
    return &slot;
  }
  return nullptr;
}

void Span::release(Slot& slot) {
  if (slot.sends && slot.connection) static_cast<Sender&>(*slot.connection).release_paths();
  by_id_.erase(slot.own_id);
  if (!slot.sends) by_client_.erase(slot.peer_id);
  slot.connection.reset();
  slot.used = false;
  ++slot.generation;
  while (slots_end_ > 0 && !slots_[slots_end_ - 1].used) --slots_end_;
}

Path* Span::path_for(const Route& route, TimeNs rtt) {
  for (const auto& path : paths_) {
    if (path->route().local == route.local && path->route().peer == route.peer) return path.get();
  }
  ControllerConfig controller = config_.controller;
  controller.packet_bytes =
      config_.payload_bytes + config_.overhead_bytes + HeaderBytes({.type = PacketType::kData});
  controller.initial_rtt = rtt;
  controller.max_window = uint64_t{config_.window_packets} * controller.packet_bytes;
  controller.seed = random();
  controller.granularity = config_.granularity;
  paths_.push_back(
      std::make_unique<Path>(route, make_controller_(controller), rtt, config_.granularity));
  return paths_.back().get();
}

// --- What the user asks ---------------------------------------------------------------------

Result<ListenId> Span::listen(uint64_t& token) {
  token = random();
  size_t place = 0;
  while (place < listeners_.size() && listeners_[place].open) ++place;
  if (place == listeners_.size()) listeners_.emplace_back();
  listeners_[place] = {token, true, {}};
  return ListenId{static_cast<uint32_t>(place)};
}

void Span::stop_listening(TimeNs now, ListenId listener) {
  Listener& entry = listeners_.at(listener.value);
  entry.open = false;
  for (const CommId comm : entry.waiting) {
    if (Slot* slot = find(comm)) dismiss(now, *slot, Reason::kNoListener);
  }
  for (Slot& slot : slots()) {
    const bool unheard = slot.used && !slot.sends && slot.retry_at != kNever;
    if (unheard && slot.listener == listener) dismiss(now, slot, Reason::kNoListener);
  }
  update();
}

// What the user has not accepted, and never will.
void Span::dismiss(TimeNs now, Slot& slot, Reason reason) {
  slot.released = true;
  slot.retry_at = kNever;
  slot.connection->close(now, reason);
}

std::optional<CommId> Span::accept(ListenId listener) {
  Listener& entry = listeners_.at(listener.value);
  while (!entry.waiting.empty()) {
    const CommId comm = entry.waiting.front();
    entry.waiting.erase(entry.waiting.begin());
    Slot* slot = find(comm);
    if (slot == nullptr) continue;
    if (slot->connection->state() == CommState::kReady) return comm;
    release(*slot);  // the client has gone away again
  }
  return std::nullopt;
}

Result<CommId> Span::connect(TimeNs now, uint64_t token, std::span<const Route> routes) {
  if (routes.empty() || routes.size() > kMaxPaths) {
    return Fail(ErrorCode::kInvalid, "a connection has " + std::to_string(routes.size()) +
                                         " paths; 1 to 16 are possible");
  }
  Slot* slot = take_slot();
  if (slot == nullptr) {
    return Fail(ErrorCode::kConflict, "all " + std::to_string(config_.max_connections) +
                                          " connections are in use: close some, or raise "
                                          "max_connections");
  }
  slot->sends = true;
  slot->state = CommState::kConnecting;
  slot->token = token;
  slot->routes.assign(routes.begin(), routes.end());
  if (make_recovery_(config_.policy)->in_order()) slot->routes.resize(1);
  slot->asked_at = now;
  slot->give_up_at = now + config_.timeout;
  slot->retry_after = config_.handshake_retry;
  send_hello(now, *slot);
  update();
  return comm_of(*slot);
}

CommState Span::state(CommId comm) const {
  const Slot* slot = find(comm);
  if (slot == nullptr || slot->released) return CommState::kClosed;
  return slot->connection ? slot->connection->state() : slot->state;
}

std::string_view Span::failure(CommId comm) const {
  const Slot* slot = find(comm);
  if (slot == nullptr) return "this comm is closed";
  return slot->connection ? std::string_view(slot->connection->failure()) : slot->failure;
}

void Span::close(TimeNs now, CommId comm) {
  Slot* slot = find(comm);
  if (slot == nullptr || slot->released) return;
  slot->released = true;
  slot->retry_at = kNever;
  if (!slot->connection) {
    release(*slot);
  } else {
    slot->connection->close(now);
  }
  update();
}

bool Span::all_told() const {
  return stateless_.empty() && std::none_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
           return slot.used && slot.released;
         });
}

std::optional<RequestId> Span::post_send(TimeNs now, CommId comm, const Buffer& buffer,
                                         uint32_t tag) {
  Slot* slot = find(comm);
  if (slot == nullptr || !slot->connection || !slot->sends || slot->released) return std::nullopt;
  const std::optional<uint64_t> number = slot->connection->post(now, buffer, tag);
  update();
  if (!number) return std::nullopt;
  return RequestId{comm.value, static_cast<uint32_t>(*number)};
}

std::optional<RequestId> Span::post_recv(TimeNs now, CommId comm, const Buffer& buffer,
                                         uint32_t tag) {
  Slot* slot = find(comm);
  if (slot == nullptr || !slot->connection || slot->sends || slot->released) return std::nullopt;
  const std::optional<uint64_t> number = slot->connection->post(now, buffer, tag);
  update();
  if (!number) return std::nullopt;
  return RequestId{comm.value, static_cast<uint32_t>(*number)};
}

Completion Span::test(RequestId request) {
  Slot* slot = find({request.index});
  if (slot == nullptr || !slot->connection) return {Progress::kFailed, 0};
  return slot->connection->test(request.generation);
}

// --- What the driver does -------------------------------------------------------------------

void Span::on_datagrams(TimeNs, std::span<const RxView> received) {
  for (const RxView& view : received) {
    const Drop drop = on_datagram(view);
    if (drop != Drop::kNone) ++counters_.dropped[static_cast<size_t>(drop)];
  }
  update();
}

Drop Span::on_datagram(const RxView& view) {
  Packet packet;
  uint32_t header_bytes = 0;
  const Drop parsed = ParseHeader(view.bytes, packet.header, header_bytes);
  if (parsed != Drop::kNone) return parsed;
  const uint32_t mac_bytes = config_.mac ? kMacBytes : 0;
  if (view.bytes.size() < header_bytes + mac_bytes) return Drop::kTruncated;
  packet.at = view.at;
  packet.route = &view.route;
  packet.header_bytes = view.bytes.first(header_bytes);
  packet.payload = view.bytes.subspan(header_bytes, view.bytes.size() - header_bytes - mac_bytes);
  packet.payload_bytes =
      view.lengths_only ? view.payload_bytes : static_cast<uint32_t>(packet.payload.size());
  packet.ecn_marked = view.ecn_marked;
  if (mac_bytes != 0) std::memcpy(&packet.mac, &view.bytes.last(kMacBytes)[0], kMacBytes);
  const PacketType type = packet.header.type;
  const bool symbol = type == PacketType::kData || type == PacketType::kParity;
  if (!symbol && !packet.payload.empty()) return Drop::kMalformed;
  if (type < PacketType::kData) {
    if (!CrcHolds(packet.header_bytes, {})) return Drop::kCrc;
    return on_handshake(packet);
  }
  const auto found = by_id_.find(packet.header.connection);
  if (found == by_id_.end() || !slots_[found->second].connection) return Drop::kUnknown;
  Slot& slot = slots_[found->second];
  Connection& connection = *slot.connection;
  const bool covered = symbol && connection.covers_payload();
  if (!CrcHolds(packet.header_bytes, covered ? packet.payload : std::span<const uint8_t>{})) {
    return Drop::kCrc;
  }
  const Drop drop = connection.on_packet(packet);
  if (drop == Drop::kNone && slot.retry_at != kNever) confirm(packet.at, slot);
  return drop;
}

size_t Span::poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> out) {
  size_t count = 0;
  for (; count < out.size() && !stateless_.empty(); ++count) {
    stateless_.pop().fill(now, config_.mac.has_value(), out[count], counters_);
  }
  // One datagram of each connection in turn.
  for (uint32_t silent = 0; count < out.size() && silent < slots_end_; ++turn_) {
    if (turn_ >= slots_end_) turn_ = 0;
    Slot& slot = slots_[turn_];
    const bool sent =
        slot.used && slot.connection && slot.connection->transmit(now, horizon, out[count]);
    silent = sent ? 0 : silent + 1;
    count += sent ? 1 : 0;
  }
  update();
  return count;
}

void Span::on_sent(TimeNs, std::span<const Sent> sent) {
  bool waited_for = false;
  for (const Sent& s : sent) {
    if (s.id == 0) continue;
    Slot& slot = slots_.at((s.id >> 52) - 1);
    FARSPAN_CHECK(slot.connection != nullptr);
    slot.connection->report_sent(s.id, s.actual);
    waited_for = waited_for || slot.released;
  }
  if (waited_for) update();
}

void Span::on_timeout(TimeNs now) {
  for (Slot& slot : slots()) {
    if (slot.used && slot.retry_at <= now) handshake_timeout(now, slot);
    if (slot.used && slot.connection) slot.connection->on_timeout(now);
  }
  update();
}

void Span::on_trouble(TimeNs now, const Trouble& trouble) {
  for (Slot& slot : slots()) {
    if (!slot.used) continue;
    if (slot.connection) {
      slot.connection->on_trouble(now, trouble);
    } else {
      handshake_trouble(slot, trouble);
    }
  }
  update();
}

void Span::update() {
  TimeNs next = stateless_.empty() ? kNever : TimeNs{INT64_MIN};
  for (Slot& slot : slots()) {
    if (!slot.used) continue;
    if (slot.released && slot.connection->gone()) {
      release(slot);
      continue;
    }
    next = std::min(next, slot.retry_at);
    if (slot.connection) next = std::min(next, slot.connection->next_deadline());
  }
  deadline_ = next;
}

}  // namespace farspan::transport
