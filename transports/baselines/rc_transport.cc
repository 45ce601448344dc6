#include "transports/baselines/rc_transport.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "emulator/base/check.h"

namespace farspan::baselines {
namespace {

using transport::CommId;
using transport::CommState;
using transport::Completion;
using transport::ListenId;
using transport::Progress;
using transport::RequestId;

constexpr uint64_t kMessageMax = uint64_t{1} << 30;
constexpr char kReady = 1;
constexpr size_t kTalkMax = 4096;  // a card, or why the other side gave up

template <typename T>
void Append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

// Over TCP, the sender says hello, card, ready; the receiver: card. What follows is why a side
// gives up.
struct RcTransport::Comm {
  bool sends = false;
  CommState state = CommState::kConnecting;
  std::string failure;
  std::string peer;
  TcpStream control;
  std::string outgoing, incoming;
  TimeNs give_up_at{};     // while it connects
  bool connected = false;  // the queue pairs, with the peer's card
  bool ended = false;      // the peer has closed the connection
  ListenId listener;       // of a receiver that waits to be accepted
  std::unique_ptr<RcQueuePairs> pairs;
  bool armed = false;

  void fail(const std::string& why) {
    failure = fmt::format("RC {}: {}", peer, why);
    state = CommState::kFailed;
    if (pairs != nullptr) pairs->end();
    ::send(control.fd, why.data(), why.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    control = TcpStream();
  }
};

RcTransport::RcTransport(const RcTransportConfig& config) : config_(config) {}
RcTransport::~RcTransport() = default;

TcpConfig RcTransport::tcp() const {
  TcpConfig tcp;
  tcp.local = config_.local;
  tcp.timeout = config_.timeout;
  return tcp;
}

Result<std::unique_ptr<RcTransport>> RcTransport::Open(const RcTransportConfig& config) {
  const RcConfig& rc = config.rc;
  if (rc.queue_pairs == 0 || rc.queue_pairs > kRcQueuePairsMax || rc.timeout > 31 ||
      rc.retry_count > 7) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("{} queue pairs, timeout {}, {} retries: expected 1 to {}, 0 to 31, 0 "
                            "to 7",
                            rc.queue_pairs, rc.timeout, rc.retry_count, kRcQueuePairsMax));
  }
  std::unique_ptr<RcTransport> made(new RcTransport(config));
  auto device = verbs::Device::Open(config.port);
  if (!device) return tl::unexpected(device.error());
  made->device_ = std::move(*device);
  auto channel = made->device_.make_channel();
  if (!channel) return tl::unexpected(channel.error());
  made->channel_ = std::move(*channel);
  if (auto probe = TcpStream::Open(made->tcp()); !probe) return tl::unexpected(probe.error());
  return made;
}

transport::Properties RcTransport::properties() const {
  return {"rc", kMessageMax, kRcRequests, 0, {}};
}

Result<ListenId> RcTransport::listen(transport::Handle& handle) {
  auto listener = TcpListener::Open(tcp());
  if (!listener) return tl::unexpected(listener.error());
  handle = ToHandle(RcCard::kMagic, listener->address());
  return comms_.listen(std::move(*listener));
}

void RcTransport::stop_listening(ListenId listener) { comms_.erase(listener); }

std::optional<CommId> RcTransport::accept(ListenId listener) { return comms_.accept(listener); }

Result<CommId> RcTransport::connect(const transport::Handle& handle) {
  const auto address = FromHandle(RcCard::kMagic, handle);
  if (!address) return Fail(ErrorCode::kInvalid, "this is not the handle of an RC listener");
  auto hello = TcpHello::Make(1);
  if (!hello) return tl::unexpected(hello.error());
  auto comm = std::make_unique<Comm>();
  comm->sends = true;
  comm->peer = ToText(*address);
  comm->give_up_at = now() + config_.timeout;
  auto pairs = RcQueuePairs::Open(device_, true, config_.rc, channel_.get());
  if (!pairs) return tl::unexpected(pairs.error());
  comm->pairs = std::move(*pairs);
  auto control = TcpStream::Connect(tcp(), *address);
  if (!control) return tl::unexpected(control.error());
  comm->control = std::move(*control);
  Append(comm->outgoing, *hello);
  Append(comm->outgoing, comm->pairs->card());
  return comms_.add(std::move(comm));
}

CommState RcTransport::state(CommId comm) const { return comms_.find(comm).state; }
std::string_view RcTransport::failure(CommId comm) const { return comms_.find(comm).failure; }
void RcTransport::close(CommId comm) { comms_.erase(comm); }

Result<uint32_t> RcTransport::register_memory(void* data, uint64_t bytes) {
  auto region =
      device_.register_memory(data, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (!region) return tl::unexpected(region.error());
  memory_[next_memory_] = std::move(*region);
  return next_memory_++;
}

void RcTransport::deregister_memory(uint32_t memory) { memory_.erase(memory); }

std::optional<RequestId> RcTransport::post(CommId id, const transport::Buffer& buffer,
                                           uint32_t tag) {
  Comm& comm = comms_.find(id);
  if (comm.state != CommState::kReady) return std::nullopt;
  const ibv_mr* region = buffer.memory == 0 ? nullptr : memory_.at(buffer.memory).get();
  const auto number = comm.pairs->post(buffer, tag, region);
  if (!number) {
    comm.fail(number.error().message);
    untold_ = true;
    return std::nullopt;
  }
  if (!*number) return std::nullopt;
  return RequestId{id.value, static_cast<uint32_t>(**number)};
}

std::optional<RequestId> RcTransport::post_send(CommId comm, const transport::Buffer& buffer,
                                                uint32_t tag) {
  FARSPAN_CHECK(comms_.find(comm).sends && buffer.bytes <= kMessageMax);
  return post(comm, buffer, tag);
}

std::optional<RequestId> RcTransport::post_recv(CommId comm, const transport::Buffer& buffer,
                                                uint32_t tag) {
  FARSPAN_CHECK(!comms_.find(comm).sends);
  return post(comm, buffer, tag);
}

Completion RcTransport::test(RequestId request) {
  Comm& comm = comms_.find(CommId{request.index});
  if (const auto bytes = comm.pairs->release(request.generation)) return {Progress::kDone, *bytes};
  return {comm.state == CommState::kFailed ? Progress::kFailed : Progress::kPending, 0};
}

void RcTransport::progress(TimeNs until) {
  while (true) {
    for (auto& [id, listening] : comms_.listeners()) take_comms({id}, listening);
    bool moved = std::exchange(untold_, false);
    for (auto& [id, comm] : comms_.comms()) moved |= advance({id}, *comm);
    if (moved && listener_ != nullptr) listener_->on_progress();
    if (moved || now() >= until) return;
    wait(until);
  }
}

void RcTransport::take_comms(ListenId id, Comms::Listening& listening) {
  while (true) {
    auto streams = listening.listener.take();
    if (streams && !*streams) return;
    auto comm = std::make_unique<Comm>();
    if (!streams) {  // who accepts is told, by a comm that has failed
      comm->peer = ToText(listening.listener.address());
      comm->fail(streams.error().message);
      listening.accepted.push_back(comms_.add(std::move(comm)));
      untold_ = true;
      continue;
    }
    comm->control = std::move((**streams)[0]);
    comm->peer = ToText(PeerAddress(comm->control.fd));
    comm->listener = id;
    comm->give_up_at = now() + config_.timeout;
    comms_.add(std::move(comm));
  }
}

// True if state() or test() may answer differently.
bool RcTransport::advance(CommId id, Comm& comm) {
  if (comm.state == CommState::kFailed) return false;
  talk(comm);
  auto moved = comm.state == CommState::kReady ? comm.pairs->advance() : set_up(id, comm);
  if (!moved) {
    comm.fail(moved.error().message);
  } else if (comm.ended) {  // what had arrived before is taken
    comm.fail(comm.incoming.empty() ? "closed by the other side" : comm.incoming);
  } else if (comm.state == CommState::kConnecting && now() >= comm.give_up_at) {
    comm.fail(fmt::format("no connection within {}", ToText(config_.timeout)));
  } else {
    return *moved;
  }
  return true;
}

// Moves what TCP will take and give.
void RcTransport::talk(Comm& comm) const {
  const auto broken = [&] {
    comm.ended = true;
    if (comm.incoming.empty()) comm.incoming = std::strerror(errno);
  };
  while (!comm.outgoing.empty()) {
    const ssize_t n =
        ::send(comm.control.fd, comm.outgoing.data(), comm.outgoing.size(), MSG_NOSIGNAL);
    if (n < 0 && WouldBlock()) break;
    if (n < 0) return broken();
    comm.outgoing.erase(0, static_cast<size_t>(n));
  }
  std::array<char, 1024> bytes;
  while (comm.incoming.size() < kTalkMax) {
    const ssize_t n = ::recv(comm.control.fd, bytes.data(), bytes.size(), 0);
    if (n < 0 && WouldBlock()) break;
    if (n < 0) return broken();
    if (n == 0) comm.ended = true;
    if (n == 0) break;
    comm.incoming.append(bytes.data(), static_cast<size_t>(n));
  }
  if (comm.incoming.size() >= kTalkMax) comm.ended = true;
}

// True once the comm is ready.
Result<bool> RcTransport::set_up(CommId id, Comm& comm) {
  if (!comm.connected) {
    RcCard card;
    if (comm.incoming.size() < sizeof card) return false;
    std::memcpy(&card, comm.incoming.data(), sizeof card);
    comm.incoming.erase(0, sizeof card);
    if (auto done = on_card(comm, card); !done) return tl::unexpected(done.error());
  }
  if (!comm.sends) {
    if (comm.incoming.empty()) return false;
    comm.incoming.erase(0, 1);  // "ready"
    const auto listening = comms_.listeners().find(comm.listener.value);
    if (listening == comms_.listeners().end()) {
      return Fail(ErrorCode::kIo, "nobody listens any more");
    }
    listening->second.accepted.push_back(id);
  }
  comm.state = CommState::kReady;
  return true;
}

Result<void> RcTransport::on_card(Comm& comm, const RcCard& card) {
  if (!card.valid())
    return Fail(ErrorCode::kIo, "the other side is no RC transport of this version");
  if (!comm.sends) {
    RcConfig config = config_.rc;
    config.queue_pairs = card.queue_pairs;
    config.split = card.split != 0;
    auto pairs = RcQueuePairs::Open(device_, false, config, channel_.get());
    if (!pairs) return tl::unexpected(pairs.error());
    comm.pairs = std::move(*pairs);
  }
  if (card.queue_pairs != comm.pairs->card().queue_pairs) {
    return Fail(ErrorCode::kIo, "the sides count different queue pairs");
  }
  if (auto done = comm.pairs->connect(card); !done) return done;
  comm.connected = true;
  if (comm.sends) {
    comm.outgoing.push_back(kReady);
  } else {
    Append(comm.outgoing, comm.pairs->card());
  }
  return {};
}

// What completed before a queue was armed does not notify: where one had to be armed, the caller
// looks once more before the next call sleeps.
void RcTransport::wait(TimeNs until) {
  std::vector<pollfd> watched{{channel_->fd, POLLIN, 0}};
  bool armed = false;
  for (const auto& [id, listening] : comms_.listeners()) listening.listener.watch(watched);
  for (const auto& [id, comm] : comms_.comms()) {
    if (comm->state == CommState::kFailed) continue;
    watched.push_back(
        {comm->control.fd, static_cast<short>(POLLIN | (comm->outgoing.empty() ? 0 : POLLOUT)), 0});
    if (comm->pairs == nullptr || comm->armed) continue;
    armed = true;
    if (auto done = comm->pairs->arm(); done) {
      comm->armed = true;
    } else {
      comm->fail(done.error().message);
      untold_ = true;
    }
  }
  if (armed) return;
  WaitFor(watched, until - now());
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) {
    ibv_ack_cq_events(queue, 1);
    for (const auto& [id, comm] : comms_.comms()) {
      if (comm->pairs != nullptr && comm->pairs->queue() == queue) comm->armed = false;
    }
  }
}

}  // namespace farspan::baselines
