#include "transports/baselines/model_endpoint.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "transports/baselines/rc_comm.h"
#include "transports/baselines/tcp_comm.h"
#include "transports/core/wire.h"

namespace farspan::baselines {
namespace {

using transport::CommId;
using transport::CommState;
using transport::Event;
using transport::ListenId;
using transport::Reason;
using transport::RequestId;
using transport::Route;

struct ConnectBody {
  uint64_t token;
  uint64_t fingerprint;
  uint32_t comm;
  uint32_t reserved;
};

Result<void> Validate(const ModelConfig& c) {
  const auto bad = [](const std::string& what) { return Fail(ErrorCode::kInvalid, what); };
  if (c.model != "rc-gbn" && c.model != "rc-sr" && c.model != "tcp") {
    return bad("unknown model '" + c.model + "'; known: rc-gbn rc-sr tcp");
  }
  if (c.payload_bytes < 64 || c.payload_bytes > 65'000) {
    return bad("payload_bytes is " + std::to_string(c.payload_bytes) +
               "; 64 to 65000 are possible");
  }
  if (!std::has_single_bit(c.window_packets) || c.window_packets < 64 ||
      c.window_packets > 1u << 23) {
    return bad("window_packets is " + std::to_string(c.window_packets) +
               "; it must be a power of two from 64 to 8388608");
  }
  const uint32_t streams = c.model == "tcp" ? c.tcp.sockets : c.rc.queue_pairs;
  if (streams == 0 || streams > 128) {
    return bad(std::to_string(streams) + " queue pairs or sockets per comm: 1 to 128 are possible");
  }
  if (c.rc.timeout == 0 || c.rc.timeout > 31) {
    return bad("a queue pair's timeout is " + std::to_string(c.rc.timeout) +
               "; 1 to 31 are possible (T = 4.096 us x 2^timeout)");
  }
  if (c.rc.ack_packets == 0 || c.tcp.ack_packets == 0 || c.max_requests == 0 ||
      c.tcp.send_buffer_bytes < c.payload_bytes ||
      c.tcp.receive_buffer_bytes < 2 * uint64_t{c.payload_bytes}) {
    return bad("ACKs need at least 1 packet, comms 1 request, and sockets buffers for a segment");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ModelEndpoint>> ModelEndpoint::Create(const ModelConfig& config) {
  if (Result<void> valid = Validate(config); !valid) return tl::unexpected(valid.error());
  // The kernel's own, where its model is asked for.
  const bool kernel_cubic = config.model == "tcp" && config.congestion == "cubic";
  const auto controller =
      transport::FindController(kernel_cubic ? "cubic-linux" : config.congestion);
  if (!controller) return tl::unexpected(controller.error());
  return std::unique_ptr<ModelEndpoint>(new ModelEndpoint(config, *controller));
}

ModelEndpoint::ModelEndpoint(const ModelConfig& config, transport::ControllerFactory controller)
    : context_{config, controller, transport::EventQueue(size_t{config.max_connections} * 4),
               {},     {},         0} {}

// What both sides must agree on.
uint64_t ModelEndpoint::fingerprint() const {
  const ModelConfig& c = context_.config;
  const bool tcp = c.model == "tcp";
  return uint64_t{c.payload_bytes} << 32 | uint64_t{c.max_requests} << 16 |
         (tcp ? c.tcp.sockets : c.rc.queue_pairs) << 4 | (tcp ? 4u : 0u) |
         (c.model == "rc-sr" ? 2u : 0u) | (c.rc.split ? 1u : 0u);
}

std::unique_ptr<ModelComm> ModelEndpoint::make_comm(const CommSetup& setup) {
  if (context_.config.model == "tcp") return std::make_unique<TcpComm>(context_, setup);
  return std::make_unique<RcComm>(context_, setup);
}

ModelComm* ModelEndpoint::find(CommId comm) const {
  const auto found = entries_.find(comm.value);
  return found == entries_.end() || found->second.released ? nullptr : found->second.comm.get();
}

// --- What the user asks ---------------------------------------------------------------------

Result<ListenId> ModelEndpoint::listen(uint64_t& token) {
  token = context_.random();
  listeners_.push_back({token, true, {}});
  return ListenId{static_cast<uint32_t>(listeners_.size() - 1)};
}

void ModelEndpoint::stop_listening(TimeNs now, ListenId listener) {
  Listener& closed = listeners_.at(listener.value);
  closed.open = false;
  for (const uint32_t id : std::exchange(closed.waiting, {})) close(now, CommId{id});
  stale_ = true;
}

std::optional<CommId> ModelEndpoint::accept(ListenId listener) {
  auto& waiting = listeners_.at(listener.value).waiting;
  if (waiting.empty()) return std::nullopt;
  const CommId comm{waiting.front()};
  waiting.erase(waiting.begin());
  return comm;
}

Result<CommId> ModelEndpoint::connect(TimeNs now, uint64_t token, std::span<const Route> routes) {
  if (routes.empty()) return Fail(ErrorCode::kInvalid, "a connection needs at least one route");
  if (entries_.size() >= context_.config.max_connections) {
    return Fail(ErrorCode::kConflict, "all " + std::to_string(context_.config.max_connections) +
                                          " connections are in use: close some, or raise "
                                          "max_connections");
  }
  const uint32_t id = next_id_++;
  Entry& entry = entries_[id];
  entry.token = token;
  entry.routes.assign(routes.begin(), routes.end());
  entry.asked_at = now;
  entry.give_up_at = now + context_.config.timeout;
  entry.retry_after = context_.config.handshake_retry;
  ask(now, id, entry);
  stale_ = true;
  return CommId{id};
}

CommState ModelEndpoint::state(CommId comm) const {
  const auto found = entries_.find(comm.value);
  if (found == entries_.end() || found->second.released) return CommState::kClosed;
  return found->second.comm ? found->second.comm->state() : found->second.state;
}

std::string_view ModelEndpoint::failure(CommId comm) const {
  const auto found = entries_.find(comm.value);
  if (found == entries_.end()) return "this comm is closed";
  return found->second.comm ? std::string_view(found->second.comm->failure())
                            : found->second.failure;
}

void ModelEndpoint::close(TimeNs now, CommId comm) {
  const auto found = entries_.find(comm.value);
  if (found == entries_.end() || found->second.released) return;
  found->second.released = true;
  if (found->second.comm) {
    found->second.comm->close(now);
    released_.push_back(comm.value);
  } else {
    entries_.erase(found);
  }
  reap();
}

std::optional<RequestId> ModelEndpoint::post_send(TimeNs now, CommId id,
                                                  const transport::Buffer& buffer, uint32_t tag) {
  ModelComm* comm = find(id);
  if (comm == nullptr || !comm->sends()) return std::nullopt;
  const auto number = comm->post(now, buffer, tag);
  stale_ = true;
  if (!number) return std::nullopt;
  return RequestId{id.value, static_cast<uint32_t>(*number)};
}

std::optional<RequestId> ModelEndpoint::post_recv(TimeNs now, CommId id,
                                                  const transport::Buffer& buffer, uint32_t tag) {
  ModelComm* comm = find(id);
  if (comm == nullptr || comm->sends()) return std::nullopt;
  const auto number = comm->post(now, buffer, tag);
  stale_ = true;
  if (!number) return std::nullopt;
  return RequestId{id.value, static_cast<uint32_t>(*number)};
}

transport::Completion ModelEndpoint::test(RequestId request) {
  ModelComm* comm = find({request.index});
  if (comm == nullptr) return {transport::Progress::kFailed, 0};
  return comm->test(request.generation);
}

// --- The handshake --------------------------------------------------------------------------

void ModelEndpoint::ask(TimeNs now, uint32_t id, Entry& entry) {
  const ConnectBody body{entry.token, fingerprint(), id, 0};
  stateless_.push_back(ControlSlot({.kind = Kind::kConnect}, BodyOf(body), entry.routes[0]));
  entry.retry_at = std::min(now + entry.retry_after, entry.give_up_at);
  entry.retry_after += entry.retry_after;
}

void ModelEndpoint::handshake_timeout(TimeNs now, uint32_t id, Entry& entry) {
  if (entry.retry_at > now) return;
  if (entry.give_up_at > now) return ask(now, id, entry);
  entry.state = CommState::kFailed;
  entry.retry_at = kNever;
  entry.failure =
      "the peer does not answer: is it running, and does the path carry packets both ways?";
  context_.events.push({Event::Kind::kFailed, {id}});
}

void ModelEndpoint::on_connect(const Arrival& arrival) {
  ConnectBody body{};
  if (!arrival.read(body)) return;
  const auto refuse = [&](Reason reason) {
    stateless_.push_back(ControlSlot({.kind = Kind::kRefuse, .comm = body.comm},
                                     BodyOf(static_cast<uint32_t>(reason)), *arrival.route));
  };
  uint64_t address = 0;  // of the peer: its host and port in the simulated network
  std::memcpy(&address, arrival.route->peer.bytes.data(), sizeof address);
  const std::pair client{address, body.comm};
  const auto listener = std::find_if(listeners_.begin(), listeners_.end(), [&](const Listener& l) {
    return l.open && l.token == body.token;
  });
  auto known = by_client_.find(client);
  if (known == by_client_.end()) {
    if (listener == listeners_.end()) return refuse(Reason::kNoListener);
    if (body.fingerprint != fingerprint()) return refuse(Reason::kSettings);
    if (entries_.size() >= context_.config.max_connections) return refuse(Reason::kFull);
    const uint32_t id = next_id_++;
    Entry& entry = entries_[id];
    entry.client = client;
    entry.comm = make_comm({{id}, body.comm, false, {*arrival.route}, {}});
    known = by_client_.emplace(client, id).first;
    listener->waiting.push_back(id);
    context_.events.push({Event::Kind::kAcceptable, {id}});
  }
  stateless_.push_back(ControlSlot({.kind = Kind::kAccept, .comm = body.comm},
                                   BodyOf(known->second), *arrival.route));
}

void ModelEndpoint::on_handshake(const Arrival& arrival) {
  ++context_.counters.control_received;
  if (arrival.head.kind == Kind::kConnect) return on_connect(arrival);
  const auto found = entries_.find(arrival.head.comm);
  uint32_t word = 0;
  if (found == entries_.end() || found->second.comm || !arrival.read(word)) return;
  Entry& entry = found->second;
  if (entry.state != CommState::kConnecting) return;
  entry.retry_at = kNever;
  if (arrival.head.kind == Kind::kAccept) {
    entry.comm = make_comm({{found->first}, word, true, entry.routes, arrival.at - entry.asked_at});
    context_.events.push({Event::Kind::kReady, {found->first}});
    return;
  }
  entry.state = CommState::kFailed;
  const bool known = word < static_cast<uint32_t>(Reason::kCount);
  entry.failure = transport::ToText(known ? static_cast<Reason>(word) : Reason::kMalformed);
  context_.events.push({Event::Kind::kFailed, {found->first}});
}

// --- What the driver does -------------------------------------------------------------------

void ModelEndpoint::on_datagrams(TimeNs, std::span<const transport::RxView> received) {
  for (const transport::RxView& view : received) {
    Arrival arrival;
    if (!Parse(view, arrival)) {
      ++context_.counters.dropped;
      continue;
    }
    if (arrival.head.kind <= Kind::kRefuse) {
      on_handshake(arrival);
      continue;
    }
    const auto found = entries_.find(arrival.head.comm);
    if (found != entries_.end() && found->second.comm) {
      found->second.comm->on_arrival(arrival);
    } else {
      ++context_.counters.dropped;
    }
  }
  reap();
}

size_t ModelEndpoint::poll_transmit(TimeNs now, TimeNs horizon,
                                    std::span<transport::TxSlot> slots) {
  size_t count = 0;
  for (; count < slots.size() && !stateless_.empty(); ++count) {
    slots[count] = stateless_.front();
    slots[count].tx_time = now;
    stateless_.pop_front();
    ++context_.counters.control_sent;
  }
  // One packet of each comm in turn.
  auto entry = entries_.upper_bound(turn_);
  for (size_t silent = 0; count < slots.size() && silent < entries_.size(); ++entry) {
    if (entry == entries_.end()) entry = entries_.begin();
    const bool sent =
        entry->second.comm && entry->second.comm->transmit(now, horizon, slots[count]);
    silent = sent ? 0 : silent + 1;
    count += sent ? 1 : 0;
    turn_ = entry->first;
  }
  stale_ = true;
  return count;
}

void ModelEndpoint::on_timeout(TimeNs now) {
  for (auto& [id, entry] : entries_) {
    if (entry.comm) {
      entry.comm->on_timeout(now);
    } else {
      handshake_timeout(now, id, entry);
    }
  }
  reap();
}

void ModelEndpoint::compute_deadline() const {
  stale_ = false;
  deadline_ = stateless_.empty() ? kNever : TimeNs{INT64_MIN};
  for (const auto& [id, entry] : entries_) {
    deadline_ = std::min(deadline_, entry.comm ? entry.comm->next_deadline() : entry.retry_at);
  }
}

void ModelEndpoint::reap() {
  stale_ = true;
  std::erase_if(released_, [&](uint32_t id) {
    const Entry& entry = entries_.at(id);
    if (!entry.comm->gone()) return false;
    by_client_.erase(entry.client);
    entries_.erase(id);
    return true;
  });
}

}  // namespace farspan::baselines
