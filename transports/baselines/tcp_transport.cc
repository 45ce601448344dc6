#include "transports/baselines/tcp_transport.h"

#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
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

constexpr uint32_t kMaxRequests = 32;  // NCCL_NET_MAX_REQUESTS
constexpr uint64_t kPieceMin = 64 * 1024;

struct Header {
  uint64_t bytes = 0;
  uint64_t tag = 0;
};

}  // namespace

struct TcpTransport::Request {
  transport::Buffer buffer;
  uint32_t tag = 0;
  uint32_t generation = 0;
  uint32_t comm = 0;
  Header header;
  uint64_t left = 0;     // bytes not yet moved; of a receive, known with the header
  bool started = false;  // the header has gone or come
  bool in_use = false;
};

struct TcpTransport::Comm {
  bool sends = false;
  CommState state = CommState::kConnecting;
  std::string failure;
  std::vector<TcpStream> streams;
  uint32_t connected = 0;  // streams whose hello has gone
  TcpHello hello;
  std::deque<uint32_t> unmatched;  // receives whose header has not come, in order of posting
  uint32_t pending = 0;
  size_t next_stream = 0;
  Header incoming;
  size_t incoming_bytes = 0;
  std::string peer;

  void fail(const std::string& why) {
    failure = fmt::format("TCP {}: {}", peer, why);
    state = CommState::kFailed;
  }
};

TcpTransport::TcpTransport(const TcpConfig& config) : config_(config) {}
TcpTransport::~TcpTransport() = default;

Result<std::unique_ptr<TcpTransport>> TcpTransport::Open(const TcpConfig& config) {
  if (config.sockets == 0 || config.sockets > kTcpSocketsMax) {
    return Fail(ErrorCode::kInvalid, fmt::format("{} sockets per comm: expected 1 to {}",
                                                 config.sockets, kTcpSocketsMax));
  }
  std::unique_ptr<TcpTransport> made(new TcpTransport(config));
  // The address and the congestion control are tried now, not at the first message.
  if (auto probe = TcpStream::Open(config); !probe) return tl::unexpected(probe.error());
  return made;
}

TcpRepeats TcpTransport::repeats() const {
  TcpRepeats sum;
  for (const auto& [id, comm] : comms_.comms()) {
    for (const TcpStream& stream : comm->streams) {
      tcp_info info{};
      socklen_t length = sizeof info;
      if (getsockopt(stream.fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) continue;
      sum.resent_bytes += info.tcpi_bytes_retrans;
      sum.duplicate_bytes += uint64_t{info.tcpi_dsack_dups} * info.tcpi_snd_mss;
    }
  }
  return sum;
}

transport::Properties TcpTransport::properties() const {
  return {"tcp", uint64_t{1} << 40, kMaxRequests, 0, {}};
}

Result<ListenId> TcpTransport::listen(transport::Handle& handle) {
  auto listener = TcpListener::Open(config_);
  if (!listener) return tl::unexpected(listener.error());
  handle = ToHandle(TcpHello::kMagic, listener->address());
  return comms_.listen(std::move(*listener));
}

void TcpTransport::stop_listening(ListenId listener) { comms_.erase(listener); }

std::optional<CommId> TcpTransport::accept(ListenId listener) { return comms_.accept(listener); }

Result<CommId> TcpTransport::connect(const transport::Handle& handle) {
  const auto address = FromHandle(TcpHello::kMagic, handle);
  if (!address) return Fail(ErrorCode::kInvalid, "this is not the handle of a TCP listener");
  auto hello = TcpHello::Make(config_.sockets);
  if (!hello) return tl::unexpected(hello.error());
  auto comm = std::make_unique<Comm>();
  comm->sends = true;
  comm->peer = ToText(*address);
  comm->hello = *hello;
  for (uint32_t i = 0; i < config_.sockets; ++i) {
    auto stream = TcpStream::Connect(config_, *address);
    if (!stream) return tl::unexpected(stream.error());
    comm->streams.push_back(std::move(*stream));
  }
  return comms_.add(std::move(comm));
}

CommState TcpTransport::state(CommId comm) const { return comms_.find(comm).state; }
std::string_view TcpTransport::failure(CommId comm) const { return comms_.find(comm).failure; }

void TcpTransport::close(CommId comm) {
  for (uint32_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].in_use && requests_[i].comm == comm.value) release(i);
  }
  comms_.erase(comm);
}

void TcpTransport::release(uint32_t index) {
  requests_[index].in_use = false;
  free_requests_.push_back(index);
}

std::optional<RequestId> TcpTransport::post(CommId comm, const transport::Buffer& buffer,
                                            uint32_t tag) {
  Comm& state = comms_.find(comm);
  if (state.state != CommState::kReady || state.pending == kMaxRequests) return std::nullopt;
  if (free_requests_.empty()) {
    free_requests_.push_back(static_cast<uint32_t>(requests_.size()));
    requests_.emplace_back();
  }
  const uint32_t index = free_requests_.back();
  free_requests_.pop_back();
  Request& request = requests_[index];
  const uint32_t generation = request.generation + 1;
  request = {};
  request.buffer = buffer;
  request.tag = tag;
  request.generation = generation;
  request.comm = comm.value;
  request.in_use = true;
  ++state.pending;
  if (state.sends) {
    request.header = {buffer.bytes, tag};
    request.left = buffer.bytes + sizeof(Header);
    request.started = true;
    state.streams[0].pieces.push_back(
        {reinterpret_cast<std::byte*>(&request.header), sizeof(Header), index});
    deal(state, index);
  } else {
    state.unmatched.push_back(index);
  }
  untold_ |= advance(state);
  return RequestId{index, generation};
}

std::optional<RequestId> TcpTransport::post_send(CommId comm, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  FARSPAN_CHECK(comms_.find(comm).sends);
  return post(comm, buffer, tag);
}

std::optional<RequestId> TcpTransport::post_recv(CommId comm, const transport::Buffer& buffer,
                                                 uint32_t tag) {
  FARSPAN_CHECK(!comms_.find(comm).sends);
  return post(comm, buffer, tag);
}

// Cuts a message into pieces and gives them to the connections in turn.
void TcpTransport::deal(Comm& comm, uint32_t index) {
  Request& request = requests_[index];
  const uint64_t bytes = request.header.bytes;
  const uint64_t share = (bytes + comm.streams.size() - 1) / comm.streams.size();
  const uint64_t piece = std::max(kPieceMin, share);
  for (uint64_t at = 0; at < bytes; at += piece) {
    comm.streams[comm.next_stream].pieces.push_back(
        {static_cast<std::byte*>(request.buffer.data) + at, std::min(piece, bytes - at), index});
    comm.next_stream = (comm.next_stream + 1) % comm.streams.size();
  }
}

Completion TcpTransport::test(RequestId id) {
  Request& request = requests_[id.index];
  FARSPAN_CHECK(request.in_use && request.generation == id.generation);
  Comm& comm = comms_.find(CommId{request.comm});
  const bool done = request.started && request.left == 0;
  if (!done && comm.state != CommState::kFailed) return {};
  --comm.pending;
  release(id.index);
  return {done ? Progress::kDone : Progress::kFailed, request.header.bytes};
}

void TcpTransport::progress(TimeNs until) {
  while (true) {
    bool moved = std::exchange(untold_, false);
    moved |= move_all();
    if (moved && listener_ != nullptr) listener_->on_progress();
    if (moved || now() >= until) return;
    wait(until);
  }
}

bool TcpTransport::move_all() {
  bool moved = false;
  for (auto& [id, listening] : comms_.listeners()) moved |= take_comms(listening);
  for (auto& [id, comm] : comms_.comms()) moved |= advance(*comm);
  return moved;
}

bool TcpTransport::take_comms(Comms::Listening& listening) {
  bool moved = false;
  while (true) {
    auto streams = listening.listener.take();
    if (streams && !*streams) return moved;
    auto comm = std::make_unique<Comm>();
    if (!streams) {  // who accepts is told, by a comm that has failed
      comm->peer = ToText(listening.listener.address());
      comm->fail(streams.error().message);
    } else {
      comm->state = CommState::kReady;
      comm->streams = std::move(**streams);
      comm->peer = ToText(PeerAddress(comm->streams[0].fd));
    }
    listening.accepted.push_back(comms_.add(std::move(comm)));
    moved = true;
  }
}

// Moves what the sockets will take or give. True if anything came to an end.
bool TcpTransport::advance(Comm& comm) {
  if (comm.state == CommState::kFailed) return false;
  const auto fail = [&](const std::string& why) {
    comm.fail(why);
    return true;
  };
  bool done = false;
  for (; comm.connected < comm.streams.size() && comm.state == CommState::kConnecting;
       ++comm.connected) {
    comm.hello.index = comm.connected;
    const ssize_t n =
        ::send(comm.streams[comm.connected].fd, &comm.hello, sizeof(TcpHello), MSG_NOSIGNAL);
    if (n < 0 && WouldBlock()) return done;
    if (n != sizeof(TcpHello)) return fail(std::strerror(errno));
  }
  if (comm.state == CommState::kConnecting) {
    comm.state = CommState::kReady;
    done = true;
  }
  for (TcpStream& stream : comm.streams) {
    const bool headed = !comm.sends && &stream == &comm.streams[0];
    if (headed && stream.pieces.empty() && !read_headers(comm, done)) return true;
    while (!stream.pieces.empty()) {
      TcpPiece& piece = stream.pieces.front();
      const ssize_t n = comm.sends ? ::send(stream.fd, piece.at, piece.left, MSG_NOSIGNAL)
                                   : ::recv(stream.fd, piece.at, piece.left, 0);
      if (n < 0 && WouldBlock()) break;
      if (n < 0) return fail(std::strerror(errno));
      if (n == 0) return fail("closed by the other side");
      const auto moved = static_cast<uint64_t>(n);
      piece.at += moved;
      piece.left -= moved;
      Request& request = requests_[piece.request];
      request.left -= moved;
      if (request.left == 0) done = true;
      if (piece.left > 0) continue;
      stream.pieces.pop_front();
      if (headed && stream.pieces.empty() && !read_headers(comm, done)) return true;
    }
  }
  return done;
}

// Reads the next message's header where its receive is posted; one of no bytes is done with it.
// False: the comm has failed.
bool TcpTransport::read_headers(Comm& comm, bool& done) {
  const auto fail = [&](const std::string& why) {
    comm.fail(why);
    return false;
  };
  while (!comm.unmatched.empty() && comm.streams[0].pieces.empty()) {
    const ssize_t n =
        recv(comm.streams[0].fd, reinterpret_cast<char*>(&comm.incoming) + comm.incoming_bytes,
             sizeof(Header) - comm.incoming_bytes, 0);
    if (n < 0 && WouldBlock()) return true;
    if (n <= 0) return fail(n == 0 ? "closed by the other side" : std::strerror(errno));
    comm.incoming_bytes += static_cast<size_t>(n);
    if (comm.incoming_bytes < sizeof(Header)) continue;
    comm.incoming_bytes = 0;
    const uint32_t index = comm.unmatched.front();
    Request& request = requests_[index];
    if (comm.incoming.bytes > request.buffer.bytes || comm.incoming.tag != request.tag) {
      return fail(fmt::format("a message of {} bytes with tag {} met a receive of {} with tag {}",
                              comm.incoming.bytes, comm.incoming.tag, request.buffer.bytes,
                              request.tag));
    }
    comm.unmatched.pop_front();
    request.header = comm.incoming;
    request.left = comm.incoming.bytes;
    request.started = true;
    done |= request.left == 0;
    deal(comm, index);
  }
  return true;
}

void TcpTransport::wait(TimeNs until) const {
  std::vector<pollfd> watched;
  for (const auto& [id, listening] : comms_.listeners()) listening.listener.watch(watched);
  for (const auto& [id, comm] : comms_.comms()) {
    if (comm->state == CommState::kFailed) continue;
    for (size_t i = 0; i < comm->streams.size(); ++i) {
      const TcpStream& stream = comm->streams[i];
      const bool connecting = comm->state == CommState::kConnecting;
      const bool wanted = !stream.pieces.empty() || (i == 0 && !comm->unmatched.empty());
      const bool out = connecting || (comm->sends && !stream.pieces.empty());
      const bool in = !comm->sends && wanted;
      if (out || in) {
        watched.push_back(
            {stream.fd, static_cast<short>((out ? POLLOUT : 0) | (in ? POLLIN : 0)), 0});
      }
    }
  }
  WaitFor(watched, until - now());
}

}  // namespace farspan::baselines
